//! Ends a run at a step of its protocol, in a process of its own: this test program, started again. Knows no row.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use xtask::World;
use xtask::model::{Step, Steps};

use super::space::{Mixer, environment};

const ROOT: &str = "XTASK_TEST_VICTIM";
const STEP: &str = "XTASK_TEST_STEP";
const TIMES: &str = "XTASK_TEST_TIMES";

/// Runs the default tasks of `root` in a process that aborts when it passes `step` for the `times`-th time.
///
/// `entry` is the full name of the test that calls [`be_the_victim`] first.
pub fn abort_at(entry: &str, root: &Path, step: Step, times: usize, panics: bool) -> ExitStatus {
    let own = std::env::current_exe().expect("this program");
    let number = Step::ALL.iter().position(|one| *one == step).expect("a step");
    Command::new(own)
        .args(["--exact", entry, "--nocapture", "-q"])
        .env(ROOT, root)
        .env(STEP, format!("{number}{}", if panics { " panic" } else { "" }))
        .env(TIMES, times.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("this program")
}

/// In the process that [`abort_at`] starts: runs, and never returns. Elsewhere: nothing.
pub fn be_the_victim() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let word = std::env::var(STEP).expect("a step");
    let (number, panics) = word.split_once(' ').map_or((&*word, false), |(number, _)| (number, true));
    let step = Step::ALL[number.parse::<usize>().expect("a number")];
    let times: usize = std::env::var(TIMES).ok().and_then(|text| text.parse().ok()).expect("a number");
    let passed = AtomicUsize::new(0);
    let (world, _) = World::captured(root.into(), environment());
    let mut world = World { owns_process: true, ..world };
    Mixer::default().add_to(&mut world.extra);
    world.steps = Steps::new(move |at| {
        if at == step && passed.fetch_add(1, Ordering::SeqCst) + 1 == times {
            assert!(!panics, "told to panic");
            std::process::abort();
        }
    });
    let exit = xtask::run(["run", "-n", "2"], &world);
    std::process::exit(i32::from(exit));
}
