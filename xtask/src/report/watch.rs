//! What a watch says: what changed, what waits, what is going on and why; its lines at the bottom of a terminal. Knows
//! nothing of what it watches.

use std::sync::Arc;

use crate::model::{Event, Reason, WatchStatus, words};

use super::narrator::Narrator;
use super::paint::{Paint, Tone};
use super::{clean, layout, summary};

/// After a broken edit.
const BROKEN: &str = "with the last good tasks";

/// What the last lines of a terminal say while a watch is on.
#[derive(Debug, Default)]
pub struct WatchLine {
    keys: bool,
    /// How the last run ended, as its last line says it.
    last: Option<(Tone, &'static str)>,
    /// How many tasks are to mend.
    bad: usize,
    /// The tasks are those of before, as their files cannot be understood.
    broken: bool,
    /// What changed last.
    changed: String,
}

impl WatchLine {
    pub fn new(keys: bool) -> Self {
        Self { keys, ..Self::default() }
    }

    pub fn follow(&mut self, event: &Event) {
        match event {
            Event::WatchChanged { paths, total, rescan } => self.changed = what_changed(paths, *total, *rescan),
            Event::WatchIdle { bad, broken, .. } => (self.bad, self.broken) = (*bad, *broken),
            Event::RunFinished { exit, counts, duration, saved }
            | Event::WatchServing { exit, counts, duration, saved, .. } => {
                if let Event::WatchServing { bad, .. } = event {
                    self.bad = *bad;
                }
                let (tone, word, _) = summary::last_line(0, *exit, counts, *duration, *saved);
                self.last = Some((tone, word));
            }
            _ => {}
        }
    }

    /// `waiting  last run failed, 1 to mend  changed …`, and the keys below it.
    pub fn rows(&self, doing: &str, paint: Paint, columns: usize) -> Vec<String> {
        let mut row = paint.tone(Tone::Busy, doing);
        if let Some((tone, word)) = self.last {
            row += &format!("  last run {}", paint.tone(tone, word));
        }
        if self.bad > 0 {
            row += &format!(", {}", paint.tone(Tone::Bad, &format!("{} to mend", self.bad)));
        }
        if self.broken {
            row += &format!(", {}", paint.tone(Tone::Bad, BROKEN));
        }
        if !self.changed.is_empty() {
            row += &format!("  changed {}", self.changed);
        }
        let keys = self.keys.then(|| paint.tone(Tone::Dim, "enter all, r failed, e why, q quit"));
        [row].into_iter().chain(keys).map(|row| layout::cut(&row, columns)).collect()
    }
}

/// Paths as a part of a sentence.
fn what_changed(paths: &[String], total: usize, rescan: bool) -> String {
    let more = total.saturating_sub(paths.len());
    let shown: Vec<String> = paths.iter().map(|path| clean::text(path, false)).collect();
    match (rescan, more) {
        (true, _) => "anything".to_owned(),
        (false, 0) => words::list(shown),
        (false, more) => {
            let ticked: Vec<String> = shown.iter().map(|path| format!("`{path}`")).collect();
            format!("{} and {more} more", ticked.join(", "))
        }
    }
}

impl Narrator {
    /// The text of the events that only a watch sends.
    pub(super) fn watch(&mut self, event: &Event) -> String {
        let head = |tone, word: &str| self.manner.paint.tone(tone, &layout::pad_left(word, 12));
        match event {
            Event::WatchChanged { paths, total, rescan } => {
                let all = || "everything was looked at again".to_owned();
                let detail = if *rescan { all() } else { what_changed(paths, *total, false) };
                format!("{}  {detail}\n", head(Tone::Busy, "changed"))
            }
            Event::WatchNoneFailed => format!("{}  no task failed\n", head(Tone::Dim, "nothing")),
            Event::WatchIdle { keys, bad, broken } => {
                let broken = if *broken { format!(", {BROKEN}") } else { String::new() };
                let bad = if *bad > 0 { format!(", {} to mend", words::count(*bad, "task")) } else { String::new() };
                let keys = if *keys { " (enter: run all, r: run the failed ones, e: explain, q: quit)" } else { "" };
                format!("{}  for changes{bad}{broken}{keys}\n", head(Tone::Dim, "waits"))
            }
            Event::WatchQueued { failed_only } => {
                let what = if *failed_only { "the failed tasks" } else { "a look at everything" };
                format!("{}  {what}, after this run\n", head(Tone::Busy, "queued"))
            }
            Event::WatchStatus(status) => self.status(status),
            _ => String::new(),
        }
    }

