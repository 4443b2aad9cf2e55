//! How one process ends, what it reads and what is said about it.

use super::*;

#[test]
fn streams_are_separate_and_the_log_is_verbatim() {
    let seen = run_it(&shell("printf 'a\\nb'; printf 'x\\n' >&2"));
    assert_eq!(seen.result.exit, Exit::Code(0));
    assert_eq!(seen.text(Stream::Stdout), ["a", "b"]);
    assert_eq!(seen.text(Stream::Stderr), ["x"]);
    assert_eq!(seen.result.stdout, b"a\nb");
    assert_eq!(seen.log.len(), 5);
    assert!(!seen.result.leaky && !seen.result.truncated);
}

#[test]
fn e14_codes_and_signals_have_their_class() {
    for (text, exit, outcome) in [
        ("exit 3", Exit::Code(3), Outcome::Failed),
        ("exit 126", Exit::Code(126), Outcome::Error),
        ("no-such-program-here", Exit::Code(127), Outcome::Error),
        ("kill -9 $$", Exit::Signal(9), Outcome::Error),
        ("kill -2 $$", Exit::Signal(2), Outcome::Error),
    ] {
        let seen = run_it(&shell(text));
        assert_eq!((seen.result.exit.clone(), seen.result.exit.outcome()), (exit, outcome), "{text}");
    }
}

#[test]
fn f15_a_missing_program_is_an_error_with_the_searched_path() {
    let mut spec = command(&["no-such-program-here"]);
    spec.env = vec![("PATH".into(), "/bin:/sbin".into())].into();
    let exit = run_it(&spec).result.exit;
    assert_eq!(exit, Exit::NotFound { program: "no-such-program-here".into(), path: "/bin:/sbin".into() });
    assert_eq!(exit.outcome(), Outcome::Error);
}

#[test]
fn what_the_system_refuses_is_said_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "echo hi\n").unwrap();
    let said = |argv: &[&str], cwd: &std::path::Path| {
        let mut spec = command(argv);
        spec.cwd = cwd.to_owned();
        run_it(&spec).result.exit.diagnostic("task `a`").unwrap().to_string()
    };
    let text = said(&["./script"], dir.path());
    assert!(text.contains("`./script` was not started: it is not executable"), "{text}");
    let text = said(&["sh", "-c", "true"], &dir.path().join("gone"));
    assert!(text.contains("cwd `") && text.contains("is not a directory"), "{text}");
    let long = "x".repeat(4 << 20);
    let text = said(&["sh", "-c", &long], dir.path());
    assert!(text.contains("its arguments and environment are too long"), "{text}");
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    let mut spec = command(&["env"]);
    spec.env = vec![("PATH".into(), std::env::var_os("PATH").unwrap()), ("A".into(), "b c".into())].into();
    let seen = run_it(&spec);
    let mut names: Vec<&str> = seen.text(Stream::Stdout);
    names.sort_unstable();
    assert_eq!(names[0], "A=b c");
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn p16_stdin_is_at_its_end_unless_it_is_given() {
    let start = Instant::now();
    let seen = run_it(&shell("cat; echo done"));
    assert_eq!(seen.text(Stream::Stdout), ["done"]);
    assert!(start.elapsed() < Duration::from_secs(5));

    let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut spec = shell("sha256sum");
    spec.stdin = Stdin::Bytes(bytes.clone());
    let seen = run_it(&spec);
    assert!(seen.text(Stream::Stdout)[0].starts_with(&crate::model::Digest::of(&bytes).hex()));

    spec = shell("exit 4");
    spec.stdin = Stdin::Bytes(bytes);
    assert_eq!(run_it(&spec).result.exit, Exit::Code(4));
}

#[test]
fn p17_a_deadline_asks_first_and_then_kills() {
    let mut polite = shell("trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done");
    polite.timeout = Some(Duration::from_millis(200));
    let seen = run_it(&polite);
    assert_eq!(seen.result.exit, Exit::TimedOut(Duration::from_millis(200)));
    assert_eq!(seen.text(Stream::Stdout), ["bye"]);
    assert!(seen.result.duration < Duration::from_millis(900), "{:?}", seen.result.duration);

    let mut deaf = shell("trap '' TERM; while :; do sleep 0.01; done");
    deaf.timeout = Some(Duration::from_millis(200));
    deaf.grace = Duration::from_millis(300);
    let seen = run_it(&deaf);
    assert_eq!(seen.result.exit, Exit::TimedOut(Duration::from_millis(200)));
    assert!(seen.result.duration >= Duration::from_millis(500), "{:?}", seen.result.duration);
    assert!(seen.result.duration < Duration::from_secs(3), "{:?}", seen.result.duration);
}

#[test]
fn a_process_that_does_nothing_is_ended_and_one_that_works_is_not() {
    let mut idle = command(&["sleep", "100"]);
    idle.idle_limit = Some(Duration::from_millis(400));
    let seen = run_it(&idle);
    assert_eq!(seen.result.exit, Exit::Stalled(Duration::from_millis(400)));
    assert!(seen.result.duration < Duration::from_secs(2));
    for text in [
        "for i in 1 2 3 4 5 6; do sleep 0.15; echo x; done",
        "exec dd if=/dev/zero of=/dev/null bs=1M count=40000 2>/dev/null",
    ] {
        let mut busy = shell(text);
        busy.idle_limit = Some(Duration::from_millis(500));
        assert!(!matches!(run_it(&busy).result.exit, Exit::Stalled(_)), "{text}");
    }
}

#[test]
fn nothing_is_started_after_a_request_to_stop() {
    let stop = StopToken::new();
    stop.request(Stop::Gently);
    let seen = run_with(&shell("echo started"), &stop);
    assert_eq!(seen.result.exit, Exit::Stopped);
    assert!(seen.log.is_empty());
}

#[test]
fn a_log_that_cannot_be_written_ends_the_process() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(libc::ENOSPC))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let spec = shell("while :; do echo x; sleep 0.01; done");
    let result = run(&spec, &mut |_, _| {}, &mut Full, &StopToken::new());
    assert!(matches!(&result.exit, Exit::LogFailed(cause) if cause.contains("No space")), "{:?}", result.exit);
    assert!(result.duration < Duration::from_secs(5));
}
