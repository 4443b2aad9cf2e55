//! Images that the docker command line of a host builds from a private folder: the host forwards no socket. Whatever
//! happens, the folder is gone afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::program::{Run, Running, processes_with, wait_for};
use super::space::{IMAGES, Space};
use crate::support::spare::Spare;
use crate::support::sshd::Sshd;

const SECRET: &str = "canary-77ab-of-a-staged-build";

/// A host with an engine that only its own command line reaches, and a stack whose image `side` ends with a step.
struct Lab {
    sshd: Sshd,
    engine: Spare,
    space: Space,
    /// The `root` of the host.
    root: tempfile::TempDir,
}

impl Lab {
    fn new(name: &str, builder: &str) -> Self {
        let engine = Spare::start();
        // The system's docker first: it has both builders.
        let path = format!("/usr/bin:/bin:{}", std::env::var("PATH").unwrap_or_default());
        let sshd = Sshd::start(&format!(
            "AllowTcpForwarding no\nAllowStreamLocalForwarding no\nSetEnv DOCKER_HOST={} PATH={path}",
            engine.url()
        ));
        let (mut space, root) = (Space::new(name), tempfile::tempdir().expect("a folder"));
        let host = sshd.host(&format!("root: \"{}/r\", build: staged", root.path().display()));
        space.write("tasks.yaml", &format!("{}\nhosts:\n  lab: {host}\n", space.read("tasks.yaml")));
        let action = "image_build: { image: \"{{ image.name }}\"";
        space.replace("tasks.yaml", action, &format!("{action}, builder: {builder}"));
        space.replace("images/spec.yml", "/side, ", "/side, network: none, ");
        space.env.insert("PATH".into(), sshd.search_path());
        let lab = Self { sshd, engine, space, root };
        lab.step(&format!("\"say\", \"{}\", \",\", \"sleep\", \"3\"", lab.mark()));
        lab
    }

    /// What the process of the slow step is known by.
    fn mark(&self) -> String {
        format!("mark-of-{}", self.space.prefix)
    }

    fn step(&self, words: &str) {
        self.space.dockerfile("side", "base", &format!("COPY note.txt /note/side.txt\nRUN [\"/tool\", {words}]"));
    }

    fn build(&self, words: &[&str]) -> Run {
        self.space.run(&[words, &["--host", "lab"]].concat())
    }

    fn start(&self) -> Running {
        Running::start(self.space.command(&["build:side", "--host", "lab", "--reporter", "json"]))
    }

    fn wait_for_the_step(&self) {
        wait_for("the step runs", || !processes_with(&self.mark()).is_empty());
    }

    fn base(&self) -> PathBuf {
        self.root.path().join(format!("r/.xtask-builds-{}", rustix::process::geteuid().as_raw()))
    }

