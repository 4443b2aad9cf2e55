//! Runs pytest against one image: on this machine, as datahub's stacks do, or in a container of the image. Knows nothing
//! of which tests there are.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::build::infra;
use super::leftovers;
use super::platforms::Runner;
use crate::action::{Call, Failure};
use crate::docker::{ContainerSpec, Docker, ExecSpec};
use crate::exec::{self, CommandSpec, Exit};
use crate::model::{Diagnostic, RepoPath, Stream};
use crate::stack::Image;
use crate::stack::artifacts::{self, Log};

/// How the tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Every test passed, or none was found.
    Passed,
    Failed,
}

/// What is tested, and where the outcome goes.
#[derive(Clone, Copy)]
pub(super) struct Session<'a> {
    pub call: &'a Call<'a>,
    pub image: &'a Image,
    pub plan: &'a str,
    /// Begins the name of the log.
    pub stem: &'a str,
    /// Of the image in the engine: never a name, which may move.
    pub id: &'a str,
    pub log: Log,
    /// Begins the name of the JUnit report.
    pub report: &'a str,
    /// Where it is.
    pub runner: &'a Runner,
}

/// Where tests of the work tree are in a container.
const INSIDE: &str = "opt/xtask-tests";
/// Where a container writes its report.
const REPORT_INSIDE: &str = "/tmp/xtask-tests.xml";
/// Nothing is left in the work tree, and reports are of one format whatever pytest's version.
const ALWAYS: [&str; 4] = ["-p", "no:cacheprovider", "-o", "junit_family=xunit2"];

