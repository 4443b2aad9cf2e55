//! The engine that a command of `env` works on: the host that is meant, made reachable. Knows nothing of containers.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::action::image::Services;
use crate::cli::args::FileArgs;
use crate::cli::project::{self, Place, Read};
use crate::docker::Docker;
use crate::docker::endpoint::{self, Endpoint};
use crate::environment::{Folders, Pool};
use crate::model::{Diagnostic, Diagnostics, StopToken};
use crate::remote::hosts::{self, Reached, Source, Surroundings};
use crate::world::World;

/// A repository and an engine.
pub(super) struct Opened {
    pub place: Place,
    pub read: Read,
    pub docker: Docker,
    pub folders: Folders,
    /// As this person names the engine.
    pub scope: String,
    /// The engine sees the files of this machine.
    pub is_here: bool,
    /// For runs of the graph: on that engine, with everything it prints going to stderr.
    pub world: World,
    /// Keeps the way open.
    _reached: Option<Reached>,
}

impl Opened {
    pub fn services(&self) -> &Services {
        &self.read.environments
    }

    pub fn pool(&self) -> Result<Pool<'_>, Diagnostic> {
        Pool::new(&self.docker, &self.folders, &self.scope, self.is_here)
    }
}

/// Opens the repository with the engine of `host`, else of the variables, else of the docker command line.
pub(super) fn open(
    file: &FileArgs,
    host: Option<&str>,
    world: &World,
    stop: &StopToken,
) -> Result<Opened, Diagnostics> {
    let place = project::find(file, world)?;
    let folders = Folders::open(&|name| world.var_os(name))?;
    let (reached, scope, world) = reach(&place, host, world, stop)?;
    let lookup = |name: &str| world.var_os(name);
    let home = world.var_os("HOME").map(PathBuf::from);
    let endpoint = endpoint::resolve(&lookup, home.as_deref()).map_err(Diagnostic::from)?;
    let is_forwarded = reached.as_ref().is_some_and(|reached| reached.forward.is_some());
    let is_here = matches!(endpoint, Endpoint::Unix(_)) && !is_forwarded;
    let scope = scope.unwrap_or_else(|| endpoint.to_string());
    let read = project::read(&place, &world, &project::LoadOptions::default())?;
    let docker = read.environments.engine()?;
    Ok(Opened { place, read, docker, folders, scope, is_here, world, _reached: reached })
}

/// The world in which the docker command line would use the host that is meant, and the host's name.
fn reach(
    place: &Place,
    host: Option<&str>,
    world: &World,
    stop: &StopToken,
) -> Result<(Option<Reached>, Option<String>, World), Diagnostics> {
    let mut inner = world.printing_to(&world.err);
    let lookup = |name: &str| world.var_os(name);
    let chosen_by_variable = hosts::CHOICE.iter().any(|name| lookup(name).is_some_and(|value| !value.is_empty()));
    if host.is_none() && !chosen_by_variable {
        return Ok((None, None, inner));
    }
    let home = lookup("HOME").map(PathBuf::from);
    let around = Surroundings { env: &lookup, home: home.as_deref() };
    let read = project::read(place, world, &project::LoadOptions::default())?;
    let entries = hosts::known(&read.tasks.hosts, around)?;
    let entry = hosts::choose(&entries, host, None, around).map_err(|error| error.diagnostic())?;
    if entry.source == Source::Default {
        return Ok((None, None, inner));
    }
    let programs: Vec<(OsString, OsString)> =
        world.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let reached = entry.reach(around, &programs, stop).map_err(|error| error.diagnostic())?;
    let mut set = |name: &str, value: OsString| inner.env.insert(name.into(), value);
    for name in ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_TLS", "DOCKER_CERT_PATH"] {
        set(name, OsString::new());
    }
    set("DOCKER_HOST", reached.endpoint.to_string().into());
    if let Endpoint::Tcp { tls: Some(tls), .. } = &reached.endpoint {
        set(if tls.insecure { "DOCKER_TLS" } else { "DOCKER_TLS_VERIFY" }, "1".into());
        let file = tls.ca.as_ref().or(tls.client.as_ref().map(|(cert, _)| cert));
        if let Some(folder) = file.and_then(|file| file.parent()) {
            set("DOCKER_CERT_PATH", folder.into());
        }
    }
    Ok((Some(reached), Some(format!("host:{}", entry.name)), inner))
}
