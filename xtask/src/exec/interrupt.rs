//! Turns signals to this process into requests to stop, and remembers the first for the exit code. Knows nothing of
//! what is stopped.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;

use super::family;
use crate::model::StopToken;
use crate::model::stop::Stop;

/// The first signal that asked us to stop; 0 = none.
static FIRST: AtomicI32 = AtomicI32::new(0);
/// Milliseconds that this process was suspended.
static PAUSED: AtomicU64 = AtomicU64::new(0);
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Whoever has changed the terminal.
struct Tenant {
    id: u64,
    /// Puts the terminal right again.
    leave: Box<dyn Fn() + Send>,
    /// Takes up the changes again.
    back: Box<dyn Fn() + Send>,
}

static TENANTS: Mutex<Vec<Tenant>> = Mutex::new(Vec::new());

/// Listens until it is dropped; then the signals have their usual effect again.
#[must_use = "dropping it ends the listening"]
pub struct Listener {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Listens for SIGINT, SIGTERM, SIGHUP and SIGQUIT from now on: the first requests a gentle stop, the second an
/// immediate one, the third ends this process at once. Ctrl-Z suspends the processes of the run too.
///
/// # Errors
/// What the system says when a handler cannot be installed or the thread cannot be started.
pub fn listen(stop: &StopToken) -> io::Result<Listener> {
    listen_and(stop, || {})
}

/// The same; `then` is called after each request to stop, for whoever sleeps meanwhile.
///
/// # Errors
/// As for [`listen`].
pub fn listen_and(stop: &StopToken, then: impl Fn() + Send + 'static) -> io::Result<Listener> {
    FIRST.store(0, Ordering::SeqCst);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP])?;
    let handle = signals.handle();
    let stop = stop.clone();
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGTSTP {
                suspend();
            } else {
                take(signal, &stop);
                then();
            }
        }
    })?;
    Ok(Listener { handle, thread: Some(thread) })
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own message.
            let _ = thread.join();
        }
    }
}

/// The first signal that asked us to stop.
pub fn last_signal() -> Option<Signal> {
    Signal::from_named_raw(FIRST.load(Ordering::SeqCst))
}

/// 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP; `None` if no signal came.
pub fn exit_code() -> Option<u8> {
    last_signal().map(|signal| 128 + signal.as_raw() as u8)
}

/// Ends this process by the signal that interrupted it, so that a shell sees what happened. Returns if none did.
///
/// To be called last, after all that must be put right has been.
pub fn die_by_signal() {
    if let Some(signal) = last_signal() {
        // Where that fails the caller's exit code says the same.
        let _ = emulate_default_handler(signal.as_raw());
    }
}

/// Registers what puts the terminal right before this process is suspended or ended or lends the terminal, and what is
/// done when it is ours again. `leave` is also called when the guard drops; each `back` follows one `leave`.
pub fn on_leave(leave: impl Fn() + Send + 'static, back: impl Fn() + Send + 'static) -> TenantGuard {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    tenants().push(Tenant { id, leave: Box::new(leave), back: Box::new(back) });
    TenantGuard(id)
}

/// Calls `leave` when it is dropped, also by a panic.
#[must_use = "dropping it puts the terminal right"]
pub struct TenantGuard(u64);

impl Drop for TenantGuard {
    fn drop(&mut self) {
        let mut tenants = tenants();
        if let Some(at) = tenants.iter().position(|tenant| tenant.id == self.0) {
            (tenants.remove(at).leave)();
        }
    }
}

/// The terminal is as we found it while this lives.
#[must_use = "dropping it changes the terminal again"]
pub struct Away(());

/// Leaves the terminal to somebody else.
pub fn away() -> Away {
    leave_terminal();
    Away(())
}

impl Drop for Away {
    fn drop(&mut self) {
        return_to_terminal();
    }
}

/// How long this process has been suspended in total: time limits do not count it.
pub(super) fn paused() -> Duration {
    Duration::from_millis(PAUSED.load(Ordering::SeqCst))
}

/// Acts as if `signal` had come: the process that owned the terminal got it in our place.
pub(super) fn pretend(signal: Signal, stop: &StopToken) {
    take(signal.as_raw(), stop);
}

/// Suspends this process and those that share its job, until the shell continues it.
pub(super) fn suspend_self() {
    let since = Instant::now();
    let _away = away();
    let _ = kill_current_process_group(Signal::STOP);
    PAUSED.fetch_add(since.elapsed().as_millis() as u64, Ordering::SeqCst);
}

fn take(signal: i32, stop: &StopToken) {
    let _ = FIRST.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    match stop.level() {
        Stop::No => stop.request(Stop::Gently),
        Stop::Gently => stop.request(Stop::Now),
        Stop::Now => {
            leave_terminal();
            let _ = emulate_default_handler(signal);
        }
    }
}

/// Ctrl-Z: all groups of the run first, then we.
fn suspend() {
    let since = Instant::now();
    let _away = away();
    family::signal_all(Signal::TSTP);
    let _ = emulate_default_handler(SIGTSTP);
    PAUSED.fetch_add(since.elapsed().as_millis() as u64, Ordering::SeqCst);
    family::go_on();
}

fn tenants() -> MutexGuard<'static, Vec<Tenant>> {
    // A panic while it is held cannot leave the list half changed.
    TENANTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn leave_terminal() {
    tenants().iter().for_each(|tenant| (tenant.leave)());
}

/// Who left last is back first: what is drawn is drawn when keys are read again.
fn return_to_terminal() {
    tenants().iter().rev().for_each(|tenant| (tenant.back)());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_become_more_urgent_requests() {
        let stop = StopToken::new();
        let listener = listen(&stop).unwrap();
        assert_eq!((last_signal(), exit_code()), (None, None));
        for level in [Stop::Gently, Stop::Now] {
            signal_hook::low_level::raise(SIGTERM).unwrap();
            let start = Instant::now();
            while stop.level() < level && start.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(stop.level(), level);
        }
        assert_eq!((last_signal(), exit_code()), (Some(Signal::TERM), Some(143)));
        drop(listener);
    }

    #[test]
    fn the_terminal_is_left_and_taken_up_again() {
        let count = std::sync::Arc::new([const { AtomicU64::new(0) }; 2]);
        let seen = || [0, 1].map(|one: usize| count[one].load(Ordering::SeqCst));
        let add = |one: usize| {
            let count = count.clone();
            move || {
                count[one].fetch_add(1, Ordering::SeqCst);
            }
        };
        let order = std::sync::Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let order = order.clone();
            move || order.lock().unwrap().push(name)
        };
        let others = [on_leave(note("a"), note("A")), on_leave(note("b"), note("B"))];
        drop(super::away());
        assert_eq!(*order.lock().unwrap(), ["a", "b", "B", "A"], "as it was left, backwards");
        drop(others);
        let guard = on_leave(add(0), add(1));
        let away = away();
        assert_eq!(seen(), [1, 0]);
        drop(away);
        assert_eq!(seen(), [1, 1]);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _guard = guard;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        drop(super::away());
        assert_eq!(seen(), [2, 1], "nobody is called any more");
    }
}
