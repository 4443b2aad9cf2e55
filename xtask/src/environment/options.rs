//! What a container of an environment is to be: mounts, limits, user, security. Reads the words of people, checks
//! them, and makes the engine's description. Starts nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::docker::Engine;
use crate::docker::containers::{Bind, ContainerSpec, Port};
use crate::model::Diagnostic;
use crate::model::digest::Hasher;

/// How much a script may do to its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// No capabilities, no network, nothing of the image can be written, no new privileges.
    Strict,
    /// Two capabilities (to lock memory, to set priorities), no new privileges.
    #[default]
    Default,
    /// What the engine gives any container.
    Permissive,
}

impl Security {
    pub const NAMES: [(&str, Self); 3] =
        [("strict", Self::Strict), ("default", Self::Default), ("permissive", Self::Permissive)];
}

/// Everything by which containers of one image differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub mounts: Vec<Bind>,
    pub gpus: Option<Vec<String>>,
    /// Bytes.
    pub shm_size: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    pub cpus: Option<f64>,
    /// `uid:gid`; `None` is the image's own.
    pub user: Option<(u32, u32)>,
    pub security: Security,
    pub network: Option<String>,
    /// Of the container, reachable from outside.
    pub ports: Vec<Port>,
}

impl Options {
    /// Everything in one text, so that equal options are equal texts.
    pub fn canonical(&self) -> Vec<u8> {
        let mut mounts = self.mounts.clone();
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        let mut hasher = Hasher::new();
        hasher.field(format!("{:?}", Self { mounts, ..self.clone() }));
        hasher.finish().0.to_vec()
    }

    /// The engine's description of a container of `image` with these options that waits for commands.
    pub fn spec(&self, image: &str) -> ContainerSpec {
        let strict = self.security == Security::Strict;
        let mut spec = ContainerSpec {
            image: image.to_owned(),
            entrypoint: Some(vec!["sh".into(), "-c".into(), super::script::IDLE.into()]),
            binds: self.mounts.clone(),
            gpus: self.gpus.clone(),
            shm_size: self.shm_size,
            memory: self.memory,
            cpus: self.cpus,
            user: self.user.map(|(uid, gid)| format!("{uid}:{gid}")),
            network: self.network.clone().or_else(|| strict.then(|| "none".to_owned())),
            ports: self.ports.clone(),
            // Such as a fork bomb needs to be stopped at.
            pids: (self.security != Security::Permissive).then_some(4096),
            read_only: strict,
            ..ContainerSpec::default()
        };
        if self.security != Security::Permissive {
            spec.cap_drop = vec!["ALL".into()];
            spec.security_opt = vec!["no-new-privileges".into()];
        }
        if self.security == Security::Default {
            spec.cap_add = vec!["IPC_LOCK".into(), "SYS_NICE".into()];
        }
        if strict {
            spec.volumes = vec![super::script::HOME_DIR.to_owned()];
            spec.tmpfs = ["/tmp", "/var/tmp", "/run"]
                .map(|path| (path.to_owned(), "rw,noexec,nosuid,size=64m".to_owned()))
                .into_iter()
                .filter(|(path, _)| !self.mounts.iter().any(|mount| mount.target == *path))
                .collect::<BTreeMap<_, _>>();
        }
        spec
    }

    /// Whether the engine's machine can give what is asked for.
    pub fn check(&self, engine: &Engine) -> Result<(), Diagnostic> {
        let too_much = |flag: &str, asked: String, has: String| {
            Diagnostic::error(format!("`{flag}` is {asked}, but the engine's machine has {has}"))
        };
        for (flag, asked) in [("--memory", self.memory), ("--shm-size", self.shm_size)] {
            if let (Some(asked), Some(has)) = (asked, engine.memory)
                && asked > has
            {
                return Err(too_much(flag, size(asked), size(has)).help(format!("{flag} {}m", (has >> 20) / 2)));
            }
        }
        if let (Some(asked), Some(has)) = (self.cpus, engine.cpus)
            && asked > has as f64
        {
            return Err(too_much("--cpus", asked.to_string(), format!("{has}")).help(format!("--cpus {has}")));
        }
        if let (Some(shm), Some(memory)) = (self.shm_size, self.memory)
            && shm > memory
        {
            return Err(Diagnostic::error(format!(
                "`--shm-size` is {}, but `--memory` is {}",
                size(shm),
                size(memory)
            ))
            .note("shared memory counts as memory of the container")
            .help(format!("--memory {}m", (shm >> 20) * 2)));
        }
        Ok(())
    }

