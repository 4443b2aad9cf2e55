//! The containers of environments: found by their labels, reused while idle, replaced when they are not what is
//! wanted, removed when their user died. What exists is what the engine says; who uses it is in the leases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::facts::{self, Facts};
use super::fill::{self, Case, Fill};
use super::folders::Folders;
use super::lease::{self, Lease, Tried, Use, token};
use super::live::NAME_START;
use super::options::{Options, Security};
use super::user;
use crate::docker::containers::{Bind, ContainerSummary, Health};
use crate::docker::{ContainerSpec, ContainerState, Docker, DockerError, ExecSpec};
use crate::model::{Diagnostic, Digest, StopToken};

/// Whose container it is.
pub const CLIENT_LABEL: &str = "dev.xtask.env.client";
/// The name of its lease.
pub const LEASE_LABEL: &str = "dev.xtask.env.lease";
/// What it is, in one word: image, options, environment variables.
pub const KEY_LABEL: &str = "dev.xtask.env.key";
/// Which environment of which repository.
pub const NAME_LABEL: &str = "dev.xtask.env.name";
pub const PROJECT_LABEL: &str = "dev.xtask.env.project";

/// An idle container is kept that long.
pub const IDLE_LIMIT: Duration = Duration::from_hours(1);

/// A word for the repository at `root`, as labels have it.
pub fn project_word(root: &Path) -> String {
    Digest::of(root.as_os_str().as_encoded_bytes()).short()
}

/// A container that is wanted.
pub struct Wanted<'a> {
    pub name: &'a str,
    /// A word for the repository.
    pub project: &'a str,
    /// The image's id.
    pub image: &'a str,
    pub options: &'a Options,
    /// Equal for containers that may stand for one another.
    pub key: &'a str,
    pub ready: Option<&'a str>,
    pub ready_timeout: Duration,
    /// What the lease says while it is used.
    pub purpose: &'a str,
}

/// A container that is used, and by nobody else.
pub struct Used {
    pub id: String,
    pub home: String,
    pub is_recycled: bool,
    /// A folder of this machine is mounted in it.
    pub(super) has_folder: bool,
    lease: Lease,
}

/// What `env ps` shows of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub id: String,
    pub name: String,
    pub image: String,
    pub created: i64,
    pub state: ContainerState,
    pub used: Use,
    /// Somebody holds its lease now.
    pub is_taken: bool,
    /// A word for the repository.
    pub project: String,
    /// The name of its lease.
    pub token: String,
    container_name: String,
}

impl Listed {
    /// Files were copied into it while it ran: it is not what its image is ([`super::live`]).
    pub fn is_live(&self) -> bool {
        self.container_name.starts_with(NAME_START)
    }

    /// Its id as people write it.
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Its user died, or it does not run.
    pub fn is_left_over(&self) -> bool {
        !self.is_taken && (self.state != ContainerState::Running || !matches!(self.used, Use::Idle { .. }))
    }
}

/// What a container does from its start.
pub(super) struct Main<'a> {
    /// Puts it into the specification; is told the home of the container's user.
    pub set: &'a dyn Fn(&mut ContainerSpec, &str),
    /// It makes the folders of the runs itself where its user may.
    pub makes_folders: bool,
}

pub struct Pool<'a> {
    docker: &'a Docker,
    client: String,
    leases: PathBuf,
    /// What is known of images and their lists of users.
    users: PathBuf,
    /// The engine sees the files of this machine.
    is_here: bool,
}

impl<'a> Pool<'a> {
    /// `scope` names the engine as this person does: containers that were made under another name are not touched.
    pub fn new(docker: &'a Docker, folders: &Folders, scope: &str, is_here: bool) -> Result<Self, Diagnostic> {
        let client = folders.client(scope);
        let (leases, users) = (folders.below(&format!("leases/{client}"))?, folders.below("users")?);
        Ok(Self { docker, client, leases, users, is_here })
    }

