//! For GitHub's log: the output of each task folded, annotations for failures, a job summary. Knows nothing of what is
//! worth telling.
//!
//! The runner executes every line that looks like one of its commands, whoever wrote it. So text of others with such a
//! line is written while commands are switched off, under a token that no task can guess.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;

use crate::model::event::Outcome;
use crate::model::{Diagnostic, Event};

use super::narrator::{Manner, Narrator, Said};
use super::options::Options;
use super::summary::Failure;
use super::{Reporter, clean, layout};

/// GitHub shows ten errors of a step.
const ANNOTATIONS: usize = 10;

/// GitHub refuses a summary above 1 MiB.
const SUMMARY_BYTES: usize = 1_000_000;

/// See the module.
pub struct Github {
    narrator: Narrator,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    job_summary: Option<Box<dyn Write + Send>>,
    rows: Vec<String>,
    annotations: usize,
    token: String,
}

impl Github {
    pub fn new(options: Options) -> Self {
        let manner = Manner::new(&options);
        // The keys of a `RandomState` come from the system's random source.
        let token = || format!("{:016x}", RandomState::new().build_hasher().finish());
        Self {
            narrator: Narrator::new(manner),
            out: options.out,
            err: options.err,
            job_summary: options.job_summary,
            rows: Vec::new(),
            annotations: 0,
            token: token() + &token(),
        }
    }

    /// `text`, with commands switched off around it if any of its lines could be taken for one.
    fn inert(&self, text: &str) -> String {
        if !text.lines().any(|line| line.trim_start().starts_with("::") || line.contains("##[")) {
            return text.to_owned();
        }
        // The log viewer folds and colours on this mark without asking the runner.
        let text = text.replace("##[", "# #[");
        format!("::stop-commands::{0}\n{text}::{0}::\n", self.token)
    }

    fn say(&mut self, said: &Said, name: &str) {
        let mut text = self.inert(&said.err);
        if !said.block.is_empty() {
            let lines: String = said.block.iter().map(|line| format!("{line}\n")).collect();
            text += &format!("::group::output of {}\n{}::endgroup::\n", escape(name), self.inert(&lines));
        }
        self.write(&text);
        let _ = self.out.write_all(said.out.as_bytes()).and_then(|()| self.out.flush());
    }

    /// A reader that went away is no reason to stop the work.
    fn write(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }

    fn annotate(&mut self, problem: &Diagnostic, title: &str) {
        self.annotations += 1;
        if self.annotations > ANNOTATIONS {
            return;
        }
        let place = problem.places.first().map_or(String::new(), |(place, _)| {
            let line =
                if place.line > 0 { format!(",line={},col={}", place.line, place.column) } else { String::new() };
            format!("file={}{line},", escape_property(&place.file))
        });
        let text = clean::text(&problem.to_string(), false);
        self.write(&format!("::error {place}title={}::{}\n", escape_property(title), escape(&text)));
    }

    fn row(&mut self, event: &Event) {
        let Event::TaskFinished { task, outcome, duration, problem, remark, hidden, .. } = event else { return };
        if *outcome == Outcome::UpToDate || (*hidden && (outcome.is_good() || *outcome == Outcome::Unmet)) {
            return;
        }
        let why = problem.as_ref().map(|problem| problem.message.clone()).or_else(|| remark.clone());
        let time = if *outcome == Outcome::Unmet { String::new() } else { layout::duration(*duration) };
        self.rows.push(format!(
            "| {} | {} | {} | {} |\n",
            cell(task),
            outcome.name(),
            time,
            cell(why.as_deref().unwrap_or_default())
        ));
    }

    /// The failures with their last lines, then a table that ends where the room does.
    fn write_summary(&mut self, last: &str) {
        let Some(mut file) = self.job_summary.take() else { return };
        let mut text = format!("### xtask: {last}\n\n");
        for (failure, problem) in self.narrator.summary.at_end() {
            text.push_str(&details(failure, &problem));
        }
        if !self.rows.is_empty() {
            text.push_str("| task | outcome | time | |\n|---|---|--:|---|\n");
        }
        let total = self.rows.len();
        for (number, row) in self.rows.drain(..).enumerate() {
            if text.len() + row.len() > SUMMARY_BYTES {
                text.push_str(&format!("\n{} more\n", total - number));
                break;
            }
            text.push_str(&row);
        }
        let _ = file.write_all(text.as_bytes()).and_then(|()| file.flush());
        self.job_summary = Some(file);
    }
}

impl Reporter for Github {
    fn event(&mut self, event: &Event) {
        let said = match event {
            // Folded lines cost nothing, so stdout is there as well unless the task wants none.
            Event::TaskStarted { task, title, expected, verbosity: 1, interactive } => {
                self.narrator.tell(&Event::TaskStarted {
                    task: task.clone(),
                    title: title.clone(),
                    expected: *expected,
                    verbosity: 2,
                    interactive: *interactive,
                })
            }
            _ => self.narrator.tell(event),
        };
        let name = match event {
            Event::TaskFinished { task, .. } | Event::TaskOutput { task, .. } => task.clone(),
            _ => "".into(),
        };
        self.say(&said, &name);
        self.row(event);
        match event {
            Event::TaskFinished { outcome: Outcome::Failed | Outcome::Error, task, .. } => {
                let failure = self.narrator.summary.failures.last().filter(|failure| failure.task == *task);
                if let Some(problem) = failure.map(|failure| failure.problem.clone()) {
                    self.annotate(&problem, &format!("{task} failed"));
                }
            }
            Event::RunFinished { exit, counts, duration, saved } => {
                let (_, word, text) =
                    super::summary::last_line(self.narrator.summary.tasks, *exit, counts, *duration, *saved);
                self.write_summary(&format!("{word}: {text}"));
            }
            _ => {}
        }
    }

