//! Containers are kept and found again, replaced when they are not what is wanted, and shared by processes.

use std::process::Stdio;

use super::lab::{Lab, containers_of, docker, wait_for};

fn id(lab: &Lab, words: &[&str]) -> String {
    lab.run(words).fine();
    let kept = lab.kept();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["state"], "idle");
    kept[0]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn an_idle_container_is_used_again() {
    let lab = Lab::new("recycle");
    let first = id(&lab, &["-c", "echo here > /tmp/trace"]);
    assert_eq!(lab.run(&["-c", "cat /tmp/trace"]).fine().text(), "here\n");
    assert_eq!(id(&lab, &["-c", "exit 0"]), first);
    let fresh = lab.run(&["--fresh", "-c", "cat /tmp/trace || echo none"]).fine();
    assert_eq!(fresh.text(), "none\n");
    assert_eq!(containers_of(&lab.name()), [first], "the fresh one is gone");
}

#[test]
fn what_is_not_wanted_is_replaced() {
    let lab = Lab::new("replace");
    let name = lab.name();
    lab.write("one/a", "1");
    lab.write("two/a", "2");
    let mut last = id(&lab, &["--mount", "one:/data", "-c", "cat /data/a"]);
    let mut is_new = |what: &str, now: String| {
        assert_ne!(now, last, "{what}");
        assert_eq!(containers_of(&lab.name()), std::slice::from_ref(&now), "{what}");
        last = now;
    };
    is_new("other data", id(&lab, &["--mount", "two:/data", "-c", "cat /data/a"]));
    is_new("another variable", id(&lab, &["--mount", "two:/data", "--env", "A=1", "-c", "true"]));
    is_new("another limit", id(&lab, &["--memory", "128m", "-c", "true"]));
    is_new("plain", id(&lab, &["-c", "true"]));
    lab.write(&format!("environments/{name}/note.txt"), "newer\n");
    is_new("a newer image", id(&lab, &["-c", "cat /note.txt"]));
    docker(&["stop", "--time", "0", &containers_of(&name)[0]]);
    is_new("a stopped one", id(&lab, &["-c", "true"]));
}

#[test]
fn an_unhealthy_container_is_replaced_and_a_new_one_waited_for() {
    let lab = Lab::new("health");
    let name = lab.name();
    let file = format!("environments/{name}/Dockerfile_{name}");
    let text = std::fs::read_to_string(lab.path(&file)).expect("a Dockerfile");
    let check =
        "HEALTHCHECK --interval=1s --retries=1 --start-period=30s CMD [\"sh\", \"-c\", \"test ! -e /tmp/sick\"]\n";
    lab.write(&file, format!("{text}{check}"));
    let first = id(&lab, &["-c", "true"]);
    lab.run(&["-c", "touch /tmp/sick"]).fine();
    let state = || docker(&["inspect", "--format", "{{.State.Health.Status}}", &first]);
    wait_for("the engine finds it unhealthy", || state() == "unhealthy");
    assert_ne!(id(&lab, &["-c", "test ! -e /tmp/sick"]), first);
}

#[test]
fn the_ready_command_is_waited_for_and_has_a_limit() {
    let lab = Lab::new("ready");
    let name = lab.name();
    let file = format!("environments/{name}/metadata.yml");
    let text = std::fs::read_to_string(lab.path(&file)).expect("metadata");
    // Succeeds at the third try.
    let ready = "ready: \"echo x >> /tmp/tries; test $(wc -l < /tmp/tries) -ge 3\"\n";
    lab.write(&file, format!("{text}{ready}"));
    assert_eq!(lab.run(&["-c", "wc -l < /tmp/tries"]).fine().text().trim(), "3");
    lab.say(&["env", "stop"]).fine();
    lab.write(&file, format!("{text}ready: \"echo not yet; false\"\nready_timeout: 1\n"));
    let said = lab.run(&["-c", "true"]);
    assert_eq!(said.code, 125);
    assert!(said.err.contains("was not ready within 1 s: the command `ready`"), "{}", said.err);
    assert!(said.err.contains("note: it said: not yet"), "{}", said.err);
    assert!(containers_of(&name).is_empty());
}

