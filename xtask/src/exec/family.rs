//! The processes that a run is responsible for: who leads a group, who was left behind, and how the latter are
//! ended. Knows nothing of why a process was started.
//!
//! A process group is not a seal: a process may leave it (`setsid`). [`supervise`] makes this process the reaper of
//! its orphaned descendants (where the system can), so that whoever was left behind becomes our child. Orphans are
//! told from children that other rooms started by their process group: those stay in ours.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::process::{self as sys, Pid, Signal, WaitId, WaitIdOptions};

use super::orphans::{self, Orphan};
use super::watchdog;

/// Time between a polite and a hard signal for what was left behind.
const POLITE: Duration = Duration::from_millis(100);
/// A killed process that is still there after this time hangs in the system: nobody can end it.
const GIVE_UP: Duration = Duration::from_secs(2);
/// Searching all processes is not free: at most this often, and never more than 2 % of the time.
const SCAN_EVERY: Duration = Duration::from_millis(250);

/// A process that we started, or the memory of one that may have left others behind on purpose.
struct Member {
    id: u64,
    pid: Pid,
    /// The value of its `XTASK_TASK`: its descendants inherit it.
    marker: Vec<u8>,
    since: Instant,
    alive: bool,
}

static MEMBERS: Mutex<Vec<Member>> = Mutex::new(Vec::new());
/// Held for reading while a process is started, for writing while orphans are counted: a process that was just
/// started and is not yet a member must not be taken for an orphan.
static SPAWNING: RwLock<()> = RwLock::new(());
static SWEEPING: Mutex<Pace> = Mutex::new(Pace { next: None });
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

struct Pace {
    next: Option<Instant>,
}

/// Makes orphaned descendants ours, for the life of the process. Ends them all when it is dropped or told to.
#[must_use = "the processes that a run leaves behind are ended when this is dropped"]
pub struct Supervisor(());

/// To be called once at the start of a run, before the first process is started.
///
/// Where the system has no such thing as a reaper of orphans, only process groups are ended.
pub fn supervise() -> Supervisor {
    become_reaper();
    Supervisor(())
}

/// Also done by the first process that is started without [`supervise`]: who is left behind must be ours, not some
/// other reaper's who may be slow to wait for the dead.
fn become_reaper() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(target_os = "linux")]
        let _ = sys::set_child_subreaper(Some(sys::getpid()));
    });
}

impl Supervisor {
    /// Ends every process that was left behind, also by tasks that may keep some for the length of the run.
    /// Returns how many there were.
    pub fn end(&self) -> usize {
        members().retain(|member| member.alive);
        let mut pace = lock(&SWEEPING);
        sweep(&mut pace, &|orphan| is_left(orphan, &[]))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
        watchdog::dismiss();
    }
}

/// Ends what a run of the workspace `root` has left behind that was killed: every process that carries the root in its
/// environment, except this one and those that it descends from. Returns how many there were.
///
/// To be called by who holds the lock of the workspace: then no other run of it lives.
pub fn end_leftovers(root: &Path) -> usize {
    let mut entry = b"XTASK_ROOT=".to_vec();
    entry.extend_from_slice(root.as_os_str().as_bytes());
    let mut ended = 0;
    // A process may be starting another while it is killed.
    for _ in 0..3 {
        let found = orphans::with_entry(&entry);
        for pid in &found {
            let _ = sys::kill_process(*pid, Signal::KILL);
        }
        if found.is_empty() {
            break;
        }
        ended += found.len();
        std::thread::sleep(Duration::from_millis(20));
    }
    ended
}

/// One entry of the list of members.
pub(super) struct Membership(u64);

/// Starts a process by `start`, which returns it with its number, and makes it a member.
pub(super) fn spawn<T, E>(marker: &[u8], start: impl FnOnce() -> Result<(T, Pid), E>) -> Result<(T, Membership), E> {
    become_reaper();
    let gate = SPAWNING.read().unwrap_or_else(PoisonError::into_inner);
    let since = Instant::now();
    let (started, pid) = start()?;
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    members().push(Member { id, pid, marker: marker.to_vec(), since, alive: true });
    drop(gate);
    Ok((started, Membership(id)))
}

impl Membership {
    /// The process has ended and was waited for. With `keep`, what it left behind stays until the end of the run.
    pub(super) fn end(self, keep: bool) {
        let mut members = members();
        if let Some(at) = members.iter().position(|member| member.id == self.0) {
            if keep {
                members[at].alive = false;
            } else {
                members.swap_remove(at);
            }
        }
    }
}

