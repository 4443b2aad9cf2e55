//! Changed files in containers that run, on the engine: what is copied, what is done then, and when an image is built
//! instead. Knows nothing of the insides.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::lab::{Lab, containers_of, docker, wait_for};
use crate::support::spare::Spare;
use crate::support::sshd::Sshd;

/// A repository whose environment has a folder that nothing after its `COPY` reads.
fn lab(name: &str) -> Lab {
    let lab = Lab::new(name);
    let (env, base) = (lab.name(), super::lab::TASKS);
    lab.write(
        "tasks.yaml",
        format!(
            "{base}  live: {{ actions: [environment_live: {{ environment: {env}, exec: \"echo again >> /tmp/log\" }}] }}\n  \
             restart: {{ actions: [environment_live: {{ environment: {env}, restart: true }}] }}\n"
        ),
    );
    let dockerfile = format!("environments/{env}/Dockerfile_{env}");
    let text = std::fs::read_to_string(lab.path(&dockerfile)).expect("a Dockerfile");
    lab.write(&dockerfile, text + "COPY --chmod=0604 --chown=7:8 secret /app/secret\nCOPY app /app\n");
    write(&lab, "app/main.txt", "one\n");
    write(&lab, "secret", "s1\n");
    lab
}

fn write(lab: &Lab, path: &str, text: &str) {
    lab.write(&format!("environments/{}/{path}", lab.name()), text);
}

/// A run that goes on until it is killed.
struct Busy(Child);

impl Busy {
    fn start(lab: &Lab) -> (Self, String) {
        let mut command = lab.command(&["env", "run", &lab.name(), "--user", "image", "-c", "sleep 300"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
        let busy = Self(child);
        wait_for("it runs", || lab.kept().iter().any(|one| one["state"] == "running"));
        let id = lab.kept().iter().find(|one| one["state"] == "running").expect("it runs")["id"].clone();
        let id = id.as_str().expect("an id").to_owned();
        // It is in use before it runs.
        wait_for("it is there", || inside(&id, "cat /app/main.txt") == "one");
        (busy, id)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It may have ended with its container.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inside(id: &str, command: &str) -> String {
    docker(&["exec", id, "sh", "-c", command])
}

fn images(lab: &Lab) -> usize {
    docker(&["images", "--quiet", "--filter", &format!("label=dev.xtask.environment={}", lab.name())]).lines().count()
}

/// A watch of the task `live`; its events.
struct Watch {
    child: Child,
    events: Receiver<serde_json::Value>,
}

impl Watch {
    fn start(lab: &Lab, options: &[&str]) -> Self {
        let mut command = lab.command(&[&["--reporter", "json", "watch", "live"], options].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the program");
        let out = child.stdout.take().expect("its output");
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).expect("an event")).is_err() {
                    return;
                }
            }
        });
        Self { child, events }
    }