#[test]
fn many_at_once_prepare_once_and_share_nothing_by_accident() {
    let lab = Lab::new("many");
    let name = lab.name();
    let children: Vec<_> = (0..4)
        .map(|number| {
            let text = format!("echo {number}; cat /tmp/mine 2>/dev/null; echo {number} > /tmp/mine; sleep 1");
            let mut command = lab.command(&["env", "run", &name, "-c", &text]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program")
        })
        .collect();
    let mut builds = 0;
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().expect("an end");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{err}");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(out.lines().next(), Some(&*number.to_string()), "{out}");
        builds += err.matches("needs run").count();
    }
    assert_eq!(builds, 1, "the others waited for it");
    let kept = lab.kept();
    assert!(kept.iter().all(|one| one["state"] == "idle") && !kept.is_empty(), "{kept:?}");
    assert!(lab.say(&["env", "stop", &name]).fine().text().starts_with("removed "));
    assert!(containers_of(&name).is_empty());
}

#[test]
fn a20_the_same_asked_for_twice_at_once_runs_once() {
    let lab = Lab::new("twice");
    lab.write("count", "");
    lab.run(&["-c", "true"]).fine();
    let text = "echo x >> /data/count; echo out; echo err >&2; sleep 3; echo late; exit 5";
    let data = format!("{}:/data", lab.root().display());
    let spawn = || {
        let mut command = lab.command(&["env", "run", &lab.name(), "--mount", &data, "-c", text]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program")
    };
    let first = spawn();
    wait_for("the first runs", || std::fs::read_to_string(lab.path("count")).is_ok_and(|text| text == "x\n"));
    let second = spawn();
    for child in [first, second] {
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.status.code(), Some(5));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "out\nlate\n");
        assert!(String::from_utf8_lossy(&output.stderr).contains("err\n"));
    }
    assert_eq!(std::fs::read_to_string(lab.path("count")).expect("a file"), "x\n", "it ran once");
    let again = lab.run(&["--mount", &data, "-c", text]);
    assert_eq!(again.code, 5);
    assert_eq!(std::fs::read_to_string(lab.path("count")).expect("a file"), "x\nx\n", "later it runs again");
}

#[test]
fn a_busy_container_is_not_stopped_without_force() {
    let lab = Lab::new("busy");
    lab.run(&["-c", "true"]).fine();
    let mut command = lab.command(&["env", "run", &lab.name(), "-c", "sleep 300"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
    wait_for("it runs", || lab.kept().iter().any(|one| one["state"] == "running"));
    let said = lab.say(&["env", "stop"]).fine();
    assert_eq!(said.text(), "removed 0 containers\n");
    assert!(said.err.contains("help: cargo xtask env stop --force"), "{}", said.err);
    assert_eq!(lab.say(&["env", "gc"]).fine().text(), "removed 0 containers, 0 of them left over\n");
    assert_eq!(lab.say(&["env", "stop", "--force"]).fine().text(), "removed 1 container\n");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn a_host_is_an_engine_by_name() {
    let mut lab = Lab::new("host");
    let folder = lab.path("docker/contexts/meta").join(xtask::model::Digest::of(b"beyond").hex());
    let meta = serde_json::json!({"Name": "beyond", "Endpoints": {"docker": {"Host": "unix:///var/run/docker.sock"}}});
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("meta.json"), meta.to_string()).expect("a context");
    lab.env.insert("DOCKER_CONFIG".into(), lab.path("docker").display().to_string());
    // Where nothing listens: only the host's engine can have answered.
    lab.env.insert("DOCKER_HOST".into(), "unix:///nowhere.sock".into());
    assert_eq!(lab.run(&["--host", "beyond", "-c", "echo there"]).fine().text(), "there\n");
    let listed = lab.say(&["env", "ps", "--host", "beyond", "--json"]).fine();
    assert!(listed.text().contains("idle"), "{}", listed.text());
    let unknown = lab.run(&["--host", "beyonds", "-c", "true"]);
    assert!(
        unknown.code == 3 && unknown.err.contains("a host with a similar name exists: `beyond`"),
        "{}",
        unknown.err
    );
    let nowhere = lab.run(&["-c", "true"]);
    assert!(nowhere.code == 125 && nowhere.err.contains("nowhere.sock"), "{} {}", nowhere.code, nowhere.err);
}
