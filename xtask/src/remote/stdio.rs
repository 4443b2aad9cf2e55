//! A socket here that stands for the engine of a host whose socket ssh may not forward: every connection is a call of the
//! host's own docker command line, as docker itself does it for `ssh://`. Knows nothing of what is said.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::target::quote;
use super::{Master, RemoteError};

/// What runs on the host: it passes its input and output on to the engine that the command line uses there.
const DIAL: &str = "docker system dial-stdio";
/// How long an engine may take to answer the first question.
const ANSWER: Duration = Duration::from_secs(10);

/// The socket, for as long as this lives.
pub struct Dialled {
    master: Arc<Master>,
    path: PathBuf,
    ended: Arc<AtomicBool>,
}

impl Dialled {
    /// Listens. Nothing is asked of the host yet. `engine` is an address there, if not the one that the command line uses
    /// by itself.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn listen(master: &Arc<Master>, engine: Option<&str>) -> Result<Self, RemoteError> {
        let host = master.target().to_string();
        let system = |cause: io::Error| RemoteError::System { host: host.clone(), cause: cause.to_string() };
        let path = master.private_dir().join("d");
        let listener = UnixListener::bind(&path).map_err(system)?;
        let ended = Arc::new(AtomicBool::new(false));
        let line = engine.map_or_else(|| DIAL.to_owned(), |engine| format!("DOCKER_HOST={} {DIAL}", quote(engine)));
        let (caller, over) = (master.caller(&line), ended.clone());
        std::thread::Builder::new()
            .name(format!("dial {host}"))
            .spawn(move || {
                for connection in listener.incoming() {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    // A connection that fails is closed, which is what its user sees.
                    let _ = connection.and_then(|connection| serve(&caller, connection));
                }
            })
            .map_err(system)?;
        Ok(Self { master: master.clone(), path, ended })
    }

    /// The local socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the connection below it is open.
    pub fn is_alive(&self) -> bool {
        self.master.is_alive()
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        let _ = UnixStream::connect(&self.path);
    }
}

/// Starts the command with the connection as its input and output. A thread waits for its end.
fn serve((program, args, env): &Caller, connection: UnixStream) -> io::Result<()> {
    let output = connection.try_clone()?;
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(OwnedFd::from(connection))
        .stdout(OwnedFd::from(output))
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::Builder::new().name("dial".to_owned()).spawn(move || child.wait()).map(drop)
}

/// A program, its words, and its whole environment.
pub(super) type Caller = (std::ffi::OsString, Vec<std::ffi::OsString>, super::ssh::Env);

/// Whether an engine answers at this socket.
pub(super) fn answers(socket: &Path) -> bool {
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok::<_, io::Error>(&start == b"HTTP/")
    };
    ask().unwrap_or(false)
}
