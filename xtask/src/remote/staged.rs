//! Builds by the docker command line of a host: the context goes to a private folder there by rsync, the command builds
//! from it, and the folder goes away whatever happens. Knows nothing of which image it is.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::rsync::SyncSpec;
use super::staged_script::{self as script, Said};
use super::target::quote;
use super::transfer::{Link, Patience, transfer};
use super::{Master, RemoteError};
use crate::docker::build::{self, Spoken};
use crate::docker::{BuildEvent, BuildRequest, BuildResult, Builder, DockerError};
use crate::exec::{CommandResult, Exit, Reader, Stdin};
use crate::model::stop::Stop;
use crate::model::task::Compress;
use crate::model::{Digest, StopToken, Stream};

/// How often a request to stop is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a build that is to stop may take to end on the host, and its folder to go away. The script there sends
/// SIGKILL after ten seconds.
const ENDING: Duration = Duration::from_secs(20);

/// A host on which images are built in that way.
pub struct Staged {
    link: Link,
    /// The folder below which to work; empty is the home.
    root: String,
    /// For `DOCKER_HOST`; empty where the command line there knows by itself.
    engine: String,
    compress: Compress,
}

/// What comes from the session on the host.
enum Heard {
    Line(Stream, Vec<u8>),
    Ended(CommandResult),
}

impl Staged {
    /// Uses an open connection; if it is lost, the next build makes another.
    pub(super) fn new(master: &Arc<Master>, root: Option<&str>, engine: Option<String>, compress: Compress) -> Self {
        let (root, engine) = (root.unwrap_or_default().to_owned(), engine.unwrap_or_default());
        Self { link: Link::over(master), root, engine, compress }
    }

    /// Builds. Events come on the calling thread; when `stop` is raised, the build there is ended, and the answer is
    /// `Cancelled`. In each case this returns when the private folder is gone, or the connection is.
    ///
    /// # Errors
    /// As those of a build by an engine; [`DockerError::Lost`] where the connection was.
    pub fn build(
        &self,
        request: &BuildRequest,
        events: &mut dyn FnMut(BuildEvent),
        stop: &StopToken,
    ) -> Result<BuildResult, DockerError> {
        let master = match self.link.master(stop) {
            Ok(Some(master)) => master,
            Ok(None) | Err(RemoteError::Stopped) => return Err(DockerError::Cancelled),
            Err(error) => return Err(self.lost(&error)),
        };
        let (reader, writer) = Reader::pipe().map_err(|error| self.unprepared(&error))?;
        let place = tempfile::Builder::new().prefix("xt-build-").tempdir().map_err(|error| self.unprepared(&error))?;
        let now = (Instant::now(), std::process::id(), place.path());
        let mark = Digest::of(format!("{now:?}").as_bytes()).hex();
        let (quit, (sender, heard)) = (StopToken::new(), channel());
        let words = ["sh", "-c", script::HOLD, "sh", &mark, &self.root, &self.engine];
        std::thread::scope(|scope| {
            let quit = &quit;
            // The sender goes with the session: that nothing can be heard any more is then known, too.
            let session = move || {
                let mut sink = |stream, line: &[u8]| drop(sender.send(Heard::Line(stream, line.to_vec())));
                let ended = master.run(&words, Stdin::Pipe(reader), &mut sink, quit);
                let _ = sender.send(Heard::Ended(ended));
            };
            let started = std::thread::Builder::new().name("staged build".to_owned()).spawn_scoped(scope, session);
            started.map_err(|error| self.unprepared(&error))?;
            let held = Held { staged: self, mark: &mark, input: Some(writer), heard, quit, said: Vec::new() };
            held.build(request, place.path(), events, stop)
        })
    }

    fn lost(&self, why: &dyn std::fmt::Display) -> DockerError {
        DockerError::Lost { what: format!("host `{}`", self.link.name), message: why.to_string() }
    }

    fn unprepared(&self, cause: &dyn std::fmt::Display) -> DockerError {
        DockerError::Unsupported {
            what: format!("a build on host `{}` cannot be prepared: {cause}", self.link.name),
            help: "make room here, or let the variable `TMPDIR` name a folder with room".to_owned(),
        }
    }
}

/// The session that holds the folder on the host.
struct Held<'a> {
    staged: &'a Staged,
    mark: &'a str,
    /// Its end is the end of the session.
    input: Option<io::PipeWriter>,
    heard: Receiver<Heard>,
    quit: &'a StopToken,
    /// What was said on stderr before the build began.
    said: Vec<String>,
}