    /// The private folders that are there now.
    fn folders(&self) -> Vec<String> {
        let entries = fs::read_dir(self.base()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn id(&self, image: &str) -> String {
        self.engine.says(&["image", "inspect", "--format={{.Id}}", &self.space.name(image)])
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_stack_is_built_where_no_socket_is_forwarded_and_nothing_is_left() {
    let (all, line) = (&IMAGES[..], &IMAGES[..3]);
    for (builder, task, images) in [("auto", "build-stack", all), ("classic", "build:leaf", line)] {
        let lab = Lab::new("staged", builder);
        // What an ignore file in the context says holds once: the context has what is visible, and all of that.
        lab.space.write("images/base/.dockerignore", "*.tmp\n");
        lab.space.write("images/base/no.tmp", "not seen");
        let run = lab.build(&[task]).fine();
        assert!(images.iter().all(|image| run.built(image) && !lab.id(image).is_empty()), "{}", run.stdout);
        assert!(lab.space.id("base").is_empty(), "none here");
        assert_eq!((lab.folders(), mode(&lab.base())), (vec![], 0o700));
        assert_eq!(lab.sshd.logins(), 1, "one connection serves the whole run: {}", lab.sshd.log());
        assert_eq!(lab.build(&[task]).fine().started(), [""; 0], "nothing is to do");
        assert!(lab.space.read("logs/base.build.log").contains("COPY tool /tool"), "its steps are shown");
        // An engine that is spoken to makes the same of the same files.
        let other = Spare::start();
        lab.space.write(
            "tasks.yaml",
            &lab.space
                .read("tasks.yaml")
                .replace("  lab:", &format!("  other: {{ docker: \"{}\" }}\n  lab:", other.url())),
        );
        lab.space.run(&["build:base", "--host", "other"]).fine();
        let layer = |engine: &Spare| {
            engine.says(&["image", "inspect", "--format={{index .RootFS.Layers 0}}", &lab.space.name("base")])
        };
        assert_eq!(layer(&lab.engine), layer(&other), "{builder}");
    }
}

#[test]
fn a_step_that_fails_is_told_with_its_exit_code_and_the_folder_goes() {
    for builder in ["auto", "classic"] {
        let lab = Lab::new("stagedfail", builder);
        lab.step(r#""say", "a last word", ",", "exit", "7""#);
        let run = lab.build(&["build:side"]);
        assert_eq!(run.code, 1, "{}\n{}", run.stdout, run.stderr);
        let problem = run.problem("build:side");
        assert!(problem.contains("exit code 7") && problem.contains("RUN"), "{problem}");
        let log = lab.space.read("logs/side.build.log");
        assert!(log.contains("a last word"), "{log}");
        assert_eq!(lab.folders(), [""; 0]);
        // A Dockerfile that no builder understands.
        lab.space.dockerfile("side", "base", "COPY");
        let run = lab.build(&["build:side"]);
        assert_ne!(run.code, 0);
        assert_eq!(lab.folders(), [""; 0]);
    }
}

#[test]
fn a_build_that_is_cancelled_ends_on_the_host_and_the_folder_goes() {
    for builder in ["auto", "classic"] {
        let lab = Lab::new("stagedstop", builder);
        lab.step(&format!("\"say\", \"{}\", \",\", \"sleep\", \"60\"", lab.mark()));
        let running = lab.start();
        lab.wait_for_the_step();
        let [folder] = &lab.folders()[..] else { panic!("one folder: {:?}", lab.folders()) };
        assert_eq!(mode(&lab.base().join(folder)), 0o700);
        running.signal(Signal::INT);
        assert_eq!(running.end(), 130);
        assert_eq!(lab.folders(), [""; 0], "gone before the program ends");
        wait_for("the step ends", || processes_with(&lab.mark()).is_empty());
        assert!(lab.id("side").is_empty());
    }
}

#[test]
fn a_program_that_is_killed_leaves_no_folder_on_the_host() {
    let lab = Lab::new("stagedkill", "auto");
    lab.step(&format!("\"say\", \"{}\", \",\", \"sleep\", \"60\"", lab.mark()));
    let running = lab.start();
    lab.wait_for_the_step();
    running.signal(Signal::KILL);
    wait_for("the folder goes", || lab.folders().is_empty());
    wait_for("the step ends", || processes_with(&lab.mark()).is_empty());
}

#[test]
fn a_connection_that_is_cut_takes_the_folder_with_it_and_the_build_is_asked_for_again() {
    let lab = Lab::new("stagedcut", "auto");
    lab.build(&["build:base"]).fine();
    let command = lab.space.command(&["build:side", "--host", "lab", "--reporter", "json"]);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| super::program::end_of(command));
        lab.wait_for_the_step();
        let before = lab.folders();
        assert_eq!(lab.sshd.cut(), 1, "one connection");
        wait_for("the folder goes", || lab.folders().iter().all(|folder| !before.contains(folder)));
        run.join().expect("a run")
    });
    let log = lab.space.read("logs/side.build.log");
    assert!(log.contains("the build is asked for again (1 of 2)"), "{log}");
    run.fine();
    assert!(!lab.id("side").is_empty());
    assert_eq!(lab.folders(), [""; 0]);
}

#[test]
fn what_a_dead_build_left_is_found_by_the_next_and_what_lives_stays() {
    let lab = Lab::new("stagedleft", "auto");
    let name = Command::new("uname").arg("-n").output().expect("uname").stdout;
    let name = String::from_utf8(name).expect("text");
    let mut dead = Command::new("true").spawn().expect("a process");
    dead.wait().expect("its end");
    // Of a process that is dead; of one that lives; of another machine that shares the folder, still busy and long gone.
    let other = "1 another-machine".to_owned();
    let all = [
        ("b.dead", format!("{} {name}", dead.id()), 0),
        ("b.lives", format!("{} {name}", std::process::id()), 3600),
        ("b.busy", other.clone(), 0),
        ("b.gone", other, 3600),
    ];
    for (folder, owner, age) in all {
        let path = lab.base().join(folder);
        fs::create_dir_all(path.join("in/context")).expect("a folder");
        fs::write(path.join("owner"), owner).expect("a file");
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        fs::File::open(&path).and_then(|folder| folder.set_modified(then)).expect("a time");
    }
    lab.build(&["build:base"]).fine();
    let mut left = lab.folders();
    left.sort();
    assert_eq!(left, ["b.busy", "b.lives"]);
}

#[test]
fn a_holder_that_is_killed_on_the_host_has_its_folder_removed_by_its_guard() {
    let lab = Lab::new("stagedguard", "auto");
    lab.step(&format!("\"say\", \"{}\", \",\", \"sleep\", \"60\"", lab.mark()));
    let running = lab.start();
    lab.wait_for_the_step();
    let [folder] = &lab.folders()[..] else { panic!("one folder: {:?}", lab.folders()) };
    let owner = fs::read_to_string(lab.base().join(folder).join("owner")).expect("its owner");
    let pid = owner.split(' ').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw).expect("a number");
    kill_process(pid, Signal::KILL).expect("it runs");
    wait_for("the folder goes", || !lab.folders().contains(folder));
    running.signal(Signal::INT);
    running.end();
    wait_for("no folder is left", || lab.folders().is_empty());
}

#[test]
fn a_secret_reaches_its_step_through_a_private_file_and_no_command_line() {
    let mut lab = Lab::new("stagedsecret", "auto");
    lab.space.env.insert("CANARY".to_owned(), SECRET.to_owned());
    let action = "builder: auto";
    lab.space.replace("tasks.yaml", action, &format!("{action}, secrets: {{ token: {{ env: CANARY }} }}"));
    let words = format!("\"cat\", \"/run/secrets/token\", \",\", \"say\", \"{}\", \",\", \"sleep\", \"3\"", lab.mark());
    let mount = "--mount=type=secret,id=token,required=true";
    lab.space.dockerfile("side", "base", &format!("COPY note.txt /note/side.txt\nRUN {mount} [\"/tool\", {words}]"));
    let command = lab.space.command(&["build:side", "--host", "lab", "--reporter", "json", "--verbosity", "2"]);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| super::program::end_of(command));
        lab.wait_for_the_step();
        let [folder] = &lab.folders()[..] else { panic!("one folder: {:?}", lab.folders()) };
        let secret = lab.base().join(folder).join("secrets/0");
        assert_eq!((fs::read_to_string(&secret).expect("a file").as_str(), mode(&secret)), (SECRET, 0o600));
        assert_eq!(processes_with(SECRET), [""; 0]);
        run.join().expect("a run")
    });
    let run = run.fine();
    assert!(!run.stdout.contains(SECRET), "{}", run.stdout);
    assert!(lab.space.read("logs/side.build.log").contains("***"), "the step was given it and printed it");
    assert_eq!(lab.folders(), [""; 0]);
    // The classic builder cannot, which is said before anything is copied.
    lab.space.replace("tasks.yaml", "builder: auto", "builder: classic");
    lab.space.append("images/side/note.txt", "again");
    let run = lab.build(&["build:side"]);
    assert!(run.problem("build:side").contains("build secrets need BuildKit"), "{}", run.problem("build:side"));
}

