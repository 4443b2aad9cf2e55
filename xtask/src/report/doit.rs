//! The four reporters of doit: marks and names on stdout, output of tasks where it came from. Knows nothing of
//! colours.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use crate::model::event::Outcome;
use crate::model::{Diagnostic, Event, Stream, Verdict};

use super::capture::Capture;
use super::options::{Kind, Options};
use super::{Reporter, clean};

/// Which lines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// Run, up to date, ignored, failed.
    All,
    /// Run and failed.
    Executed,
    /// Failed.
    Failures,
    /// None but errors from before the run.
    None,
}

/// See the module.
pub struct Doit {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    lines: Lines,
    captures: HashMap<Arc<str>, Capture>,
    /// What comes again at the end.
    failures: Vec<String>,
}

impl Doit {
    /// `kind` is one of the four; any other is told as `console`.
    pub fn new(kind: Kind, options: Options) -> Self {
        let lines = match kind {
            Kind::ExecutedOnly => Lines::Executed,
            Kind::ErrorOnly => Lines::Failures,
            Kind::Zero => Lines::None,
            _ => Lines::All,
        };
        Self { out: options.out, err: options.err, lines, captures: HashMap::new(), failures: Vec::new() }
    }

    fn say(&mut self, text: &str) {
        // A reader that went away is no reason to stop the work.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    fn output(&mut self, task: &Arc<str>, stream: Stream, line: &[u8]) {
        let line = clean::line(line, false);
        let capture = self.captures.entry(task.clone()).or_default();
        if !capture.shows(stream) {
            capture.add(stream, line);
            return;
        }
        capture.add_shown(line.clone());
        let to = if stream == Stream::Stdout { &mut self.out } else { &mut self.err };
        let _ = writeln!(to, "{line}").and_then(|()| to.flush());
    }

    fn failed(&mut self, kind: &str, task: &Arc<str>, problem: Option<&Diagnostic>, tail: &[String]) {
        let capture = self.captures.remove(task).unwrap_or_default();
        let message = problem.map_or_else(|| format!("task `{task}` failed"), |problem| problem.message.clone());
        let head = format!("{kind} - taskid:{task}\n{}\n", clean::text(&message, false));
        let (_, mut lines) = capture.unseen();
        if capture.last_line().is_none() {
            lines = tail.iter().map(|line| clean::text(line, false)).collect();
        }
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if self.lines != Lines::None {
            self.say(&head);
        }
        self.failures.push(format!("{head}{lines}"));
    }

    fn finished(&mut self, task: &Arc<str>, outcome: Outcome, problem: Option<&Diagnostic>, tail: &[String]) {
        match outcome {
            Outcome::Failed => self.failed("TaskFailed", task, problem, tail),
            Outcome::Error => self.failed("TaskError", task, problem, tail),
            Outcome::Unmet => self.failed("UnmetDependency", task, problem, tail),
            Outcome::Ran | Outcome::UpToDate | Outcome::Ignored | Outcome::Interrupted | Outcome::Skipped => {
                self.captures.remove(task);
            }
        }
    }
}

impl Reporter for Doit {
    fn event(&mut self, event: &Event) {
        match event {
            Event::TaskDecided { task, verdict, hidden: false, .. } if self.lines == Lines::All => match verdict {
                Verdict::UpToDate => self.say(&format!("-- {task}\n")),
                Verdict::Ignored => self.say(&format!("!! {task}\n")),
                Verdict::Run(_) | Verdict::Error(_) => {}
            },
            Event::TaskStarted { task, title, verbosity, .. } => {
                self.captures.insert(task.clone(), Capture::new(*verbosity));
                if matches!(self.lines, Lines::All | Lines::Executed) && !task.starts_with('_') {
                    self.say(&format!(".  {title}\n"));
                }
            }
            Event::TaskOutput { task, stream, line } => self.output(task, *stream, line),
            Event::TaskFinished { task, outcome, problem, tail, .. } => {
                self.finished(task, *outcome, problem.as_deref(), tail);
            }
            Event::RunFinished { .. } => {
                let failures = std::mem::take(&mut self.failures);
                if self.lines != Lines::None {
                    for failure in &failures {
                        self.say(&format!("{}\n{failure}", "#".repeat(40)));
                    }
                }
            }
            _ => {}
        }
    }

    fn diagnostics(&mut self, diagnostics: &[Diagnostic]) {
        for one in diagnostics {
            let text = super::diagnostic::render(one, super::paint::Paint::default(), None);
            let _ = self.err.write_all(text.as_bytes());
        }
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn told(kind: Kind) -> (String, String) {
        let (options, out, err) = taped();
        let mut reporter = Doit::new(kind, options);
        let mut events = sample_run();
        let ignored = Verdict::Ignored;
        events.insert(1, Event::TaskDecided { task: "old".into(), verdict: ignored, after: Vec::new(), hidden: false });
        tell(&mut reporter, &events);
        (out.text(), err.text())
    }

    /// Rows L01, L02 and L06: marks, streams by verbosity, and what each of the four leaves out.
    #[test]
    fn marks_are_those_of_doit() {
        let failures = "TaskFailed - taskid:test:b\ntask `test:b` failed: 1 of 2 checks failed\n\
                        UnmetDependency - taskid:push:b\ntask `push:b` failed\n";
        let line = "#".repeat(40);
        let end = format!(
            "{line}\nTaskFailed - taskid:test:b\ntask `test:b` failed: 1 of 2 checks failed\n\
             collected 2 items\nE  assert 1 == 2\n{line}\nUnmetDependency - taskid:push:b\ntask `push:b` failed\n"
        );
        let all = format!("!! old\n-- lint\n.  build:a\n.  test:b\n{failures}.  docs\nwritten\n{end}");
        assert_eq!(told(Kind::Console), (all.clone(), "warning: old base\n".to_owned()));
        assert_eq!(told(Kind::ExecutedOnly).0, all.replace("!! old\n-- lint\n", ""));
        assert_eq!(told(Kind::ErrorOnly).0, format!("{failures}written\n{end}"));
        assert_eq!(told(Kind::Zero).0, "written\n");
    }
}
