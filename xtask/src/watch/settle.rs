//! Whether what was just read is still what is there: events that wait are caught up with before an answer is given.
//! Knows nothing of why somebody asks.
//!
//! Between the emptying of a file and the writing of its new content a reader finds a file that nobody meant. The
//! events that tell of it may not have been read yet, so a file is made in a folder that is watched as well: the system
//! queues events in order, and once that file's event is here, so is everything that happened before it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::model::RepoPath;

use super::debounce::Debounce;
use super::worker::Message;

/// Longer than an event takes to arrive, on a busy machine, too. If it does not, the answer is given without it.
const CATCH_UP: Duration = Duration::from_secs(1);

/// After so many that never came, one after the other, the folder is not watched any more, and answers are given without
/// events from then on.
const LOST: usize = 3;

/// Longer than any change waits for a pause.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the watch; any thread may have one.
#[derive(Clone)]
pub struct Settler {
    messages: Sender<Message>,
}

/// Changes that wait for a pause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    pub paths: BTreeSet<RepoPath>,
    /// Anything may have changed.
    pub anything: bool,
}

impl Settler {
    pub(super) fn new(messages: Sender<Message>) -> Self {
        Self { messages }
    }

    /// Changes that were made before this call and that nobody has been told of yet.
    pub fn pending(&self) -> Pending {
        let (answer, answered) = channel();
        // A watch that has ended knows of nothing.
        let _ = self.messages.send(Message::Pending(answer));
        answered.recv_timeout(PATIENCE).unwrap_or_default()
    }

    /// Waits until something is known of one of these paths, which were seen to be others, and then as
    /// [`Settler::settle`] does.
    pub fn expect(&self, paths: Vec<RepoPath>) {
        let (answer, answered) = channel();
        let _ = self.messages.send(Message::Expect(paths, answer));
        let _ = answered.recv_timeout(PATIENCE);
    }

    /// Waits until none of these paths waits for a pause any more: half a second at the most, longer while git has its
    /// lock.
    pub fn settle(&self, paths: Vec<RepoPath>) {
        let (answer, answered) = channel();
        let _ = self.messages.send(Message::Settle(paths, answer));
        let _ = answered.recv_timeout(PATIENCE);
    }
}

/// Between a change and its event: the system tells of an emptied file when it is done with emptying it.
const LATE: Duration = Duration::from_millis(250);

/// One who waits for what is known of the time before now.
struct Question {
    answer: Sender<Pending>,
    /// The file whose event says that all earlier ones are here; `None` once it came.
    cookie: Option<PathBuf>,
    /// Until then the file is waited for.
    until: Instant,
}

/// Makes the files whose events mark a moment.
#[derive(Default)]
pub struct Cookies {
    dir: Option<PathBuf>,
    count: u64,
    /// How many were waited for in vain since one came.
    lost: usize,
}

impl Cookies {
    /// In a folder that is watched.
    pub fn in_dir(dir: PathBuf) -> Self {
        Self { dir: Some(dir), ..Self::default() }
    }

    /// Makes one; `None` where that is not possible, and answers are given from what is known.
    fn make(&mut self) -> Option<PathBuf> {
        let dir = self.dir.as_ref()?;
        self.count += 1;
        let file = dir.join(self.count.to_string());
        fs::File::create(&file).ok()?;
        // Its coming was an event; that it goes is another, which nobody waits for.
        let _ = fs::remove_file(&file);
        Some(file)
    }
}

/// All who wait.
#[derive(Default)]
pub struct Questions {
    pub cookies: Cookies,
    open: Vec<Question>,
    settling: Vec<(Vec<RepoPath>, Sender<()>)>,
    /// Until then the first event of these is waited for.
    expecting: Vec<(Vec<RepoPath>, Sender<()>, Instant)>,
}

impl Questions {
    pub fn ask(&mut self, answer: Sender<Pending>, now: Instant) {
        self.open.push(Question { answer, cookie: self.cookies.make(), until: now + CATCH_UP });
    }

    pub fn settle(&mut self, paths: Vec<RepoPath>, answer: Sender<()>) {
        self.settling.push((paths, answer));
    }

    pub fn expect(&mut self, paths: Vec<RepoPath>, answer: Sender<()>, now: Instant) {
        self.expecting.push((paths, answer, now + LATE));
    }

    /// Whether the event is of a file of this module; takes note of it.
    pub fn is_cookie(&mut self, path: &Path) -> bool {
        if self.cookies.dir.is_none() || self.cookies.dir.as_deref() != path.parent() {
            return false;
        }
        self.cookies.lost = 0;
        for question in &mut self.open {
            if question.cookie.as_deref() == Some(path) {
                question.cookie = None;
            }
        }
        true
    }

    /// Gives the answers that can be given: `waiting` holds the changes that wait for a pause.
    pub fn answer(&mut self, waiting: &Debounce, now: Instant) {
        let mut is_lost = false;
        // Who asked may have gone.
        self.open.retain(|question| {
            let waits = question.cookie.is_some() && now < question.until;
            is_lost |= question.cookie.is_some() && !waits;
            if !waits {
                let _ = question.answer.send(waiting.pending());
            }
            waits
        });
        self.cookies.lost += usize::from(is_lost);
        if self.cookies.lost >= LOST {
            self.cookies = Cookies::default();
        }
        let is_over =
            |(paths, _, until): &mut (Vec<RepoPath>, Sender<()>, Instant)| *until <= now || waiting.concerns(paths);
        let over = self.expecting.extract_if(.., is_over).map(|(paths, answer, _)| (paths, answer));
        self.settling.extend(over);
        self.settling.retain(|(paths, answer)| {
            let waits = waiting.concerns(paths);
            if !waits {
                let _ = answer.send(());
            }
            waits
        });
    }

    /// When to look again even if nothing happens.
    pub fn wake(&self) -> Option<Instant> {
        let open = self.open.iter().map(|question| question.until);
        open.chain(self.expecting.iter().map(|(.., until)| *until)).min()
    }
}
