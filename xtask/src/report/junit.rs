//! One JUnit XML document on stdout when the run ends: a suite per image, a case per task. Knows nothing of people.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::Arc;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use crate::model::event::Outcome;
use crate::model::{Diagnostic, Event};

use super::capture::Capture;
use super::options::Options;
use super::paint::Paint;
use super::{Reporter, clean};

/// One task that ended.
struct Case {
    task: Arc<str>,
    outcome: Outcome,
    seconds: f64,
    message: String,
    /// The whole problem, or why it was skipped.
    detail: String,
    output: Vec<String>,
}

/// See the module.
pub struct Junit {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    paint: Paint,
    captures: HashMap<Arc<str>, Capture>,
    cases: Vec<Case>,
    unwritten: bool,
}

impl Junit {
    pub fn new(options: Options) -> Self {
        Self {
            out: options.out,
            err: options.err,
            paint: Paint::new(options.color),
            captures: HashMap::new(),
            cases: Vec::new(),
            unwritten: false,
        }
    }

    fn finished(&mut self, event: &Event) {
        let Event::TaskFinished { task, outcome, duration, problem, remark, because, hidden, .. } = event else {
            return;
        };
        let capture = self.captures.remove(task).unwrap_or_default();
        if *hidden && (outcome.is_good() || *outcome == Outcome::Unmet) {
            return;
        }
        let (_, output) = capture.unseen();
        let needs = || format!("needs {}", crate::model::words::list(because));
        let text = problem.as_ref().map(ToString::to_string);
        self.cases.push(Case {
            task: task.clone(),
            outcome: *outcome,
            seconds: duration.as_secs_f64(),
            message: problem.as_ref().map_or_else(|| outcome.name().to_owned(), |problem| problem.message.clone()),
            detail: text.or_else(|| remark.clone()).or_else(|| (!because.is_empty()).then(needs)).unwrap_or_default(),
            output,
        });
    }

    fn write(&mut self) {
        if std::mem::take(&mut self.unwritten) {
            let cases = std::mem::take(&mut self.cases);
            // A reader that went away is no reason to stop the work.
            let _ = document(&cases).and_then(|text| self.out.write_all(&text)).and_then(|()| self.out.flush());
        }
    }
}

impl Reporter for Junit {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { .. } => self.unwritten = true,
            Event::TaskStarted { task, .. } => {
                self.captures.insert(task.clone(), Capture::new(0));
            }
            Event::TaskOutput { task, stream, line } => {
                let line = legal(&clean::line(line, false));
                self.captures.entry(task.clone()).or_default().add(*stream, line);
            }
            Event::TaskFinished { .. } => self.finished(event),
            Event::RunFinished { .. } => self.write(),
            _ => {}
        }
    }

    fn diagnostics(&mut self, diagnostics: &[Diagnostic]) {
        for one in diagnostics {
            let _ = self.err.write_all(super::diagnostic::render(one, self.paint, None).as_bytes());
        }
    }

    fn finish(&mut self) {
        self.write();
    }
}

/// `build:base` belongs to the suite `base`; a task that is no member to `tasks`.
fn suite_of(task: &str) -> &str {
    task.split_once(':').map_or("tasks", |(_, member)| member)
}

fn document(cases: &[Case]) -> std::io::Result<Vec<u8>> {
    let mut suites: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        suites.entry(suite_of(&case.task)).or_default().push(case);
    }
    let mut xml = Writer::new_with_indent(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec(), b' ', 2);
    xml.create_element("testsuites")
        .with_attribute(("name", "xtask"))
        .with_attributes(totals(&cases.iter().collect::<Vec<_>>()).iter().map(pair))
        .write_inner_content(|xml| suites.iter().try_for_each(|(name, cases)| suite(xml, name, cases)))?;
    let mut text = xml.into_inner();
    text.push(b'\n');
    Ok(text)
}

