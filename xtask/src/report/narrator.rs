//! Tells a run in words: one event in, the text it deserves out. Knows nothing of where the text goes; `plain`,
//! `fancy` and `github` differ only in that.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::model::event::Outcome;
use crate::model::{Diagnostic, Event, Reason, Stream, Verdict, words};

use super::capture::Capture;
use super::options::{Options, OutputMode, SourceFn};
use super::paint::{Paint, Tone};
use super::summary::{self, Failure, Summary};
use super::{clean, diagnostic, layout};

/// With at most this many tasks, each one that is up to date gets a line; more are only counted.
const FEW_TASKS: usize = 20;

/// Narrower or wider names would make the columns jump too much.
const NAME_COLUMNS: std::ops::RangeInclusive<usize> = 16..=40;

/// The last lines of a failure come again at the end unless only so many lines came between.
const STILL_IN_SIGHT: usize = 10;

/// How much is told.
#[derive(Clone)]
pub struct Manner {
    pub paint: Paint,
    pub verbose: u8,
    pub quiet: bool,
    pub output: OutputMode,
    /// A line when a task is found to need a run: not where live lines show it.
    pub decisions: bool,
    pub source: Option<SourceFn>,
}

impl Manner {
    /// The manner that the options ask for.
    pub fn new(options: &Options) -> Self {
        Self {
            paint: Paint::new(options.color),
            verbose: options.verbose,
            quiet: options.quiet,
            output: options.output,
            decisions: true,
            source: options.source.clone(),
        }
    }
}

/// What to write: whole lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub out: String,
    pub err: String,
    /// Output of a task that ended well, to follow `err`; kept apart because some fold it.
    pub block: Vec<String>,
}

impl Said {
    /// All that goes to stderr, the output of a task indented.
    pub fn for_people(&self) -> String {
        let mut text = self.err.clone();
        self.block.iter().for_each(|line| text.extend(["    ", line, "\n"]));
        text
    }
}

/// See the module.
pub struct Narrator {
    pub manner: Manner,
    pub captures: HashMap<Arc<str>, Capture>,
    pub summary: Summary,
    /// Only one task can run at a time: its output needs no waiting.
    alone: bool,
    few: bool,
    columns: usize,
    /// Columns of the terminal, if there is one.
    room: Option<usize>,
    /// Lines told so far, and how many there were when each failure was told.
    lines: usize,
    told: HashMap<Arc<str>, usize>,
}

