//! A real ssh server on a loopback port for tests, with throw-away keys; it ends with the value.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Target;

/// A running server.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Sshd {
    /// Starts one; `extra` are further lines of its configuration.
    pub(crate) fn start(extra: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("xtask-sshd-").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["host", "user"] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(name)).status();
            assert!(made.expect("ssh-keygen is needed (package openssh-client)").success());
        }
        fs::copy(path("user.pub"), path("authorized")).unwrap();
        // Where the server separates its privileges it insists on this folder of its package.
        if rustix::process::geteuid().is_root() {
            let _ = fs::create_dir("/run/sshd");
            let _ = fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\n{extra}\n"
        );
        fs::write(path("config"), config).unwrap();
        let public = fs::read_to_string(path("host.pub")).unwrap();
        fs::write(path("known"), format!("[127.0.0.1]:{port} {public}")).unwrap();
        let client =
            format!("Host *\n  UserKnownHostsFile {at}/known\n  GlobalKnownHostsFile none\n  IdentitiesOnly yes\n");
        fs::write(path("client"), client).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).unwrap())
            .spawn()
            .expect("sshd is needed (package openssh-server)");
        let server = Self { child, dir, port };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "sshd does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// How to reach it.
    pub(crate) fn target(&self) -> Target {
        self.target_at(self.port)
    }

    /// How to reach it through a proxy on another port.
    pub(crate) fn target_at(&self, port: u16) -> Target {
        let public = fs::read_to_string(self.path("host.pub")).unwrap();
        let mut known = fs::read_to_string(self.path("known")).unwrap();
        known.push_str(&format!("[127.0.0.1]:{port} {public}"));
        fs::write(self.path("known"), known).unwrap();
        let mut target = Target::parse("127.0.0.1").unwrap();
        target.port = Some(port);
        target.identity = Some(self.path("user"));
        target.config_file = Some(self.path("client"));
        target
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// How many connections it has accepted.
    pub(crate) fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The environment for ssh and rsync in tests.
pub(crate) fn programs() -> super::ssh::Env {
    ["PATH", "HOME", "USER", "LOGNAME"]
        .iter()
        .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
        .collect()
}

/// Files with awkward names and sizes below `dir`.
pub(crate) fn fill(dir: &Path, files: usize) {
    for number in 0..files {
        let folder = dir.join(format!("d{}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        let name = ["plain", "with space", "quo'te", "dol$lar", "semi;colon", "ümlaut"][number % 6];
        let size = if number % 10 == 0 { 70_000 } else { 100 };
        let content: Vec<u8> = (0..size).map(|at| ((at * 7 + number * 13) % 256) as u8).collect();
        fs::write(folder.join(format!("{name}-{number}")), content).unwrap();
    }
}
