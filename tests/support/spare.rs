//! A second engine: data, sockets, network, mounts and processes of its own, gone with the value. Knows nothing of what is
//! done with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask::docker::{Docker, Endpoint};

/// A network namespace of its own, because an engine changes the bridge of the one that it starts in; a fresh `/run`,
/// because it would take the containerd of the other engine; a process namespace, so that all of it ends at once.
const START: &str = r#"
mount -t tmpfs none /run && ip link set lo up || exit 1
exec dockerd --data-root "$1/data" --exec-root "$1/exec" -H "unix://$1/d.sock" --pidfile "$1/d.pid" \
    --iptables=false --ip6tables=false --userland-proxy=false --config-file "$1/config.json" -s vfs
"#;

/// A running engine.
pub struct Spare {
    dir: tempfile::TempDir,
    child: Child,
}

impl Spare {
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("xtask-engine-").tempdir().expect("a folder");
        std::fs::write(dir.path().join("config.json"), "{}").expect("a file");
        let log = std::fs::File::create(dir.path().join("log")).expect("a file");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", START, "sh"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("setpriv and unshare are needed (package util-linux)");
        let spare = Self { dir, child };
        let start = Instant::now();
        while spare.docker().engine().is_err() {
            let log = || std::fs::read_to_string(spare.path("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_mins(1), "a second engine does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        spare
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("d.sock")
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn docker(&self) -> Docker {
        Docker::connect(&Endpoint::Unix(self.socket())).expect("a client")
    }

    /// SIGKILL for the engine and all that it started.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What its docker command line prints; empty if it fails.
    pub fn says(&self, words: &[&str]) -> String {
        let output = Command::new("docker").args(["-H", &self.url()]).args(words).output().expect("docker");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.kill();
    }
}
