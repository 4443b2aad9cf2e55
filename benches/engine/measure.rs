//! What one process costs: wall time, processor time, peak memory. Knows nothing of what it does.
#![expect(unsafe_code, reason = "the standard library has no wait that tells what a process used")]

use std::process::{Command, Stdio};
use std::time::Instant;

#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub wall: f64,
    /// Of the process and everything that it waited for.
    pub cpu: f64,
    pub mib: f64,
}

/// Runs it to its end; it must succeed.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
pub fn run(command: &Call) -> Cost {
    let start = Instant::now();
    let mut spawned = Command::new(&command.words[0]);
    spawned.args(&command.words[1..]).current_dir(&command.dir);
    spawned.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = spawned.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.words));
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid `rusage`, and both pointers are valid for the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage), child.id() as i32);
        usage
    };
    let wall = start.elapsed().as_secs_f64();
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{:?} failed: {status}", command.words);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Cost { wall, cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime), mib: usage.ru_maxrss as f64 / 1024.0 }
}

/// A command line with its folder.
pub struct Call {
    pub words: Vec<String>,
    pub dir: std::path::PathBuf,
}

/// Both in turn, so that what else happens on the machine hits both; medians of each.
pub fn pair(rounds: usize, mut ours: impl FnMut() -> Cost, mut theirs: impl FnMut() -> Cost) -> (Cost, Cost) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            first.push(ours());
            second.push(theirs());
        } else {
            second.push(theirs());
            first.push(ours());
        }
    }
    (median(&first), median(&second))
}

pub fn median(costs: &[Cost]) -> Cost {
    let of = |value: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Cost { wall: of(|cost| cost.wall), cpu: of(|cost| cost.cpu), mib: of(|cost| cost.mib) }
}
