//! Streams that can be read back, and a run to tell. Only for the tests of this room.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::event::Outcome;
use crate::model::{Counts, Diagnostic, Event, Place, Reason, Stream, Verdict};

use super::{Options, Reporter};

/// A stream in memory; clones share it.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Plain options writing to two tapes: out, err.
pub fn taped() -> (Options, Tape, Tape) {
    let (out, err) = (Tape::default(), Tape::default());
    (Options::new(Box::new(out.clone()), Box::new(err.clone())), out, err)
}

/// Tells all of it, then that nothing more will come.
pub fn tell(reporter: &mut dyn Reporter, events: &[Event]) {
    for event in events {
        reporter.event(event);
    }
    reporter.finish();
}

pub fn started(tasks: usize, workers: usize) -> Event {
    Event::RunStarted { run_id: "r1".into(), tasks, workers, widest: 0, expected: Some(Duration::from_secs(90)) }
}

pub fn decided(task: &str, reasons: Vec<Reason>) -> Event {
    let verdict = if reasons.is_empty() { Verdict::UpToDate } else { Verdict::Run(reasons) };
    Event::TaskDecided { task: task.into(), verdict, after: Vec::new(), hidden: false }
}

pub fn begin(task: &str, verbosity: u8) -> Event {
    Event::TaskStarted { task: task.into(), title: task.into(), expected: None, verbosity, interactive: false }
}

pub fn output(task: &str, stream: Stream, line: &str) -> Event {
    Event::TaskOutput { task: task.into(), stream, line: line.into() }
}

pub fn finished(task: &str, outcome: Outcome, millis: u64) -> Event {
    Event::TaskFinished {
        task: task.into(),
        outcome,
        duration: Duration::from_millis(millis),
        expected: None,
        problem: None,
        tail: Vec::new(),
        log: None,
        because: Vec::new(),
        remark: None,
        hidden: false,
        verbosity: 1,
    }
}

pub fn ran(task: &str, millis: u64, text: &str) -> Event {
    let mut event = finished(task, Outcome::Ran, millis);
    if let Event::TaskFinished { remark, .. } = &mut event {
        *remark = (!text.is_empty()).then(|| text.to_owned());
    }
    event
}

pub fn failed(task: &str, millis: u64, why: &str) -> Event {
    let mut event = finished(task, Outcome::Failed, millis);
    if let Event::TaskFinished { problem, log, .. } = &mut event {
        *problem = Some(Box::new(Diagnostic::error(format!("task `{task}` failed: {why}")).at(Place::new(
            "tasks.yaml",
            7,
            3,
        ))));
        *log = Some(format!(".xtask/logs/{task}.log"));
    }
    event
}

pub fn unmet(task: &str, root: &str) -> Event {
    let mut event = finished(task, Outcome::Unmet, 0);
    if let Event::TaskFinished { because, .. } = &mut event {
        because.push(root.into());
    }
    event
}

pub fn ended(exit: u8, counts: Counts) -> Event {
    Event::RunFinished { exit, counts, duration: Duration::from_secs(72), saved: Duration::from_secs(184) }
}

/// One of everything: two run, one is up to date, one fails, one is not run.
pub fn sample_run() -> Vec<Event> {
    let changed = Reason::FileDepChanged { path: "images/a/Dockerfile".into(), old: "1".into(), new: "2".into() };
    vec![
        started(5, 2),
        decided("lint", vec![]),
        finished("lint", Outcome::UpToDate, 0),
        decided("build:a", vec![changed, Reason::Forgotten]),
        begin("build:a", 1),
        output("build:a", Stream::Stdout, "Step 1/2"),
        output("build:a", Stream::Stderr, "warning: old base"),
        decided("test:b", vec![Reason::NeverRan]),
        begin("test:b", 0),
        output("test:b", Stream::Stdout, "collected 2 items"),
        output("test:b", Stream::Stderr, "E  assert 1 == 2"),
        ran("build:a", 72_000, "same image as before"),
        failed("test:b", 1_250, "1 of 2 checks failed"),
        unmet("push:b", "test:b"),
        decided("docs", vec![Reason::Always]),
        begin("docs", 2),
        output("docs", Stream::Stdout, "written"),
        ran("docs", 40, ""),
        ended(1, Counts { ran: 2, up_to_date: 1, failed: 1, unmet: 1, ..Counts::default() }),
    ]
}