    /// Whether the container has a network of its own, as its ports need one, and each port is there once.
    pub fn check_ports(&self) -> Result<(), Diagnostic> {
        let strict = self.security == Security::Strict;
        let network = self.network.as_deref().or_else(|| strict.then_some("none"));
        if let Some(network @ ("none" | "host")) = network.filter(|_| !self.ports.is_empty()) {
            let error = Diagnostic::error(format!("`--publish` has no meaning with the network `{network}`"));
            return Err(match network {
                "host" => error.note("all ports of such a container are those of its machine"),
                _ if self.network.is_none() => {
                    error.note("`--security strict` has no network").help("--network bridge")
                }
                _ => error.help("leave `--network none` out"),
            });
        }
        let twice = self.ports.iter().enumerate().find(|(at, port)| {
            self.ports[..*at].iter().any(|other| (other.host, &other.address) == (port.host, &port.address))
        });
        twice.map_or(Ok(()), |(_, port)| {
            let host = port.host.unwrap_or_default();
            Err(Diagnostic::error(format!("`--publish` names port {host} of `{}` twice", port.address)))
        })
    }

    /// Whether `check` has anything to look at.
    pub fn has_limits(&self) -> bool {
        self.memory.is_some() || self.cpus.is_some() || self.shm_size.is_some()
    }
}

/// Shared memory where nobody says how much: 2 GiB, but no more than a quarter of the machine or half of the limit.
pub fn computed_shm(memory: Option<u64>, machine: Option<u64>) -> u64 {
    const USUAL: u64 = 2 << 30;
    let quarter = machine.map_or(USUAL, |all| all / 4);
    USUAL.min(quarter).min(memory.map_or(USUAL, |limit| limit / 2)).max(1 << 20)
}

