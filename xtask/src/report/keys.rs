//! Single keys of a terminal, without Enter and without echo, while nobody else needs it. Knows nothing of what a key
//! means.
//!
//! One thread waits for keys. It reads only what is there already, and only while it holds the lock: whoever lends the
//! terminal to somebody else may rely on that no key of theirs is taken. In the background nothing is read or changed,
//! as the system would stop the whole program for it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
};

/// Between two looks whether the program is in the foreground again: nothing tells of that.
const BACKGROUND: Duration = Duration::from_millis(500);

/// What starts the sequence of a key that is no letter (arrows and the like).
const ESCAPE: u8 = 0x1b;

/// While it lives, the terminal hands over each key at once and shows none; Ctrl-C still interrupts. Dropping it puts
/// back what was.
pub struct Keyboard {
    hold: Hold,
    thread: Option<JoinHandle<()>>,
}

/// To keep the keyboard from the terminal for a while; any thread may have one.
#[derive(Clone)]
pub struct Hold(Arc<Shared>);

struct Shared {
    terminal: OwnedFd,
    /// The settings that are put back, whatever happens to the terminal meanwhile.
    before: Termios,
    state: Mutex<State>,
    changed: Condvar,
    waker: UnixStream,
}

#[derive(Default)]
struct State {
    /// How many hold it back.
    held: usize,
    /// The terminal hands over single keys.
    on: bool,
    over: bool,
}

/// What there was to read.
enum Read_ {
    Keys(Vec<u8>),
    Nothing,
    /// There will be no more.
    End,
}

impl Keyboard {
    /// Of the terminal at stdin, unless there is none. What was typed before is dropped: it was not meant for this.
    /// Enter is `\n`. `on_key` is called on a thread of its own.
    pub fn of_stdin(on_key: impl FnMut(u8) + Send + 'static) -> Option<Self> {
        Self::of(io::stdin().as_fd().try_clone_to_owned().ok()?, on_key)
    }

    fn of(terminal: OwnedFd, mut on_key: impl FnMut(u8) + Send + 'static) -> Option<Self> {
        let before = tcgetattr(&terminal).ok()?;
        let (waker, woken) = UnixStream::pair().ok()?;
        woken.set_nonblocking(true).ok()?;
        let shared = Shared { terminal, before, state: Mutex::default(), changed: Condvar::new(), waker };
        let shared = Arc::new(shared);
        if shared.is_foreground() {
            // Where that fails, a few keys more are read.
            let _ = tcflush(&shared.terminal, QueueSelector::IFlush);
        }
        shared.enter(&mut shared.lock());
        let reader = shared.clone();
        let thread = std::thread::Builder::new().name("keys".into()).spawn(move || reader.read(&woken, &mut on_key));
        let hold = Hold(shared);
        match thread {
            Ok(thread) => Some(Self { hold, thread: Some(thread) }),
            Err(_) => {
                hold.0.leave(&mut hold.0.lock());
                None
            }
        }
    }

    pub fn hold(&self) -> Hold {
        self.hold.clone()
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let shared = &self.hold.0;
        {
            let mut state = shared.lock();
            state.over = true;
            shared.leave(&mut state);
        }
        shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic in it was shown already.
            let _ = thread.join();
        }
    }
}

impl Hold {
    /// When this returns, the terminal is as it was found, and no key is taken until [`Hold::release`] was called as
    /// often.
    pub fn take(&self) {
        let mut state = self.0.lock();
        state.held += 1;
        self.0.leave(&mut state);
        drop(state);
        self.0.wake();
    }

