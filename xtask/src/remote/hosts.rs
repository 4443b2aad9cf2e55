//! Docker endpoints that have a name: `hosts:` of tasks.yaml and the contexts of the docker command line. Knows nothing
//! of what is built or run there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ssh::Env;
use super::target::check_root;
use super::{Dialled, Forward, Master, RemoteError, Staged, Target, stdio};
use crate::docker::endpoint::{self, DEFAULT_SOCKET, Endpoint, EndpointError};
use crate::model::task::{Compress, Host, HostBuild};
use crate::model::{Diagnostic, Diagnostics, StopToken};

/// Where the name of a host comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `hosts:` of tasks.yaml.
    File,
    /// A context of the docker command line.
    Context,
    /// What the docker command line would use without being told.
    Default,
}

impl Source {
    /// As `cargo xtask hosts` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "tasks.yaml",
            Self::Context => "docker context",
            Self::Default => "default",
        }
    }
}

/// The variables that choose a host, strongest first.
pub const CHOICE: [&str; 2] = ["XTASK_DOCKER_CONTEXT", "ML_NEXUS_DOCKER_BUILD_CONTEXT"];

/// Environment and home folder of the person, handed in.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    pub home: Option<&'a Path>,
}

impl Surroundings<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
    }

    fn docker_folder(&self) -> Option<PathBuf> {
        endpoint::config_folder(self.env, self.home)
    }
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    pub name: Arc<str>,
    pub source: Source,
    /// For ssh and rsync.
    pub target: Option<Target>,
    /// The folder on it below which everything is kept.
    pub root: Option<Arc<str>>,
    /// How many images are built there at once.
    pub slots: usize,
    pub compress: Compress,
    /// Images are built by its command line from a private folder.
    pub is_staged: bool,
    engine: Address,
}

/// How the engine of a host is found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Default,
    Context(Arc<str>),
    Url(Arc<str>),
    /// The usual socket of the machine that `target` names.
    OverSsh,
}

impl HostEntry {
    /// What the docker command line would use.
    pub fn default_host() -> Self {
        Self::plain("default", Source::Default, Address::Default)
    }

    fn of_context(name: &str) -> Self {
        Self::plain(name, Source::Context, Address::Context(name.into()))
    }

    fn plain(name: &str, source: Source, engine: Address) -> Self {
        let (target, root) = (None, None);
        Self { name: name.into(), source, target, root, slots: 1, compress: Compress::Auto, is_staged: false, engine }
    }

    fn of_file(name: &str, host: &Host) -> Result<Self, RemoteError> {
        let target = host.ssh.as_deref().map(|text| with_details(Target::parse(text)?, host)).transpose()?;
        host.root.as_deref().map_or(Ok(()), check_root)?;
        let engine = match (&host.docker, &host.context) {
            (Some(url), _) => Address::Url(url.clone()),
            (None, Some(context)) => Address::Context(context.clone()),
            (None, None) if target.is_some() => Address::OverSsh,
            (None, None) => Address::Default,
        };
        let slots = host.slots.unwrap_or(1).max(1);
        Ok(Self {
            name: name.into(),
            source: Source::File,
            target,
            root: host.root.clone(),
            slots,
            compress: host.compress,
            is_staged: host.build == HostBuild::Staged,
            engine,
        })
    }

    /// The address of its engine, as the docker command line would find it.
    pub fn endpoint(&self, around: Surroundings<'_>) -> Result<Endpoint, RemoteError> {
        let found = match &self.engine {
            Address::Default => endpoint::resolve(around.env, around.home),
            Address::Context(name) => endpoint::of_context(name, &around.docker_folder().unwrap_or_default()),
            Address::Url(url) => endpoint::parse(url, None),
            Address::OverSsh => {
                let target = self.target.as_ref().map(ToString::to_string).unwrap_or_default();
                Ok(Endpoint::Ssh { url: format!("ssh://{target}") })
            }
        };
        found.map_err(|error| {
            let problem = Diagnostic::from(error);
            RemoteError::Endpoint { message: problem.message, help: problem.helps.into_iter().next() }
        })
    }