    fn diagnostics(&mut self, diagnostics: &[Diagnostic]) {
        for one in diagnostics {
            let text = self.inert(&self.narrator.problem(one));
            self.write(&text);
            if !one.warning {
                self.annotate(one, "xtask");
            }
        }
    }

    fn finish(&mut self) {}
}

fn details(failure: &Failure, problem: &Diagnostic) -> String {
    let text = clean::text(&format!("{problem}\n{}", failure.body()), false).replace("```", "'''");
    format!("<details open><summary>{}</summary>\n\n```text\n{text}```\n\n</details>\n\n", html(&failure.task))
}

fn cell(text: &str) -> String {
    html(&clean::text(text, false)).replace('|', "\\|").replace('\n', "<br>")
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// As the runner wants the data of a command.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the runner wants a property of a command.
fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Stream;

    fn told(events: &[Event]) -> (String, String) {
        let (mut options, _, err) = taped();
        let summary = Tape::default();
        options.job_summary = Some(Box::new(summary.clone()));
        let mut reporter = Github::new(options);
        reporter.token = "T".into();
        tell(&mut reporter, events);
        (err.text(), summary.text())
    }

    /// What the runner would execute: lines that look like a command while commands are on.
    fn executed(log: &str) -> Vec<&str> {
        let mut on = true;
        let mut commands = Vec::new();
        for line in log.lines() {
            match (on, line) {
                (true, "::stop-commands::T") => on = false,
                (false, "::T::") => on = true,
                (true, _) if line.trim_start().starts_with("::") || line.contains("##[") => commands.push(line),
                _ => {}
            }
        }
        assert!(on, "commands stay off at the end");
        commands
    }

    #[test]
    fn output_is_folded_and_failures_annotated() {
        let (log, summary) = told(&sample_run());
        let wanted = [
            "::group::output of build:a",
            "::endgroup::",
            "::error file=tasks.yaml,line=7,col=3,title=test%3Ab failed::error: task `test:b` failed: 1 of 2 checks failed%0A  --> tasks.yaml:7:3",
            "::group::output of docs",
            "::endgroup::",
        ];
        assert_eq!(executed(&log), wanted);
        assert!(log.contains("::group::output of build:a\nStep 1/2\nwarning: old base\n::endgroup::\n"));
        // Outside of any fold, at the end.
        let end = &log[log.rfind("::endgroup::").unwrap()..];
        assert!(
            end.contains("test:b` failed: 1 of 2 checks failed") && end.contains("\n  note: full output is in"),
            "{end}"
        );
        let wanted = "### xtask: failed: 1 failed, 2 ran, 1 up to date, 1 not run in 1m 12s, 3m 04s saved

<details open><summary>test:b</summary>

```text
error: task `test:b` failed: 1 of 2 checks failed
  --> tasks.yaml:7:3
  note: full output is in `.xtask/logs/test:b.log`
  note: not run because of this: `push:b`
    collected 2 items
    E  assert 1 == 2
```

</details>

| task | outcome | time | |
|---|---|--:|---|
| build:a | ran | 1m 12s | same image as before |
| test:b | failed | 1.25s | task `test:b` failed: 1 of 2 checks failed |
| push:b | unmet |  |  |
| docs | ran | 0.04s |  |
";
        assert_eq!(summary, wanted);
    }

    /// Row S8: nothing that a task writes is executed.
    #[test]
    fn s8_commands_in_output_are_inert() {
        let hostile =
            ["::error::x", "  ::set-output name=a::b", "##[error]y", "::endgroup::", "::T0::", "\x1b]52;c;aGk=\x07"];
        for outcome in [Outcome::Ran, Outcome::Failed] {
            let mut events = vec![started(1, 2), begin("a", 2)];
            events.extend(hostile.iter().map(|line| output("a", Stream::Stdout, line)));
            events.push(if outcome == Outcome::Ran {
                ran("a", 1, "")
            } else {
                failed("a", 1, "::error::z\n::error::w")
            });
            events.push(ended(0, crate::model::Counts::default()));
            let (log, _) = told(&events);
            let ours = |line: &&str| {
                ["::group::output of a", "::endgroup::"].contains(line) || line.starts_with("::error file=")
            };
            assert!(executed(&log).iter().all(ours), "{log}");
            assert!(!log.contains('\x1b'));
        }
        let (one, two) = (Github::new(taped().0).token, Github::new(taped().0).token);
        assert!(one.len() == 32 && one != two);
    }

    #[test]
    fn annotations_and_summary_are_bounded() {
        let mut events = vec![started(1, 2)];
        let names: Vec<String> = (0..30_000).map(|number| format!("task{number}")).collect();
        events.extend(names.iter().map(|name| failed(name, 1, "exit code 1")));
        events.push(ended(1, crate::model::Counts { failed: 30_000, ..Default::default() }));
        let (log, summary) = told(&events);
        assert_eq!(log.matches("\n::error ").count(), ANNOTATIONS);
        assert!(summary.len() < SUMMARY_BYTES + 100 && summary.ends_with(" more\n"), "{}", summary.len());
    }
}
