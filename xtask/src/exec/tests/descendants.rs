//! Who is left after a process has ended: nobody.

use super::*;

#[test]
fn p5_a_grandchild_that_holds_the_pipe_does_not_hold_the_task() {
    let _supervisor = supervise();
    let sleep = unique_sleep();
    let seen = run_it(&shell(&format!("echo out; sleep {sleep} & exit 0")));
    assert_eq!(seen.result.exit, Exit::Code(0));
    assert_eq!(seen.text(Stream::Stdout), ["out"]);
    assert!(seen.result.leaky);
    assert!(seen.result.duration < Duration::from_millis(900), "{:?}", seen.result.duration);
    assert_eq!(living(&sleep), Vec::<i32>::new());
}

#[test]
fn a_grandchild_that_ends_in_time_is_no_leak() {
    let seen = run_it(&shell("(sleep 0.05; echo late) & exit 0"));
    assert_eq!(seen.text(Stream::Stdout), ["late"]);
    assert!(!seen.result.leaky);
}

#[test]
fn p1_polite_deaf_and_forking_children_end_within_the_grace() {
    let supervisor = supervise();
    let sleep = unique_sleep();
    for text in [
        format!("sleep {sleep}"),
        format!("trap '' INT TERM; sleep {sleep}; sleep {sleep}; sleep {sleep}"),
        format!("for i in 1 2 3 4; do sh -c 'sleep {sleep} & wait' & done; wait"),
    ] {
        let stop = StopToken::new();
        let later = request_later(&stop, Stop::Gently, Duration::from_millis(200));
        let seen = run_with(&shell(&text), &stop);
        later.join().unwrap();
        assert_eq!(seen.result.exit, Exit::Stopped, "{text}");
        assert!(seen.result.duration < Duration::from_secs(3), "{text}: {:?}", seen.result.duration);
        assert_eq!(living(&sleep), Vec::<i32>::new(), "{text}");
    }
    assert_eq!(supervisor.end(), 0);
}

#[test]
fn p2_the_second_request_kills_at_once() {
    let sleep = unique_sleep();
    let mut spec = shell(&format!("trap '' INT TERM; sleep {sleep}; sleep {sleep}"));
    spec.grace = Duration::from_mins(1);
    let stop = StopToken::new();
    let first = request_later(&stop, Stop::Gently, Duration::from_millis(200));
    let second = request_later(&stop, Stop::Now, Duration::from_millis(500));
    let seen = run_with(&spec, &stop);
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(seen.result.exit, Exit::Stopped);
    assert!(seen.result.duration < Duration::from_millis(1500), "{:?}", seen.result.duration);
    assert_eq!(living(&sleep), Vec::<i32>::new());
}

/// Forks twice and leaves the session, with and without the pipes.
fn daemons(sleep: &str) -> String {
    format!(
        "setsid sh -c 'setsid sleep {sleep} & exec sleep {sleep}' >/dev/null 2>&1 </dev/null & \
         setsid sleep {sleep} >/dev/null 2>&1 & sleep 0.02"
    )
}

#[test]
fn p4_who_leaves_the_session_is_found_too() {
    let supervisor = supervise();
    let sleep = unique_sleep();
    for _ in 0..20 {
        let seen = run_it(&shell(&daemons(&sleep)));
        assert_eq!(seen.result.exit, Exit::Code(0));
    }
    supervisor.end();
    assert_eq!(living(&sleep), Vec::<i32>::new());
}

#[test]
fn p4_a_daemon_that_holds_the_pipe_is_ended_with_its_task() {
    let _supervisor = supervise();
    let sleep = unique_sleep();
    let seen = run_it(&shell(&format!("setsid sleep {sleep} & sleep 0.05")));
    assert!(seen.result.leaky);
    assert_eq!(living(&sleep), Vec::<i32>::new());
}

#[test]
fn a_daemon_of_a_task_that_runs_is_left_alone() {
    let supervisor = supervise();
    let sleep = unique_sleep();
    let inner = sleep.clone();
    let long = std::thread::spawn(move || {
        let text =
            format!("setsid sleep {inner} >/dev/null 2>&1 & sleep 1.2; pkill -0 -f 'sleep {inner}' && echo alive");
        run_it(&shell(&text)).lines
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(900) {
        run_it(&shell("sleep 0.01"));
    }
    assert_eq!(long.join().unwrap(), [(Stream::Stdout, "alive".to_owned())]);
    supervisor.end();
    assert_eq!(living(&sleep), Vec::<i32>::new());
}

#[test]
fn a_service_stays_until_the_end_of_the_run_if_it_may() {
    let supervisor = supervise();
    let sleep = unique_sleep();
    let mut spec = shell(&format!("sleep {sleep} >/dev/null 2>&1 &"));
    spec.keep_background = true;
    let seen = run_it(&spec);
    assert!(!seen.result.leaky);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(200));
        run_it(&shell("true"));
    }
    assert_eq!(living(&sleep).len(), 1);
    assert_eq!(supervisor.end(), 1);
    assert_eq!(living(&sleep), Vec::<i32>::new());
}