    /// Makes its engine reachable: an address behind ssh is forwarded to a socket here, for as long as the result
    /// lives. `programs` is the environment of ssh.
    pub fn reach(&self, around: Surroundings<'_>, programs: &Env, stop: &StopToken) -> Result<Reached, RemoteError> {
        let endpoint = self.endpoint(around)?;
        let Endpoint::Ssh { url } = &endpoint else { return Ok(Reached { endpoint, way: None, staged: None }) };
        let mut target = Target::parse(url)?;
        if let Some(own) = &self.target {
            target.identity.clone_from(&own.identity);
            target.config_file.clone_from(&own.config_file);
            target.port = target.port.or(own.port);
        }
        let master = Arc::new(Master::connect(&target, programs, stop)?);
        let named = socket_of(url);
        let socket = named.unwrap_or(DEFAULT_SOCKET);
        let address = format!("unix://{socket}");
        // The command line there is to use the engine that is spoken to from here.
        let staged = |engine| self.is_staged.then(|| Staged::new(&master, self.root.as_deref(), engine, self.compress));
        let forward = master.forward_socket(Path::new(socket), stop)?;
        if (named.is_some() && !self.is_staged) || stdio::answers(forward.path()) {
            let endpoint = Endpoint::Unix(forward.path().to_owned());
            let staged = staged(Some(address));
            return Ok(Reached { endpoint, way: Some(Way::Forward(forward)), staged });
        }
        // Sockets may not be forwarded, or the engine there has another one, which its command line knows.
        drop(forward);
        let engine = named.is_some().then_some(address);
        let dialled = Dialled::listen(&master, engine.as_deref())?;
        let endpoint = Endpoint::Unix(dialled.path().to_owned());
        Ok(Reached { endpoint, way: Some(Way::Dialled(dialled)), staged: staged(engine) })
    }
}

/// An engine that can be spoken to.
pub struct Reached {
    /// Never behind ssh.
    pub endpoint: Endpoint,
    /// Keeps the way open.
    pub way: Option<Way>,
    /// How images are built there, if not by that engine itself.
    pub staged: Option<Staged>,
}

/// How an engine behind ssh is spoken to.
pub enum Way {
    /// Its socket is forwarded.
    Forward(Forward),
    /// Through the docker command line of the host.
    Dialled(Dialled),
}

/// As this person names an engine, and whether it sees the files of this machine: containers of environments are kept
/// under that name. `reached` is a host with its name, `None` the engine that the docker command line would use.
///
/// # Errors
/// The variables of the docker command line say nothing that can be understood.
pub fn whereabouts(
    reached: Option<(&str, &Reached)>,
    around: Surroundings<'_>,
) -> Result<(String, bool), EndpointError> {
    let is_here = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix(_));
    match reached {
        Some((name, reached)) => Ok((format!("host:{name}"), reached.way.is_none() && is_here(&reached.endpoint))),
        None => {
            let endpoint = endpoint::resolve(around.env, around.home)?;
            Ok((endpoint.to_string(), is_here(&endpoint)))
        }
    }
}

impl Reached {
    /// What the docker command line must find in its environment to use this engine and no other.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let none = ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_TLS", "DOCKER_CERT_PATH"];
        let mut variables: Vec<_> = none.map(|name| (name, OsString::new())).into();
        variables.push(("DOCKER_HOST", self.endpoint.to_string().into()));
        if let Endpoint::Tcp { tls: Some(tls), .. } = &self.endpoint {
            variables.push((if tls.insecure { "DOCKER_TLS" } else { "DOCKER_TLS_VERIFY" }, "1".into()));
            let file = tls.ca.as_ref().or(tls.client.as_ref().map(|(cert, _)| cert));
            variables.extend(file.and_then(|file| file.parent()).map(|folder| ("DOCKER_CERT_PATH", folder.into())));
        }
        variables
    }
}

