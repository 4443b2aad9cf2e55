//! One run: a container, the script in it, its output as it comes, and how it ended. Knows nothing of the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::alone;
use super::pool::{Pool, Used, Wanted};
use super::script::{Filter, HOME_DIR, Record, Veil, WRAPPER, Work};
use super::transfer::{self, Unpacked};
use crate::docker::containers::Output;
use crate::docker::{Docker, DockerError, ExecSpec};
use crate::model::{Diagnostic, Secret, StopToken, Stream};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    Success,
    /// Exit code 2: the script ran to its end, and its numbers are not as exact as they should be.
    Inaccurate,
    /// Any other exit code.
    ScriptError(u8),
    /// Its time was over.
    Timeout(Duration),
    /// A process was killed because the memory of the container was used up.
    OutOfMemory {
        code: u8,
    },
    /// The engine or the container went away in the middle.
    EngineLost(String),
    /// The caller was told to stop.
    Interrupted,
}

impl Outcome {
    /// What the program exits with.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Inaccurate => 2,
            Self::ScriptError(code) | Self::OutOfMemory { code } => *code,
            Self::Timeout(_) => 124,
            Self::EngineLost(_) => 125,
            Self::Interrupted => 130,
        }
    }

    /// As records of runs name it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Inaccurate => "inaccurate",
            Self::ScriptError(_) => "script_error",
            Self::Timeout(_) => "timeout",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::EngineLost(_) => "engine_lost",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What is to be run.
pub struct Job<'a> {
    /// `YYYYMMDDHHMMSS-6hex`.
    pub id: &'a str,
    pub work: &'a Work,
    pub env: &'a BTreeMap<String, String>,
    /// Variables whose values nobody sees.
    pub secrets: &'a BTreeMap<String, Secret>,
    pub workdir: Option<&'a str>,
    pub timeout: Option<Duration>,
    /// Files and folders of this machine that are copied in.
    pub uploads: &'a [PathBuf],
    /// Paths in the container, and where each goes.
    pub downloads: &'a [(String, PathBuf)],
    /// Where `RUN_RESULT_DIR` goes if there is something in it.
    pub results: &'a Path,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub outcome: Outcome,
    pub seconds: f64,
    pub is_recycled: bool,
    /// What was in `RUN_RESULT_DIR`.
    pub results: Option<Unpacked>,
}

/// Listens to what a script prints.
pub type Listener<'a> = &'a mut dyn FnMut(Stream, &[u8]);

/// Runs a job in a container that the pool gives.
///
/// # Errors
/// It could not be started, or its files could not be copied.
pub fn run(
    docker: &Docker,
    pool: &Pool<'_>,
    wanted: &Wanted<'_>,
    job: &Job<'_>,
    fresh: bool,
    listener: Listener<'_>,
    stop: &StopToken,
) -> Result<Report, Diagnostic> {
    let start = Instant::now();
    let attempt = Attempt { docker, wanted, job };
    if fresh && alone::is_possible(&attempt, pool, stop)? {
        return alone::run(&attempt, pool, listener, stop);
    }
    let mut used = pool.acquire(wanted, fresh, stop)?;
    let mut ended = attempt.go(&used, listener, stop);
    if used.is_recycled && matches!(ended, Err(Trouble::NotStarted(_))) {
        // It looked sound and was not: one more, with a new one.
        pool.end(used);
        used = pool.acquire(wanted, true, stop)?;
        ended = attempt.go(&used, listener, stop);
    }
    let is_recycled = used.is_recycled;
    let finished = ended.and_then(|(outcome, record)| attempt.fetch(&used, outcome, record, stop));
    let report = |outcome, results| Report { outcome, seconds: start.elapsed().as_secs_f64(), is_recycled, results };
    match finished {
        Ok((outcome, results)) => {
            let keep = !fresh && matches!(outcome, Outcome::Success | Outcome::Inaccurate | Outcome::ScriptError(_));
            if keep {
                pool.keep(used);
            } else {
                pool.end(used);
            }
            Ok(report(outcome, results))
        }
        Err(Trouble::Gone(why) | Trouble::NotStarted(why)) => {
            pool.end(used);
            Ok(report(Outcome::EngineLost(why), None))
        }
        Err(Trouble::Told(problem) | Trouble::NoPlace(problem)) => {
            pool.end(used);
            Err(problem)
        }
    }
}

/// Why an attempt came to nothing.
pub(super) enum Trouble {
    /// The container was not there when the script was to start: nothing of it ran.
    NotStarted(String),
    /// The container or the engine is not there any more.
    Gone(String),
    /// There was no place for the script in the container: nothing of it ran.
    NoPlace(Diagnostic),
    Told(Diagnostic),
}

