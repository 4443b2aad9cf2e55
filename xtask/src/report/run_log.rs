//! The log of a run for people and CI: a line `LEVEL:message` for whatever begins or ends, with its time. Knows nothing
//! of screens; the output of tasks is in their own logs.

use std::io::Write;
use std::time::Duration;

use crate::model::{Diagnostic, Event, Outcome, Verdict, words};

/// Writes events to a file.
pub struct RunLog<W: Write>(W);

impl<W: Write> RunLog<W> {
    pub fn new(to: W) -> Self {
        Self(to)
    }

    /// Takes one. A log that cannot be written stops no run.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { run_id, tasks, workers, .. } => {
                let (tasks, workers) = (words::count(*tasks, "task"), words::count(*workers, "worker"));
                self.line("INFO", &format!("run {run_id} of {tasks} with {workers}"));
            }
            Event::TaskDecided { task, verdict: Verdict::Run(reasons), .. } => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                self.line("INFO", &format!("{task} runs: {}", reasons.join("; ")));
            }
            Event::TaskStarted { task, .. } => self.line("INFO", &format!("{task} started")),
            Event::TaskFinished { outcome: Outcome::UpToDate, task, .. } => {
                self.line("INFO", &format!("{task} is up to date"));
            }
            Event::TaskFinished { task, outcome, duration, problem, .. } => {
                let level = if outcome.is_good() { "INFO" } else { "ERROR" };
                self.line(level, &format!("TIME: {task} ({}) took {}", outcome.name(), minutes(*duration)));
                if let Some(problem) = problem {
                    self.diagnostic(problem);
                }
            }
            Event::Notice(problem) => self.diagnostic(problem),
            Event::RunFinished { exit, duration, .. } => {
                let level = if *exit == 0 { "INFO" } else { "ERROR" };
                self.line(level, &format!("TIME: the run took {}, exit code {exit}", minutes(*duration)));
            }
            _ => {}
        }
    }

    fn diagnostic(&mut self, problem: &Diagnostic) {
        let level = if problem.warning { "WARNING" } else { "ERROR" };
        self.line(level, &problem.message);
    }

    fn line(&mut self, level: &str, text: &str) {
        let _ = writeln!(self.0, "{level}:{}", text.replace('\n', " "));
    }
}

/// `2 mins 3.40 secs`
fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let minutes = (seconds / 60.0).floor();
    format!("{minutes:.0} mins {:.2} secs", seconds - minutes * 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counts, Reason};

    #[test]
    fn every_line_has_a_level_and_phases_have_a_time() {
        let mut written = Vec::new();
        let mut log = RunLog::new(&mut written);
        let finished = |outcome, problem: Option<&str>| Event::TaskFinished {
            task: "build:base".into(),
            outcome,
            duration: Duration::from_millis(123_400),
            expected: None,
            problem: problem.map(|text| Box::new(Diagnostic::error(text))),
            tail: Vec::new(),
            log: None,
            because: Vec::new(),
            remark: None,
            hidden: false,
            verbosity: 0,
        };
        let decided = Event::TaskDecided {
            task: "build:base".into(),
            verdict: Verdict::Run(vec![Reason::NeverRan]),
            after: Vec::new(),
            hidden: false,
        };
        log.event(&decided);
        log.event(&finished(Outcome::Ran, None));
        log.event(&finished(Outcome::UpToDate, None));
        log.event(&finished(Outcome::Failed, Some("tests failed\nin two places")));
        log.event(&Event::Notice(Box::new(Diagnostic::warning("old file"))));
        let end = Event::RunFinished {
            exit: 1,
            counts: Counts::default(),
            duration: Duration::from_secs(61),
            saved: Duration::ZERO,
        };
        log.event(&end);
        insta::assert_snapshot!(String::from_utf8(written).unwrap(), @r"
        INFO:build:base runs: never ran
        INFO:TIME: build:base (ran) took 2 mins 3.40 secs
        INFO:build:base is up to date
        ERROR:TIME: build:base (failed) took 2 mins 3.40 secs
        ERROR:tests failed in two places
        WARNING:old file
        ERROR:TIME: the run took 1 mins 1.00 secs, exit code 1
        ");
    }
}