fn with_details(mut target: Target, host: &Host) -> Result<Target, RemoteError> {
    target.port = host.port.or(target.port);
    target.identity = host.identity.as_deref().map(PathBuf::from);
    Ok(target)
}

/// `ssh://host/run/user/1000/docker.sock` names a socket.
fn socket_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("ssh://").unwrap_or(url);
    rest.find('/').map(|at| &rest[at..]).filter(|path| path.len() > 1)
}

/// All hosts with a name: those of tasks.yaml in their order, then the contexts, then the default.
pub fn known(hosts: &BTreeMap<Arc<str>, Host>, around: Surroundings<'_>) -> Result<Vec<HostEntry>, Diagnostics> {
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    for (name, host) in hosts {
        match HostEntry::of_file(name, host) {
            Ok(entry) => entries.push(entry),
            Err(error) => problems.push(error.diagnostic().at(host.place.clone())),
        }
    }
    for name in contexts(around.docker_folder().as_deref()) {
        if !hosts.contains_key(name.as_str()) {
            entries.push(HostEntry::of_context(&name));
        }
    }
    entries.push(HostEntry::default_host());
    if problems.is_empty() { Ok(entries) } else { Err(Diagnostics(problems)) }
}

/// The host that is meant: the flag, else `XTASK_DOCKER_CONTEXT`, else `ML_NEXUS_DOCKER_BUILD_CONTEXT`, else `file`
/// (what tasks.yaml or a spec says), else what the docker command line would use.
pub fn choose(
    known: &[HostEntry],
    flag: Option<&str>,
    file: Option<&str>,
    around: Surroundings<'_>,
) -> Result<HostEntry, RemoteError> {
    let from_env = || CHOICE.iter().find_map(|name| around.text(name));
    let wanted = flag.map(str::to_owned).or_else(from_env).or_else(|| file.map(str::to_owned));
    let Some(name) = wanted.filter(|name| name != "default") else { return Ok(HostEntry::default_host()) };
    let found = known.iter().find(|entry| *entry.name == *name);
    found.cloned().ok_or_else(|| RemoteError::UnknownHost {
        known: known.iter().map(|entry| entry.name.to_string()).collect(),
        name,
    })
}

/// All hosts that are meant, in the order in which they are named: a pool, where there are several. Variables and the
/// file name several with commas.
///
/// # Errors
/// A host is unknown.
pub fn choose_all(
    known: &[HostEntry],
    flag: &[String],
    file: Option<&str>,
    around: Surroundings<'_>,
) -> Result<Vec<HostEntry>, RemoteError> {
    let names =
        |text: &str| text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let mut wanted: Vec<String> = flag.iter().flat_map(|text| names(text)).collect();
    if wanted.is_empty() {
        let from_env = CHOICE.iter().find_map(|name| around.text(name));
        wanted = from_env.as_deref().or(file).map(names).unwrap_or_default();
    }
    let mut found: Vec<HostEntry> = Vec::new();
    for name in &wanted {
        let entry = choose(known, Some(name), None, around)?;
        if !found.iter().any(|other| other.name == entry.name) {
            found.push(entry);
        }
    }
    Ok(if found.is_empty() { vec![HostEntry::default_host()] } else { found })
}