    /// Gives a container for one run: an idle one with this key, else a new one. On the way, idle ones of the same
    /// environment with another key go, and so does what dead users left behind.
    pub fn acquire(&self, wanted: &Wanted<'_>, fresh: bool, stop: &StopToken) -> Result<Used, Diagnostic> {
        match self.look_around(wanted, fresh)? {
            Some(mut used) => {
                used.lease.busy(wanted.purpose).map_err(lease_failed)?;
                Ok(used)
            }
            None => self.create(wanted, None, stop).map(|(used, _)| used),
        }
    }

    /// Gives a new container that was not started yet, with what it was made from. `main` says what it will run.
    pub(super) fn prepare(
        &self,
        wanted: &Wanted<'_>,
        main: &Main<'_>,
        stop: &StopToken,
    ) -> Result<(Used, ContainerSpec), Diagnostic> {
        self.look_around(wanted, true)?;
        self.create(wanted, Some(main), stop)
    }

    /// An idle container with this key, unless a fresh one is wanted.
    fn look_around(&self, wanted: &Wanted<'_>, fresh: bool) -> Result<Option<Used>, Diagnostic> {
        let mut found = None;
        for container in self.containers()? {
            let label = |name: &str| container.labels.get(name).map(String::as_str);
            let Some(lease) = self.take(&container)? else { continue };
            let is_live = container.name.starts_with(NAME_START);
            let usable = found.is_none() && !fresh && !is_live && label(KEY_LABEL) == Some(wanted.key);
            if usable && let Some((id, home)) = self.reuse(&container, wanted)? {
                found = Some(Used { id, home, is_recycled: true, has_folder: false, lease });
                continue;
            }
            let same = label(NAME_LABEL) == Some(wanted.name) && label(PROJECT_LABEL) == Some(wanted.project);
            let replaced = same && (is_live || label(KEY_LABEL) != Some(wanted.key)) && !fresh;
            let old = matches!(lease.found, Use::Idle { since } if lease::now() > since + IDLE_LIMIT.as_secs());
            if replaced || old || (usable && found.is_none()) {
                self.remove(&container.id, lease);
            }
        }
        Ok(found)
    }

    /// Gives the container back for the next run.
    pub fn keep(&self, used: Used) {
        // Without a word that it is idle, the next one removes it: that is right, too.
        let _ = used.lease.idle();
    }

    /// Removes it.
    pub fn end(&self, used: Used) {
        self.remove(&used.id, used.lease);
    }

    /// All containers of this person's environments on this engine.
    pub fn list(&self) -> Result<Vec<Listed>, Diagnostic> {
        self.containers()?.into_iter().map(|container| self.look(container).map(|(listed, _)| listed)).collect()
    }

