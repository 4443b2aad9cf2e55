//! A real ssh server on a loopback port with throw-away keys, and the settings with which the program gets to it. Knows
//! nothing of what is done there.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
pub struct Sshd {
    child: Child,
    dir: tempfile::TempDir,
    pub port: u16,
}

impl Sshd {
    /// Starts one; `extra` are further lines of its configuration.
    pub fn start(extra: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("xtask-sshd-").tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        for name in ["host", "user"] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(name)).status();
            assert!(made.expect("ssh-keygen is needed (package openssh-client)").success());
        }
        if rustix::process::geteuid().is_root() {
            // Where the server separates its privileges it insists on this folder of its package.
            let _ = fs::create_dir("/run/sshd");
            let _ = fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755));
        }
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let at = dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             {extra}\n"
        );
        fs::write(path("config"), config).expect("a file");
        let public = fs::read_to_string(path("host.pub")).expect("a key");
        fs::write(path("known"), format!("[127.0.0.1]:{port} {public}")).expect("a file");
        fs::write(
            path("client"),
            format!("Host *\n  UserKnownHostsFile {at}/known\n  GlobalKnownHostsFile none\n  IdentitiesOnly yes\n"),
        )
        .expect("a file");
        // The program takes ssh from PATH; this one does not look at the caller's own settings.
        fs::create_dir(path("bin")).expect("a folder");
        fs::write(path("bin/ssh"), format!("#!/bin/sh\nexec /usr/bin/ssh -F {at}/client \"$@\"\n")).expect("a file");
        fs::set_permissions(path("bin/ssh"), fs::Permissions::from_mode(0o755)).expect("a mode");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).expect("a file"))
            .spawn()
            .expect("sshd is needed (package openssh-server)");
        let server = Self { child, dir, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "sshd does not listen: {}", server.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn key(&self) -> PathBuf {
        self.dir.path().join("user")
    }

    /// How many connections it has accepted.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Ends all connections at once, as a router that goes down does; the server goes on. Returns how many there were.
    pub fn cut(&self) -> usize {
        let list = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(list).expect("processes");
        let pids = children.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?));
        pids.filter(|pid| rustix::process::kill_process(*pid, rustix::process::Signal::KILL).is_ok()).count()
    }

    /// `PATH` with an ssh that knows this server.
    pub fn search_path(&self) -> String {
        format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap_or_default())
    }

    /// An entry of `hosts` with this server, and further fields.
    pub fn host(&self, more: &str) -> String {
        let key = self.key();
        format!("{{ ssh: \"127.0.0.1\", port: {}, identity: \"{}\", {more} }}", self.port, key.display())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