/// What stands at the whole and at each suite.
fn totals(cases: &[&Case]) -> [(&'static str, String); 5] {
    let number = |wanted: &[Outcome]| cases.iter().filter(|case| wanted.contains(&case.outcome)).count().to_string();
    let skipped = [Outcome::UpToDate, Outcome::Unmet, Outcome::Ignored, Outcome::Skipped];
    let time: f64 = cases.iter().map(|case| case.seconds).sum();
    [
        ("tests", cases.len().to_string()),
        ("failures", number(&[Outcome::Failed])),
        ("errors", number(&[Outcome::Error, Outcome::Interrupted])),
        ("skipped", number(&skipped)),
        ("time", format!("{time:.3}")),
    ]
}

fn pair<'a>((name, value): &'a (&'static str, String)) -> (&'a str, &'a str) {
    (name, value)
}

fn suite(xml: &mut Writer<Vec<u8>>, name: &str, cases: &[&Case]) -> std::io::Result<()> {
    xml.create_element("testsuite")
        .with_attribute(("name", legal(name).as_str()))
        .with_attributes(totals(cases).iter().map(pair))
        .write_inner_content(|xml| cases.iter().try_for_each(|case| testcase(xml, name, case)))?;
    Ok(())
}

fn testcase(xml: &mut Writer<Vec<u8>>, suite: &str, case: &Case) -> std::io::Result<()> {
    let message = legal(&clean::text(&case.message, false));
    let detail = legal(&clean::text(&case.detail, false));
    let element = xml.create_element("testcase").with_attributes([
        ("name", legal(&case.task).as_str()),
        ("classname", &legal(suite)),
        ("time", &format!("{:.3}", case.seconds)),
    ]);
    let kind = match case.outcome {
        Outcome::Ran => None,
        Outcome::Failed => Some("failure"),
        Outcome::Error | Outcome::Interrupted => Some("error"),
        Outcome::UpToDate | Outcome::Unmet | Outcome::Ignored | Outcome::Skipped => Some("skipped"),
    };
    if kind.is_none() && case.output.is_empty() {
        element.write_empty()?;
        return Ok(());
    }
    element.write_inner_content(|xml| {
        if let Some(kind) = kind {
            let element = xml.create_element(kind).with_attribute(("message", message.as_str()));
            match detail.as_str() {
                "" => element.write_empty()?,
                detail => element.write_text_content(BytesText::new(detail))?,
            };
        }
        if !case.output.is_empty() {
            let text = case.output.join("\n");
            xml.create_element("system-out").write_text_content(BytesText::new(&text))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Without the characters that XML has no way to write.
fn legal(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\t' | '\n'))
        .filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Stream;

    #[test]
    fn a_run_is_one_document() {
        let (options, out, _) = taped();
        let mut reporter = Junit::new(options);
        let mut events = sample_run();
        events.insert(6, output("build:a", Stream::Stdout, "<&>\x1b[2J\u{ffff}\x01"));
        tell(&mut reporter, &events);
        let wanted = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="xtask" tests="5" failures="1" errors="0" skipped="2" time="73.290">
  <testsuite name="a" tests="1" failures="0" errors="0" skipped="0" time="72.000">
    <testcase name="build:a" classname="a" time="72.000">
      <system-out>Step 1/2
&lt;&amp;&gt;
warning: old base</system-out>
    </testcase>
  </testsuite>
  <testsuite name="b" tests="2" failures="1" errors="0" skipped="1" time="1.250">
    <testcase name="test:b" classname="b" time="1.250">
      <failure message="task `test:b` failed: 1 of 2 checks failed">error: task `test:b` failed: 1 of 2 checks failed
  --&gt; tasks.yaml:7:3</failure>
      <system-out>collected 2 items
E  assert 1 == 2</system-out>
    </testcase>
    <testcase name="push:b" classname="b" time="0.000">
      <skipped message="unmet">needs `test:b`</skipped>
    </testcase>
  </testsuite>
  <testsuite name="tasks" tests="2" failures="0" errors="0" skipped="1" time="0.040">
    <testcase name="lint" classname="tasks" time="0.000">
      <skipped message="up-to-date"/>
    </testcase>
    <testcase name="docs" classname="tasks" time="0.040">
      <system-out>written</system-out>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(out.text(), wanted);
    }
}
