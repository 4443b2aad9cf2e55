//! How a run ends: on time limits, on memory limits, with its container, with the program, and what is left then.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::lab::{Lab, containers_of, docker, wait_for};

/// Starts a run and waits until the script says something.
fn start(lab: &Lab, words: &[&str]) -> std::process::Child {
    use std::io::Read;
    let name = lab.name();
    let mut command = lab.command(&[&["env", "run", &name], words].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    let mut byte = [0];
    child.stdout.as_mut().expect("a stream").read_exact(&mut byte).expect("the script runs");
    child
}

#[test]
fn the_time_limit_ends_it() {
    let lab = Lab::new("limit");
    lab.run(&["-c", "true"]).fine();
    let begin = Instant::now();
    let said = lab.run(&["--timeout", "1.5", "-c", "echo begun; sleep 300 & sleep 300"]);
    assert_eq!((said.code, said.text().as_str()), (124, "begun\n"));
    assert!(begin.elapsed() < Duration::from_mins(1), "{:?}", begin.elapsed());
    assert!(said.err.contains("error: script `command` was ended, because its 1.5 s were over"), "{}", said.err);
    assert!(said.err.contains("help: --timeout 3s"), "{}", said.err);
    assert!(containers_of(&lab.name()).is_empty(), "its container goes with what still ran");
}

#[test]
fn the_memory_limit_is_named_when_it_kills() {
    let lab = Lab::new("memory");
    let said = lab.run(&["--memory", "32m", "-c", "echo begun; dd if=/dev/zero of=/dev/null bs=200M count=1"]);
    assert_eq!(said.code, 137, "{}", said.err);
    assert!(said.err.contains("was killed at its limit: `--memory` is 32 MiB"), "{}", said.err);
    assert!(said.err.contains("help: --memory 64m"), "{}", said.err);
}

#[test]
fn a_container_that_goes_away_is_an_engine_that_was_lost() {
    let lab = Lab::new("lost");
    let child = start(&lab, &["-c", "echo begun; sleep 300"]);
    docker(&["rm", "--force", &containers_of(&lab.name())[0]]);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(125));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("was lost with its container or engine"), "{err}");
}

#[test]
fn an_interrupt_ends_the_script_and_its_container() {
    let lab = Lab::new("interrupt");
    let child = start(&lab, &["-c", "echo begun; sleep 300"]);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(containers_of(&lab.name()).is_empty());
}

#[test]
fn what_a_script_leaves_running_is_ended_and_does_not_hold_the_run() {
    let lab = Lab::new("background");
    let begin = Instant::now();
    lab.run(&["-c", "sleep 300 & echo $! > /tmp/pid; (sleep 301 &) ; echo done"]).fine();
    assert!(begin.elapsed() < Duration::from_mins(1), "{:?}", begin.elapsed());
    let next = lab.run(&["-c", "cat /tmp/pid >/dev/null && echo same; ps | grep -c '[s]leep 30[01]'"]);
    assert_eq!(next.text(), "same\n0\n", "{}", next.err);
}

/// Kills runs at random moments; nothing of them stays once somebody looks.
fn kill_often(rounds: usize) {
    let lab = Lab::new("kills");
    let name = lab.name();
    lab.run(&["-c", "true"]).fine();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    for round in 0..rounds {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let script = format!("echo {round}; sleep 300");
        let words = ["env", "run", name.as_str(), "--env", &format!("ROUND={}", round % 3), "-c", &script];
        let fresh: &[&str] = if seed & 1 == 0 { &["--fresh"] } else { &[] };
        let mut command = lab.command(&[&words[..3], fresh, &words[3..]].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
        std::thread::sleep(Duration::from_millis(seed % 700));
        child.kill().expect("a kill");
        child.wait().expect("an end");
    }
    // The engine may still be making what the last one asked for.
    wait_for("nothing is left over", || {
        lab.say(&["env", "gc"]).fine();
        containers_of(&name).is_empty() && lab.kept().is_empty()
    });
    let label = "label=dev.xtask.env.client";
    let ours = docker(&["ps", "--all", "--format", "{{.Names}} {{.Image}}", "--filter", label]);
    assert!(!ours.contains(&lab.word), "{ours}");
    let leases: usize = std::fs::read_dir(lab.path("cache/leases"))
        .expect("leases")
        .map(|scope| std::fs::read_dir(scope.expect("a folder").path()).expect("files").count())
        .sum();
    assert_eq!(leases, 0);
    lab.run(&["-c", "echo well"]).fine();
}

#[test]
fn nothing_is_left_of_runs_that_were_killed() {
    let rounds = std::env::var("XTASK_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    kill_often(rounds);
}
