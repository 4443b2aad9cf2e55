//! One ssh connection per host, shared by everything that is done there. Knows nothing of rsync or Docker.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::target::quote;
use super::{RemoteError, Target};
use crate::exec::{CommandResult, CommandSpec, Stdin, run};
use crate::model::stop::Stop;
use crate::model::{StopToken, Stream};

/// How long the other side may take to answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence of this length ends a connection: three questions, five seconds apart, without an answer.
const ALIVE: [&str; 2] = ["ServerAliveInterval=5", "ServerAliveCountMax=3"];
/// Connections that are tried before a server that drops them is given up.
const ATTEMPTS: u32 = 6;
/// Before the second; doubled each time.
const BACK_OFF: Duration = Duration::from_millis(200);
/// How many of the last lines that a program said are kept for messages.
const SAID: usize = 12;

/// The environment of ssh and rsync themselves.
pub type Env = Vec<(OsString, OsString)>;

/// A connection that stays open until this is dropped.
///
/// Its socket is in a private folder; whoever holds the master can run commands and forward sockets without another
/// handshake. If the link is lost, what uses it fails, and [`Master::is_alive`] says so.
pub struct Master {
    target: Target,
    dir: TempDir,
    env: Env,
    stop: StopToken,
    thread: Option<JoinHandle<CommandResult>>,
    forwards: AtomicU32,
}

impl Master {
    /// Connects. No question is ever asked: an unknown host key or a missing key is an error. A server that drops the
    /// connection before it has said who it is has too many of them at the moment: it is tried again, each time later.
    pub fn connect(target: &Target, env: &Env, stop: &StopToken) -> Result<Self, RemoteError> {
        for attempt in 1..ATTEMPTS {
            match Self::connect_once(target, env, stop) {
                Err(error) if error.is_dropped() => super::transfer::pause(BACK_OFF, attempt, stop)?,
                outcome => return outcome,
            }
        }
        Self::connect_once(target, env, stop)
    }

    fn connect_once(target: &Target, env: &Env, stop: &StopToken) -> Result<Self, RemoteError> {
        let host = target.to_string();
        let system = |cause: io::Error| RemoteError::System { host: host.clone(), cause: cause.to_string() };
        // Short, because the path of a socket may have 108 bytes only.
        let dir = tempfile::Builder::new().prefix("xt-").tempdir().map_err(system)?;
        let own = StopToken::new();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut argv = base(target, dir.path());
        argv.extend(["-o", "ControlMaster=yes", "-o", "ControlPersist=no", "-N", "--"].map(OsString::from));
        argv.push(target.destination().into());
        let mut spec = CommandSpec::new(argv, "/".into(), env.clone());
        spec.grace = Duration::from_secs(1);
        let (token, heard) = (own.clone(), said.clone());
        let thread = std::thread::Builder::new()
            .name(format!("ssh {host}"))
            .spawn(move || run(&spec, &mut |_, line| hear(&heard, line), &mut io::sink(), &token));
        let mut master = Self {
            target: target.clone(),
            dir,
            env: env.clone(),
            stop: own,
            thread: Some(thread.map_err(system)?),
            forwards: AtomicU32::new(0),
        };
        master.wait_until_open(stop).map_err(|error| match error {
            RemoteError::Unreachable { host, .. } => {
                let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                RemoteError::Unreachable { host, said }
            }
            other => other,
        })?;
        Ok(master)
    }

