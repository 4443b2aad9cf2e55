//! What a run leaves behind: its failures with their last lines, what they kept from running, the counts.
//! Knows nothing of screens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Counts, Diagnostic, words};

use super::layout;
use super::paint::Tone;

/// Failures shown in full at the end; of more, only the names.
const IN_FULL: usize = 10;

/// One task that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub task: Arc<str>,
    pub problem: Diagnostic,
    /// Its last lines, already harmless.
    pub lines: Vec<String>,
    /// Lines that came before those.
    pub left_out: usize,
    pub log: Option<String>,
}

impl Failure {
    /// The words after the name of the task: the message without what it repeats.
    pub fn short(&self) -> String {
        let message = &self.problem.message;
        let own = message.strip_prefix(&format!("task `{}` ", self.task)).unwrap_or(message);
        let message = own.strip_prefix("failed: ").unwrap_or(own);
        message.lines().next().unwrap_or_default().to_owned()
    }

    /// Its last lines, indented, with a word on what was left out.
    pub fn body(&self) -> String {
        let mut text = String::new();
        if self.left_out > 0 {
            text.push_str(&format!("    … {} before\n", words::count(self.left_out, "line")));
        }
        for line in &self.lines {
            text.push_str(&format!("    {line}\n"));
        }
        text
    }
}

/// Collects while the run goes on.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Tasks of the run.
    pub tasks: usize,
    pub failures: Vec<Failure>,
    /// Failed task to those that did not run because of it.
    not_run: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

impl Summary {
    /// Notes that `task` did not run because of `because`.
    pub fn add_unmet(&mut self, task: &Arc<str>, because: &[Arc<str>]) {
        for cause in because {
            self.not_run.entry(cause.clone()).or_default().push(task.clone());
        }
    }

    /// The failures as they are shown at the end, each with its log and with what it kept from running.
    pub fn at_end(&self) -> impl Iterator<Item = (&Failure, Diagnostic)> {
        self.failures.iter().take(IN_FULL).map(|failure| (failure, self.with_notes(failure)))
    }

    /// Names of the failures beyond those.
    pub fn more(&self) -> Option<String> {
        let names: Vec<&str> = self.failures.iter().skip(IN_FULL).map(|failure| &*failure.task).collect();
        (!names.is_empty()).then(|| format!("{} more: {}", names.len(), words::list(names)))
    }

    fn with_notes(&self, failure: &Failure) -> Diagnostic {
        let mut problem = failure.problem.clone();
        if let Some(log) = &failure.log
            && !problem.notes.iter().any(|note| note.contains(log.as_str()))
        {
            problem.notes.push(format!("full output is in `{log}`"));
        }
        if let Some(tasks) = self.not_run.get(&failure.task) {
            let shown = words::list(tasks.iter().take(8));
            let more = if tasks.len() > 8 { format!(" and {} more", tasks.len() - 8) } else { String::new() };
            problem.notes.push(format!("not run because of this: {shown}{more}"));
        }
        problem
    }
}

/// The last line of a run of so many tasks: how it went, and `2 ran, 5 up to date in 1m 12s, 3m 04s saved`.
pub fn last_line(
    tasks: usize,
    exit: u8,
    counts: &Counts,
    duration: Duration,
    saved: Duration,
) -> (Tone, &'static str, String) {
    let seen = counts.all();
    // A run that ends early leaves tasks behind of which nothing else is told.
    let left = if exit == 0 { 0 } else { tasks.saturating_sub(seen) };
    let parts = [
        (counts.failed, "failed"),
        (counts.error, if counts.error == 1 { "error" } else { "errors" }),
        (counts.ran, "ran"),
        (counts.up_to_date, "up to date"),
        (counts.unmet, "not run"),
        (counts.interrupted, "interrupted"),
        (counts.ignored, "ignored"),
        (counts.skipped, "skipped"),
        (left, "not reached"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    let parts = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
    let saved = if saved.as_millis() >= 100 { format!(", {} saved", layout::duration(saved)) } else { String::new() };
    let (tone, word) = match exit {
        0 => (Tone::Good, "done"),
        130 => (Tone::Warn, "interrupted"),
        _ => (Tone::Bad, "failed"),
    };
    (tone, word, format!("{parts} in {}{saved}", layout::duration(duration)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_leave_out_what_is_nothing() {
        let none = Duration::ZERO;
        let counts = Counts { ran: 2, up_to_date: 5, ..Counts::default() };
        let (_, word, text) = last_line(7, 0, &counts, Duration::from_secs(72), Duration::from_secs(184));
        assert_eq!((word, text.as_str()), ("done", "2 ran, 5 up to date in 1m 12s, 3m 04s saved"));
        let counts = Counts { failed: 1, error: 2, unmet: 3, ..Counts::default() };
        let (_, word, text) = last_line(8, 2, &counts, none, none);
        assert_eq!((word, text.as_str()), ("failed", "1 failed, 2 errors, 3 not run, 2 not reached in 0.00s"));
        assert_eq!(last_line(0, 130, &Counts::default(), none, none).2, "nothing to do in 0.00s");
    }

    #[test]
    fn a_failure_names_its_log_and_what_it_kept_from_running() {
        let mut summary = Summary::default();
        summary.failures.push(Failure {
            task: "a".into(),
            problem: Diagnostic::error("task `a` failed: exit code 1"),
            lines: vec!["boom".into()],
            left_out: 1,
            log: Some(".xtask/logs/a.log".into()),
        });
        for number in 0..9 {
            summary.add_unmet(&format!("t{number}").into(), &["a".into()]);
        }
        let (failure, problem) = summary.at_end().next().unwrap();
        assert_eq!(failure.short(), "exit code 1");
        assert_eq!(failure.body(), "    … 1 line before\n    boom\n");
        assert_eq!(
            problem.notes,
            [
                "full output is in `.xtask/logs/a.log`",
                "not run because of this: `t0`, `t1`, `t2`, `t3`, `t4`, `t5`, `t6` and `t7` and 1 more"
            ]
        );
    }
}
