//! The same request asked for twice at once runs once: who comes first runs it, the others get its output and its end.
//!
//! A locked file says that somebody runs it; what it prints goes to a second file, which the others open while it is
//! there. If the first one dies, one of the others takes its place. Knows nothing of containers.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::run::{Outcome, Report};
use crate::model::{Digest, StopToken, Stream};

/// Whose turn it is.
pub enum Turn {
    /// Nobody else runs this.
    Lead(Leader),
    /// Somebody else ran it; this is what came of it.
    Followed(Ended),
    /// Told to stop while waiting.
    Stopped,
}

/// What others are told of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub run: String,
    /// `None`: it could not be run, and why was told to whoever ran it.
    pub outcome: Option<Outcome>,
    pub seconds: f64,
    /// The others can be given everything that was printed.
    is_whole: bool,
}

/// The right to run a request, and the duty to tell the others.
pub struct Leader {
    spool: File,
    spool_path: PathBuf,
    written: usize,
    is_whole: bool,
    /// Freed last.
    _lock: File,
}

/// More than that of output is not kept for others.
const MOST: usize = 64 << 20;
const PAUSE: Duration = Duration::from_millis(15);

/// Waits until this request can be run, or until somebody else has: then its output goes to `listener` as a whole.
/// `waiting` is called once if there is somebody else.
pub fn enter(
    dir: &Path,
    request: &Digest,
    listener: &mut dyn FnMut(Stream, &[u8]),
    waiting: &mut dyn FnMut(),
    stop: &StopToken,
) -> io::Result<Turn> {
    let lock_path = dir.join(format!("{}.lock", request.hex()));
    let spool_path = dir.join(format!("{}.out", request.hex()));
    let mut seen: Option<File> = None;
    let mut told = false;
    loop {
        let lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {
                // Whoever had it wrote its end before it let go, or died.
                if let Some(spool) = seen.take()
                    && let Some(ended) = replay(spool, listener)?
                {
                    return Ok(Turn::Followed(ended));
                }
                // A new file: others may still read the old one.
                remove(&spool_path)?;
                let spool =
                    OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&spool_path)?;
                return Ok(Turn::Lead(Leader { spool, spool_path, written: 0, is_whole: true, _lock: lock }));
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if !std::mem::replace(&mut told, true) {
            waiting();
        }
        if stop.is_requested() {
            return Ok(Turn::Stopped);
        }
        // The one who runs it now may have a newer file than the one that was seen.
        if let Ok(spool) = File::open(&spool_path) {
            seen = Some(spool);
        }
        std::thread::sleep(PAUSE);
    }
}

impl Leader {
    /// Writes what was printed. Where it is too much, or the disk is full, the others have to run it themselves.
    pub fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let kind = if stream == Stream::Stdout { OUT } else { ERR };
        self.written += bytes.len();
        if self.is_whole && (self.written > MOST || frame(&mut self.spool, kind, bytes).is_err()) {
            // The end alone is written to it from now on.
            self.is_whole = false;
            let _ = self.spool.set_len(0);
        }
    }

    /// Tells the others how it ended.
    pub fn end(mut self, run: &str, report: Option<&Report>) -> io::Result<()> {
        let ended = Ended {
            run: run.to_owned(),
            outcome: report.map(|report| report.outcome.clone()),
            seconds: report.map_or(0.0, |report| report.seconds),
            is_whole: self.is_whole,
        };
        frame(&mut self.spool, END, &serde_json::to_vec(&ended)?)?;
        remove(&self.spool_path)
    }
}

const OUT: u8 = 1;
const ERR: u8 = 2;
const END: u8 = 3;

fn frame(to: &mut File, kind: u8, bytes: &[u8]) -> io::Result<()> {
    for part in bytes.chunks(1 << 20) {
        let mut head = [kind, 0, 0, 0, 0];
        head[1..].copy_from_slice(&(part.len() as u32).to_le_bytes());
        to.write_all(&head)?;
        to.write_all(part)?;
    }
    Ok(())
}

