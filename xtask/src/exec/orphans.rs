//! Reads from `/proc` which processes are our children but were started by somebody else. Knows nothing of what is
//! done with them. Empty where there is no `/proc`.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, getpgrp, getpid};

/// A child of ours in another process group than ours.
#[derive(Clone, Debug)]
pub(super) struct Orphan {
    pub(super) pid: Pid,
    /// It has ended and waits to be waited for.
    pub(super) dead: bool,
    /// Since it was started.
    pub(super) age: Duration,
}

/// All our children outside our own process group: leaders of groups that we started, and orphans.
pub(super) fn children_outside_our_group() -> Vec<Orphan> {
    let (me, group) = (getpid().as_raw_pid(), getpgrp().as_raw_pid());
    let uptime = uptime();
    candidates()
        .into_iter()
        .filter_map(stat)
        .filter(|stat| stat.parent == me && stat.group != group)
        .filter_map(|stat| {
            let age = uptime.saturating_sub(Duration::from_millis(stat.start_ticks * 10));
            Some(Orphan { pid: Pid::from_raw(stat.pid)?, dead: matches!(stat.state, b'Z' | b'X'), age })
        })
        .collect()
}

/// The value of `XTASK_TASK` in the environment that a process was started with.
pub(super) fn marker(pid: Pid) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
    let entry = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"XTASK_TASK="))?;
    Some(entry.to_vec())
}

/// The living processes that were started with this entry in their environment, without us and our ancestors.
pub(super) fn with_entry(wanted: &[u8]) -> Vec<Pid> {
    let mut own = Vec::new();
    let mut next = Some(getpid().as_raw_pid());
    while let Some(pid) = next.filter(|pid| *pid > 1 && !own.contains(pid)) {
        own.push(pid);
        next = stat(pid).map(|stat| stat.parent);
    }
    let carries = |pid: i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
    };
    all().into_iter().filter(|pid| !own.contains(pid) && carries(*pid)).filter_map(Pid::from_raw).collect()
}

fn all() -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Our children as the system lists them for each thread, or all processes where it does not.
fn candidates() -> Vec<i32> {
    let listed = || -> Option<Vec<i32>> {
        let mut pids = Vec::new();
        for thread in fs::read_dir("/proc/self/task").ok()? {
            let children = fs::read_to_string(thread.ok()?.path().join("children")).ok()?;
            pids.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        Some(pids)
    };
    listed().unwrap_or_else(all)
}

struct Stat {
    pid: i32,
    state: u8,
    parent: i32,
    group: i32,
    /// After the start of the system, in hundredths of a second.
    start_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state parent group …`; the name may hold anything, so the last `)` counts.
fn parse_stat(pid: i32, text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    Some(Stat {
        pid,
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Since the start of the system.
fn uptime() -> Duration {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_ascii_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let text = b"7 (a) Z (b)) S 4 5 6 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0";
        let stat = parse_stat(7, text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.group, stat.start_ticks), (b'S', 4, 5, 4711));
    }

    #[test]
    fn our_own_age_is_plausible() {
        let own = stat(getpid().as_raw_pid()).unwrap();
        let age = uptime().saturating_sub(Duration::from_millis(own.start_ticks * 10));
        assert!(age < Duration::from_hours(1), "{age:?}");
    }
}
