//! The texts of the reporters, whole. Knows nothing of real runs.

use crate::model::event::Outcome;
use crate::model::{Counts, Diagnostic, Event, Reason, Stream, Verdict};

use super::plain::Plain;
use super::testing::*;
use super::{Kind, Options, OutputMode, Reporter, json::Json};

/// What a plain reporter with these options writes to stdout and stderr.
fn plain(change: impl FnOnce(&mut Options), events: &[Event]) -> (String, String) {
    let (mut options, out, err) = taped();
    change(&mut options);
    let mut reporter = Plain::new(options);
    tell(&mut reporter, events);
    (out.text(), err.text())
}

#[test]
fn plain_tells_a_run_line_by_line() {
    let (out, err) = plain(|_| {}, &sample_run());
    assert_eq!(out, "");
    let wanted = "  up to date  lint
   needs run  build:a           file_dep `images/a/Dockerfile` changed (and 1 more reason)
   needs run  test:b            never ran
          ok  build:a           1m 12s, same image as before
    warning: old base
      failed  test:b            1 of 2 checks failed
    collected 2 items
    E  assert 1 == 2
     not run  push:b            needs `test:b`
   needs run  docs              asked for by --always
          ok  docs              0.04s
    written
error: task `test:b` failed: 1 of 2 checks failed
  --> tasks.yaml:7:3
  note: full output is in `.xtask/logs/test:b.log`
  note: not run because of this: `push:b`
      failed  1 failed, 2 ran, 1 up to date, 1 not run in 1m 12s, 3m 04s saved
";
    assert_eq!(err, wanted);
}

#[test]
fn a_dry_run_says_of_whom_a_task_depends_instead_of_inventing_a_reason() {
    let verdict = Verdict::Run(Vec::new());
    let event = Event::TaskDecided { task: "use".into(), verdict, after: vec!["gen".into()], hidden: false };
    let (_, err) = plain(|_| {}, std::slice::from_ref(&event));
    assert_eq!(err, "     may run  use               depends on what `gen` will have made\n");
    let whole = r#"{"v":1,"event":"task_decided","task":"use","verdict":"run","reasons":[],"after":["gen"]}"#;
    assert_eq!(super::json::to_json(&event).to_string(), whole);
}

#[test]
fn a_failure_out_of_sight_repeats_its_lines_at_the_end() {
    let mut events = sample_run();
    let last = events.pop().unwrap();
    events.extend((0..10).map(|number| ran(&format!("late{number}"), 1, "")));
    events.push(last);
    let (_, err) = plain(|_| {}, &events);
    assert!(
        err.contains("  --> tasks.yaml:7:3\n    collected 2 items\n    E  assert 1 == 2\n  note: full output"),
        "{err}"
    );
}

#[test]
fn a_failure_that_was_just_told_does_not_repeat_its_lines() {
    let events = [
        started(1, 1),
        begin("a", 0),
        output("a", Stream::Stdout, "boom"),
        failed("a", 5, "exit code 1"),
        ended(1, Counts { failed: 1, ..Counts::default() }),
    ];
    let (_, err) = plain(|_| {}, &events);
    assert_eq!(err.matches("boom").count(), 1, "{err}");
    assert_eq!(err.matches("full output is in").count(), 1, "{err}");
}

#[test]
fn quiet_tells_failures_and_the_summary() {
    let (_, err) = plain(|options| options.quiet = true, &sample_run());
    let wanted = "      failed  test:b            1 of 2 checks failed
    collected 2 items
    E  assert 1 == 2
error: task `test:b` failed: 1 of 2 checks failed
  --> tasks.yaml:7:3
  note: full output is in `.xtask/logs/test:b.log`
  note: not run because of this: `push:b`
      failed  1 failed, 2 ran, 1 up to date, 1 not run in 1m 12s, 3m 04s saved
";
    assert_eq!(err, wanted);
}

#[test]
fn verbose_tells_every_reason_and_every_task() {
    let reasons = vec![Reason::NeverRan, Reason::TargetMissing { path: "out.txt".into() }];
    let mut events = vec![started(1000, 4), decided("a", reasons)];
    events.push(finished("b", Outcome::UpToDate, 0));
    assert_eq!(plain(|_| {}, &events).1, "   needs run  a                 never ran (and 1 more reason)\n");
    let wanted = "   needs run  a                 never ran
                                target `out.txt` is missing
  up to date  b
";
    assert_eq!(plain(|options| options.verbose = 1, &events).1, wanted);
}

#[test]
fn hidden_tasks_are_silent_until_they_fail() {
    let hide = |mut event: Event| {
        match &mut event {
            Event::TaskDecided { hidden, .. } | Event::TaskFinished { hidden, .. } => *hidden = true,
            _ => {}
        }
        event
    };
    let events: Vec<Event> = sample_run().into_iter().map(hide).collect();
    let (_, err) = plain(|_| {}, &events);
    assert!(err.starts_with("    warning: old base\n      failed  test:b"), "{err}");
    assert!(!err.contains("not run because"), "{err}");
}

#[test]
fn prefixed_and_raw_output_come_at_once() {
    let events = [
        started(2, 2),
        begin("a", 2),
        begin("b", 1),
        output("a", Stream::Stdout, "one"),
        output("b", Stream::Stdout, "hidden"),
        output("b", Stream::Stderr, "two\x1b]0;x\x07"),
        output("a", Stream::Stderr, "three"),
    ];
    let prefixed = plain(|options| options.output = OutputMode::Prefixed, &events);
    assert_eq!(prefixed, (String::new(), "a | one\nb | two\na | three\n".to_owned()));
    let raw = plain(|options| options.output = OutputMode::Raw, &events);
    assert_eq!(raw, ("one\n".to_owned(), "two\nthree\n".to_owned()));
}