    fn status(&mut self, status: &WatchStatus) -> String {
        let mut text = String::new();
        for (task, time, reasons) in &status.running {
            let why = because(reasons);
            let why = if why.is_empty() { why } else { format!(", {why}") };
            text += &self.line(Tone::Busy, "running", task, &format!("{}{why}", layout::rough(*time)));
        }
        let mut list = |word, tasks: &[(Arc<str>, Vec<Reason>)]| {
            for (task, reasons) in tasks {
                text += &self.line(Tone::Dim, word, task, &because(reasons));
            }
        };
        list("queued", &status.queued);
        list("would run", status.would_run.as_deref().unwrap_or_default());
        let mut plain = |word: &str, detail: String| {
            text += &format!("{}  {detail}\n", self.manner.paint.tone(Tone::Dim, &layout::pad_left(word, 12)));
        };
        if status.waiting > 0 {
            plain("waiting", format!("{} for what they need", words::count(status.waiting, "task")));
        }
        if !status.changed.is_empty() {
            plain("next round", format!("{} changed", words::list(&status.changed)));
        }
        if status.would_run.as_ref().is_some_and(Vec::is_empty) {
            plain("", "nothing else would run: every other task is up to date".to_owned());
        }
        text
    }
}

fn because(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{finished, taped};
    use super::super::{Reporter, json, plain};
    use super::*;
    use crate::model::{Diagnostic, Outcome};

    #[test]
    fn a_person_hears_what_is_going_on() {
        let status = WatchStatus {
            running: vec![("serve".into(), Duration::from_secs(72), vec![Reason::NeverRan])],
            queued: vec![("test".into(), vec![Reason::Always, Reason::Forgotten])],
            waiting: 1,
            would_run: None,
            changed: vec!["a".into(), "b".into()],
        };
        let quiet =
            WatchStatus { running: status.running.clone(), would_run: Some(Vec::new()), ..WatchStatus::default() };
        let (options, _, err) = taped();
        let mut plain = plain::Plain::new(options);
        plain.event(&Event::WatchStatus(Box::new(status.clone())));
        plain.event(&Event::WatchQueued { failed_only: false });
        plain.event(&Event::WatchNoneFailed);
        let mut ended = finished("serve", Outcome::Interrupted, 0);
        if let Event::TaskFinished { problem, .. } = &mut ended {
            *problem = Some(Box::new(Diagnostic::error("task `serve` was interrupted")));
        }
        plain.event(&ended);
        plain.event(&Event::WatchChanged { paths: vec!["a".into(), "b".into()], total: 5, rescan: false });
        plain.event(&Event::WatchIdle { keys: false, bad: 1, broken: true });
        plain.event(&Event::WatchStatus(Box::new(quiet)));
        let wanted = "     running  serve             1m 12s, never ran
      queued  test              asked for by --always; its record was forgotten
     waiting  1 task for what they need
  next round  `a` and `b` changed
      queued  a look at everything, after this run
     nothing  no task failed
 interrupted  serve
     changed  `a`, `b` and 3 more
       waits  for changes, 1 task to mend, with the last good tasks
     running  serve             1m 12s, never ran
              nothing else would run: every other task is up to date
";
        assert_eq!(err.text(), wanted);
        let wanted = r#"{"v":1,"event":"watch_status","running":[{"task":"serve","seconds":72.0,"reasons":[{"kind":"never_ran"}]}],"queued":[{"task":"test","reasons":[{"kind":"always"},{"kind":"forgotten"}]}],"waiting":1,"changed":["a","b"]}"#;
        assert_eq!(json::to_json(&Event::WatchStatus(Box::new(status))).to_string(), wanted);
    }
}