    /// Removes the wanted containers that are not in use, and with `force` those in use, too. Says which.
    pub fn clear(&self, wanted: &dyn Fn(&Listed) -> bool, force: bool) -> Result<Vec<Listed>, Diagnostic> {
        let mut gone = Vec::new();
        for container in self.containers()? {
            // The lease is held until it is gone, so that nobody takes it meanwhile.
            let (one, lease) = self.look(container)?;
            if !wanted(&one) || (one.is_taken && !force) {
                continue;
            }
            match self.docker.remove(&one.id) {
                Ok(()) => gone.push(one),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
            lease.map_or(Ok(()), Lease::end).map_err(lease_failed)?;
        }
        self.forget_leases()?;
        Ok(gone)
    }

    /// What is known of a container; with its lease if nobody has it.
    fn look(&self, container: ContainerSummary) -> Result<(Listed, Option<Lease>), Diagnostic> {
        let token = container.labels.get(LEASE_LABEL).cloned().unwrap_or_default();
        let (used, lease, is_taken) = match Lease::try_take(&self.leases, &token).map_err(lease_failed)? {
            Tried::Got(lease) => (lease.found.clone(), Some(lease), false),
            Tried::Taken(used) => (used, None, true),
            Tried::Missing => (Use::Unknown, None, false),
        };
        let listed = Listed {
            name: container.labels.get(NAME_LABEL).cloned().unwrap_or_default(),
            project: container.labels.get(PROJECT_LABEL).cloned().unwrap_or_default(),
            token,
            container_name: container.name,
            id: container.id,
            image: container.image,
            created: container.created,
            state: container.state,
            used,
            is_taken,
        };
        Ok((listed, lease))
    }

    /// Removes the leases of containers that are gone.
    fn forget_leases(&self) -> Result<(), Diagnostic> {
        for token in lease::tokens(&self.leases).map_err(lease_failed)? {
            // Who makes a container holds its lease before.
            if let Tried::Got(lease) = Lease::try_take(&self.leases, &token).map_err(lease_failed)? {
                let label = format!("{LEASE_LABEL}={token}");
                if self.docker.containers_with_labels(&[&label]).map_err(Diagnostic::from)?.is_empty() {
                    lease.end().map_err(lease_failed)?;
                }
            }
        }
        Ok(())
    }

    fn containers(&self) -> Result<Vec<ContainerSummary>, Diagnostic> {
        let label = format!("{CLIENT_LABEL}={}", self.client);
        self.docker.containers_with_labels(&[&label]).map_err(Diagnostic::from)
    }

    /// The lease of a container that nobody uses. What a dead user left behind is removed instead.
    fn take(&self, container: &ContainerSummary) -> Result<Option<Lease>, Diagnostic> {
        let token = container.labels.get(LEASE_LABEL).map_or("", String::as_str);
        match Lease::try_take(&self.leases, token).map_err(lease_failed)? {
            Tried::Taken(_) => Ok(None),
            Tried::Got(lease) if matches!(lease.found, Use::Idle { .. }) => Ok(Some(lease)),
            Tried::Got(lease) => {
                self.remove(&container.id, lease);
                Ok(None)
            }
            Tried::Missing => {
                // Somebody may be removing it this moment.
                let _ = self.docker.remove(&container.id);
                Ok(None)
            }
        }
    }

    fn remove(&self, id: &str, lease: Lease) {
        match self.docker.remove(id) {
            Ok(()) | Err(DockerError::NotFound { .. }) => {
                let _ = lease.end();
            }
            // It keeps its label and its lease, so that the next one tries again.
            Err(_) => {}
        }
    }

    /// The id and the home, if this container can be used as it is.
    fn reuse(&self, container: &ContainerSummary, wanted: &Wanted<'_>) -> Result<Option<(String, String)>, Diagnostic> {
        let full = match self.docker.container(&container.id) {
            Ok(full) => full,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let sound = full.state == ContainerState::Running
            && !matches!(full.health, Health::Unhealthy | Health::Starting)
            && full.image == wanted.image;
        Ok(sound.then(|| (full.id, full.labels.get(HOME_LABEL).cloned().unwrap_or_default())))
    }

    fn create(
        &self,
        wanted: &Wanted<'_>,
        main: Option<&Main<'_>>,
        stop: &StopToken,
    ) -> Result<(Used, ContainerSpec), Diagnostic> {
        let token = token();
        let lease = Lease::create(&self.leases, &token, wanted.purpose).map_err(lease_failed)?;
        match self.make(wanted, &token, &lease, main, stop) {
            Ok((id, home, spec)) => {
                let has_folder = !spec.folders.is_empty();
                Ok((Used { id, home, is_recycled: false, has_folder, lease }, spec))
            }
            Err((id, problem)) => {
                match id {
                    Some(id) => self.remove(&id, lease),
                    None => drop(lease.end()),
                }
                Err(problem)
            }
        }
    }

    /// Makes and fills it; without `main`, starts and tries it, too. An error comes with the container's id if there is
    /// one.
    fn make(
        &self,
        wanted: &Wanted<'_>,
        token: &str,
        lease: &Lease,
        main: Option<&Main<'_>>,
        stop: &StopToken,
    ) -> Result<(String, String, ContainerSpec), (Option<String>, Diagnostic)> {
        let early = |problem| (None, problem);
        let mut spec = wanted.options.spec(wanted.image);
        let owner = wanted.options.user;
        let user = match owner {
            Some((uid, gid)) => Some(user::user(&self.facts(wanted.image, stop).map_err(early)?.passwd, uid, gid)),
            None => None,
        };
        let home = user.as_ref().map_or_else(String::new, |user| user.home.clone());
        let strict = wanted.options.security == Security::Strict;
        let passwd = user.and_then(|user| user.passwd);
        if let Some(text) = passwd.as_ref().filter(|_| strict && self.is_here) {
            let source = user::keep_passwd(&self.users, text).map_err(|error| early(lease_failed(error)))?;
            spec.binds.push(Bind { source, target: "/etc/passwd".into(), read_only: true });
        }
        spec.name = Some(format!("xtask-env-{token}"));
        spec.labels = BTreeMap::from([
            (CLIENT_LABEL.to_owned(), self.client.clone()),
            (LEASE_LABEL.to_owned(), token.to_owned()),
            (KEY_LABEL.to_owned(), wanted.key.to_owned()),
            (NAME_LABEL.to_owned(), wanted.name.to_owned()),
            (PROJECT_LABEL.to_owned(), wanted.project.to_owned()),
            (HOME_LABEL.to_owned(), home.clone()),
        ]);
        if let Some(main) = main {
            (main.set)(&mut spec, &home);
        }
        let is_alone = main.is_some_and(|main| main.makes_folders);
        let (is_stranger, may_mount) = (passwd.is_some(), self.may_mount());
        let mut fill = Case { options: wanted.options, is_stranger, is_alone, may_mount }.fill();
        if let (Fill::Mount, Some(owner)) = (fill, owner) {
            let folder = lease.folder(owner);
            let mounted = folder.and_then(|folder| fill::mount(&mut spec, folder, passwd.as_deref(), &self.users));
            mounted.map_err(|error| early(lease_failed(error)))?;
        }
        let mut created = self.docker.create(&spec);
        if created.is_err() && fill == Fill::Mount {
            // An engine whose socket is here need not see the files that are here.
            (fill, spec.folders) = (Fill::Archive, Vec::new());
            created = self.docker.create(&spec);
            created.as_ref().map(|_| self.cannot_mount()).ok();
        }
        let id = created.map_err(|error| early(error.into()))?;
        let late = |problem: Diagnostic| (Some(id.clone()), problem);
        if fill == Fill::Archive {
            let (folder, archive) =
                fill::archive(owner, passwd.as_deref(), strict).map_err(|error| late(lease_failed(error)))?;
            let filled = self.docker.upload(&id, folder, Box::new(std::io::Cursor::new(archive)), stop);
            filled.map_err(|error| late(error.into()))?;
        }
        if main.is_none() {
            self.docker.start(&id).map_err(|error| late(not_started(wanted, error)))?;
            self.await_ready(&id, wanted, stop).map_err(late)?;
        }
        Ok((id, home, spec))
    }

    /// Whether the engine can mount folders of this machine: it was not seen that it cannot.
    fn may_mount(&self) -> bool {
        self.is_here && !self.users.join(format!("{}.archive", self.client)).exists()
    }

    /// Writes down that it cannot. Only a cache: it would be tried again.
    pub(super) fn cannot_mount(&self) {
        let _ = std::fs::write(self.users.join(format!("{}.archive", self.client)), "");
    }

    /// Waits for the health check of the image and the `ready` command of the metadata.
    fn await_ready(&self, id: &str, wanted: &Wanted<'_>, stop: &StopToken) -> Result<(), Diagnostic> {
        let end = Instant::now() + wanted.ready_timeout;
        let mut last = String::new();
        loop {
            let now = self.docker.container(id).map_err(Diagnostic::from)?;
            if !matches!(now.state, ContainerState::Running | ContainerState::Created) {
                return Err(Diagnostic::error(format!(
                    "container of environment `{}` ended at once with exit code {}",
                    wanted.name, now.exit_code
                ))
                .note("it needs `sh` and `sleep` to wait for scripts")
                .help(format!("docker run --rm --entrypoint sh {} -c 'sleep 1'", wanted.image)));
            }
            let healthy = matches!(now.health, Health::None | Health::Healthy);
            if healthy && self.is_ready(id, wanted, end, &mut last, stop)? {
                return Ok(());
            }
            if stop.is_requested() {
                return Err(Diagnostic::error(format!("environment `{}` was told to stop", wanted.name)));
            }
            if Instant::now() >= end || now.health == Health::Unhealthy {
                let why = if healthy { "the command `ready` of its metadata" } else { "the health check of its image" };
                let seconds = wanted.ready_timeout.as_secs_f64();
                let error = Diagnostic::error(format!(
                    "environment `{}` was not ready within {seconds} s: {why} does not succeed",
                    wanted.name
                ));
                return Err(if last.is_empty() { error } else { error.note(format!("it said: {last}")) });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(
        &self,
        id: &str,
        wanted: &Wanted<'_>,
        end: Instant,
        last: &mut String,
        stop: &StopToken,
    ) -> Result<bool, Diagnostic> {
        let Some(command) = wanted.ready else { return Ok(true) };
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(200));
        let spec = ExecSpec {
            command: ["sh", "-c", command].map(str::to_owned).to_vec(),
            timeout: Some(left),
            ..ExecSpec::default()
        };
        let mut said = Vec::new();
        let ended = self.docker.exec(id, &spec, &mut |_, bytes| said.extend_from_slice(bytes), stop);
        let said: String = String::from_utf8_lossy(&said).trim().chars().take(500).collect();
        if !said.is_empty() {
            *last = said;
        }
        match ended {
            Ok(code) => Ok(code == 0),
            Err(DockerError::Timeout { .. } | DockerError::Cancelled) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What the image says of itself; the engine is asked once per image.
    pub(super) fn facts(&self, image: &str, stop: &StopToken) -> Result<Facts, Diagnostic> {
        if let Some(facts) = Facts::known(&self.users, image) {
            return Ok(facts);
        }
        let token = token();
        let lease = Lease::create(&self.leases, &token, "look at an image").map_err(lease_failed)?;
        let mut spec = facts::to_look_into(image);
        spec.labels = BTreeMap::from([(CLIENT_LABEL.to_owned(), self.client.clone()), (LEASE_LABEL.to_owned(), token)]);
        let made = self.docker.create(&spec);
        let asked = made.as_ref().map(|id| Facts::ask(self.docker, image, id, stop));
        match &made {
            Ok(id) => self.remove(id, lease),
            Err(_) => drop(lease.end()),
        }
        let Ok(asked) = asked else {
            return Err(made.err().map_or_else(|| Diagnostic::error("no container was made"), Diagnostic::from));
        };
        let facts = asked?;
        facts.keep(&self.users, image);
        Ok(facts)
    }
}

const HOME_LABEL: &str = "dev.xtask.env.home";

fn lease_failed(error: std::io::Error) -> Diagnostic {
    Diagnostic::error("the cache folder of environments cannot be used").cause(error)
}

/// An engine's refusal to start, in words that help.
pub(super) fn not_started(wanted: &Wanted<'_>, error: DockerError) -> Diagnostic {
    let text = error.to_string();
    let start = Diagnostic::error(format!("container of environment `{}` cannot start", wanted.name)).cause(&text);
    if text.contains("could not select device driver") {
        start.note("the engine has no driver for GPUs").help("leave `--gpus` out, or choose a host that has them")
    } else if text.contains("already allocated") || text.contains("already in use") {
        start
            .note("a port of `--publish` is taken on the engine's machine")
            .help("publish another: --publish 9000:8888")
    } else if text.contains("executable file not found") || text.contains("no such file or directory") {
        start.note("an environment needs `sh` and `sleep`").help("install a shell in its Dockerfile")
    } else {
        start
    }
}
