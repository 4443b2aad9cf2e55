//! Where the engine is, by the rules of the docker command line. Knows nothing of how it is spoken to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::model::{Diagnostic, Digest};

/// An address at which an engine listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A socket on this machine; also one that ssh forwards to another.
    Unix(PathBuf),
    /// `tls` is `None` for plain HTTP.
    Tcp { host: String, port: u16, tls: Option<Tls> },
    /// Must be forwarded to a local socket first (the room `remote` does that).
    Ssh { url: String },
}

/// Certificates for an engine behind TLS, in files of PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Authorities to trust; `None` = those of the system.
    pub ca: Option<PathBuf>,
    /// Certificate and key of the client.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Accept any certificate (`SkipTLSVerify` of a context).
    pub insecure: bool,
}

/// Why there is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("`{0}` is not an address of a Docker engine")]
    BadAddress(String),
    /// An `ssh://` address was given where a socket is needed.
    #[error("`{0}` is reached through ssh and must be forwarded to a local socket first")]
    NeedsForward(String),
    #[error("`{0}` is no Docker context")]
    NoContext(String),
    #[error("`{}` cannot be read: {message}", path.display())]
    Unreadable { path: PathBuf, message: String },
    #[error("`{address}` needs TLS: {message}")]
    Tls { address: String, message: String },
}

impl From<EndpointError> for Diagnostic {
    fn from(error: EndpointError) -> Self {
        let start = Self::error(error.to_string());
        match error {
            EndpointError::BadAddress(_) => start.help("use unix:///path, tcp://host:port or ssh://user@host"),
            EndpointError::NeedsForward(_) => {
                start.help("name it as a host in tasks.yaml: hosts: { name: { ssh: user@host } }")
            }
            EndpointError::NoContext(_) => start.help("docker context ls"),
            EndpointError::Unreadable { .. } | EndpointError::Tls { .. } => start,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
            Self::Ssh { url } => f.write_str(url),
        }
    }
}

type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The socket that an engine on this machine listens on unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The endpoint that the docker command line would use: `DOCKER_HOST`, else `DOCKER_CONTEXT`, else `currentContext` of
/// `config.json`, else the default socket. Empty variables count as unset. `home` is the person's home folder.
pub fn resolve(env: Env<'_>, home: Option<&Path>) -> Result<Endpoint, EndpointError> {
    let text = |name: &str| env(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    if let Some(address) = text("DOCKER_HOST") {
        return parse(&address, tls_of_environment(env, home));
    }
    let folder = config_folder(env, home);
    let context = match text("DOCKER_CONTEXT") {
        Some(name) => Some(name),
        None => folder.as_deref().map(current_context).transpose()?.flatten(),
    };
    match (context.as_deref(), folder) {
        (None | Some("default" | ""), _) => Ok(Endpoint::Unix(DEFAULT_SOCKET.into())),
        (Some(name), Some(folder)) => of_context(name, &folder),
        (Some(name), None) => Err(EndpointError::NoContext(name.to_owned())),
    }
}

/// The folder of the command line's `config.json`: `DOCKER_CONFIG`, else `.docker` in the home folder.
pub fn config_folder(env: Env<'_>, home: Option<&Path>) -> Option<PathBuf> {
    match env("DOCKER_CONFIG").filter(|value| !value.is_empty()) {
        Some(folder) => Some(folder.into()),
        None => home.map(|home| home.join(".docker")),
    }
}

/// The endpoint of a named context, from `contexts/meta/<sha256 of the name>/meta.json` below the folder of
/// `config.json`.
pub fn of_context(name: &str, folder: &Path) -> Result<Endpoint, EndpointError> {
    if name == "default" {
        return Ok(Endpoint::Unix(DEFAULT_SOCKET.into()));
    }
    let id = Digest::of(name.as_bytes()).hex();
    let path = folder.join("contexts/meta").join(&id).join("meta.json");
    let Some(meta) = json(&path)? else {
        return Err(EndpointError::NoContext(name.to_owned()));
    };
    let docker = &meta["Endpoints"]["docker"];
    let address = docker["Host"].as_str().filter(|host| !host.is_empty()).unwrap_or("unix:///var/run/docker.sock");
    let pems = folder.join("contexts/tls").join(&id).join("docker");
    let insecure = docker["SkipTLSVerify"].as_bool().unwrap_or(false);
    let tls = (insecure || pems.is_dir()).then(|| tls_of_folder(&pems, insecure));
    parse(address, tls)
}

/// Reads an address: `unix://`, `tcp://`, `http://`, `https://`, `ssh://`, or the bare path of a socket.
pub fn parse(address: &str, tls: Option<Tls>) -> Result<Endpoint, EndpointError> {
    let bad = || EndpointError::BadAddress(address.to_owned());
    if address.starts_with('/') {
        return Ok(Endpoint::Unix(address.into()));
    }
    let (scheme, rest) = address.split_once("://").ok_or_else(bad)?;
    let rest = rest.trim_end_matches('/');
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Endpoint::Unix(rest.into())),
        "ssh" if !rest.is_empty() => Ok(Endpoint::Ssh { url: address.to_owned() }),
        "tcp" | "http" | "https" => {
            let tls = if scheme == "https" { Some(tls.unwrap_or_default()) } else { tls.filter(|_| scheme == "tcp") };
            let (host, port) = host_and_port(rest, if tls.is_some() { 2376 } else { 2375 }).ok_or_else(bad)?;
            Ok(Endpoint::Tcp { host, port, tls })
        }
        _ => Err(bad()),
    }
}

fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, rest.strip_prefix(':'))
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    (!host.is_empty() && !host.contains('/')).then(|| (host.to_owned(), port))
}

fn current_context(folder: &Path) -> Result<Option<String>, EndpointError> {
    let config = json(&folder.join("config.json"))?;
    Ok(config.and_then(|config| config["currentContext"].as_str().map(str::to_owned)))
}

/// `None` if there is no such file.
fn json(path: &Path) -> Result<Option<serde_json::Value>, EndpointError> {
    let broken = |message: String| EndpointError::Unreadable { path: path.to_owned(), message };
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| broken(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(error.to_string())),
    }
}

fn tls_of_environment(env: Env<'_>, home: Option<&Path>) -> Option<Tls> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let verify = set("DOCKER_TLS_VERIFY");
    (verify.is_some() || set("DOCKER_TLS").is_some()).then(|| {
        let folder = set("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| config_folder(env, home));
        tls_of_folder(&folder.unwrap_or_default(), verify.is_none())
    })
}

fn tls_of_folder(folder: &Path, insecure: bool) -> Tls {
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    Tls { ca: file("ca.pem"), client: file("cert.pem").zip(file("key.pem")), insecure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)], home: &Path) -> Result<Endpoint, EndpointError> {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        resolve(&|name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.into()), Some(home))
    }

    fn add_context(home: &Path, name: &str, host: &str) {
        let folder = home.join(".docker/contexts/meta").join(Digest::of(name.as_bytes()).hex());
        std::fs::create_dir_all(&folder).unwrap();
        let meta = serde_json::json!({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}}});
        std::fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
    }

    #[test]
    fn the_order_is_that_of_the_command_line() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let unix = |path: &str| Ok(Endpoint::Unix(path.into()));
        assert_eq!(with(&[], home), unix(DEFAULT_SOCKET));
        add_context(home, "colima", "unix:///tmp/colima.sock");
        add_context(home, "lab", "ssh://me@lab");
        std::fs::write(home.join(".docker/config.json"), r#"{"currentContext": "colima"}"#).unwrap();
        assert_eq!(with(&[], home), unix("/tmp/colima.sock"));
        let lab = Endpoint::Ssh { url: "ssh://me@lab".into() };
        assert_eq!(with(&[("DOCKER_CONTEXT", "lab")], home), Ok(lab));
        assert_eq!(with(&[("DOCKER_CONTEXT", "default")], home), unix(DEFAULT_SOCKET));
        assert_eq!(with(&[("DOCKER_CONTEXT", "lab"), ("DOCKER_HOST", "unix:///x")], home), unix("/x"));
        assert_eq!(with(&[("DOCKER_CONTEXT", "nope")], home), Err(EndpointError::NoContext("nope".into())));
    }

    #[test]
    fn addresses_are_read_strictly() {
        let tcp = |host: &str, port| Ok(Endpoint::Tcp { host: host.into(), port, tls: None });
        assert_eq!(parse("tcp://10.0.0.1:2375", None), tcp("10.0.0.1", 2375));
        assert_eq!(parse("tcp://[::1]:99", None), tcp("::1", 99));
        assert_eq!(parse("http://h", None), tcp("h", 2375));
        assert!(matches!(parse("https://h", None), Ok(Endpoint::Tcp { port: 2376, tls: Some(_), .. })));
        for bad in ["tcp://", "tcp://h:x", "docker", "unix://relative", "npipe:////./pipe/x"] {
            assert_eq!(parse(bad, None), Err(EndpointError::BadAddress(bad.into())), "{bad}");
        }
    }

    #[test]
    fn broken_files_are_named() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".docker")).unwrap();
        std::fs::write(home.path().join(".docker/config.json"), "{").unwrap();
        let Err(EndpointError::Unreadable { path, .. }) = with(&[], home.path()) else { panic!("must be unreadable") };
        assert!(path.ends_with(".docker/config.json"));
    }
}