/// Hands out everything, if the end is there and nothing is missing.
fn replay(mut spool: File, listener: &mut dyn FnMut(Stream, &[u8])) -> io::Result<Option<Ended>> {
    let Some(ended) = end_of(&mut BufReader::new(&spool))?.filter(|ended| ended.is_whole) else { return Ok(None) };
    spool.rewind()?;
    let mut reader = BufReader::new(spool);
    while let Some((kind, length)) = head(&mut reader)? {
        let mut bytes: Vec<u8> = vec![0; length as usize];
        reader.read_exact(&mut bytes)?;
        match kind {
            OUT => listener(Stream::Stdout, &bytes),
            ERR => listener(Stream::Stderr, &bytes),
            _ => break,
        }
    }
    Ok(Some(ended))
}

/// The last frame, if it is an end.
fn end_of(reader: &mut (impl Read + io::Seek)) -> io::Result<Option<Ended>> {
    while let Some((kind, length)) = head(reader)? {
        if kind == END {
            let mut bytes: Vec<u8> = vec![0; length as usize];
            return Ok(match reader.read_exact(&mut bytes) {
                Ok(()) => serde_json::from_slice(&bytes).ok(),
                Err(_) => None,
            });
        }
        reader.seek_relative(i64::from(length))?;
    }
    Ok(None)
}

/// Kind and length of the next frame; `None` where the file ends.
fn head(reader: &mut impl Read) -> io::Result<Option<(u8, u32)>> {
    let mut head = [0_u8; 5];
    match reader.read_exact(&mut head) {
        Ok(()) => Ok(Some((head[0], u32::from_le_bytes([head[1], head[2], head[3], head[4]])))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn lead(dir: &Path, request: &Digest) -> Leader {
        match enter(dir, request, &mut |_, _| {}, &mut || {}, &StopToken::new()).unwrap() {
            Turn::Lead(leader) => leader,
            _ => panic!("nobody else runs it"),
        }
    }

    /// Another one who asks for the same, on a thread of its own; tells when it waits.
    fn ask(dir: &Path, request: Digest) -> (mpsc::Receiver<()>, std::thread::JoinHandle<(Vec<u8>, Turn)>) {
        let (sender, waits) = mpsc::channel();
        let dir = dir.to_owned();
        let handle = std::thread::spawn(move || {
            let mut said = Vec::new();
            let mut listener = |stream: Stream, bytes: &[u8]| {
                said.push(if stream == Stream::Stdout { b'o' } else { b'e' });
                said.extend_from_slice(bytes);
            };
            let turn = enter(&dir, &request, &mut listener, &mut || sender.send(()).unwrap(), &StopToken::new());
            (said, turn.unwrap())
        });
        (waits, handle)
    }

    fn report(outcome: Outcome) -> Report {
        Report { outcome, seconds: 1.0, is_recycled: false, results: None }
    }

    #[test]
    fn a20_the_second_gets_output_and_end_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let request = Digest::of(b"request");
        let mut leader = lead(dir.path(), &request);
        leader.output(Stream::Stdout, b"one\0");
        let (waits, second) = ask(dir.path(), request);
        waits.recv().unwrap();
        // Another request does not wait.
        drop(lead(dir.path(), &Digest::of(b"other")));
        std::thread::sleep(PAUSE * 3);
        leader.output(Stream::Stderr, b"two");
        leader.end("r1", Some(&report(Outcome::ScriptError(3)))).unwrap();
        let (said, turn) = second.join().unwrap();
        assert_eq!(said, b"oone\0etwo");
        let Turn::Followed(ended) = turn else { panic!("it was run by another") };
        assert_eq!((ended.run.as_str(), ended.outcome), ("r1", Some(Outcome::ScriptError(3))));
        // Later it runs again.
        drop(lead(dir.path(), &request));
    }

    #[test]
    fn if_the_first_dies_the_second_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let request = Digest::of(b"request");
        let mut leader = lead(dir.path(), &request);
        leader.output(Stream::Stdout, b"half");
        let (waits, second) = ask(dir.path(), request);
        waits.recv().unwrap();
        drop(leader);
        let (said, turn) = second.join().unwrap();
        assert!(said.is_empty() && matches!(turn, Turn::Lead(_)));
    }
}