impl Held<'_> {
    fn build(
        mut self,
        request: &BuildRequest,
        place: &Path,
        events: &mut dyn FnMut(BuildEvent),
        stop: &StopToken,
    ) -> Result<BuildResult, DockerError> {
        let begun = self.begin(request, place, events, stop);
        let outcome = begun.and_then(|(builder, sent)| Ok((self.listen(builder, events, stop)?, sent)));
        self.end();
        match outcome {
            Err(_) if stop.is_requested() => Err(DockerError::Cancelled),
            outcome => outcome.map(|(result, sent)| BuildResult { sent, ..result }),
        }
    }

    /// Until the build runs: which builder it is, and how many bytes its files have.
    fn begin(
        &mut self,
        request: &BuildRequest,
        place: &Path,
        events: &mut dyn FnMut(BuildEvent),
        stop: &StopToken,
    ) -> Result<(Builder, u64), DockerError> {
        let (is_classic, folder) = self.folder(stop)?;
        let builder = match request.builder {
            Builder::Auto if is_classic => Builder::Classic,
            Builder::Auto => Builder::BuildKit,
            chosen => chosen,
        };
        let (request, warning) = self.prepare(request, builder)?;
        if let Some(text) = warning {
            events(BuildEvent::Warning { text });
        }
        let sent = build::lay_out(&request, builder, place)?;
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o700))
            .and_then(|()| std::fs::write(place.join("run"), run_script(&request, builder)))
            .map_err(|error| self.staged.unprepared(&error))?;
        self.copy(place, &folder, sent, events, stop)?;
        let secrets = request.secrets.iter().enumerate();
        let lines = secrets.map(|(at, (_, value))| format!("secret {at} {}\n", script::octal(value.expose())));
        let text = lines.collect::<String>() + "go\n";
        let input = self.input.as_mut().ok_or_else(|| self.staged.lost(&"it ended"))?;
        input.write_all(text.as_bytes()).map_err(|error| self.staged.lost(&error))?;
        Ok((builder, sent))
    }

    /// What this builder is asked for, and a warning.
    fn prepare(&self, request: &BuildRequest, builder: Builder) -> Result<(BuildRequest, Option<String>), DockerError> {
        if request.ssh_agent.is_some() {
            return Err(DockerError::Unsupported {
                what: format!("the ssh agent is not lent to host `{}`, which builds `staged`", self.staged.link.name),
                help: "remove `build: staged` of the host: its engine asks for the agent one key at a time".to_owned(),
            });
        }
        build::prepare(request, builder)
    }

    /// The next thing that is heard, unless the run is to stop.
    fn next(&self, stop: &StopToken) -> Result<Heard, DockerError> {
        loop {
            match self.heard.recv_timeout(GLANCE) {
                Ok(heard) => return Ok(heard),
                Err(RecvTimeoutError::Timeout) if !stop.is_requested() => {}
                Err(RecvTimeoutError::Timeout) => return Err(DockerError::Cancelled),
                Err(RecvTimeoutError::Disconnected) => return Err(self.staged.lost(&"it ended")),
            }
        }
    }

    /// Waits for the private folder: whether only the classic builder is there, and where it is.
    fn folder(&mut self, stop: &StopToken) -> Result<(bool, String), DockerError> {
        loop {
            match self.next(stop)? {
                Heard::Line(Stream::Stdout, line) => match script::parse(self.mark, &line) {
                    Some(Said::Dir { is_classic, folder }) => return Ok((is_classic, folder)),
                    Some(Said::None) => {
                        return Err(DockerError::Unsupported {
                            what: format!("host `{}` has no `docker` command", self.staged.link.name),
                            help: "install the docker command line there, or remove `build: staged` of the host"
                                .to_owned(),
                        });
                    }
                    _ => {}
                },
                Heard::Line(Stream::Stderr, line) => {
                    self.said.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
                Heard::Ended(result) => return Err(self.without_folder(&result)),
            }
        }
    }

    fn without_folder(&self, result: &CommandResult) -> DockerError {
        let said = self.said.join("; ");
        if matches!(result.exit, Exit::Code(255)) {
            return self.staged.lost(&said);
        }
        DockerError::Unsupported {
            what: format!("no private folder can be made on host `{}`: {said}", self.staged.link.name),
            help: "let `root` of the host name a folder that this login may write to".to_owned(),
        }
    }

    /// Copies what was laid out. A connection that is lost here takes the folder with it, so nothing is tried again.
    fn copy(
        &self,
        place: &Path,
        folder: &str,
        total: u64,
        events: &mut dyn FnMut(BuildEvent),
        stop: &StopToken,
    ) -> Result<(), DockerError> {
        let mut spec = SyncSpec::new(place);
        spec.compress = self.staged.compress;
        let patience = Patience { retries: 0, ..Patience::default() };
        let (id, name): (Arc<str>, Arc<str>) = ("copy".into(), "[internal] copy the context to the host".into());
        let step = |state| BuildEvent::Step { id: id.clone(), name: name.clone(), index: None, total: None, state };
        events(step(build::StepState::Started));
        let start = Instant::now();
        let mut report = |progress: super::Progress| {
            let (done, total, what) = (progress.bytes, Some(total), "copying the context".to_owned());
            events(BuildEvent::Transfer { step: id.clone(), what, done, total });
        };
        let to = format!("{folder}/in");
        let copied = transfer(&spec, &self.staged.link, &to, patience, &mut report, &mut io::sink(), stop);
        let (state, outcome) = match copied {
            Ok(_) => (build::StepState::Done { seconds: start.elapsed().as_secs_f64() }, Ok(())),
            Err(error) => (build::StepState::Failed { message: error.to_string() }, Err(self.not_copied(&error))),
        };
        events(step(state));
        outcome
    }

    fn not_copied(&self, error: &RemoteError) -> DockerError {
        let said = match error {
            RemoteError::Stopped => return DockerError::Cancelled,
            RemoteError::Failed { said, .. } | RemoteError::GaveUp { said, .. } => said.join("; "),
            _ => String::new(),
        };
        let message = format!("{error}: {said}");
        let what = format!("the context on host `{}`", self.staged.link.name);
        if said.contains("No space left on device") {
            DockerError::DiskFull { what, message }
        } else if said.contains("command not found") || said.contains("rsync: not found") {
            let help = "install rsync there, or remove `build: staged` of the host".to_owned();
            DockerError::Unsupported { what: format!("host `{}` has no `rsync` command", self.staged.link.name), help }
        } else {
            DockerError::Lost { what, message }
        }
    }

    /// Until the build has ended.
    fn listen(
        &mut self,
        builder: Builder,
        events: &mut dyn FnMut(BuildEvent),
        stop: &StopToken,
    ) -> Result<BuildResult, DockerError> {
        let mut spoken = Spoken::new(builder);
        let mut image = String::new();
        loop {
            match self.next(stop)? {
                Heard::Line(stream, line) => match script::parse(self.mark, &line) {
                    Some(Said::Image(id)) => image = id,
                    Some(Said::End(code)) => return spoken.end(code, &image, events),
                    _ => spoken.line(stream, &line).into_iter().for_each(&mut *events),
                },
                Heard::Ended(result) => return Err(self.staged.lost(&result.exit.describe())),
            }
        }
    }

    /// Ends the session, and waits until the folder on the host is gone.
    fn end(&mut self) {
        drop(self.input.take());
        let start = Instant::now();
        loop {
            match self.heard.recv_timeout(GLANCE) {
                Ok(Heard::Ended(_)) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if start.elapsed() > ENDING => {
                    self.quit.request(Stop::Gently);
                }
                Ok(Heard::Line(..)) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// What the script on the host sources: the call of docker, every word quoted.
fn run_script(request: &BuildRequest, builder: Builder) -> String {
    let words = build::words(request);
    let secrets = request.secrets.iter().enumerate();
    let secrets =
        secrets.map(|(at, (id, _))| format!("--secret {},src=\"$dir/secrets/{at}\"", quote(&format!("id={id}"))));
    let words: Vec<String> = words.iter().map(|word| quote(word)).chain(secrets).collect();
    let text = if builder == Builder::Classic { script::CLASSIC } else { script::BUILDKIT };
    text.replace('@', &words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn a_secret_is_a_file_and_no_word() {
        let mut request =
            BuildRequest { secrets: vec![("tok'en".into(), Secret::new("hidden"))], ..Default::default() };
        request.labels.insert("who".into(), "it's @me $(x)".into());
        let text = run_script(&request, Builder::BuildKit);
        assert!(text.contains(r#"--secret 'id=tok'\''en',src="$dir/secrets/0""#), "{text}");
        assert!(text.contains(r"'--label' 'who=it'\''s @me $(x)'") && !text.contains("hidden"), "{text}");
    }
}
