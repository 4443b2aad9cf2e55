//! Containers: every limit and mount arrives, every end is told, nothing stays.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use xtask::docker::containers::{Bind, Health, Port};
use xtask::docker::{Builder, ContainerExit, ContainerSpec, ContainerState, DockerError, ExecSpec};
use xtask::model::stop::Stop;
use xtask::model::{StopToken, Stream};

use crate::support::{LABEL, Lab, unique};

/// An image with the tool, and a spec that runs words of it under a label of its own.
struct Bench {
    lab: Lab,
    image: String,
    mark: String,
}

impl Bench {
    fn new(name: &str) -> Self {
        let mut lab = Lab::new(name, Builder::Auto);
        let image = lab.build("FROM scratch\nCOPY tool /tool\nENTRYPOINT [\"/tool\"]\n").unwrap().image;
        Self { lab, image, mark: unique("container") }
    }

    fn spec(&self, words: &[&str]) -> ContainerSpec {
        ContainerSpec {
            image: self.image.clone(),
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            labels: BTreeMap::from([(LABEL.to_owned(), "docker".to_owned()), ("mark".to_owned(), self.mark.clone())]),
            network: Some("none".to_owned()),
            ..Default::default()
        }
    }

    fn run(&self, spec: &ContainerSpec) -> (ContainerExit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => out.extend_from_slice(bytes),
            Stream::Stderr => err.extend_from_slice(bytes),
        };
        let exit = self.lab.docker.run(spec, &mut output, &StopToken::new()).unwrap();
        (exit, String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
    }

    /// Containers of this bench that are still there.
    fn left(&self) -> usize {
        self.lab.docker.containers_with_labels(&[&format!("mark={}", self.mark)]).unwrap().len()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for container in self.lab.docker.containers_with_labels(&[&format!("mark={}", self.mark)]).unwrap_or_default() {
            let _ = self.lab.docker.remove(&container.id);
        }
    }
}

#[test]
fn a_run_tells_its_code_and_both_streams_and_is_gone() {
    let bench = Bench::new("run");
    let (exit, out, err) = bench.run(&bench.spec(&["say", "out", ",", "cry", "err", ",", "exit", "7"]));
    assert_eq!(exit, ContainerExit { code: 7, oom_killed: false, timed_out: false });
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    let (exit, out, _) = bench.run(&bench.spec(&["lines", "200000"]));
    assert_eq!((exit.code, out.lines().count()), (0, 200_000));
    assert!(out.ends_with("line 199999\n"));
    let mut spec = bench.spec(&["stdin"]);
    spec.stdin = Some(vec![b'x'; 300_000]);
    assert_eq!(bench.run(&spec).1.len(), 300_000);
    assert_eq!(bench.left(), 0);
}

#[test]
fn what_the_spec_says_is_seen_inside() {
    let bench = Bench::new("inside");
    bench.lab.folder.write("shared/f", "bound\n");
    let mut spec =
        bench.spec(&["env", "K", ",", "cat", "/shared/f", ",", "write", "/tmp/x", "y", ",", "stat", "/tmp/x"]);
    spec.env = BTreeMap::from([("K".to_owned(), "a b=ü".to_owned())]);
    spec.binds =
        vec![Bind { source: bench.lab.folder.path().join("shared"), target: "/shared".into(), read_only: true }];
    spec.tmpfs = BTreeMap::from([("/tmp".to_owned(), "size=1m,mode=1777".to_owned())]);
    spec.user = Some("12:34".to_owned());
    spec.read_only = true;
    spec.memory = Some(64 << 20);
    spec.cpus = Some(0.5);
    spec.pids = Some(50);
    spec.shm_size = Some(1 << 20);
    spec.cap_drop = vec!["ALL".to_owned()];
    spec.security_opt = vec!["no-new-privileges".to_owned()];
    let (exit, out, err) = bench.run(&spec);
    assert_eq!(exit.code, 0, "{err}");
    assert!(out.starts_with("a b=ü\nbound\n"), "{out}");
    assert!(out.contains(" 12 34 "), "{out}");
    spec.command = ["write", "/shared/g", "z"].map(str::to_owned).to_vec();
    assert_eq!(bench.run(&spec).0.code, 1, "the bind is read-only");
    std::mem::swap(&mut spec.binds, &mut spec.folders);
    assert_eq!(bench.run(&spec).0.code, 1, "and so is the folder");
    spec.command = ["cat", "/shared/f"].map(str::to_owned).to_vec();
    assert_eq!(bench.run(&spec).1, "bound\n");
    spec.folders[0].source = bench.lab.folder.path().join("nowhere");
    assert!(bench.lab.docker.create(&spec).is_err(), "a folder must be there");
    assert!(!spec.folders[0].source.exists());
}

