//! Moves bytes between one child and us: both its pipes are read in the thread that waits for it, its input is
//! written there too. Knows nothing of signals and time limits.

use std::cell::Cell;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::lines::Lines;
use crate::model::Stream;

/// The size of a pipe: one read empties it.
const CHUNK: usize = 64 * 1024;

thread_local! {
    /// Threads run one process after the other: making and clearing a buffer for each takes longer than filling it.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Receives whole lines without their newline (long ones in pieces of 64 KiB).
pub type Sink<'a> = &'a mut dyn FnMut(Stream, &[u8]);

/// The open pipes of one child.
pub(super) struct Pump<'a> {
    sink: Sink<'a>,
    log: &'a mut dyn Write,
    outputs: [Option<PipeReader>; 2],
    lines: [Lines; 2],
    input: Option<(PipeWriter, Vec<u8>)>,
    /// The first bytes of stdout, at most `limit`.
    captured: Vec<u8>,
    limit: usize,
    truncated: bool,
    bytes_read: u64,
    log_error: Option<io::Error>,
    buffer: Vec<u8>,
}

impl<'a> Pump<'a> {
    pub(super) fn new(sink: Sink<'a>, log: &'a mut dyn Write, limit: usize) -> Self {
        let mut buffer = BUFFER.take();
        buffer.resize(CHUNK, 0);
        Self {
            sink,
            log,
            outputs: [None, None],
            lines: Default::default(),
            input: None,
            captured: Vec::new(),
            limit,
            truncated: false,
            bytes_read: 0,
            log_error: None,
            buffer,
        }
    }

    /// Reads these two from now on.
    pub(super) fn read_from(&mut self, stdout: PipeReader, stderr: PipeReader) {
        self.outputs = [Some(stdout), Some(stderr)];
    }

    /// Writes these bytes to the child as fast as it takes them.
    pub(super) fn write_to(&mut self, stdin: PipeWriter, bytes: Vec<u8>) -> io::Result<()> {
        // Poll says that there is room for one byte, not for all: without this the write would block.
        rustix::fs::fcntl_setfl(&stdin, rustix::fs::OFlags::NONBLOCK)?;
        self.input = Some((stdin, bytes));
        Ok(())
    }

    /// Whether somebody still holds an output pipe.
    pub(super) fn is_open(&self) -> bool {
        self.outputs.iter().any(Option::is_some)
    }

    /// How many bytes came from the child.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The first error of the log; nothing is written to it after that.
    pub(super) fn log_error(&self) -> Option<&io::Error> {
        self.log_error.as_ref()
    }

    /// Waits until there is something to do, `end` is readable, or `wait` has passed; then moves what can be moved.
    /// Returns whether `end` is readable.
    pub(super) fn turn(&mut self, end: Option<BorrowedFd<'_>>, wait: Duration) -> io::Result<bool> {
        let ready = self.ready(end, wait)?;
        if ready[0] {
            self.drain(0)?;
        }
        if ready[1] {
            self.drain(1)?;
        }
        if ready[2] {
            self.feed();
        }
        Ok(ready[3])
    }

    /// Reads what is there now. Whether there was anything.
    pub(super) fn drain_now(&mut self) -> bool {
        let ready = self.ready(None, Duration::ZERO).unwrap_or_default();
        ready[0] && self.drain(0).is_ok() || ready[1] && self.drain(1).is_ok()
    }

    /// Which of stdout, stderr, stdin and `end` have something for us.
    fn ready(&self, end: Option<BorrowedFd<'_>>, wait: Duration) -> io::Result<[bool; 4]> {
        let sources = [
            self.outputs[0].as_ref().map(AsFd::as_fd),
            self.outputs[1].as_ref().map(AsFd::as_fd),
            self.input.as_ref().map(|(pipe, _)| pipe.as_fd()),
            end,
        ];
        let mut slots = [0; 4];
        let mut polled = Vec::with_capacity(4);
        for (slot, source) in sources.iter().enumerate() {
            if let Some(fd) = source {
                slots[polled.len()] = slot;
                let flags = if slot == 2 { PollFlags::OUT } else { PollFlags::IN };
                polled.push(PollFd::from_borrowed_fd(*fd, flags));
            }
        }
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = [false; 4];
        for (fd, slot) in polled.iter().zip(slots) {
            ready[slot] = !fd.revents().is_empty();
        }
        Ok(ready)
    }

    /// Reads once from an output that has something, or closes it at its end.
    fn drain(&mut self, at: usize) -> io::Result<()> {
        let Some(pipe) = &mut self.outputs[at] else { return Ok(()) };
        let size = match pipe.read(&mut self.buffer) {
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        let bytes = &self.buffer[..size];
        self.bytes_read += size as u64;
        let stream = [Stream::Stdout, Stream::Stderr][at];
        if size == 0 {
            self.outputs[at] = None;
            self.lines[at].finish(&mut |line| (self.sink)(stream, line));
            return Ok(());
        }
        if self.log_error.is_none() {
            self.log_error = self.log.write_all(bytes).err();
        }
        if stream == Stream::Stdout {
            let room = self.limit - self.captured.len();
            self.captured.extend_from_slice(&bytes[..size.min(room)]);
            self.truncated |= size > room;
        }
        self.lines[at].push(bytes, &mut |line| (self.sink)(stream, line));
        Ok(())
    }

    /// Writes once to the input that has room, and closes it when all is written or the child does not want more.
    fn feed(&mut self) {
        let Some((pipe, bytes)) = &mut self.input else { return };
        match pipe.write(bytes) {
            Ok(size) if size < bytes.len() => drop(bytes.drain(..size)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => self.input = None,
        }
    }

    /// Closes the pipes, hands on the last partial lines, and gives back the first bytes of stdout and whether
    /// there were more.
    pub(super) fn finish(mut self) -> (Vec<u8>, bool) {
        for (lines, stream) in self.lines.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            lines.finish(&mut |line| (self.sink)(stream, line));
        }
        if self.log_error.is_none() {
            self.log_error = self.log.flush().err();
        }
        BUFFER.set(self.buffer);
        (self.captured, self.truncated)
    }
}