    /// The socket appears when the other side has accepted us.
    fn wait_until_open(&mut self, stop: &StopToken) -> Result<(), RemoteError> {
        let start = Instant::now();
        while !control_path(self.dir.path()).exists() {
            if stop.is_requested() {
                return Err(RemoteError::Stopped);
            }
            if !self.is_alive() || start.elapsed() > CONNECT_TIMEOUT + Duration::from_secs(5) {
                self.end();
                return Err(RemoteError::Unreachable { host: self.target.to_string(), said: Vec::new() });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Of ssh and rsync.
    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    /// Whether the connection is open. A link that is cut without a word is noticed after 15 seconds.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// The program and options that use this connection, up to but without the host.
    pub(super) fn client(&self) -> Vec<OsString> {
        let mut argv = base(&self.target, self.dir.path());
        argv.extend(["-o", "ControlMaster=no", "-o", "ClearAllForwardings=yes", "-T"].map(OsString::from));
        argv
    }

    /// The program, words and environment that run a command line on the host through this connection.
    pub(super) fn caller(&self, line: &str) -> super::stdio::Caller {
        let mut words = self.client().into_iter();
        let program = words.next().unwrap_or_default();
        let more = ["--".into(), self.target.destination().into(), line.into()];
        (program, words.chain(more).collect(), self.env.clone())
    }

    /// The folder that only this user can read; it goes with the connection.
    pub(super) fn private_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a program on the host, without a shell seeing its words. Stdout is kept up to 1 MiB.
    ///
    /// A lost connection shows as exit code 255.
    pub fn run(
        &self,
        argv: &[&str],
        stdin: Stdin,
        sink: &mut dyn FnMut(Stream, &[u8]),
        stop: &StopToken,
    ) -> CommandResult {
        let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
        let mut line = self.client();
        line.extend(["--".into(), self.target.destination().into(), words.join(" ").into()]);
        let mut spec = CommandSpec::new(line, "/".into(), self.env.clone());
        spec.stdin = stdin;
        spec.capture_limit = 1 << 20;
        spec.grace = Duration::from_secs(2);
        run(&spec, sink, &mut io::sink(), stop)
    }

    /// Makes the socket `remote` of the host available here for as long as the result lives.
    pub fn forward_socket(self: &Arc<Self>, remote: &Path, stop: &StopToken) -> Result<Forward, RemoteError> {
        let number = self.forwards.fetch_add(1, Ordering::Relaxed);
        let local = self.dir.path().join(format!("f{number}"));
        let mut rule = local.clone().into_os_string();
        rule.push(":");
        rule.push(remote);
        self.control("forward", &rule, stop)?;
        Ok(Forward { master: self.clone(), path: local, rule })
    }

    /// Asks the open connection for something.
    fn control(&self, what: &str, rule: &std::ffi::OsStr, stop: &StopToken) -> Result<(), RemoteError> {
        let mut argv = base(&self.target, self.dir.path());
        argv.extend(["-O".into(), what.into(), "-L".into(), rule.to_owned(), "--".into()]);
        argv.push(self.target.destination().into());
        let mut said = Vec::new();
        let mut spec = CommandSpec::new(argv, "/".into(), self.env.clone());
        spec.timeout = Some(CONNECT_TIMEOUT);
        let mut sink = |_, line: &[u8]| said.push(String::from_utf8_lossy(line).into_owned());
        let result = run(&spec, &mut sink, &mut io::sink(), stop);
        if result.exit.success() {
            return Ok(());
        }
        let (host, what) = (self.target.to_string(), format!("ssh -O {what}"));
        Err(RemoteError::Failed { host, what, how: result.exit.describe(), said })
    }

    fn end(&mut self) {
        self.stop.request(Stop::Gently);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own message.
            let _ = thread.join();
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.end();
    }
}

/// A socket of a host, seen here.
pub struct Forward {
    master: Arc<Master>,
    path: PathBuf,
    rule: OsString,
}

impl Forward {
    /// The local socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the connection below it is open.
    pub fn is_alive(&self) -> bool {
        self.master.is_alive()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // A connection that is gone has no forwards.
        let _ = self.master.control("cancel", &self.rule, &StopToken::new());
    }
}

fn control_path(dir: &Path) -> PathBuf {
    dir.join("c")
}

/// `ssh` with what every use has in common.
fn base(target: &Target, dir: &Path) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["ssh".into()];
    if let Some(file) = &target.config_file {
        argv.extend(["-F".into(), file.clone().into()]);
    }
    if let Some(port) = target.port {
        argv.extend(["-p".into(), port.to_string().into()]);
    }
    if let Some(file) = &target.identity {
        argv.extend(["-i".into(), file.clone().into()]);
    }
    // `%` introduces a field in the path of the socket.
    let socket = control_path(dir).to_string_lossy().replace('%', "%%");
    let timeout = format!("ConnectTimeout={}", CONNECT_TIMEOUT.as_secs());
    let options = ["BatchMode=yes", "StreamLocalBindUnlink=yes", "ExitOnForwardFailure=yes", &timeout];
    for option in options.into_iter().chain(ALIVE) {
        argv.extend(["-o".into(), option.into()]);
    }
    argv.extend(["-o".into(), format!("ControlPath={socket}").into()]);
    argv
}

/// Keeps the last lines.
fn hear(said: &Mutex<Vec<String>>, line: &[u8]) {
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() == SAID {
        said.remove(0);
    }
    said.push(String::from_utf8_lossy(line).trim_end().to_owned());
}
