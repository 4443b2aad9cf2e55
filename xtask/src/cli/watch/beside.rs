//! What follows the events of a run of a watch: what is told of them, the commands of a person, who has the terminal.
//! Knows nothing of rounds.

use std::path::PathBuf;
use std::sync::Arc;

use super::Callbacks;
use crate::model::{Event, StopToken, Verdict};
use crate::report::Reporter;
use crate::report::keys::Hold;
use crate::world::World;

/// Runs what a person wants after each round that did something, and after what ran beside services.
pub(super) struct Caller<'a> {
    pub callbacks: &'a Callbacks,
    pub world: &'a World,
    pub root: PathBuf,
    pub stop: &'a StopToken,
}

impl Caller<'_> {
    /// The bell, and the command for a good or a bad end.
    pub fn call(&self, reporter: &mut dyn Reporter, good: bool) {
        if self.callbacks.bell {
            let mut err = self.world.err.clone();
            // A terminal that went away needs no bell.
            let _ = std::io::Write::write_all(&mut err, b"\x07");
        }
        let command = if good { &self.callbacks.success } else { &self.callbacks.failure };
        let Some(command) = command else { return };
        let argv = ["sh", "-c", command].map(std::ffi::OsString::from).to_vec();
        let env: Vec<_> = self.world.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let spec = crate::exec::CommandSpec::new(argv, self.root.clone(), env);
        let mut show = |_: crate::model::Stream, line: &[u8]| say(reporter, self.world, &String::from_utf8_lossy(line));
        crate::exec::run(&spec, &mut show, &mut std::io::sink(), self.stop);
    }
}

/// How much of a run is told.
#[derive(PartialEq)]
pub(super) enum Tell {
    All,
    /// Nobody changed anything: that all is up to date is no news.
    IfAnythingRuns,
}

/// Holds back what a run tells until it is worth telling.
pub(super) struct Discretion {
    held: Vec<Event>,
    holds: bool,
}

impl Discretion {
    pub fn new(tell: Tell) -> Self {
        Self { held: Vec::new(), holds: tell == Tell::IfAnythingRuns }
    }

    pub fn tell(&mut self, event: &Event, reporter: &mut dyn Reporter) {
        let is_news = match event {
            Event::TaskDecided { verdict, .. } => matches!(verdict, Verdict::Run(_) | Verdict::Error(_)),
            Event::TaskFinished { outcome, .. } => !outcome.is_good(),
            Event::TaskStarted { .. } | Event::Notice(_) => true,
            _ => false,
        };
        self.holds &= !is_news;
        if self.holds {
            return self.held.push(event.clone());
        }
        self.held.drain(..).for_each(|held| reporter.event(&held));
        reporter.event(event);
    }
}

/// The terminal, as a task that is interactive has it from its start to its end.
pub(super) struct Lending {
    terminal: Option<Hold>,
    to: Option<Arc<str>>,
}

impl Lending {
    pub fn new(terminal: Option<Hold>) -> Self {
        Self { terminal, to: None }
    }

    pub fn follow(&mut self, event: &Event) {
        let Some(terminal) = &self.terminal else { return };
        match event {
            Event::TaskStarted { task, interactive: true, .. } if self.to.is_none() => {
                terminal.take();
                self.to = Some(task.clone());
            }
            Event::TaskFinished { task, .. } if self.to.as_ref() == Some(task) => {
                terminal.release();
                self.to = None;
            }
            _ => {}
        }
    }
}

impl Drop for Lending {
    /// A run that broke off told of no end.
    fn drop(&mut self) {
        if let Some(terminal) = self.terminal.take().filter(|_| self.to.is_some()) {
            terminal.release();
        }
    }
}

/// A line for a person.
pub(super) fn say(reporter: &mut dyn Reporter, world: &World, line: &str) {
    if !reporter.say(line) {
        world.err.line(line);
    }
}