/// Ends what is left of the group that `leader` led, which has been waited for: politely, then hard.
/// Returns whether there was anything.
pub(super) fn end_group(leader: Pid) -> bool {
    if !group_lives(leader) {
        return false;
    }
    signal_group(leader, Signal::TERM);
    let start = Instant::now();
    let mut killed = false;
    while group_lives(leader) && start.elapsed() < GIVE_UP {
        if !killed && start.elapsed() >= POLITE {
            signal_group(leader, Signal::KILL);
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Whether the group has a member that is not dead; the dead that are ours are taken off the list.
pub(super) fn group_lives(leader: Pid) -> bool {
    if sys::test_kill_process_group(leader).is_err() {
        return false;
    }
    while let Ok(Some(_)) = sys::waitid(WaitId::Pgid(Some(leader)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
    sys::test_kill_process_group(leader).is_ok()
}

/// Sends a signal to a whole group, and wakes those who sleep so that they get it.
pub(super) fn signal_group(leader: Pid, signal: Signal) {
    // A group that is gone is what we want.
    let _ = sys::kill_process_group(leader, signal);
    if signal != Signal::KILL {
        let _ = sys::kill_process_group(leader, Signal::CONT);
    }
}

/// Sends a signal to the groups of all processes that run.
pub(super) fn signal_all(signal: Signal) {
    for member in members().iter().filter(|member| member.alive) {
        let _ = sys::kill_process_group(member.pid, signal);
    }
}

/// Lets all groups of the run go on, and every child besides: one that was just being started got the terminal's own
/// Ctrl-Z before it left our group, is on no list yet, and the thread that starts it waits for it.
pub(super) fn go_on() {
    signal_all(Signal::CONT);
    for child in orphans::children_outside_our_group().iter().filter(|child| !child.dead) {
        let _ = sys::kill_process(child.pid, Signal::CONT);
    }
}

/// The signal that stopped a process (that of Ctrl-Z, say) since this was last asked.
pub(super) fn suspended_by(pid: Pid) -> Option<Signal> {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
    let status = sys::waitid(WaitId::Pid(pid), options).ok()??;
    status.stopping_signal().and_then(Signal::from_named_raw)
}

/// Takes dead orphans off the list and ends those that belong to nobody, if it is time to look again.
pub(super) fn tidy() {
    // Another thread that is looking does it for us.
    let Ok(mut pace) = SWEEPING.try_lock() else { return };
    if pace.next.is_none_or(|next| Instant::now() >= next) {
        sweep(&mut pace, &|orphan| is_left(orphan, &members()));
    }
}

/// Ends the orphans of a task that has ended badly, at once.
pub(super) fn end_orphans_of(marker: &[u8]) {
    let mut pace = lock(&SWEEPING);
    sweep(&mut pace, &|orphan| {
        let members = members();
        let own = !marker.is_empty() && orphans::marker(orphan.pid).as_deref() == Some(marker);
        own && !members.iter().any(|member| member.marker == marker) || is_left(orphan, &members)
    });
}

/// Whether no member can be the one that an orphan belongs to: none has its marker, and none is older than it.
fn is_left(orphan: &Orphan, members: &[Member]) -> bool {
    if members.is_empty() {
        return true;
    }
    // The system counts the age of a process in hundredths of a second.
    let slack = Duration::from_millis(50);
    if members.iter().all(|member| member.since.elapsed() + slack < orphan.age) {
        return true;
    }
    match orphans::marker(orphan.pid) {
        Some(marker) if members.iter().any(|member| member.marker == marker) => false,
        _ => members.iter().all(|member| member.since.elapsed() + slack < orphan.age),
    }
}

/// Ends all orphans that are `left` and their descendants, who become orphans when they die. Returns how many.
fn sweep(pace: &mut Pace, left: &dyn Fn(&Orphan) -> bool) -> usize {
    let start = Instant::now();
    let mut seen: Vec<(Pid, Instant, bool)> = Vec::new();
    loop {
        let cost = Instant::now();
        let found: Vec<Orphan> = find().into_iter().filter(|orphan| !orphan.dead || !reap(orphan.pid)).collect();
        pace.next = Some(Instant::now() + SCAN_EVERY.max(cost.elapsed() * 50));
        let mut waiting = false;
        for orphan in found.iter().filter(|orphan| !orphan.dead && left(orphan)) {
            waiting = true;
            match seen.iter_mut().find(|(pid, ..)| *pid == orphan.pid) {
                None => {
                    let _ = sys::kill_process(orphan.pid, Signal::TERM);
                    let _ = sys::kill_process(orphan.pid, Signal::CONT);
                    seen.push((orphan.pid, Instant::now(), false));
                }
                Some((_, since, killed)) if !*killed && since.elapsed() >= POLITE => {
                    let _ = sys::kill_process(orphan.pid, Signal::KILL);
                    *killed = true;
                }
                Some(_) => {}
            }
        }
        if !waiting || start.elapsed() > POLITE + GIVE_UP {
            return seen.len();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All orphans that are our children now.
fn find() -> Vec<Orphan> {
    let _gate = SPAWNING.write().unwrap_or_else(PoisonError::into_inner);
    let leaders: Vec<Pid> = members().iter().filter(|member| member.alive).map(|member| member.pid).collect();
    let mut found = orphans::children_outside_our_group();
    let watchdog = watchdog::pid();
    found.retain(|orphan| !leaders.contains(&orphan.pid) && Some(orphan.pid) != watchdog);
    found
}

/// Waits for a dead orphan. Whether it is gone.
fn reap(pid: Pid) -> bool {
    sys::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).is_ok()
}

fn members() -> MutexGuard<'static, Vec<Member>> {
    lock(&MEMBERS)
}

/// A panic in another thread does not make the list of processes wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
