//! Lends the terminal to a process group and takes it back. Knows nothing of what runs there.

use std::fs::File;

use rustix::process::{Pid, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal, lent to another process group. Dropping it takes it back, with its settings as they were.
pub(super) struct Lent {
    terminal: File,
    settings: Option<Termios>,
}

impl Lent {
    /// Lends the controlling terminal to `group`. `None` if there is none, or if it is not ours to lend.
    pub(super) fn to(group: Pid) -> Option<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
        if tcgetpgrp(&terminal).ok()? != getpgrp() {
            return None;
        }
        let settings = tcgetattr(&terminal).ok();
        let lent = Self { terminal, settings };
        lent.give(group);
        Some(lent)
    }

    /// Makes `group` the one that reads keys and gets Ctrl-C.
    pub(super) fn give(&self, group: Pid) {
        let _quiet = BlockTtou::new();
        // The terminal may be gone (hang-up); then there is nothing to lend.
        let _ = tcsetpgrp(&self.terminal, group);
    }

    /// Whether `group` has it.
    pub(super) fn is_with(&self, group: Pid) -> bool {
        tcgetpgrp(&self.terminal).is_ok_and(|holder| holder == group)
    }

    /// Takes the terminal back without ending the loan: for the time in which all are stopped.
    pub(super) fn take_back(&self) {
        let _quiet = BlockTtou::new();
        let _ = tcsetpgrp(&self.terminal, getpgrp());
        if let Some(settings) = &self.settings {
            let _ = tcsetattr(&self.terminal, OptionalActions::Drain, settings);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// While it lives, this thread may change the terminal from the background: otherwise the system would stop the
/// whole program with SIGTTOU.
struct BlockTtou(libc::sigset_t);

impl BlockTtou {
    #[expect(unsafe_code, reason = "signal masks exist only in libc; both sets are initialised before they are read")]
    fn new() -> Self {
        // SAFETY: `sigemptyset` initialises `block`, `pthread_sigmask` initialises `before`; neither outlives the call.
        unsafe {
            let mut block = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigemptyset(&raw mut block);
            libc::sigaddset(&raw mut block, libc::SIGTTOU);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const block, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for BlockTtou {
    #[expect(unsafe_code, reason = "signal masks exist only in libc")]
    fn drop(&mut self) {
        // SAFETY: the set was filled by `pthread_sigmask` in `new`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}
