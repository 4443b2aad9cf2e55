//! One line per event, for logs and terminals without cursor movement. Knows nothing of what is worth telling.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Diagnostic, Event};

use super::Reporter;
use super::narrator::{Manner, Narrator, Said};
use super::options::Options;
use super::ticker::Ticker;

/// A task that says nothing for so long gets a line, so that nobody takes a silent CI for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(30);

struct State {
    narrator: Narrator,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Running tasks: when they started, when they were last heard of.
    running: HashMap<Arc<str>, (Instant, Instant)>,
}

impl State {
    /// A reader that went away is no reason to stop the work.
    fn write(&mut self, said: &Said) {
        if !said.out.is_empty() {
            let _ = self.out.write_all(said.out.as_bytes()).and_then(|()| self.out.flush());
        }
        let text = said.for_people();
        if !text.is_empty() {
            let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
        }
    }

    fn follow(&mut self, event: &Event, now: Instant) {
        match event {
            Event::TaskStarted { task, .. } => {
                self.running.insert(task.clone(), (now, now));
            }
            Event::TaskOutput { task, .. } => {
                if let Some((_, heard)) = self.running.get_mut(task) {
                    *heard = now;
                }
            }
            Event::TaskFinished { task, .. } => {
                self.running.remove(task);
            }
            _ => {}
        }
    }

    fn heartbeat(&mut self, now: Instant) {
        let mut silent: Vec<(Arc<str>, Duration)> = Vec::new();
        for (task, (started, heard)) in &mut self.running {
            if now.duration_since(*heard) >= HEARTBEAT {
                *heard = now;
                silent.push((task.clone(), now.duration_since(*started)));
            }
        }
        silent.sort();
        for (task, time) in silent {
            let err = self.narrator.still_runs(&task, time);
            self.write(&Said { err, ..Said::default() });
        }
    }
}

/// See the module.
pub struct Plain {
    state: Arc<Mutex<State>>,
    ticker: Option<Ticker>,
}

impl Plain {
    pub fn new(options: Options) -> Self {
        Self::with_manner(Manner::new(&options), options)
    }

    pub(super) fn with_manner(manner: Manner, options: Options) -> Self {
        let state =
            State { narrator: Narrator::new(manner), out: options.out, err: options.err, running: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)), ticker: None }
    }

    fn start_ticker(&mut self) {
        if self.ticker.is_none() {
            let state = self.state.clone();
            self.ticker = Ticker::start(Duration::from_secs(1), move || {
                state.lock().unwrap_or_else(PoisonError::into_inner).heartbeat(Instant::now());
            });
        }
    }
}

impl Reporter for Plain {
    fn event(&mut self, event: &Event) {
        match event {
            Event::TaskStarted { .. } => self.start_ticker(),
            Event::RunFinished { .. } => self.ticker = None,
            _ => {}
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.follow(event, Instant::now());
        let said = state.narrator.tell(event);
        state.write(&said);
    }

    fn diagnostics(&mut self, diagnostics: &[Diagnostic]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let err = diagnostics.iter().map(|one| state.narrator.problem(one)).collect();
        state.write(&Said { err, ..Said::default() });
    }

    fn finish(&mut self) {
        self.ticker = None;
    }
}
