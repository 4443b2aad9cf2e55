//! What is written down of images, and which of them go; sessions with shared memory.

use std::process::Stdio;

use super::lab::{Lab, docker, wait_for};

fn records(lab: &Lab) -> Vec<serde_json::Value> {
    let said = lab.say(&["env", "cache", "list", "--json"]).fine();
    serde_json::from_slice(&said.out).expect("JSON")
}

fn is_there(record: &serde_json::Value) -> bool {
    !docker(&["image", "inspect", "--format", "{{.Id}}", record["id"].as_str().expect("an id")]).is_empty()
}

#[test]
fn builds_and_uses_are_written_down() {
    let lab = Lab::new("records");
    let name = lab.name();
    let file = format!("environments/{name}/Dockerfile_{name}");
    let good = std::fs::read_to_string(lab.path(&file)).expect("a Dockerfile");
    lab.write(&file, format!("{good}RUN echo the reason >&2; exit 4\n"));
    let broken = lab.run(&["-c", "true"]);
    assert_eq!(broken.code, 125, "{}", broken.err);
    let [failed] = &records(&lab)[..] else { panic!("one record") };
    assert_eq!((failed["status"].as_str(), failed["id"].as_str()), (Some("failed"), None));
    assert!(failed["error"].as_str().expect("an error").contains("exit code"), "{failed}");
    lab.write(&file, &good);
    lab.run(&["-c", "true"]).fine();
    lab.run(&["-c", "true"]).fine();
    let found = records(&lab);
    let made = found.iter().find(|one| one["status"] == "available").expect("the image");
    assert_eq!((made["environment"].as_str(), made["uses"].as_u64()), (Some(&*name), Some(2)));
    assert!(made["size"].as_u64() > Some(500_000) && made["build_seconds"].as_f64() > Some(0.0), "{made}");
    assert_eq!(made["build_config"]["version"], "0.1.0");
    assert!(is_there(made));
    let table = lab.say(&["env", "cache", "list"]).fine().text();
    assert!(table.contains("available") && table.contains("failed: error:"), "{table}");
}

#[test]
fn the_image_that_was_not_used_for_the_longest_time_goes_unless_it_is_in_use() {
    let mut lab = Lab::new("evict");
    lab.env.insert("XTASK_ENV_CACHE_LIMIT".into(), "1".into());
    let name = lab.name();
    let note = format!("environments/{name}/note.txt");
    lab.run(&["-c", "true"]).fine();
    let first = records(&lab).remove(0);
    // In use: a container of it runs.
    let mut command = lab.command(&["env", "run", &name, "-c", "sleep 300"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
    wait_for("it runs", || lab.kept().iter().any(|one| one["state"] == "running"));
    lab.write(&note, "second\n");
    lab.run(&["-c", "true"]).fine();
    assert!(is_there(&first), "a container uses it");
    assert_eq!(records(&lab).len(), 2);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    let second = records(&lab).into_iter().find(|one| one["id"] != first["id"]).expect("the second");
    lab.say(&["env", "gc"]).fine();
    lab.write(&note, "third\n");
    lab.run(&["-c", "true"]).fine();
    assert!(!is_there(&first) && !is_there(&second), "both are gone from the engine");
    let left = records(&lab);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(lab.say(&["env", "cache", "prune", "--all"]).fine().text(), "removed 1 image\n");
    assert!(records(&lab).is_empty() && !is_there(&left[0]));
    lab.env.insert("XTASK_ENV_CACHE_LIMIT".into(), "none".into());
    lab.write(&note, "fourth\n");
    let wrong = lab.run(&["-c", "true"]);
    assert!(wrong.code == 125 && wrong.err.contains("`XTASK_ENV_CACHE_LIMIT` is `none`"), "{}", wrong.err);
}

#[test]
fn runs_of_a_session_share_memory_and_leave_none() {
    let lab = Lab::new("session");
    lab.run(&["-c", "true"]).fine();
    let spawn = |text: &str| {
        let mut command = lab.command(&["env", "run", &lab.name(), "--session", "s1", "-c", text]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program")
    };
    let wait = |file: &str| format!("n=0; while [ ! -e {file} ] && [ $n -lt 900 ]; do sleep 0.1; n=$((n+1)); done");
    let first = spawn(&format!("echo ping > /dev/shm/ping; {}; cat /tmp/iceoryx2/pong", wait("/tmp/iceoryx2/pong")));
    let second = spawn(&format!("{}; cat /dev/shm/ping; echo pong > /tmp/iceoryx2/pong", wait("/dev/shm/ping")));
    let out = |child: std::process::Child| {
        let output = child.wait_with_output().expect("an end");
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (second, first) = (out(second), out(first));
    assert_eq!((first.0.as_str(), second.0.as_str()), ("pong\n", "ping\n"), "{}{}", first.1, second.1);
    let other = lab.run(&["--session", "s2", "-c", "ls -A /dev/shm /tmp/iceoryx2; echo left > /dev/shm/left"]);
    assert_eq!(other.fine().text(), "/dev/shm:\n\n/tmp/iceoryx2:\n", "another session sees nothing of it");
    let again = lab.run(&["--session", "s2", "-c", "ls -A /dev/shm"]).fine();
    assert_eq!(again.text(), "", "what the last one left is gone");
    let both = lab.run(&["--session", "s2", "--shm-size", "64m", "-c", "true"]);
    assert_eq!(both.code, 3);
}
