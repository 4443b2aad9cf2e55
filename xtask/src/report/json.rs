//! One JSON object per line on stdout: the versioned interface for programs. Knows nothing of people.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::event::Outcome;
use crate::model::{Counts, Diagnostic, Event, Reason, Stream, Verdict, WatchStatus};

use super::Reporter;
use super::options::Options;
use super::paint::Paint;

/// See the module. Errors from before the run also go to stderr, for the person who looks.
pub struct Json {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    paint: Paint,
    buffer: Vec<u8>,
}

/// More is written even in the middle of a burst.
const BUFFER: usize = 1 << 16;

impl Json {
    pub fn new(options: Options) -> Self {
        Self { out: options.out, err: options.err, paint: Paint::new(options.color), buffer: Vec::new() }
    }

    fn line(&mut self, object: &Value, flush: bool) {
        // Writing to memory cannot fail, and every key is a string.
        let _ = serde_json::to_writer(&mut self.buffer, object);
        self.buffer.push(b'\n');
        if flush || self.buffer.len() >= BUFFER {
            self.flush();
        }
    }

    /// A reader that went away (`| head`) is no reason to stop the work.
    fn flush(&mut self) {
        let _ = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
    }
}

impl Reporter for Json {
    fn event(&mut self, event: &Event) {
        self.line(&to_json(event), !is_one_of_many(event));
    }

    fn diagnostics(&mut self, diagnostics: &[Diagnostic]) {
        for one in diagnostics {
            self.line(&with_event("diagnostic", diagnostic(one)), true);
            let text = super::diagnostic::render(one, self.paint, None);
            let _ = self.err.write_all(text.as_bytes());
        }
    }

    fn finish(&mut self) {
        self.flush();
    }
}

/// A no-op over thousands of tasks should not cost a system call for each.
fn is_one_of_many(event: &Event) -> bool {
    matches!(event, Event::TaskDecided { .. } | Event::TaskFinished { outcome: Outcome::UpToDate, .. })
}

/// The object for one event. Fields may be added within version 1; none is removed or changes its meaning.
pub fn to_json(event: &Event) -> Value {
    let (name, object) = match event {
        Event::RunStarted { run_id, tasks, workers, expected, .. } => (
            "run_started",
            json!({ "run": run_id, "tasks": tasks, "workers": workers, "expected": expected.map(seconds) }),
        ),
        Event::TaskDecided { task, verdict, after, hidden } => ("task_decided", decided(task, verdict, after, *hidden)),
        Event::TaskStarted { task, title, expected, .. } => {
            ("task_started", json!({ "task": **task, "title": **title, "expected": expected.map(seconds) }))
        }
        Event::TaskOutput { task, stream, line } => {
            let stream = if *stream == Stream::Stdout { "stdout" } else { "stderr" };
            ("task_output", json!({ "task": **task, "stream": stream, "text": String::from_utf8_lossy(line) }))
        }
        Event::TaskProgress { task, done, total, text } => {
            ("task_progress", json!({ "task": **task, "done": done, "total": total, "text": text }))
        }
        Event::TaskFinished { .. } => ("task_finished", finished(event)),
        Event::Notice(notice) => ("notice", diagnostic(notice)),
        Event::WatchChanged { paths, total, rescan } => {
            ("watch_changed", json!({ "paths": paths, "total": total, "rescan": rescan }))
        }
        Event::TasksJoined { tasks } => ("tasks_joined", json!({ "tasks": tasks })),
        Event::WatchServing { exit, counts: all, duration, saved, bad } => (
            "watch_serving",
            json!({
                "exit": exit, "counts": counts(all), "seconds": seconds(*duration), "saved": seconds(*saved), "bad": bad,
            }),
        ),
        Event::WatchQueued { failed_only } => ("watch_queued", json!({ "failed_only": failed_only })),
        Event::WatchStatus(status) => ("watch_status", watch_status(status)),
        Event::WatchNoneFailed => ("watch_none_failed", json!({})),
        Event::WatchIdle { bad, broken, .. } => ("watch_idle", json!({ "bad": bad, "broken": broken })),
        Event::RunFinished { exit, counts: all, duration, saved } => (
            "run_finished",
            json!({
                "exit": exit, "counts": counts(all), "seconds": seconds(*duration), "saved": seconds(*saved),
            }),
        ),
    };
    with_event(name, object)
}