#[test]
fn with_one_worker_output_is_live() {
    let events = [started(1, 1), begin("a", 2), output("a", Stream::Stdout, "now")];
    assert_eq!(plain(|_| {}, &events).1, "    now\n");
}

/// Row P12 at this level: 64 tasks in turn, both streams.
#[test]
fn p12_no_line_is_torn_and_each_task_keeps_its_order() {
    let mut events = vec![started(64, 64)];
    events.extend((0..64).map(|task| begin(&format!("t{task}"), 2)));
    for line in 0..200 {
        for task in 0..64 {
            let stream = if line % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            events.push(output(&format!("t{task}"), stream, &format!("t{task} line {line}")));
        }
    }
    events.extend((0..64).map(|task| finished(&format!("t{task}"), Outcome::Ran, 1)));
    let (_, err) = plain(|_| {}, &events);
    for task in 0..64 {
        let lines: Vec<&str> = err.lines().filter(|line| line.starts_with(&format!("    t{task} "))).collect();
        let wanted: Vec<String> = (0..200).map(|line| format!("    t{task} line {line}")).collect();
        assert_eq!(lines, wanted);
    }
}

/// Row P13 at this level: the reader is gone.
#[test]
fn p13_a_closed_pipe_stops_nothing() {
    struct Gone;
    impl std::io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }
    for (_, kind) in Kind::NAMES {
        let mut reporter = super::make(kind, Options::new(Box::new(Gone), Box::new(Gone)));
        tell(&mut *reporter, &sample_run());
        reporter.diagnostics(&[Diagnostic::error("`x` is odd")]);
        reporter.finish();
    }
}

#[test]
fn watch_has_its_lines() {
    let events = [
        Event::WatchChanged { paths: vec!["a".into(), "b".into()], total: 5, rescan: false },
        Event::WatchChanged { paths: vec![], total: 0, rescan: true },
        Event::WatchIdle { keys: false, bad: 0, broken: false },
    ];
    let wanted =
        "     changed  `a`, `b` and 3 more\n     changed  everything was looked at again\n       waits  for changes\n";
    assert_eq!(plain(|_| {}, &events).1, wanted);
}

#[test]
fn json_is_one_object_per_line_in_version_1() {
    let (options, out, err) = taped();
    let mut reporter = Json::new(options);
    tell(&mut reporter, &sample_run());
    reporter.diagnostics(&[Diagnostic::error("`x` is odd").help("remove it")]);
    reporter.finish();
    let wanted = r#"{"v":1,"event":"run_started","run":"r1","tasks":5,"workers":2,"expected":90.0}
{"v":1,"event":"task_decided","task":"lint","verdict":"up-to-date","reasons":[]}
{"v":1,"event":"task_finished","task":"lint","outcome":"up-to-date","seconds":0.0}
{"v":1,"event":"task_decided","task":"build:a","verdict":"run","reasons":[{"kind":"file_dep_changed","path":"images/a/Dockerfile","old":"1","new":"2"},{"kind":"forgotten"}]}
{"v":1,"event":"task_started","task":"build:a","title":"build:a"}
{"v":1,"event":"task_output","task":"build:a","stream":"stdout","text":"Step 1/2"}
{"v":1,"event":"task_output","task":"build:a","stream":"stderr","text":"warning: old base"}
{"v":1,"event":"task_decided","task":"test:b","verdict":"run","reasons":[{"kind":"never_ran"}]}
{"v":1,"event":"task_started","task":"test:b","title":"test:b"}
{"v":1,"event":"task_output","task":"test:b","stream":"stdout","text":"collected 2 items"}
{"v":1,"event":"task_output","task":"test:b","stream":"stderr","text":"E  assert 1 == 2"}
{"v":1,"event":"task_finished","task":"build:a","outcome":"ran","seconds":72.0,"remark":"same image as before"}
{"v":1,"event":"task_finished","task":"test:b","outcome":"failed","seconds":1.25,"problem":{"severity":"error","message":"task `test:b` failed: 1 of 2 checks failed","places":[{"file":"tasks.yaml","line":7,"column":3,"text":""}],"causes":[],"notes":[],"helps":[]},"log":".xtask/logs/test:b.log"}
{"v":1,"event":"task_finished","task":"push:b","outcome":"unmet","seconds":0.0,"because":["test:b"]}
{"v":1,"event":"task_decided","task":"docs","verdict":"run","reasons":[{"kind":"always"}]}
{"v":1,"event":"task_started","task":"docs","title":"docs"}
{"v":1,"event":"task_output","task":"docs","stream":"stdout","text":"written"}
{"v":1,"event":"task_finished","task":"docs","outcome":"ran","seconds":0.04}
{"v":1,"event":"run_finished","exit":1,"counts":{"up-to-date":1,"ran":2,"failed":1,"error":0,"unmet":1,"ignored":0,"interrupted":0,"skipped":0},"seconds":72.0,"saved":184.0}
{"v":1,"event":"diagnostic","severity":"error","message":"`x` is odd","places":[],"causes":[],"notes":[],"helps":["remove it"]}
"#;
    assert_eq!(out.text(), wanted);
    assert_eq!(err.text(), "error: `x` is odd\n  help: remove it\n");
}