impl Session<'_> {
    /// pytest on this machine, with `TEST_IMAGE` set to the id of the image, and a port that nobody else was given.
    pub(super) fn on_host(&self, folders: &[RepoPath]) -> Result<Ending, Failure> {
        let report = self.report()?;
        let mut argv = program(self.call)?;
        argv.extend(ALWAYS.map(OsString::from));
        let mut junit = OsString::from("--junitxml=");
        junit.push(&report);
        argv.push(junit);
        argv.extend(import_mode(self.call.root, folders).map(OsString::from));
        argv.extend(self.extra_args().map(OsString::from));
        argv.extend(folders.iter().map(|dir| dir.as_path().as_os_str().to_owned()));
        let port = Port::free();
        let mut env = self.call.env.to_vec();
        env.retain(|(name, _)| self.runner.env.iter().all(|(own, _)| own != name));
        env.extend(self.runner.env.iter().cloned());
        env.push(("TEST_IMAGE".into(), self.id.into()));
        env.push(("XTASK_RUN_ID".into(), format!("{}-{}", std::process::id(), self.call.task).into()));
        env.push(("XTASK_OWNER".into(), leftovers::owner().into()));
        env.extend(port.iter().map(|port| ("TEST_PORT".into(), port.0.to_string().into())));
        env.push(("PYTHONDONTWRITEBYTECODE".into(), "1".into()));
        let mut spec = CommandSpec::new(argv, self.call.root.to_owned(), env);
        spec.capture_limit = 0;
        let mut screen = self.screen("");
        let mut show = |stream: Stream, line: &[u8]| screen.line(stream, line);
        let result = exec::run(&spec, &mut show, &mut std::io::sink(), self.call.stop);
        match result.exit {
            Exit::Stopped => Err(Failure::interrupted(self.call.task)),
            Exit::Code(code) => self.ending(code.into()),
            exit => {
                let subject = self.subject();
                Err(Failure::error(exit.diagnostic(&subject).unwrap_or_else(|| Diagnostic::error(subject))))
            }
        }
    }

    /// pytest in a container, with the tests of the work tree.
    pub(super) fn in_container(
        &self,
        docker: &Docker,
        folders: &[RepoPath],
        settings: &[RepoPath],
    ) -> Result<Ending, Failure> {
        let archive = archive(self.call.root, folders, settings)?;
        let inside = |path: &RepoPath| format!("/{INSIDE}/{}", path.lossy());
        let mut words: Vec<String> = import_mode(self.call.root, folders).map(str::to_owned).into_iter().collect();
        words.push(format!("--rootdir=/{INSIDE}"));
        words.extend(folders.iter().map(inside));
        self.contained(docker, Some(archive), words)
    }

    /// pytest in a container, with tests that are in the image at `path`.
    pub(super) fn in_image(&self, docker: &Docker, path: &str) -> Result<Ending, Failure> {
        Session { log: Log::WorkflowTests, report: "workflow", ..*self }.contained(docker, None, vec![path.to_owned()])
    }

    fn contained(&self, docker: &Docker, archive: Option<Vec<u8>>, words: Vec<String>) -> Result<Ending, Failure> {
        let report = self.report()?;
        let spec = ContainerSpec {
            image: self.id.to_owned(),
            entrypoint: Some(["python3", "-c", "import time; time.sleep(1e9)"].map(str::to_owned).into()),
            labels: leftovers::labels(self.call),
            // Without one, the start itself fails where there is no Python.
            init: false,
            ..ContainerSpec::default()
        };
        let container = docker.create(&spec).map_err(infra)?;
        let ended = self.attend(docker, &container, archive, words, &report);
        // Whatever happened: it is ours, and nobody else needs it.
        let _ = docker.remove(&container);
        self.ending(ended?)
    }

    fn attend(
        &self,
        docker: &Docker,
        container: &str,
        archive: Option<Vec<u8>>,
        words: Vec<String>,
        report: &Path,
    ) -> Result<i64, Failure> {
        let stop = self.call.stop;
        if let Some(archive) = archive {
            docker.upload(container, "/", Box::new(std::io::Cursor::new(archive)), stop).map_err(infra)?;
        }
        let quiet = |words: [&str; 3]| ExecSpec { command: words.map(str::to_owned).into(), ..ExecSpec::default() };
        let can = docker.start(container).is_ok()
            && docker
                .exec(container, &quiet(["python3", "-c", "import pytest"]), &mut |_, _| {}, stop)
                .map_err(infra)?
                == 0;
        if !can {
            return Err(Failure::error(
                Diagnostic::error(format!("image `{}` has no pytest, so no test can run inside", self.image.key))
                    .help("install Python and pytest in the image, or run the tests on this machine: `where: host`"),
            ));
        }
        let mut command: Vec<String> = ["python3", "-m", "pytest"].map(str::to_owned).into();
        command.extend(ALWAYS.map(str::to_owned));
        command.push(format!("--junitxml={REPORT_INSIDE}"));
        command.extend(self.extra_args().map(str::to_owned));
        command.extend(words);
        let env = BTreeMap::from([
            ("TEST_IMAGE".to_owned(), self.id.to_owned()),
            ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
        ]);
        let spec = ExecSpec { command, env, ..ExecSpec::default() };
        let mut screen = self.screen(" inside");
        let code = docker.exec(container, &spec, &mut |stream, bytes| screen.bytes(stream, bytes), stop);
        screen.end();
        let code = code.map_err(infra)?;
        self.fetch(docker, container, report)?;
        Ok(code)
    }

    /// The report, out of the container. One that pytest did not come to write is none.
    fn fetch(&self, docker: &Docker, container: &str, report: &Path) -> Result<(), Failure> {
        let mut archive = Vec::new();
        if docker.download(container, REPORT_INSIDE, &mut archive, self.call.stop).is_err() {
            return Ok(());
        }
        let failed = |error: std::io::Error| {
            Failure::error(Diagnostic::error(format!("failed to write file `{}`", report.display())).cause(error))
        };
        let mut archive = tar::Archive::new(&archive[..]);
        for entry in archive.entries().map_err(failed)? {
            let mut file = std::fs::File::create(report).map_err(failed)?;
            std::io::copy(&mut entry.map_err(failed)?, &mut file).map_err(failed)?;
        }
        Ok(())
    }

    fn extra_args(&self) -> impl Iterator<Item = &str> {
        self.call.args["pytest_args"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str)
    }

    fn subject(&self) -> String {
        format!("pytest of task `{}`", self.call.task)
    }

    /// 0 and 5 pass, 1 is a failure, all else means that there was no test of anything.
    fn ending(&self, code: i64) -> Result<Ending, Failure> {
        match code {
            0 | 5 => Ok(Ending::Passed),
            1 => Ok(Ending::Failed),
            code => Err(Failure::error(
                Diagnostic::error(format!("{} exited with code {code}", self.subject()))
                    .note(format!("the log is in `{}`", self.log_path())),
            )),
        }
    }

    fn log_path(&self) -> RepoPath {
        artifacts::log(self.stem, self.log)
    }

    /// `artifacts/<image>/<report>.<plan>.xml`, with its folder.
    fn report(&self) -> Result<PathBuf, Failure> {
        let report = format!("artifacts/{}/{}.{}.xml", self.image.key, self.report, self.plan);
        let report = self.call.root.join(report);
        if let Some(dir) = report.parent() {
            std::fs::create_dir_all(dir).map_err(|error| {
                Failure::error(Diagnostic::error(format!("failed to make folder `{}`", dir.display())).cause(error))
            })?;
        }
        Ok(report)
    }

    fn screen(&self, place: &str) -> Screen<'_> {
        let path = self.call.root.join(self.log_path().as_path());
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        // A log that cannot be written stops no test: the task's own log has the same lines.
        let log = made.and_then(|()| std::fs::File::create(path)).ok();
        let line = format!("testing {}{place} ({}) {}", self.image.key, self.plan, self.id);
        self.call.out.line(Stream::Stdout, line.as_bytes());
        Screen { call: self.call, log, partial: Vec::new() }
    }
}