    pub fn release(&self) {
        let mut state = self.0.lock();
        state.held = state.held.saturating_sub(1);
        if state.held == 0 {
            self.0.enter(&mut state);
        }
        drop(state);
        self.0.wake();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it is held leaves three values that are right each by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread look at the state.
    fn wake(&self) {
        self.changed.notify_all();
        // A full pipe wakes as well.
        let _ = (&self.waker).write(b"x");
    }

    /// Whether the terminal is ours; it is where there is no job control.
    fn is_foreground(&self) -> bool {
        tcgetpgrp(&self.terminal).map_or(true, |group| group == getpgrp())
    }

    fn enter(&self, state: &mut State) {
        if state.on || state.held > 0 || state.over || !self.is_foreground() {
            return;
        }
        let mut settings = self.before.clone();
        settings.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        // A read returns at once, whatever there is.
        settings.special_codes[SpecialCodeIndex::VMIN] = 0;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        state.on = tcsetattr(&self.terminal, OptionalActions::Now, &settings).is_ok();
    }

    fn leave(&self, state: &mut State) {
        // The terminal may be gone, or a shell's, which has put it right by itself; then there is nothing to put back.
        if std::mem::take(&mut state.on) && self.is_foreground() {
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        }
    }

    fn read(&self, woken: &UnixStream, on_key: &mut dyn FnMut(u8)) {
        while let Some(on) = self.wait_for_turn() {
            let mut sources = vec![PollFd::new(woken, PollFlags::IN)];
            if on {
                sources.push(PollFd::new(&self.terminal, PollFlags::IN));
            }
            let wait = (!on).then(|| Timespec::try_from(BACKGROUND).unwrap_or_default());
            match poll(&mut sources, wait.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            let is_ready = |at: usize| sources.get(at).is_some_and(|source| !source.revents().is_empty());
            if is_ready(0) {
                let _ = { woken }.read(&mut [0; 64]);
            } else if is_ready(1) {
                match self.take() {
                    Read_::Keys(keys) => keys.into_iter().for_each(&mut *on_key),
                    Read_::Nothing => {}
                    Read_::End => return,
                }
            }
        }
    }

    /// Waits while somebody holds it back. Whether keys can be read now; `None` when all is over.
    fn wait_for_turn(&self) -> Option<bool> {
        let mut state = self.lock();
        while state.held > 0 && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.enter(&mut state);
        (!state.over).then_some(state.on)
    }

    /// Reads what is there, unless somebody else has the terminal by now.
    fn take(&self) -> Read_ {
        let mut state = self.lock();
        if !state.on {
            return Read_::Nothing;
        }
        if !self.is_foreground() {
            state.on = false;
            return Read_::Nothing;
        }
        let mut typed = [0; 256];
        match rustix::io::read(&self.terminal, &mut typed) {
            // Somebody else was faster, or there is nobody any more.
            Ok(0) if self.is_gone() => Read_::End,
            Ok(0) | Err(Errno::INTR | Errno::AGAIN) => Read_::Nothing,
            Ok(_) if typed[0] == ESCAPE => Read_::Nothing,
            Ok(count) => {
                let key = |key: &u8| if *key == b'\r' { b'\n' } else { *key };
                Read_::Keys(typed[..count].iter().map(key).collect())
            }
            Err(_) => Read_::End,
        }
    }

    fn is_gone(&self) -> bool {
        let mut source = [PollFd::new(&self.terminal, PollFlags::IN)];
        let now = Timespec::default();
        poll(&mut source, Some(&now)).is_err() || source[0].revents().contains(PollFlags::HUP)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::FromRawFd;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Instant;

    use super::*;

    /// Both ends of a new terminal.
    #[expect(unsafe_code, reason = "no safe function of our crates makes a pseudo terminal")]
    fn terminal() -> (File, File) {
        let (mut ours, mut theirs) = (-1, -1);
        // SAFETY: both descriptors are valid where it succeeds, and owned by nobody else; the other pointers may be null.
        unsafe {
            use std::ptr::{null, null_mut};
            assert_eq!(libc::openpty(&raw mut ours, &raw mut theirs, null_mut(), null(), null()), 0);
            (File::from_raw_fd(ours), File::from_raw_fd(theirs))
        }
    }

    fn keyboard(program: &File) -> (Keyboard, Receiver<u8>) {
        let (sender, keys) = channel();
        let terminal = program.as_fd().try_clone_to_owned().unwrap();
        (Keyboard::of(terminal, move |key| sender.send(key).unwrap()).unwrap(), keys)
    }

    fn modes(program: &File) -> (bool, bool, u8) {
        let now = tcgetattr(program).unwrap();
        let modes = now.local_modes;
        let least = now.special_codes[SpecialCodeIndex::VMIN];
        (modes.contains(LocalModes::ICANON), modes.contains(LocalModes::ECHO), least)
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_key_comes_without_enter_and_the_settings_come_back() {
        let (mut person, program) = terminal();
        let before = modes(&program);
        assert_eq!((before.0, before.1), (true, true));
        person.write_all(b"typed before\n").unwrap();
        let (keyboard, keys) = keyboard(&program);
        assert_eq!(modes(&program), (false, false, 0));
        person.write_all(b"q").unwrap();
        assert_eq!(keys.recv_timeout(SOON), Ok(b'q'));
        person.write_all(b"re\r").unwrap();
        let more: Vec<u8> = (0..3).map(|_| keys.recv_timeout(SOON).unwrap()).collect();
        assert_eq!(more, b"re\n");
        // Those of an arrow are none; what is typed with it in one go is lost.
        person.write_all(b"\x1b[A").unwrap();
        let next = loop {
            person.write_all(b"r").unwrap();
            if let Ok(key) = keys.recv_timeout(Duration::from_millis(50)) {
                break key;
            }
        };
        assert_eq!(next, b'r');
        drop(keyboard);
        assert_eq!(modes(&program), before);
        assert!(Keyboard::of(File::open("/dev/null").unwrap().into(), |_| {}).is_none());
    }

    #[test]
    fn no_key_is_taken_from_who_has_the_terminal() {
        let (mut person, mut program) = terminal();
        let before = modes(&program);
        let (keyboard, keys) = keyboard(&program);
        let hold = keyboard.hold();
        hold.take();
        hold.take();
        assert_eq!(modes(&program), before);
        person.write_all(b"a line\n").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let mut line = [0; 7];
        program.read_exact(&mut line).unwrap();
        assert_eq!((&line, keys.try_recv().is_err()), (b"a line\n", true));
        hold.release();
        assert_eq!(modes(&program), before);
        hold.release();
        person.write_all(b"q").unwrap();
        assert_eq!(keys.recv_timeout(SOON), Ok(b'q'));
    }

    #[test]
    fn a_panic_and_a_terminal_that_goes_away_are_no_trouble() {
        let (person, program) = terminal();
        let before = modes(&program);
        let (keyboard, keys) = keyboard(&program);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _keyboard = keyboard;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        assert_eq!(modes(&program), before);
        drop(keys);
        let (keyboard, keys) = self::keyboard(&program);
        drop(person);
        let start = Instant::now();
        assert!(keys.recv_timeout(SOON).is_err());
        assert!(start.elapsed() < SOON, "its thread has ended");
        drop(keyboard);
    }
}