/// `512m`, `2g`, `1.5GiB`, or bytes.
pub fn parse_size(flag: &str, text: &str) -> Result<u64, Diagnostic> {
    let wrong = || {
        Diagnostic::error(format!("`{flag}` is `{text}`, expected bytes or a size such as `512m` or `2g`"))
            .help(format!("{flag} 512m"))
    };
    let lower = text.trim().to_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let number: f64 = lower[..digits].parse().map_err(|_| wrong())?;
    let shift = match lower[digits..].trim_end_matches('b').trim_end_matches('i').trim() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    let bytes = number * (1_u64 << shift) as f64;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

/// `SRC:DST[:ro|rw]`. A relative source is below `cwd`; where `here` is true it must exist, because the engine would
/// make a folder of root's instead.
pub fn parse_mount(text: &str, cwd: &Path, here: bool) -> Result<Bind, Diagnostic> {
    let wrong = |why: &str| {
        Diagnostic::error(format!("`--mount` is `{text}`, {why}")).help("--mount ./data:/data:ro".to_owned())
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [source, target] => (source, target, "rw"),
        [source, target, mode @ ("ro" | "rw")] => (source, target, mode),
        _ => return Err(wrong("expected `SOURCE:TARGET` or `SOURCE:TARGET:ro`")),
    };
    let clean = !target.split('/').any(|part| part == ".." || part == ".");
    if source.is_empty() || !target.starts_with('/') || target.len() < 2 || !clean {
        return Err(wrong("expected an absolute path in the container after the first `:`"));
    }
    if target == super::script::HOME_DIR || target.starts_with(&format!("{}/", super::script::HOME_DIR)) {
        return Err(wrong("but this path in the container belongs to the runs"));
    }
    let source: PathBuf = if here { cwd.join(source) } else { source.into() };
    if !source.is_absolute() {
        return Err(wrong("expected an absolute path of the host"));
    }
    let source = if here {
        source.canonicalize().map_err(|error| {
            let path = source.display();
            Diagnostic::error(format!("`{path}` of `--mount` does not exist"))
                .cause(error)
                .help(format!("mkdir -p {path}"))
        })?
    } else {
        source
    };
    if source.to_string_lossy().contains(':') {
        return Err(wrong("but the engine cannot mount a path with a `:`"));
    }
    Ok(Bind { source, target: target.trim_end_matches('/').to_owned(), read_only: mode == "ro" })
}

/// `[[ADDRESS:]PORT:]PORT`: where it is reachable on the engine's machine, then the port of the container. Without an
/// address, on that machine alone.
pub fn parse_publish(text: &str) -> Result<Port, Diagnostic> {
    let wrong = |why: &str| {
        Diagnostic::error(format!("`--publish` is `{text}`, {why}"))
            .help("--publish 8888, --publish 9000:8888 (outside, inside), or --publish 0.0.0.0:9000:8888")
    };
    let (rest, inside) = text.rsplit_once(':').map_or((None, text), |(rest, inside)| (Some(rest), inside));
    let (address, outside) = match rest {
        None => (None, inside),
        Some(rest) => rest.rsplit_once(':').map_or((None, rest), |(address, port)| (Some(address), port)),
    };
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let (Some(container), Some(host)) = (port(inside), port(outside)) else {
        return Err(wrong("expected ports from 1 to 65535"));
    };
    let address = address.unwrap_or("127.0.0.1").trim_matches(['[', ']']).to_owned();
    if address.parse::<std::net::IpAddr>().is_err() {
        return Err(wrong("expected the address of a network card first"));
    }
    Ok(Port { container, host: Some(host), address })
}

/// `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes >= 1 << shift) {
        Some((shift, name)) => {
            let text = format!("{:.1}", bytes as f64 / (1_u64 << shift) as f64);
            format!("{} {name}", text.trim_end_matches(".0"))
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a15_ports_are_outside_first_and_stay_on_the_machine() {
        let port = |text: &str| parse_publish(text).map(|port| (port.address, port.host, port.container));
        assert_eq!(port("8888").unwrap(), ("127.0.0.1".into(), Some(8888), 8888));
        assert_eq!(port("9000:8888").unwrap(), ("127.0.0.1".into(), Some(9000), 8888));
        assert_eq!(port("0.0.0.0:9000:8888").unwrap(), ("0.0.0.0".into(), Some(9000), 8888));
        assert_eq!(port("[::1]:9000:8888").unwrap(), ("::1".into(), Some(9000), 8888));
        for text in ["", "x", "0", "70000", "1:2:3", "host:1:2", ":80", "80:"] {
            let error = parse_publish(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`--publish` is `{text}`, expected")), "{error}");
        }
        let with = |network: Option<&str>, security, ports: &[&str]| Options {
            network: network.map(str::to_owned),
            security,
            ports: ports.iter().map(|text| parse_publish(text).unwrap()).collect(),
            ..Options::default()
        };
        assert!(with(None, Security::Strict, &[]).check_ports().is_ok());
        assert!(with(Some("bridge"), Security::Strict, &["80"]).check_ports().is_ok());
        for (options, message) in [
            (with(None, Security::Strict, &["80"]), "no meaning with the network `none`"),
            (with(Some("host"), Security::Default, &["80"]), "no meaning with the network `host`"),
            (with(None, Security::Default, &["80:1", "80:2"]), "names port 80 of `127.0.0.1` twice"),
        ] {
            let error = options.check_ports().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let read = |text| parse_size("--memory", text);
        assert_eq!(read("512m").unwrap(), 512 << 20);
        assert_eq!(read("1.5GiB").unwrap(), 3 << 29);
        assert_eq!(read("4096").unwrap(), 4096);
        for wrong in ["", "m", "-1", "1x", "0", "1e3g", "nan", "inf"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!((size(512 << 20), size(3 << 29), size(7)), ("512 MiB".into(), "1.5 GiB".into(), "7 B".into()));
    }

    #[test]
    fn mounts_name_a_place_that_is_there_and_a_path_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("data")).unwrap();
        let read = |text: &str| parse_mount(text, &root, true);
        let bind = read("data:/data:ro").unwrap();
        assert_eq!(bind, Bind { source: root.join("data"), target: "/data".into(), read_only: true });
        for wrong in ["data", "data:data", "data:/", ":/x", "data:/a/../etc", "data:/x:z", "data:/xtask/runs", "no:/x"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(parse_mount("data:/data", &root, false).is_err(), "a path of another machine is absolute");
    }

    #[test]
    fn limits_are_compared_with_the_machine() {
        let engine = Engine {
            version: String::new(),
            api: (1, 41),
            buildkit: true,
            os: "linux".into(),
            arch: "amd64".into(),
            root: None,
            free_disk: None,
            cpus: Some(2),
            memory: Some(4 << 30),
        };
        let check = |options: Options| options.check(&engine).map_err(|error| error.message);
        assert_eq!(check(Options { memory: Some(1 << 30), cpus: Some(2.0), ..Options::default() }), Ok(()));
        let memory = check(Options { memory: Some(8 << 30), ..Options::default() }).unwrap_err();
        assert_eq!(memory, "`--memory` is 8 GiB, but the engine's machine has 4 GiB");
        let cpus = check(Options { cpus: Some(2.5), ..Options::default() }).unwrap_err();
        assert_eq!(cpus, "`--cpus` is 2.5, but the engine's machine has 2");
        let shm = check(Options { shm_size: Some(2 << 30), memory: Some(1 << 30), ..Options::default() }).unwrap_err();
        assert_eq!(shm, "`--shm-size` is 2 GiB, but `--memory` is 1 GiB");
        assert_eq!(computed_shm(None, Some(4 << 30)), 1 << 30);
        assert_eq!(computed_shm(Some(64 << 20), None), 32 << 20);
    }

    #[test]
    fn presets_are_as_they_are_written_down() {
        let spec = |security| Options { security, ..Options::default() }.spec("image");
        let strict = spec(Security::Strict);
        assert!(strict.read_only && strict.cap_add.is_empty() && strict.network.as_deref() == Some("none"));
        assert_eq!(strict.tmpfs["/tmp"], "rw,noexec,nosuid,size=64m");
        let usual = spec(Security::Default);
        assert_eq!((usual.cap_drop, usual.cap_add.len()), (vec!["ALL".to_owned()], 2));
        assert_eq!(usual.security_opt, ["no-new-privileges"]);
        let open = spec(Security::Permissive);
        assert!(open.cap_drop.is_empty() && open.security_opt.is_empty() && open.pids.is_none());
    }
}
