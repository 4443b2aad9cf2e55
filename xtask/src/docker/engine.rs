//! What an engine says of itself. Knows nothing of images and containers.

use bollard::models::SystemVersion;

use super::{Docker, DockerError, ask};

/// What is known of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// e.g. `20.10.24+dfsg1`.
    pub version: String,
    /// Major and minor number of the newest API it speaks.
    pub api: (u32, u32),
    /// Whether `build` can use BuildKit.
    pub buildkit: bool,
    /// e.g. `linux`.
    pub os: String,
    /// e.g. `amd64`.
    pub arch: String,
    /// Where it keeps its data, on its own machine.
    pub root: Option<String>,
    /// Bytes free on the disk of its data; only known for the engine of this machine.
    pub free_disk: Option<u64>,
    pub cpus: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

impl Engine {
    /// Whether the Dockerfile frontend inside the engine knows heredocs, `COPY --link` and `RUN --network`.
    pub fn has_modern_frontend(&self) -> bool {
        self.buildkit && self.api >= (1, 42)
    }

    /// `linux/amd64`.
    pub fn platform(&self) -> String {
        format!("{}/{}", self.os, self.arch)
    }
}

impl Docker {
    /// Asks the engine who it is.
    pub fn engine(&self) -> Result<Engine, DockerError> {
        let version = self.greet()?;
        let info = ask(self.endpoint(), self.api.info())?;
        let api = api_version(version.api_version.as_deref().unwrap_or_default());
        let buildkit = has_buildkit(&version);
        let os = version.os.unwrap_or_default();
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        Ok(Engine {
            version: version.version.unwrap_or_default(),
            api,
            buildkit,
            os,
            arch: version.arch.unwrap_or_default(),
            free_disk: info.docker_root_dir.as_deref().filter(|_| self.dialer.is_local()).and_then(free_disk),
            root: info.docker_root_dir,
            cpus: count(info.ncpu),
            memory: count(info.mem_total),
        })
    }

    /// The first question. A connection that ends before its answer was never one to an engine: a port that wants a
    /// certificate, for one, ends it at any point of the first exchange.
    fn greet(&self) -> Result<SystemVersion, DockerError> {
        ask(self.endpoint(), self.api.version()).map_err(|error| match error {
            DockerError::Lost { what, message } => DockerError::Unreachable { endpoint: what, causes: vec![message] },
            other => other,
        })
    }

    /// Whether `build` can use BuildKit; the engine is asked at most once.
    pub fn has_buildkit(&self) -> Result<bool, DockerError> {
        if let Some(known) = self.buildkit.get() {
            return Ok(*known);
        }
        let found = has_buildkit(&self.greet()?);
        Ok(*self.buildkit.get_or_init(|| found))
    }
}

/// Engines that speak the API but are none of Docker's have no session.
fn has_buildkit(version: &SystemVersion) -> bool {
    let podman = version.components.iter().flatten().any(|part| part.name.contains("Podman"));
    let api = api_version(version.api_version.as_deref().unwrap_or_default());
    api >= (1, 39) && version.os.as_deref() == Some("linux") && !podman
}

fn api_version(text: &str) -> (u32, u32) {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

fn free_disk(path: &str) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_compare_as_numbers() {
        assert!(api_version("1.41") > api_version("1.9"));
        assert_eq!(api_version("nonsense"), (0, 0));
    }
}
