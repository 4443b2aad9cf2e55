//! Whether a process still does anything that can be seen. Knows nothing of what it should do.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// Less than this in the whole time is no life: a link that only keeps itself alive moves a little, too.
const ENOUGH: u64 = 1024;

/// Watches the output of a process and what it reads and writes.
pub(super) struct Pulse {
    pid: Pid,
    limit: Duration,
    /// When it was last seen to do something.
    alive: Instant,
    looked: Instant,
    output: u64,
    moved: u64,
}

impl Pulse {
    pub(super) fn new(pid: Pid, limit: Duration) -> Self {
        let now = Instant::now();
        Self { pid, limit, alive: now, looked: now, output: 0, moved: 0 }
    }

    /// Whether nothing was seen for the whole limit. `output` is what it has written to us so far.
    pub(super) fn is_lost(&mut self, output: u64) -> bool {
        if self.looked.elapsed() < (self.limit / 8).min(Duration::from_secs(1)) {
            return false;
        }
        self.looked = Instant::now();
        let moved = moved(self.pid);
        if output != self.output || moved >= self.moved + ENOUGH {
            (self.output, self.moved, self.alive) = (output, moved, self.looked);
        }
        self.alive.elapsed() >= self.limit
    }
}

/// Bytes that a process has read and written, by any means.
fn moved(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/io", pid.as_raw_pid())).unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    value("rchar:") + value("wchar:")
}