#[test]
fn a_run_that_takes_too_long_or_too_much_is_told() {
    let bench = Bench::new("limits");
    let mut spec = bench.spec(&["sleep", "60"]);
    spec.timeout = Some(Duration::from_millis(700));
    let start = Instant::now();
    assert!(bench.run(&spec).0.timed_out);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let mut spec = bench.spec(&["alloc", "200"]);
    spec.memory = Some(16 << 20);
    spec.init = false;
    let exit = bench.run(&spec).0;
    assert!(exit.oom_killed && exit.code == 137, "{exit:?}");
    assert_eq!(bench.left(), 0);
}

#[test]
fn a_stopped_run_leaves_no_container() {
    let bench = Bench::new("stoprun");
    let stop = StopToken::new();
    let spec = bench.spec(&["say", "ready", ",", "sleep", "60"]);
    let error = bench.lab.docker.run(&spec, &mut |_, _| stop.request(Stop::Gently), &stop).unwrap_err();
    assert!(matches!(error, DockerError::Cancelled));
    assert_eq!(bench.left(), 0);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = bench.lab.docker.run(&spec, &mut |_, _| panic!("a listener's mistake"), &StopToken::new());
    }));
    assert!(panicked.is_err());
    assert_eq!(bench.left(), 0);
}

#[test]
fn what_cannot_start_is_an_error_and_leaves_nothing() {
    let bench = Bench::new("nostart");
    let mut spec = bench.spec(&[]);
    spec.entrypoint = Some(vec!["/nothing".to_owned()]);
    spec.init = false;
    let error = bench.lab.docker.run(&spec, &mut |_, _| {}, &StopToken::new()).unwrap_err();
    assert!(error.to_string().contains("/nothing"), "{error}");
    spec.image = unique("no-image");
    let error = bench.lab.docker.run(&spec, &mut |_, _| {}, &StopToken::new()).unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let mut spec = bench.spec(&["sleep", "60"]);
    spec.name = Some(bench.mark.clone());
    bench.lab.docker.create(&spec).unwrap();
    assert!(matches!(bench.lab.docker.create(&spec), Err(DockerError::Conflict { .. })));
    assert_eq!(bench.left(), 1);
}

/// The tools of this machine, seen in a container without any of its own.
fn with_shell(mut spec: ContainerSpec) -> ContainerSpec {
    for folder in ["/usr", "/bin", "/lib", "/lib64"].into_iter().filter(|folder| Path::new(folder).exists()) {
        spec.binds.push(Bind { source: folder.into(), target: folder.to_owned(), read_only: true });
    }
    spec
}