    /// What it says until it has nothing to do.
    #[track_caller]
    fn round(&self) -> String {
        let mut said = String::new();
        loop {
            let event = self.events.recv_timeout(Duration::from_secs(90)).expect("an event");
            match event["event"].as_str() {
                Some("watch_idle") => return said,
                Some("task_output") => said += &format!("{}\n", event["text"].as_str().unwrap_or_default()),
                Some("task_finished") => said += &format!("{}\n", event["outcome"].as_str().unwrap_or_default()),
                _ => {}
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_copies_what_a_copy_maps_and_builds_the_rest() {
    let lab = lab("live");
    let (_busy, id) = Busy::start(&lab);
    let built = images(&lab);
    let watch = Watch::start(&lab, &[]);
    assert!(watch.round().contains("has it already"));
    write(&lab, "app/main.txt", "two\n");
    let said = watch.round();
    assert!(said.contains("copy app/main.txt to /app/main.txt (COPY of line 10)") && said.ends_with("ran\n"), "{said}");
    assert_eq!(inside(&id, "cat /app/main.txt /tmp/log"), "two\nagain");
    assert_eq!(inside(&id, "stat -c '%a %u %g' /app/main.txt"), "644 0 0");
    write(&lab, "app/new/deep.txt", "new\n");
    write(&lab, "secret", "s2\n");
    // Both may be one round, or one each.
    wait_for("both are there", || inside(&id, "cat /app/new/deep.txt /app/secret") == "new\ns2");
    assert_eq!(inside(&id, "stat -c '%a %u %g' /app/secret"), "604 7 8");
    // What came after the build may go again.
    std::fs::remove_file(lab.path(&format!("environments/{}/app/new/deep.txt", lab.name()))).expect("it was there");
    wait_for("it is gone", || inside(&id, "ls -A /app/new").is_empty());
    while watch.events.recv_timeout(Duration::from_secs(1)).is_ok() {}
    // A touch is no change.
    write(&lab, "app/main.txt", "two\n");
    assert!(!watch.round().contains("ran"));
    assert_eq!(images(&lab), built, "nothing was built");
    // A `RUN` stands behind this one.
    write(&lab, "note.txt", "another\n");
    let said = watch.round();
    assert!(said.contains("may have read `note.txt`") && said.contains("1 container in use"), "{said}");
    assert_eq!(images(&lab), built + 1);
    assert_eq!(containers_of(&lab.name()), [id]);
}

#[test]
fn a_copy_makes_no_image_up_to_date_and_no_container_fit_for_a_run() {
    let lab = lab("fit");
    let cat = ["--user", "image", "-c", "cat /app/main.txt"];
    assert_eq!(lab.run(&cat).fine().text(), "one\n");
    let first = containers_of(&lab.name());
    lab.say(&["live"]).fine();
    write(&lab, "app/main.txt", "two\n");
    let said = lab.say(&["live"]).fine();
    assert!(said.err.contains("copied into 1 container"), "{}", said.err);
    assert_eq!(inside(&first[0], "cat /app/main.txt"), "two");
    // The image of before is there, but the container is not what it says.
    write(&lab, "app/main.txt", "one\n");
    assert_eq!(lab.run(&cat).fine().text(), "one\n");
    assert!(!containers_of(&lab.name()).contains(&first[0]));
    // And that of the copied files was never built.
    write(&lab, "app/main.txt", "two\n");
    let said = lab.say(&["build-env"]).fine();
    assert!(said.err.contains("needs run"), "{}", said.err);
}

#[test]
fn a_container_is_started_again_after_a_copy_if_so_wished() {
    let lab = lab("again");
    lab.run(&["--user", "image", "-c", "true"]).fine();
    let id = containers_of(&lab.name()).remove(0);
    let started = || docker(&["inspect", "--format", "{{.State.StartedAt}}", &id]);
    let before = started();
    lab.say(&["restart"]).fine();
    assert_eq!(started(), before, "nothing was copied");
    write(&lab, "app/main.txt", "two\n");
    lab.say(&["restart"]).fine();
    assert_ne!(started(), before);
    assert_eq!(inside(&id, "cat /app/main.txt"), "two");
    // What is unknown is built, and an idle container makes way.
    std::fs::remove_dir_all(lab.path(".xtask/live")).expect("the notes");
    write(&lab, "app/main.txt", "three\n");
    let said = lab.say(&["restart"]).fine();
    assert!(said.err.contains("1 container removed"), "{}", said.err);
    assert_eq!(containers_of(&lab.name()), [""; 0]);
}

/// What a mount hides is no business of a copy; what stands beside it is.
#[test]
fn nothing_is_copied_into_a_mount() {
    let lab = lab("mounted");
    write(&lab, "app/data/set.txt", "one\n");
    lab.write("mine/set.txt", "mine\n");
    let mount = format!("{}:/app/data", lab.path("mine").display());
    lab.run(&["--user", "image", "--mount", &mount, "-c", "true"]).fine();
    let id = containers_of(&lab.name()).remove(0);
    lab.say(&["live"]).fine();
    write(&lab, "app/data/set.txt", "two\n");
    let said = lab.say(&["live"]).fine();
    assert!(!said.err.contains("copied into"), "{}", said.err);
    write(&lab, "app/data/set.txt", "three\n");
    write(&lab, "app/main.txt", "two\n");
    let said = lab.say(&["live"]).fine();
    assert!(said.err.contains("copied into 1 container"), "{}", said.err);
    assert_eq!(inside(&id, "cat /app/data/set.txt /app/main.txt"), "mine\ntwo");
    assert_eq!(std::fs::read_to_string(lab.path("mine/set.txt")).expect("my file"), "mine\n");
}

#[test]
fn with_host_the_containers_of_another_machine_get_the_files() {
    let (sshd, engine) = (Sshd::start(""), Spare::start());
    let mut lab = lab("afar");
    let address = format!("docker: \"ssh://127.0.0.1:{}{}\"", sshd.port, engine.socket().display());
    let tasks = std::fs::read_to_string(lab.path("tasks.yaml")).expect("tasks");
    lab.write("tasks.yaml", format!("{tasks}hosts:\n  far: {}\n", sshd.host(&address)));
    lab.env.insert("PATH".into(), sshd.search_path());
    lab.run(&["--host", "far", "--user", "image", "-c", "true"]).fine();
    let id = engine.says(&["ps", "--quiet"]);
    let there = |command: &str| engine.says(&["exec", &id, "sh", "-c", command]);
    assert_eq!(there("cat /app/main.txt"), "one");
    let watch = Watch::start(&lab, &["--host", "far"]);
    assert!(watch.round().contains("has it already"));
    write(&lab, "app/main.txt", "two\n");
    let said = watch.round();
    assert!(said.contains("copy app/main.txt to /app/main.txt (COPY of line 10)"), "{said}");
    assert_eq!(there("cat /app/main.txt /tmp/log"), "two\nagain");
    // What cannot be copied is built there, and the container that nobody uses makes way.
    write(&lab, "note.txt", "another\n");
    let said = watch.round();
    assert!(said.contains("may have read `note.txt`"), "{said}");
    assert_eq!(engine.says(&["ps", "--all", "--quiet"]), "");
    assert_eq!(containers_of(&lab.name()), [""; 0], "and none was here");
    assert_eq!(images(&lab), 0);
}