impl Narrator {
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            captures: HashMap::new(),
            summary: Summary::default(),
            alone: false,
            few: true,
            columns: *NAME_COLUMNS.start(),
            room: layout::columns_for_people(),
            lines: 0,
            told: HashMap::new(),
        }
    }

    /// The text for one event.
    pub fn tell(&mut self, event: &Event) -> Said {
        let mut said = self.words(event);
        if let Event::RunFinished { exit, counts, duration, saved }
        | Event::WatchServing { exit, counts, duration, saved, .. } = event
        {
            // Services go on: what is not ended is not left behind.
            let tasks = if let Event::RunFinished { .. } = event { self.summary.tasks } else { 0 };
            said.err = self.ending(summary::last_line(tasks, *exit, counts, *duration, *saved));
        }
        if let Event::WatchServing { .. } = event {
            self.summary = Summary::default();
        }
        self.lines += said.err.lines().count() + said.block.len();
        said
    }

    fn words(&mut self, event: &Event) -> Said {
        match event {
            Event::RunStarted { tasks, workers, widest, .. } => {
                self.widen(*widest);
                self.few = *tasks <= FEW_TASKS;
                self.alone = *workers == 1;
                self.summary = Summary::default();
                self.summary.tasks = *tasks;
                self.told.clear();
                Said::default()
            }
            Event::TaskDecided { task, verdict: Verdict::Run(reasons), after, hidden: false } => {
                to_err(self.decided(task, reasons, after))
            }
            Event::TaskStarted { task, verbosity, .. } => {
                self.captures.insert(task.clone(), Capture::new(*verbosity));
                Said::default()
            }
            Event::TaskOutput { task, stream, line } => self.output(task, *stream, line),
            Event::TaskFinished { .. } => self.finished(event),
            Event::Notice(notice) => to_err(self.problem(notice)),
            Event::WatchChanged { .. }
            | Event::WatchIdle { .. }
            | Event::WatchQueued { .. }
            | Event::WatchNoneFailed
            | Event::WatchStatus(_) => to_err(self.watch(event)),
            Event::WatchServing { .. }
            | Event::TasksJoined { .. }
            | Event::TaskDecided { .. }
            | Event::TaskProgress { .. }
            | Event::RunFinished { .. } => Said::default(),
        }
    }

    /// A diagnostic in the manner's colours.
    pub fn problem(&self, problem: &Diagnostic) -> String {
        diagnostic::render(problem, self.manner.paint, self.manner.source.as_ref().map(|source| &**source as _))
    }

    /// `      status  name              detail`.
    pub fn line(&mut self, tone: Tone, status: &str, name: &str, detail: &str) -> String {
        self.widen(layout::width(name));
        let status = self.manner.paint.tone(tone, &layout::pad_left(status, 12));
        let line = format!("{status}  {}  {}", layout::pad(name, self.columns), clean::text(detail, false));
        format!("{}\n", line.trim_end())
    }

    /// Makes room for names of this width. On a narrow terminal one long name must not push everything else over the
    /// edge.
    fn widen(&mut self, columns: usize) {
        let widest =
            self.room.map_or(*NAME_COLUMNS.end(), |room| (room / 3).clamp(*NAME_COLUMNS.start(), *NAME_COLUMNS.end()));
        self.columns = self.columns.max(columns).min(widest);
    }

    fn decided(&mut self, task: &str, reasons: &[Reason], after: &[Arc<str>]) -> String {
        if self.manner.quiet || !(self.manner.decisions || self.manner.verbose > 0) {
            return String::new();
        }
        let all = self.manner.verbose > 0;
        if !after.is_empty() {
            let after = words::list(after.iter());
            return self.line(Tone::Dim, "may run", task, &format!("depends on what {after} will have made"));
        }
        let first = reasons.first().map(ToString::to_string).unwrap_or_default();
        let more = reasons.len().saturating_sub(1);
        let rest =
            if more > 0 && !all { format!(" (and {})", words::count(more, "more reason")) } else { String::new() };
        let mut text = self.line(Tone::Busy, "needs run", task, &format!("{first}{rest}"));
        for reason in reasons.iter().skip(1).filter(|_| all) {
            text.push_str(&self.line(Tone::Dim, "", "", &reason.to_string()));
        }
        text
    }

    fn output(&mut self, task: &Arc<str>, stream: Stream, line: &[u8]) -> Said {
        let line = clean::line(line, self.manner.paint.on);
        let (mode, quiet, alone) = (self.manner.output, self.manner.quiet, self.alone);
        let capture = self.captures.entry(task.clone()).or_default();
        if quiet || (mode == OutputMode::Grouped && !alone) {
            let Some(block) = capture.add(stream, line).filter(|_| !quiet) else { return Said::default() };
            let err = self.line(Tone::Busy, "still runs", task, "its output so far");
            return Said { err, block, ..Said::default() };
        }
        if !capture.shows(stream) {
            capture.add(stream, line);
            return Said::default();
        }
        capture.add_shown(line.clone());
        match (mode, stream) {
            (OutputMode::Grouped, _) => to_err(format!("    {line}\n")),
            (OutputMode::Prefixed, _) => {
                let name = self.manner.paint.tone(Tone::Dim, &format!("{task} |"));
                to_err(format!("{name} {line}\n"))
            }
            (OutputMode::Raw, Stream::Stdout) => Said { out: format!("{line}\n"), ..Said::default() },
            (OutputMode::Raw, Stream::Stderr) => to_err(format!("{line}\n")),
        }
    }

    fn finished(&mut self, event: &Event) -> Said {
        let Event::TaskFinished { task, outcome, duration, problem, tail, log, because, remark, hidden, .. } = event
        else {
            return Said::default();
        };
        let mut capture = self.captures.remove(task).unwrap_or_default();
        let remark = remark.as_deref().unwrap_or_default();
        let cause = problem.as_ref().map_or(remark.to_owned(), |problem| problem.message.clone());
        let quiet = self.manner.quiet || *hidden;
        let mut block = Vec::new();
        let err = match outcome {
            Outcome::Failed | Outcome::Error => {
                let (left_out, lines) = shown_tail(&mut capture, tail);
                let failure = Failure {
                    task: task.clone(),
                    problem: problem.as_deref().cloned().unwrap_or_else(|| no_words(task)),
                    lines,
                    left_out,
                    log: log.clone(),
                };
                self.failed(*outcome, failure)
            }
            Outcome::Unmet => {
                if !hidden {
                    self.summary.add_unmet(task, because);
                }
                let prefix = format!("task `{task}` was not run: it ");
                let words = cause.strip_prefix(&prefix).unwrap_or(&cause).to_owned();
                let needs = if problem.is_some() { words } else { format!("needs {}", words::list(because)) };
                self.unless(quiet, Tone::Warn, "not run", task, &needs)
            }
            Outcome::Ran => {
                let time = layout::duration(*duration);
                let detail = if remark.is_empty() { time } else { format!("{time}, {remark}") };
                block = if self.manner.quiet { Vec::new() } else { capture.take_group() };
                self.unless(quiet, Tone::Good, "ok", task, &detail)
            }
            Outcome::UpToDate => {
                let quiet = quiet || !(self.few || self.manner.verbose > 0);
                self.unless(quiet, Tone::Dim, "up to date", task, remark)
            }
            Outcome::Ignored => self.unless(quiet, Tone::Dim, "ignored", task, &cause),
            Outcome::Skipped => self.unless(quiet, Tone::Dim, "skipped", task, &cause),
            Outcome::Interrupted => {
                let known = format!("task `{task}` was interrupted");
                let more = if cause == known { "" } else { &cause };
                self.unless(quiet, Tone::Warn, "interrupted", task, more)
            }
        };
        Said { err, block, ..Said::default() }
    }

    fn unless(&mut self, quiet: bool, tone: Tone, status: &str, task: &str, detail: &str) -> String {
        if quiet { String::new() } else { self.line(tone, status, task, detail) }
    }

    fn failed(&mut self, outcome: Outcome, failure: Failure) -> String {
        let status = if outcome == Outcome::Error { "error" } else { "failed" };
        let text = self.line(Tone::Bad, status, &failure.task, &failure.short()) + &failure.body();
        self.told.insert(failure.task.clone(), self.lines + text.lines().count());
        self.summary.failures.push(failure);
        text
    }

    fn ending(&mut self, (tone, word, counts): (Tone, &str, String)) -> String {
        let paint = self.manner.paint;
        let source = self.manner.source.clone();
        let mut text = String::new();
        for (failure, problem) in self.summary.at_end() {
            let since = self.told.get(&failure.task).map_or(usize::MAX, |at| self.lines - at);
            let body = if since <= STILL_IN_SIGHT { String::new() } else { failure.body() };
            let source = source.as_ref().map(|source| &**source as _);
            text.push_str(&diagnostic::render_with(&problem, paint, source, &body));
        }
        if let Some(more) = self.summary.more() {
            let _ = writeln!(text, "{} {more}", paint.tone(Tone::Bad, "error:"));
        }
        let _ = writeln!(text, "{}  {counts}", paint.tone(tone, &layout::pad_left(word, 12)));
        text
    }

    /// For a task that has been silent for long.
    pub fn still_runs(&mut self, task: &str, time: Duration) -> String {
        self.line(Tone::Busy, "still runs", task, &layout::rough(time))
    }
}

fn to_err(err: String) -> Said {
    Said { err, ..Said::default() }
}

fn no_words(task: &str) -> Diagnostic {
    Diagnostic::error(format!("task `{task}` failed"))
}

/// The lines to show of a failure: all of its group where everything was to be seen, else the last lines of both
/// streams, else those that the event brings.
fn shown_tail(capture: &mut Capture, tail: &[String]) -> (usize, Vec<String>) {
    let (left_out, unseen) = capture.unseen();
    if capture.verbosity >= 2 {
        return (0, capture.take_group());
    }
    if unseen.is_empty() && capture.last_line().is_none() {
        return (0, tail.iter().map(|line| clean::text(line, false)).collect());
    }
    (left_out, unseen)
}
