//! Single keys of a terminal, without Enter and without echo. Knows nothing of what a key means.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// While it lives, the terminal hands over each key at once and shows none; Ctrl-C still interrupts. Dropping it puts
/// back what was.
pub struct KeyMode {
    terminal: OwnedFd,
    before: Termios,
}

impl KeyMode {
    /// The terminal at stdin; `None` if there is none.
    pub fn of_stdin() -> Option<Self> {
        Self::of(io::stdin().as_fd().try_clone_to_owned().ok()?)
    }

    fn of(terminal: OwnedFd) -> Option<Self> {
        let before = tcgetattr(&terminal).ok()?;
        let mut settings = before.clone();
        settings.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        settings.special_codes[SpecialCodeIndex::VMIN] = 1;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &settings).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to put back.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Keys as they come: Enter is `\n`. Of what was typed in one go (a line, while the terminal collects lines) only the
/// first counts. Ends with the input.
pub fn keys(mut input: impl Read) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let mut typed = [0; 256];
        loop {
            match input.read(&mut typed) {
                Ok(0) => return None,
                Ok(_) => return Some(if typed[0] == b'\r' { b'\n' } else { typed[0] }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::FromRawFd;

    use super::*;

    /// Both ends of a new terminal.
    #[expect(unsafe_code, reason = "no safe function of our crates makes a pseudo terminal")]
    fn terminal() -> (std::fs::File, std::fs::File) {
        let (mut ours, mut theirs) = (-1, -1);
        // SAFETY: both descriptors are valid where it succeeds, and owned by nobody else; the other pointers may be null.
        unsafe {
            use std::ptr::{null, null_mut};
            assert_eq!(libc::openpty(&raw mut ours, &raw mut theirs, null_mut(), null(), null()), 0);
            (std::fs::File::from_raw_fd(ours), std::fs::File::from_raw_fd(theirs))
        }
    }

    #[test]
    fn a_key_comes_without_enter_and_the_settings_come_back() {
        let (mut person, program) = terminal();
        let before = tcgetattr(&program).unwrap();
        let mode = KeyMode::of(program.as_fd().try_clone_to_owned().unwrap()).unwrap();
        person.write_all(b"q").unwrap();
        let mut keys = keys(program.try_clone().unwrap());
        assert_eq!(keys.next(), Some(b'q'));
        drop(mode);
        let after = tcgetattr(&program).unwrap();
        assert_eq!(
            (before.local_modes, before.special_codes[SpecialCodeIndex::VMIN]),
            (after.local_modes, after.special_codes[SpecialCodeIndex::VMIN])
        );
        person.write_all(b"r\n").unwrap();
        assert_eq!(keys.next(), Some(b'r'));
        person.write_all(b"\r").unwrap();
        assert_eq!(keys.next(), Some(b'\n'));
        assert!(KeyMode::of(std::fs::File::open("/dev/null").unwrap().into()).is_none());
    }
}