#[test]
fn what_is_missing_on_the_host_is_said_with_the_way_out() {
    let lab = Lab::new("stagednone", "auto");
    lab.build(&["build:base"]).fine();
    let tasks = lab.space.read("tasks.yaml");
    let root = format!("{}/r", lab.root.path().display());
    lab.space.write("tasks.yaml", &tasks.replace(&root, &format!("{root}/file/x")));
    fs::write(lab.root.path().join("r/file"), "in the way").expect("a file");
    let run = lab.space.say(&["build:side", "--host", "lab"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    let wanted = ["no private folder can be made on host", "let `root` of the host name a folder"];
    assert!(wanted.iter().all(|text| run.stderr.contains(text)), "{}", run.stderr);
    lab.space.write("tasks.yaml", &tasks.replace("build: staged", "build: stagd"));
    let run = lab.space.say(&["list"]);
    assert!(run.code == 3 && run.stderr.contains("staged") && run.stderr.contains("tasks.yaml:"), "{}", run.stderr);
    lab.space.write("tasks.yaml", &format!("{tasks}  near: {{ docker: \"tcp://near:2376\", build: staged }}\n"));
    let run = lab.space.say(&["list"]);
    let wanted = "host `near` has `build: staged`, and no ssh to copy a context through";
    assert!(run.code == 3 && run.stderr.contains(wanted), "{}", run.stderr);
}
