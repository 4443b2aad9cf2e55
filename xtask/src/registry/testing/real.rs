//! Starts the registry program of the distribution on a free loopback port. Knows nothing of images.

use std::io::{Error, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running registry with storage of its own; stopped, and its storage removed, on drop.
pub struct RealRegistry {
    child: Child,
    host: String,
    dir: TempDir,
}

/// How long the program may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

impl RealRegistry {
    /// Open to everyone, deletion allowed.
    pub fn start() -> Result<Self> {
        Self::launch(None, None)
    }

    /// Wants this user and password (by `htpasswd`).
    pub fn with_login(user: &str, password: &str) -> Result<Self> {
        Self::launch(Some((user, password)), None)
    }

    /// Speaks TLS with this certificate and key (PEM files).
    pub fn with_tls(certificate: &Path, key: &Path) -> Result<Self> {
        Self::launch(None, Some((certificate, key)))
    }

    fn launch(login: Option<(&str, &str)>, tls: Option<(&Path, &Path)>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let auth = match login {
            None => String::new(),
            Some((user, password)) => {
                let file = dir.path().join("htpasswd");
                let made = Command::new("htpasswd").arg("-Bbc").arg(&file).arg(user).arg(password).output()?;
                if !made.status.success() {
                    return Err(Error::other(format!("htpasswd: {}", String::from_utf8_lossy(&made.stderr))));
                }
                format!("auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n", file.display())
            }
        };
        let tls = tls.map_or(String::new(), |(certificate, key)| {
            format!(", tls: {{ certificate: {}, key: {} }}", certificate.display(), key.display())
        });
        let config = format!(
            "version: 0.1\nlog: {{ level: info, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {0}/data }}, delete: {{ enabled: true }} }}\n\
             http: {{ addr: 127.0.0.1:0{tls} }}\n{auth}",
            dir.path().display()
        );
        let config_path = dir.path().join("config.yml");
        std::fs::write(&config_path, config)?;
        let log_path = dir.path().join("log");
        let log = std::fs::File::create(&log_path)?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config_path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| Error::other(format!("docker-registry (package docker-registry): {error}")))?;
        let mut registry = Self { child, host: String::new(), dir };
        registry.host = registry.wait_for_address(&log_path)?;
        Ok(registry)
    }

    /// The port is the system's choice and stands in the log.
    fn wait_for_address(&mut self, log: &Path) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(log)?;
            if let Some((_, rest)) = text.split_once("listening on ") {
                let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
                // The line may be half-written; it ends with a quote.
                if rest[address.len()..].starts_with(['"', ',']) {
                    return Ok(address);
                }
            }
            if Instant::now() > end || self.child.try_wait()?.is_some() {
                return Err(Error::other(format!("docker-registry does not start: {text}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where it keeps its content.
    pub fn storage(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
