//! Builds that do not succeed: what is said, and what is left.

use std::process::Command;
use std::time::{Duration, Instant};

use xtask::docker::{BuildEvent, Builder, Docker, DockerError, Endpoint, StepState};
use xtask::model::StopToken;
use xtask::model::stop::Stop;

use crate::support::{Lab, manifest, output, unique};

fn failing_run(builder: Builder) {
    let mut lab = Lab::new("fail", builder);
    let error = lab
        .build("FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", \"say\", \"out\", \",\", \"cry\", \"the reason\", \",\", \"exit\", \"7\"]\n")
        .unwrap_err();
    let DockerError::BuildFailed { step, exit_code, tail, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*exit_code, Some(7));
    assert!(step.starts_with("RUN [\"/tool\""), "{step}");
    assert!(tail.contains(&"the reason".to_owned()) && tail.contains(&"out".to_owned()), "{tail:?}");
    let failed = lab.events.iter().any(|e| matches!(e, BuildEvent::Step { state: StepState::Failed { .. }, .. }));
    assert!(failed, "{:?}", lab.events);
}

#[test]
fn a_failing_run_tells_its_code_and_its_last_words_in_buildkit() {
    failing_run(Builder::BuildKit);
}

#[test]
fn a_failing_run_tells_its_code_and_its_last_words_in_the_classic_builder() {
    failing_run(Builder::Classic);
}

fn bad_dockerfiles(builder: Builder) {
    let mut lab = Lab::new("bad", builder);
    for text in ["FROMM scratch\n", "", "FROM scratch\nRUNN x\n"] {
        let error = lab.build(text).unwrap_err();
        assert!(matches!(error, DockerError::BadDockerfile { .. }), "{text:?}: {error:?}");
    }
    let error = lab.build("FROM scratch\nCOPY nothing /x\n").unwrap_err();
    assert!(matches!(&error, DockerError::BuildFailed { step, .. } if step.starts_with("COPY nothing")), "{error:?}");
}

#[test]
fn bad_dockerfiles_are_told_apart_in_buildkit() {
    bad_dockerfiles(Builder::BuildKit);
}

#[test]
fn bad_dockerfiles_are_told_apart_in_the_classic_builder() {
    bad_dockerfiles(Builder::Classic);
}