#[test]
fn the_dead_are_taken_off_the_list_while_a_task_runs() {
    let _supervisor = supervise();
    // The inner process is orphaned, ends, and must not be seen as a zombie by the one that waits for its number.
    let text = "sh -c 'sleep 0.1 & echo $!' > pid; read pid < pid; sleep 0.3; \
                for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do kill -0 $pid 2>/dev/null || { echo gone; exit 0; }; \
                sleep 0.1; done; exit 1";
    let dir = tempfile::tempdir().unwrap();
    let mut spec = shell(text);
    spec.cwd = dir.path().to_owned();
    let seen = run_it(&spec);
    assert_eq!(seen.text(Stream::Stdout), ["gone"]);
}

#[test]
fn children_of_other_rooms_are_none_of_ours() {
    let supervisor = supervise();
    let mut other = std::process::Command::new("sleep").arg("30").spawn().unwrap();
    run_it(&shell("true"));
    supervisor.end();
    assert!(other.try_wait().unwrap().is_none(), "a child that another room started was ended");
    other.kill().unwrap();
    other.wait().unwrap();
}

/// Starts this test program again, in the test `killed_run_process` below; returns it when its task runs.
/// `outer` is the token of the run that it has joined.
fn killed_run(sleep: &str, token: &str, outer: &str, root: &std::path::Path) -> std::process::Child {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .env("XTASK_TOKEN", outer)
        .args(["--exact", "exec::tests::descendants::killed_run_process", "--ignored", "-q"])
        .envs([("KILL_TEST_SLEEP", sleep), ("KILL_TEST_TOKEN", token)])
        .env("KILL_TEST_ROOT", root)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while living(sleep).len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(20), "the task of the other process never ran");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
#[ignore = "the other process of the tests here"]
fn killed_run_process() {
    let Some(sleep) = std::env::var_os("KILL_TEST_SLEEP") else { return };
    let sleep = sleep.into_string().unwrap();
    let _supervisor = supervise();
    let mut spec = shell(&format!("setsid sleep {sleep} & sleep {sleep} & sleep {sleep}; true"));
    std::sync::Arc::make_mut(&mut spec.env).push(("XTASK_TOKEN".into(), std::env::var_os("KILL_TEST_TOKEN").unwrap()));
    std::sync::Arc::make_mut(&mut spec.env).push(("XTASK_ROOT".into(), std::env::var_os("KILL_TEST_ROOT").unwrap()));
    run_it(&spec);
}

fn until_none(sleep: &str, limit: Duration) {
    let start = Instant::now();
    while !living(sleep).is_empty() {
        assert!(start.elapsed() < limit, "{:?} are left", living(sleep));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn p6_a_killed_run_leaves_nobody() {
    let root = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let sleep = unique_sleep();
        let mut child = killed_run(&sleep, &format!("token-{sleep}"), "", root.path());
        child.kill().unwrap();
        child.wait().unwrap();
        until_none(&sleep, Duration::from_secs(5));
    }
}

#[test]
fn p6_what_a_killed_run_left_is_ended_by_the_next() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sleep = unique_sleep();
    // A run that has joined another has no watchdog of its own.
    let mut child = killed_run(&sleep, "shared", "shared", root.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(end_leftovers(other.path()), 0);
    std::thread::sleep(Duration::from_millis(500));
    assert!(living(&sleep).len() >= 3);
    assert!(end_leftovers(root.path()) >= 3);
    until_none(&sleep, Duration::from_secs(5));
}

#[test]
fn the_watchdog_goes_with_a_run_that_ends_well() {
    let supervisor = supervise();
    let token = format!("token-{}", unique_sleep());
    let mut spec = shell("true");
    std::sync::Arc::make_mut(&mut spec.env).push(("XTASK_TOKEN".into(), token.clone().into()));
    run_it(&spec);
    run_it(&spec);
    assert_eq!(living(&token).len(), 1);
    assert_eq!(supervisor.end(), 0);
    assert_eq!(living(&token).len(), 1);
    drop(supervisor);
    assert_eq!(living(&token), Vec::<i32>::new());
}