/// The names of the contexts in the folder of docker's `config.json`, sorted. What cannot be read is left out: it is
/// somebody else's file, and an error about it comes when such a context is used.
fn contexts(folder: Option<&Path>) -> Vec<String> {
    let Some(folder) = folder else { return Vec::new() };
    let metas = std::fs::read_dir(folder.join("contexts/meta")).into_iter().flatten().flatten();
    let mut names: Vec<String> = metas
        .filter_map(|entry| {
            let bytes = std::fs::read(entry.path().join("meta.json")).ok()?;
            let meta: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
            Some(meta.get("Name")?.as_str()?.to_owned())
        })
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Place};

    fn host(ssh: Option<&str>, context: Option<&str>) -> Host {
        Host {
            place: Place::new("tasks.yaml", 3, 5),
            ssh: ssh.map(Into::into),
            context: context.map(Into::into),
            docker: None,
            root: Some("/srv/stack".into()),
            slots: Some(3),
            port: Some(2222),
            identity: None,
            compress: Compress::Auto,
            build: HostBuild::Engine,
        }
    }

    fn add_context(home: &Path, name: &str, address: &str) {
        let folder = home.join(".docker/contexts/meta").join(Digest::of(name.as_bytes()).hex());
        std::fs::create_dir_all(&folder).unwrap();
        let meta = serde_json::json!({"Name": name, "Endpoints": {"docker": {"Host": address}}});
        std::fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
    }

    #[test]
    fn the_flag_wins_over_variables_over_the_file_over_the_default() {
        let home = tempfile::tempdir().unwrap();
        add_context(home.path(), "colima", "unix:///tmp/colima.sock");
        let hosts =
            BTreeMap::from([("zeus".into(), host(Some("me@zeus"), None)), ("lab".into(), host(None, Some("colima")))]);
        let none = |_: &str| None;
        let quiet = Surroundings { env: &none, home: Some(home.path()) };
        let known = known(&hosts, quiet).unwrap();
        let names: Vec<&str> = known.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["lab", "zeus", "colima", "default"]);
        assert_eq!(choose(&known, None, None, quiet).unwrap().name, "default".into());
        assert_eq!(choose(&known, None, Some("lab"), quiet).unwrap().name, "lab".into());
        let both = |name: &str| match name {
            "XTASK_DOCKER_CONTEXT" => Some("colima".into()),
            "ML_NEXUS_DOCKER_BUILD_CONTEXT" => Some("zeus".into()),
            _ => None,
        };
        let loud = Surroundings { env: &both, ..quiet };
        assert_eq!(choose(&known, None, Some("lab"), loud).unwrap().name, "colima".into());
        assert_eq!(choose(&known, Some("zeus"), Some("lab"), loud).unwrap().name, "zeus".into());
        let error = choose(&known, Some("zues"), None, loud).unwrap_err().diagnostic();
        assert_eq!(error.helps, ["a host with a similar name exists: `zeus`"]);
    }

    #[test]
    fn addresses_come_from_where_they_are_written() {
        let home = tempfile::tempdir().unwrap();
        add_context(home.path(), "colima", "unix:///tmp/colima.sock");
        let none = |_: &str| None;
        let around = Surroundings { env: &none, home: Some(home.path()) };
        let entry = HostEntry::of_file("lab", &host(None, Some("colima"))).unwrap();
        assert_eq!(entry.endpoint(around).unwrap(), Endpoint::Unix("/tmp/colima.sock".into()));
        let entry = HostEntry::of_file("zeus", &host(Some("me@zeus"), None)).unwrap();
        assert_eq!(entry.endpoint(around).unwrap(), Endpoint::Ssh { url: "ssh://me@zeus:2222".into() });
        assert_eq!(socket_of("ssh://me@zeus:2222"), None);
        assert_eq!(socket_of("ssh://zeus/run/user/1/docker.sock"), Some("/run/user/1/docker.sock"));
        let entry = HostEntry::of_context("gone");
        assert!(matches!(entry.endpoint(around), Err(RemoteError::Endpoint { .. })));
    }

    #[test]
    fn all_bad_hosts_are_reported_at_their_places() {
        let mut wild = host(Some("-oProxyCommand=x"), None);
        let mut root = host(Some("me@zeus"), None);
        root.root = Some("/".into());
        wild.place = Place::new("tasks.yaml", 9, 1);
        let hosts = BTreeMap::from([("a".into(), wild), ("b".into(), root)]);
        let none = |_: &str| None;
        let problems = known(&hosts, Surroundings { env: &none, home: None }).unwrap_err();
        let text = problems.to_string();
        assert!(text.contains("`-oProxyCommand=x` is no host") && text.contains("tasks.yaml:9:1"), "{text}");
        assert!(text.contains("`/` is refused as the target of a sync"), "{text}");
    }
}
