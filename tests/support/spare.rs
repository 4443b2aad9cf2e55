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
[ -z "$2" ] || { mkdir -p "$1/data" && mount -t tmpfs -o "size=$2" none "$1/data"; } || exit 1
exec dockerd --data-root "$1/data" --exec-root "$1/exec" -H "unix://$1/d.sock" --pidfile "$1/d.pid" \
    --insecure-registry 10.213.0.0/16 --iptables=false --ip6tables=false --userland-proxy=false --config-file "$1/config.json" -s vfs
"#;

/// A running engine.
pub struct Spare {
    dir: tempfile::TempDir,
    child: Child,
}

impl Spare {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// One whose data has a disk of this size, e.g. `64m`, gone with its process.
    pub fn start_with(disk: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("xtask-engine-").tempdir().expect("a folder");
        std::fs::write(dir.path().join("config.json"), "{}").expect("a file");
        let child = Self::launch(dir.path(), disk);
        let spare = Self { dir, child };
        spare.wait();
        spare
    }

    fn launch(dir: &Path, disk: &str) -> Child {
        let log = std::fs::File::create(dir.join("log")).expect("a file");
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", START, "sh"])
            .arg(dir)
            .arg(disk)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("setpriv and unshare are needed (package util-linux)")
    }

    fn wait(&self) {
        let start = Instant::now();
        while self.docker().engine().is_err() {
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_mins(1), "a second engine does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.kill();
        // What lies in /run on a machine does not outlive its processes either: they all went.
        let _ = std::fs::remove_file(self.path("d.pid"));
        let _ = std::fs::remove_dir_all(self.path("exec"));
        self.child = Self::launch(self.dir.path(), "");
        self.wait();
    }

    /// Connects it to this machine by a wire of its own. Returns this machine's address on it.
    pub fn connect(&self, number: u8) -> std::net::Ipv4Addr {
        // Tests run in processes of their own, side by side.
        let part = (std::process::id() % 250) as u8;
        let (near, far) = (format!("10.213.{part}.{}", number * 4 + 1), format!("10.213.{part}.{}", number * 4 + 2));
        let (pid, link) = (self.child.id().to_string(), format!("xt{}n{number}", std::process::id()));
        let inside = format!("ip addr add {far}/30 dev eth9 && ip link set eth9 up && ip route add default via {near}");
        let outside = format!(
            "ip link add {link} type veth peer name eth9 netns {pid} && ip addr add {near}/30 dev {link} && \
             ip link set {link} up && nsenter --target {pid} --net sh -c '{inside}'"
        );
        let done = Command::new("sh").args(["-c", &outside]).output().expect("a shell");
        assert!(done.status.success(), "a wire to the engine: {}", String::from_utf8_lossy(&done.stderr));
        near.parse().expect("an address")
    }

    /// Runs a shell command among the mounts that the engine sees.
    #[allow(dead_code, reason = "not every test target needs it")]
    pub fn inside(&self, command: &str) {
        let pid = self.child.id().to_string();
        let words = ["--target", &pid, "--mount", "sh", "-c", command];
        let done = Command::new("nsenter").args(words).output().expect("nsenter");
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
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
