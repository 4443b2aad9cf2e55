//! What a container is to be, and its translation for the engine. Knows nothing of running it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
};

/// A folder or file of the engine's machine, seen inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

/// A port of the container, reachable on the engine's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub container: u16,
    /// `None` = any that is free; `container` (the verb) tells which.
    pub host: Option<u16>,
    /// Where it listens; `127.0.0.1` keeps it on the machine.
    pub address: String,
}

impl Port {
    /// A free port on the loopback of the engine's machine.
    pub fn free(container: u16) -> Self {
        Self { container, host: None, address: "127.0.0.1".to_owned() }
    }
}

/// Everything about a container that can be said before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSpec {
    /// A name or, better, an id.
    pub image: String,
    pub name: Option<String>,
    /// Instead of the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's, unless empty.
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub binds: Vec<Bind>,
    /// The same for what must be there: the engine makes no folder where there is none, and refuses instead.
    pub folders: Vec<Bind>,
    /// Paths with an anonymous volume each, which goes with the container.
    pub volumes: Vec<String>,
    /// Path to options, e.g. `/tmp` to `size=64m`.
    pub tmpfs: BTreeMap<String, String>,
    pub user: Option<String>,
    pub groups: Vec<String>,
    pub workdir: Option<String>,
    pub hostname: Option<String>,
    /// `none`, `host`, `bridge`, or a network's name.
    pub network: Option<String>,
    pub extra_hosts: Vec<String>,
    pub ports: Vec<Port>,
    /// Bytes; swap included.
    pub memory: Option<u64>,
    pub cpus: Option<f64>,
    pub pids: Option<i64>,
    /// Bytes.
    pub shm_size: Option<u64>,
    /// A small init that reaps children and passes signals on.
    pub init: bool,
    pub read_only: bool,
    pub privileged: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub ipc: Option<String>,
    pub runtime: Option<String>,
    /// `all`, or the ids of devices.
    pub gpus: Option<Vec<String>>,
    pub platform: Option<String>,
    /// What the program reads; then its input ends. `None` = no input at all.
    pub stdin: Option<Vec<u8>>,
    /// After it, the container is killed.
    pub timeout: Option<Duration>,
    /// How long a container that is told to stop may take before it is killed.
    pub grace: Duration,
    /// The engine keeps no log of what it prints: whoever wants it listens.
    pub is_unlogged: bool,
}

impl Default for ContainerSpec {
    fn default() -> Self {
        Self {
            image: String::new(),
            name: None,
            entrypoint: None,
            command: Vec::new(),
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            binds: Vec::new(),
            folders: Vec::new(),
            volumes: Vec::new(),
            tmpfs: BTreeMap::new(),
            user: None,
            groups: Vec::new(),
            workdir: None,
            hostname: None,
            network: None,
            extra_hosts: Vec::new(),
            ports: Vec::new(),
            memory: None,
            cpus: None,
            pids: None,
            shm_size: None,
            init: true,
            read_only: false,
            privileged: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security_opt: Vec::new(),
            ipc: None,
            runtime: None,
            gpus: None,
            platform: None,
            stdin: None,
            timeout: None,
            grace: Duration::ZERO,
            is_unlogged: false,
        }
    }
}

fn some<T>(list: &[T]) -> Option<Vec<T>>
where
    T: Clone,
{
    (!list.is_empty()).then(|| list.to_vec())
}

impl ContainerSpec {
    /// As the engine wants to hear it.
    pub(super) fn body(&self) -> ContainerCreateBody {
        let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: self.entrypoint.clone(),
            cmd: some(&self.command),
            env: some(&env),
            labels: Some(self.labels.clone().into_iter().collect()),
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            hostname: self.hostname.clone(),
            open_stdin: Some(self.stdin.is_some()),
            stdin_once: Some(self.stdin.is_some()),
            attach_stdin: Some(self.stdin.is_some()),
            exposed_ports: some(&self.ports.iter().map(|port| format!("{}/tcp", port.container)).collect::<Vec<_>>()),
            volumes: some(&self.volumes),
            host_config: Some(self.host_config()),
            ..Default::default()
        }
    }

    fn host_config(&self) -> HostConfig {
        let bytes = |size: Option<u64>| size.map(|size| size as i64);
        let bind = |bind: &Bind| {
            let mode = if bind.read_only { "ro" } else { "rw" };
            format!("{}:{}:{mode}", bind.source.display(), bind.target)
        };
        HostConfig {
            binds: some(&self.binds.iter().map(bind).collect::<Vec<_>>()),
            mounts: some(&self.folders.iter().map(folder).collect::<Vec<_>>()),
            tmpfs: (!self.tmpfs.is_empty()).then(|| self.tmpfs.clone().into_iter().collect()),
            group_add: some(&self.groups),
            network_mode: self.network.clone(),
            extra_hosts: some(&self.extra_hosts),
            port_bindings: self.port_bindings(),
            memory: bytes(self.memory),
            memory_swap: bytes(self.memory),
            nano_cpus: self.cpus.map(|cpus| (cpus * 1e9) as i64),
            pids_limit: self.pids,
            shm_size: bytes(self.shm_size),
            init: Some(self.init),
            readonly_rootfs: Some(self.read_only),
            privileged: Some(self.privileged),
            cap_add: some(&self.cap_add),
            cap_drop: some(&self.cap_drop),
            security_opt: some(&self.security_opt),
            ipc_mode: self.ipc.clone(),
            runtime: self.runtime.clone(),
            log_config: self
                .is_unlogged
                .then(|| HostConfigLogConfig { typ: Some("none".to_owned()), ..Default::default() }),
            device_requests: self.gpus.as_deref().map(|gpus| vec![device_request(gpus)]),
            ..Default::default()
        }
    }

    fn port_bindings(&self) -> Option<HashMap<String, Option<Vec<PortBinding>>>> {
        let mut ports: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
        for port in &self.ports {
            let binding = PortBinding {
                host_ip: Some(port.address.clone()),
                host_port: Some(port.host.map_or_else(String::new, |host| host.to_string())),
            };
            ports.entry(format!("{}/tcp", port.container)).or_default().get_or_insert_default().push(binding);
        }
        (!ports.is_empty()).then_some(ports)
    }
}

fn folder(bind: &Bind) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(bind.source.display().to_string()),
        target: Some(bind.target.clone()),
        read_only: Some(bind.read_only),
        ..Default::default()
    }
}

fn device_request(gpus: &[String]) -> DeviceRequest {
    let all = gpus == ["all"];
    DeviceRequest {
        driver: Some(String::new()),
        count: Some(if all { -1 } else { 0 }),
        device_ids: (!all).then(|| gpus.to_vec()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..Default::default()
    }
}