/// Whether the engine refused to start a command: there is no such container, or it does not run. A command that was
/// there and is not any more is another matter.
fn is_about_start(error: &DockerError) -> bool {
    match error {
        DockerError::Conflict { .. } => true,
        DockerError::NotFound { message, .. } => !message.to_lowercase().contains("exec"),
        _ => false,
    }
}

pub(super) struct Attempt<'a> {
    pub(super) docker: &'a Docker,
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) job: &'a Job<'a>,
}

impl Attempt<'_> {
    fn go(&self, used: &Used, listener: Listener<'_>, stop: &StopToken) -> Result<(Outcome, Option<Record>), Trouble> {
        self.upload(used, stop)?;
        let mark = super::lease::token();
        let spec = ExecSpec {
            command: self.words(&mark),
            env: self.env(&used.home),
            workdir: self.job.workdir.map(str::to_owned),
            stdin: self.job.work.input().map(<[u8]>::to_vec),
            timeout: self.job.timeout,
            ..ExecSpec::default()
        };
        let (ended, record) = self.listen(&mark, listener, |output| self.docker.exec(&used.id, &spec, output, stop));
        self.classify(ended, record)
    }

    /// The whole command that does the work and tells its end by `mark`.
    pub(super) fn words(&self, mark: &str) -> Vec<String> {
        let wrapper = ["sh", "-c", WRAPPER, "sh"].map(str::to_owned).into_iter();
        wrapper.chain(self.job.work.words(self.job.id, mark)).collect()
    }

    /// Hands on what is printed by what `run` runs, without secrets; what that gives, and the record of its end.
    pub(super) fn listen<T>(
        &self,
        mark: &str,
        listener: Listener<'_>,
        run: impl FnOnce(Output<'_>) -> T,
    ) -> (T, Option<Record>) {
        let secrets: Vec<Vec<u8>> = self.job.secrets.values().map(|secret| secret.expose().to_vec()).collect();
        let mut veils = [Veil::new(secrets.clone()), Veil::new(secrets)];
        let mut filter = Filter::new(mark);
        let mut show = |stream: Stream, bytes: &[u8]| {
            if !bytes.is_empty() {
                listener(stream, bytes);
            }
        };
        let ended = run(&mut |stream, bytes| match stream {
            Stream::Stdout => show(stream, &veils[0].pass(bytes)),
            Stream::Stderr => show(stream, &veils[1].pass(&filter.pass(bytes))),
        });
        let (rest, record) = filter.end();
        let [out, mut err] = veils;
        show(Stream::Stdout, &out.end());
        let shown = err.pass(&rest);
        show(Stream::Stderr, &shown);
        show(Stream::Stderr, &err.end());
        (ended, record)
    }

    pub(super) fn classify(
        &self,
        ended: Result<i64, DockerError>,
        record: Option<Record>,
    ) -> Result<(Outcome, Option<Record>), Trouble> {
        let code = match ended {
            Ok(code) => code,
            Err(DockerError::Timeout { limit, .. }) if Some(limit) == self.job.timeout => {
                return Ok((Outcome::Timeout(limit), None));
            }
            Err(DockerError::Cancelled) => return Ok((Outcome::Interrupted, None)),
            Err(error) if is_about_start(&error) => return Err(Trouble::NotStarted(error.to_string())),
            Err(
                error @ (DockerError::NotFound { .. }
                | DockerError::Unreachable { .. }
                | DockerError::Lost { .. }
                | DockerError::Infra { .. }),
            ) => return Err(Trouble::Gone(error.to_string())),
            Err(error) => return Err(Trouble::Told(error.into())),
        };
        let code = u8::try_from(code).unwrap_or(255);
        match record {
            Some(Record { code: None, .. }) => Err(Trouble::NoPlace(self.unready())),
            Some(Record { killed, .. }) if killed > 0 && code != 0 => {
                Ok((Outcome::OutOfMemory { code: if code == 0 { 137 } else { code } }, record))
            }
            // The wrapper itself was killed: by the end of the container, or for want of memory.
            None => self.without_record(code),
            Some(_) => Ok((
                match code {
                    0 => Outcome::Success,
                    2 => Outcome::Inaccurate,
                    code => Outcome::ScriptError(code),
                },
                record,
            )),
        }
    }

    fn without_record(&self, code: u8) -> Result<(Outcome, Option<Record>), Trouble> {
        if code == 126 || code == 127 {
            return Err(Trouble::Told(
                Diagnostic::error(format!("environment `{}` has no `sh` to run scripts with", self.wanted.name))
                    .help("install a shell in its Dockerfile"),
            ));
        }
        if code == 137 && self.wanted.options.memory.is_some() {
            return Ok((Outcome::OutOfMemory { code }, None));
        }
        Err(Trouble::Gone(format!("the container ended while the script ran (exit code {code})")))
    }

    fn unready(&self) -> Diagnostic {
        Diagnostic::error(format!("`{HOME_DIR}/runs` of environment `{}` cannot be written", self.wanted.name))
            .note("the script could not be put into the container")
            .help("run it as the user of the image: --user image")
    }

    /// Exactly the image's variables and these.
    pub(super) fn env(&self, home: &str) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        if !home.is_empty() {
            env.insert("HOME".to_owned(), home.to_owned());
        }
        env.insert("RUN_ID".to_owned(), self.job.id.to_owned());
        env.insert("RUN_RESULT_DIR".to_owned(), format!("{HOME_DIR}/runs/{}/result", self.job.id));
        for (number, path) in self.job.uploads.iter().enumerate() {
            env.insert(format!("UPLOAD_{number}"), self.upload_path(number, path));
        }
        env.extend(self.job.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        env.extend(
            self.job
                .secrets
                .iter()
                .map(|(name, secret)| (name.clone(), String::from_utf8_lossy(secret.expose()).into_owned())),
        );
        env
    }

    fn upload_path(&self, number: usize, path: &Path) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        format!("{HOME_DIR}/runs/{}/upload/{number}/{name}", self.job.id)
    }

    pub(super) fn upload(&self, used: &Used, stop: &StopToken) -> Result<(), Trouble> {
        if self.job.uploads.is_empty() {
            return Ok(());
        }
        let told = |error: std::io::Error| {
            Trouble::Told(Diagnostic::error("a file of `--upload` cannot be read").cause(error))
        };
        let file = self.archive().map_err(told)?;
        self.docker.upload(&used.id, HOME_DIR, Box::new(file), stop).map_err(|error| match error {
            DockerError::Cancelled => Trouble::Told(Diagnostic::error("told to stop while files were copied")),
            DockerError::NotFound { .. } | DockerError::Conflict { .. } => Trouble::NotStarted(error.to_string()),
            error => Trouble::Told(error.into()),
        })
    }

    /// The uploads as an archive, in a file that has no name: they may be large.
    fn archive(&self) -> std::io::Result<std::fs::File> {
        let owner = self.wanted.options.user.unwrap_or((0, 0));
        let mut archive = tar::Builder::new(tempfile::tempfile()?);
        let run = format!("runs/{}", self.job.id);
        transfer::add_folder(&mut archive, &run, 0o755, owner)?;
        transfer::add_folder(&mut archive, &format!("{run}/upload"), 0o755, owner)?;
        for (number, path) in self.job.uploads.iter().enumerate() {
            let folder = format!("{run}/upload/{number}");
            transfer::add_folder(&mut archive, &folder, 0o755, owner)?;
            let name = path.file_name().unwrap_or_default();
            transfer::add_tree(&mut archive, &Path::new(&folder).join(name), path, owner)?;
        }
        let mut file = archive.into_inner()?;
        std::io::Seek::rewind(&mut file)?;
        Ok(file)
    }

    /// Copies what the run leaves: results whatever the exit code, downloads only where it is no error.
    pub(super) fn fetch(
        &self,
        used: &Used,
        outcome: Outcome,
        record: Option<Record>,
        stop: &StopToken,
    ) -> Result<(Outcome, Option<Unpacked>), Trouble> {
        let mut results = None;
        if record.is_some_and(|record| record.has_results) {
            let from = format!("{HOME_DIR}/runs/{}/result", self.job.id);
            results = Some(self.copy(used, &from, self.job.results, stop)?);
        }
        if matches!(outcome, Outcome::Success | Outcome::Inaccurate) {
            for (from, to) in self.job.downloads {
                self.copy(used, from, to, stop)?;
            }
        }
        Ok((outcome, results))
    }

    fn copy(&self, used: &Used, from: &str, to: &Path, stop: &StopToken) -> Result<Unpacked, Trouble> {
        let failed = |error: std::io::Error| {
            Trouble::Told(
                Diagnostic::error(format!("`{from}` of the container cannot be copied to `{}`", to.display()))
                    .cause(error),
            )
        };
        let mut file = tempfile::tempfile().map_err(failed)?;
        self.docker.download(&used.id, from, &mut file, stop).map_err(|error| {
            Trouble::Told(match error {
                DockerError::NotFound { .. } => {
                    Diagnostic::error(format!("`{from}` of `--download` is not there after the run"))
                }
                error => error.into(),
            })
        })?;
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        transfer::unpack(file, to).map_err(failed)
    }
}