#[test]
fn a_kept_container_takes_commands_files_and_questions() {
    let bench = Bench::new("kept");
    let docker = &bench.lab.docker;
    let mut spec = with_shell(bench.spec(&["say", "hello", ",", "sleep", "300"]));
    spec.network = None;
    spec.ports = vec![Port::free(80)];
    let id = docker.create(&spec).unwrap();
    assert_eq!(docker.container(&id).unwrap().state, ContainerState::Created);
    docker.start(&id).unwrap();
    let seen = docker.container(&id).unwrap();
    assert_eq!(
        (seen.state, seen.health, seen.image.as_str()),
        (ContainerState::Running, Health::None, bench.image.as_str())
    );
    let port = seen.port(80).expect("a free port");
    assert!(port.host > 1024 && port.address == "127.0.0.1", "{port:?}");
    assert!(seen.mounts.iter().all(|mount| mount.read_only && mount.kind == "bind"), "{:?}", seen.mounts);

    let exec = |words: &[&str], stdin: Option<&str>| {
        let spec = ExecSpec {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            stdin: stdin.map(|text| text.as_bytes().to_vec()),
            ..Default::default()
        };
        let mut out = Vec::new();
        let code = docker.exec(&id, &spec, &mut |_, bytes| out.extend_from_slice(bytes), &StopToken::new());
        (code.unwrap(), String::from_utf8(out).unwrap())
    };
    assert_eq!(exec(&["sh", "-c", "cat; exit 5"], Some("in\n")), (5, "in\n".to_owned()));

    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o600);
    tar.append_data(&mut header, "up/loaded", &b"text"[..]).unwrap();
    let archive = tar.into_inner().unwrap();
    docker.upload(&id, "/", Box::new(std::io::Cursor::new(archive.clone())), &StopToken::new()).unwrap();
    assert_eq!(exec(&["/tool", "cat", "/up/loaded"], None), (0, "text".to_owned()));
    let mut got = Vec::new();
    docker.download(&id, "/up/loaded", &mut got, &StopToken::new()).unwrap();
    let mut entry = String::new();
    tar::Archive::new(&got[..]).entries().unwrap().next().unwrap().unwrap().read_to_string(&mut entry).unwrap();
    assert_eq!(entry, "text");
    assert!(docker.download(&id, "/nowhere", &mut got, &StopToken::new()).unwrap_err().is_not_found());
    let upload = docker.upload(&id, "/nowhere", Box::new(std::io::Cursor::new(archive)), &StopToken::new());
    assert!(upload.unwrap_err().is_not_found());
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(docker.download(&id, "/tool", &mut Full, &StopToken::new()).is_err());

    let mut log = Vec::new();
    docker.logs(&id, Some(10), false, &mut |_, bytes| log.extend_from_slice(bytes), &StopToken::new()).unwrap();
    assert_eq!(log, b"hello\n");
    docker.stop(&id, Duration::from_secs(1)).unwrap();
    assert_ne!(docker.wait(&id, &StopToken::new()).unwrap(), 0);
    assert_eq!(docker.container(&id).unwrap().state, ContainerState::Exited);
    docker.remove(&id).unwrap();
    assert!(docker.container(&id).unwrap_err().is_not_found());
}

#[test]
fn many_may_remove_a_container_and_each_returns_when_it_is_gone() {
    let bench = Bench::new("removals");
    let docker = &bench.lab.docker;
    for _ in 0..3 {
        let id = docker.create(&bench.spec(&["sleep", "60"])).unwrap();
        docker.start(&id).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let removed = docker.remove(&id);
                    assert!(removed.as_ref().map_or_else(|error| error.is_not_found(), |()| true), "{removed:?}");
                    assert!(docker.container(&id).unwrap_err().is_not_found());
                });
            }
        });
    }
    assert_eq!(bench.left(), 0);
}

/// The engine has no way to end a command; its processes, and theirs, are killed all the same.
#[test]
fn a_stopped_command_is_dead_with_its_children() {
    let bench = Bench::new("stopexec");
    let docker = &bench.lab.docker;
    let id = docker.create(&with_shell(bench.spec(&["sleep", "300"]))).unwrap();
    docker.start(&id).unwrap();
    let mark = format!("9{:05}", std::process::id() % 100_000);
    let script = format!("setsid sleep {mark} & echo ready; sleep {mark}");
    let mut spec = ExecSpec { command: ["sh", "-c", &script].map(str::to_owned).to_vec(), ..Default::default() };
    let stop = StopToken::new();
    let error = docker.exec(&id, &spec, &mut |_, _| stop.request(Stop::Now), &stop).unwrap_err();
    assert!(matches!(error, DockerError::Cancelled), "{error:?}");
    assert_eq!(sleepers(&mark), 0);
    spec.timeout = Some(Duration::from_millis(500));
    let error = docker.exec(&id, &spec, &mut |_, _| {}, &StopToken::new()).unwrap_err();
    assert!(matches!(error, DockerError::Timeout { .. }), "{error:?}");
    assert_eq!(sleepers(&mark), 0);
    assert_eq!(docker.container(&id).unwrap().state, ContainerState::Running);
}

fn sleepers(mark: &str) -> usize {
    let wanted = format!("sleep\0{mark}\0");
    let lines =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.filter(|line| line == wanted.as_bytes()).count()
}