fn with_event(name: &str, object: Value) -> Value {
    let mut whole = serde_json::Map::new();
    whole.insert("v".into(), 1.into());
    whole.insert("event".into(), name.into());
    if let Value::Object(fields) = object {
        whole.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(whole)
}

fn decided(task: &str, verdict: &Verdict, after: &[Arc<str>], hidden: bool) -> Value {
    let reasons: Vec<Value> = match verdict {
        Verdict::Run(reasons) => reasons.iter().map(|reason| reason.to_json()).collect(),
        _ => Vec::new(),
    };
    let problem = if let Verdict::Error(problem) = verdict { diagnostic(problem) } else { Value::Null };
    let hidden = if hidden { true.into() } else { Value::Null };
    let after = if after.is_empty() { Value::Null } else { after.iter().map(|name| &**name).collect() };
    let verdict = verdict.name();
    json!({
        "task": task, "verdict": verdict, "reasons": reasons, "after": after, "problem": problem, "hidden": hidden,
    })
}

fn finished(event: &Event) -> Value {
    let Event::TaskFinished { task, outcome, duration, problem, log, because, remark, hidden, .. } = event else {
        return Value::Null;
    };
    let because: Vec<&str> = because.iter().map(|task| &**task).collect();
    json!({
        "task": **task,
        "outcome": outcome.name(),
        "seconds": seconds(*duration),
        "problem": problem.as_ref().map(|problem| diagnostic(problem)),
        "log": log,
        "because": if because.is_empty() { Value::Null } else { because.into() },
        "remark": remark,
        "hidden": if *hidden { true.into() } else { Value::Null },
    })
}

fn watch_status(status: &WatchStatus) -> Value {
    let all = |reasons: &[Reason]| -> Vec<Value> { reasons.iter().map(Reason::to_json).collect() };
    let list = |tasks: &[(Arc<str>, Vec<Reason>)]| -> Vec<Value> {
        tasks.iter().map(|(task, reasons)| json!({ "task": **task, "reasons": all(reasons) })).collect()
    };
    let running = status
        .running
        .iter()
        .map(|(task, time, reasons)| json!({ "task": **task, "seconds": seconds(*time), "reasons": all(reasons) }));
    json!({
        "running": running.collect::<Vec<Value>>(),
        "queued": list(&status.queued),
        "waiting": status.waiting,
        "would_run": status.would_run.as_ref().map(|tasks| list(tasks)),
        "changed": status.changed,
    })
}

/// A diagnostic as an object; empty lists are left in, so that a reader need not ask.
pub fn diagnostic(one: &Diagnostic) -> Value {
    let places: Vec<Value> = one
        .places
        .iter()
        .map(|(place, why)| json!({ "file": *place.file, "line": place.line, "column": place.column, "text": why }))
        .collect();
    json!({
        "severity": if one.warning { "warning" } else { "error" },
        "message": one.message,
        "places": places,
        "causes": one.causes,
        "notes": one.notes,
        "helps": one.helps,
    })
}

/// By the names of the outcomes.
fn counts(counts: &Counts) -> Value {
    json!({
        "up-to-date": counts.up_to_date,
        "ran": counts.ran,
        "failed": counts.failed,
        "error": counts.error,
        "unmet": counts.unmet,
        "ignored": counts.ignored,
        "interrupted": counts.interrupted,
        "skipped": counts.skipped,
    })
}

/// With three decimals.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