/// Told to stop, a build ends, and what it ran on the engine is dead within a second.
fn stops(builder: Builder) {
    let mut lab = Lab::new("stop", builder);
    let mark = format!("3{:05}", std::process::id() % 100_000);
    let text = format!("FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", \"sleep\", \"{mark}\"]\n");
    let stop = StopToken::new();
    let remote = stop.clone();
    let watched = mark.clone();
    let watcher = std::thread::spawn(move || {
        let start = Instant::now();
        while !runs(&watched) {
            assert!(start.elapsed() < Duration::from_secs(20), "the step never started");
            std::thread::sleep(Duration::from_millis(20));
        }
        remote.request(Stop::Gently);
        Instant::now()
    });
    lab.request.no_cache = true;
    let error = lab.build_until(&text, &stop).unwrap_err();
    let returned = Instant::now();
    let asked = watcher.join().unwrap();
    assert!(matches!(error, DockerError::Cancelled), "{error:?}");
    assert!(returned - asked < Duration::from_millis(500), "it returned after {:?}", returned - asked);
    while runs(&mark) {
        assert!(asked.elapsed() < Duration::from_secs(1), "the step outlives its build");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process of this machine sleeps for that long: the engine's processes are seen from here.
fn runs(mark: &str) -> bool {
    let wanted = format!("/tool\0sleep\0{mark}\0");
    std::fs::read_dir("/proc").unwrap().any(|entry| {
        let path = entry.unwrap().path().join("cmdline");
        std::fs::read(path).is_ok_and(|line| line == wanted.as_bytes())
    })
}

#[test]
fn k3_a_stopped_build_leaves_nothing_running_in_buildkit() {
    stops(Builder::BuildKit);
}

#[test]
fn k3_a_stopped_build_leaves_nothing_running_in_the_classic_builder() {
    stops(Builder::Classic);
}

/// Content that is no longer that of the manifest is never built in.
fn changed_while_building(builder: Builder) {
    let mut lab = Lab::new("changed", builder);
    lab.folder.write("data/f", "one");
    lab.request.dockerfile = b"FROM scratch\nCOPY data /data\n".to_vec();
    lab.request.context = manifest(lab.folder.path());
    lab.folder.write("data/f", "two");
    let error = lab.docker.build(&lab.request, &mut |_| {}, &StopToken::new()).unwrap_err();
    let DockerError::ChangedWhileBuilding { path } = &error else { panic!("{error:?}") };
    assert_eq!(*path, lab.folder.path().join("data/f"));
    assert_eq!(lab.docker.find_image(&lab.tag()).unwrap(), None);
    let built = lab.build("FROM scratch\nCOPY tool /tool\nCOPY data /data\n").unwrap();
    assert_eq!(output(&built.image, &["cat", "/data/f"]), "two");
}

#[test]
fn content_that_changes_on_the_way_is_refused_in_buildkit() {
    changed_while_building(Builder::BuildKit);
}

#[test]
fn content_that_changes_on_the_way_is_refused_in_the_classic_builder() {
    changed_while_building(Builder::Classic);
}

/// A secret that was not given is an error of the step that needs it.
#[test]
fn a_missing_secret_is_named() {
    let mut lab = Lab::new("nosecret", Builder::BuildKit);
    let text = "FROM scratch\nCOPY tool /tool\nRUN --mount=type=secret,id=tok,required [\"/tool\", \"exit\", \"0\"]\n";
    let message = lab.build(text).unwrap_err().to_string();
    assert!(message.contains("tok"), "{message}");
}

/// A base image that is nowhere, in a registry that does not answer.
#[test]
fn a_missing_base_is_named() {
    for builder in [Builder::BuildKit, Builder::Classic] {
        let mut lab = Lab::new("nobase", builder);
        let name = format!("127.0.0.1:1/{}:1", unique("none"));
        let error = lab.build(&format!("FROM {name}\n")).unwrap_err();
        let told = matches!(&error, DockerError::Registry { what, .. } | DockerError::NotFound { what, .. } if what.contains(&name));
        assert!(told, "{builder:?}: {error:?}");
    }
}

/// The whole chain of causes, and the command that helps.
#[test]
fn an_engine_that_is_not_there_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let docker = Docker::connect(&Endpoint::Unix(stale.clone())).unwrap();
    let error = docker.engine().unwrap_err();
    let DockerError::Unreachable { endpoint, causes } = &error else { panic!("{error:?}") };
    assert_eq!(*endpoint, format!("unix://{}", stale.display()));
    assert!(causes.iter().any(|cause| cause.contains("Connection refused")), "{causes:?}");
    let text = xtask::model::Diagnostic::from(error).to_string();
    assert!(text.contains("Connection refused") && text.contains("help: "), "{text}");
    let ssh = Endpoint::Ssh { url: "ssh://me@lab".to_owned() };
    assert!(matches!(Docker::connect(&ssh), Err(DockerError::Endpoint(_))));
}

/// The engine of this machine says who it is, as the command line sees it.
#[test]
fn the_engine_introduces_itself() {
    let engine = crate::support::engine().engine().unwrap();
    let output = Command::new("docker")
        .args(["version", "-f", "{{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}}"])
        .output()
        .unwrap();
    assert_eq!(format!("{} {}", engine.version, engine.platform()), String::from_utf8_lossy(&output.stdout).trim());
    assert!(engine.buildkit && engine.api >= (1, 41) && engine.memory > Some(0), "{engine:?}");
}
