//! What the engine knows of its containers. Knows nothing of changing them.

use std::collections::{BTreeMap, HashMap};

use bollard::models;
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::subject;
use crate::docker::{Docker, DockerError, ask};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    /// The engine failed to end it.
    Dead,
}

/// What the image's health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is no check.
    None,
    Starting,
    Healthy,
    Unhealthy,
}

/// A port that is reachable from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    pub container: u16,
    pub address: String,
    pub host: u16,
}

/// Something mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`.
    pub kind: String,
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

/// A container in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The image's id.
    pub image: String,
    /// The image as it was named at creation.
    pub image_name: String,
    pub state: ContainerState,
    pub exit_code: i64,
    pub oom_killed: bool,
    /// Why it could not start, in the engine's words.
    pub error: String,
    pub health: Health,
    /// RFC 3339.
    pub created: String,
    pub started: String,
    pub finished: String,
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub ports: Vec<PublishedPort>,
    pub mounts: Vec<Mount>,
    pub user: String,
    pub workdir: String,
}

impl Container {
    /// Where a port of the container is reachable.
    pub fn port(&self, container: u16) -> Option<&PublishedPort> {
        self.ports.iter().find(|port| port.container == container)
    }
}

/// A container as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSummary {
    pub id: String,
    pub name: String,
    pub image: String,
    pub image_name: String,
    pub state: ContainerState,
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub created: i64,
}

impl Docker {
    /// A container by id or name; `NotFound` if there is none.
    pub fn container(&self, container: &str) -> Result<Container, DockerError> {
        ask(&subject(container), self.api.inspect_container(container, None)).map(full)
    }

    /// All containers, ended ones too, that bear all these labels; each is `key` or `key=value`.
    pub fn containers_with_labels(&self, labels: &[&str]) -> Result<Vec<ContainerSummary>, DockerError> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = ask("containers", self.api.list_containers(Some(options)))?;
        Ok(found.into_iter().map(short).collect())
    }
}

fn state(text: &str) -> ContainerState {
    match text {
        "created" => ContainerState::Created,
        "running" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        "restarting" => ContainerState::Restarting,
        "removing" => ContainerState::Removing,
        "dead" => ContainerState::Dead,
        _ => ContainerState::Exited,
    }
}

fn health(found: Option<models::Health>) -> Health {
    use models::HealthStatusEnum as Status;
    match found.and_then(|health| health.status) {
        Some(Status::STARTING) => Health::Starting,
        Some(Status::HEALTHY) => Health::Healthy,
        Some(Status::UNHEALTHY) => Health::Unhealthy,
        _ => Health::None,
    }
}

fn full(found: models::ContainerInspectResponse) -> Container {
    let config = found.config.unwrap_or_default();
    let now = found.state.unwrap_or_default();
    let mut command: Vec<String> = found.path.into_iter().collect();
    command.extend(found.args.unwrap_or_default());
    Container {
        id: found.id.unwrap_or_default(),
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: found.image.unwrap_or_default(),
        image_name: config.image.unwrap_or_default(),
        state: state(&now.status.map(|status| status.to_string()).unwrap_or_default()),
        exit_code: now.exit_code.unwrap_or(0),
        oom_killed: now.oom_killed.unwrap_or(false),
        error: now.error.unwrap_or_default(),
        health: health(now.health),
        created: found.created.unwrap_or_default(),
        started: now.started_at.unwrap_or_default(),
        finished: now.finished_at.unwrap_or_default(),
        command,
        env: config.env.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        ports: ports(found.network_settings.and_then(|settings| settings.ports).unwrap_or_default()),
        mounts: found.mounts.unwrap_or_default().into_iter().map(mount).collect(),
        user: config.user.unwrap_or_default(),
        workdir: config.working_dir.unwrap_or_default(),
    }
}

fn ports(map: models::PortMap) -> Vec<PublishedPort> {
    let mut ports: Vec<PublishedPort> = map
        .into_iter()
        .flat_map(|(name, bindings)| {
            bindings.unwrap_or_default().into_iter().map(move |binding| (name.clone(), binding))
        })
        .filter_map(|(name, binding)| {
            let container = name.split('/').next()?.parse().ok()?;
            let host = binding.host_port?.parse().ok()?;
            Some(PublishedPort { container, address: binding.host_ip.unwrap_or_default(), host })
        })
        .collect();
    ports.sort_by(|a, b| (a.container, a.host, &a.address).cmp(&(b.container, b.host, &b.address)));
    ports
}

fn mount(found: models::MountPoint) -> Mount {
    Mount {
        kind: found.typ.unwrap_or_default(),
        source: found.source.unwrap_or_default(),
        target: found.destination.unwrap_or_default(),
        read_only: found.rw == Some(false),
    }
}

fn short(found: models::ContainerSummary) -> ContainerSummary {
    let name = found.names.and_then(|names| names.into_iter().next()).unwrap_or_default();
    ContainerSummary {
        id: found.id.unwrap_or_default(),
        name: name.trim_start_matches('/').to_owned(),
        image: found.image_id.unwrap_or_default(),
        image_name: found.image.unwrap_or_default(),
        state: state(&found.state.map(|state| state.to_string()).unwrap_or_default()),
        labels: found.labels.unwrap_or_default().into_iter().collect(),
        created: found.created.unwrap_or(0),
    }
}