/// Lines to the task's output and to the log of the tests.
struct Screen<'a> {
    call: &'a Call<'a>,
    log: Option<std::fs::File>,
    partial: Vec<u8>,
}

impl Screen<'_> {
    fn line(&mut self, stream: Stream, line: &[u8]) {
        self.call.out.line(stream, line);
        if let Some(file) = &mut self.log {
            let _ = file.write_all(line).and_then(|()| file.write_all(b"\n"));
        }
    }

    /// Any run of bytes, as a container gives them.
    fn bytes(&mut self, stream: Stream, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(stream, line[..end].trim_ascii_end());
        }
    }

    fn end(&mut self) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.line(Stream::Stdout, &rest);
        }
    }
}

/// Folders with files of equal names are different modules only where pytest is told so. Otherwise its default is left
/// alone: tests may import what lies beside them.
fn import_mode(root: &Path, folders: &[RepoPath]) -> Option<&'static str> {
    let mut names = HashSet::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder.as_path())).collect();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|kind| kind == "py") && name != "conftest.py" && !names.insert(name)
            {
                return Some("--import-mode=importlib");
            }
        }
    }
    None
}

/// Tests and settings as a tar archive, where they are in a container.
fn archive(root: &Path, folders: &[RepoPath], settings: &[RepoPath]) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::error(Diagnostic::error("the tests cannot be read").cause(error));
    let mut archive = tar::Builder::new(Vec::new());
    archive.mode(tar::HeaderMode::Deterministic);
    let mut open: Vec<PathBuf> = folders.iter().chain(settings).map(|path| root.join(path.as_path())).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if entry.file_name().as_bytes() != b"__pycache__" {
                    open.push(entry.path());
                }
            }
        } else if path.exists() {
            let name = Path::new(INSIDE).join(path.strip_prefix(root).unwrap_or(&path));
            archive.append_path_with_name(&path, name).map_err(failed)?;
        }
    }
    archive.into_inner().map_err(failed)
}

/// `pytest`, or Python with that module: the first of them that works.
fn program(call: &Call<'_>) -> Result<Vec<OsString>, Failure> {
    let candidates: [&[&str]; 3] = [&["python3", "-m", "pytest"], &["/usr/bin/python3", "-m", "pytest"], &["pytest"]];
    for candidate in candidates {
        let argv: Vec<OsString> = candidate.iter().map(OsString::from).collect();
        let mut probe = argv.clone();
        probe.push("--version".into());
        let spec = CommandSpec::new(probe, call.root.to_owned(), call.env.to_vec());
        if exec::run(&spec, &mut |_, _| {}, &mut std::io::sink(), call.stop).exit.success() {
            return Ok(argv);
        }
    }
    Err(Failure::error(
        Diagnostic::error(format!("task `{}` needs pytest, which is not installed", call.task))
            .help("sudo apt-get install --yes python3-pytest"),
    ))
}

/// A port of the loopback that was free and that no other test of this process has, until it is dropped.
struct Port(u16);

static PORTS: Mutex<Vec<u16>> = Mutex::new(Vec::new());

impl Port {
    fn free() -> Option<Self> {
        let mut taken = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = Vec::new();
        // A port that was given away may not be in use yet; holding it makes the system name another.
        for _ in 0..100 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            let port = listener.local_addr().ok()?.port();
            if !taken.contains(&port) {
                taken.push(port);
                return Some(Self(port));
            }
            held.push(listener);
        }
        None
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        PORTS.lock().unwrap_or_else(PoisonError::into_inner).retain(|port| *port != self.0);
    }
}
