//! The engine that a command of `env` works on: the host that is meant, made reachable. Knows nothing of containers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use crate::action::image::Services;
use crate::cli::args::FileArgs;
use crate::cli::project::{self, Place, Read};
use crate::docker::Docker;
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
    let Meant { reached, world, read } = reach(&place, host, world, stop)?;
    let lookup = |name: &str| world.var_os(name);
    let home = world.var_os("HOME").map(PathBuf::from);
    let around = Surroundings { env: &lookup, home: home.as_deref() };
    let meant = reached.as_ref().map(|(name, reached)| (&**name, reached));
    let (scope, is_here) = hosts::whereabouts(meant, around).map_err(Diagnostic::from)?;
    let reached = reached.map(|(_, reached)| reached);
    let read = read.map_or_else(|| project::read(&place, &world, &project::LoadOptions::default()), Ok)?;
    let docker = read.environments.engine()?;
    Ok(Opened { place, read, docker, folders, scope, is_here, world, _reached: reached })
}

/// The engine that is meant.
struct Meant {
    /// With the name of its host; `None` for the one that the docker command line would use anyway.
    reached: Option<(Arc<str>, Reached)>,
    world: World,
    /// The repository, where it was read for just this engine.
    read: Option<Read>,
}

/// The world in which the docker command line would use the host that is meant, and the host's name.
fn reach(place: &Place, host: Option<&str>, world: &World, stop: &StopToken) -> Result<Meant, Diagnostics> {
    let mut inner = world.printing_to(&world.err);
    let lookup = |name: &str| world.var_os(name);
    let home = lookup("HOME").map(PathBuf::from);
    let around = Surroundings { env: &lookup, home: home.as_deref() };
    let read = project::read(place, world, &project::LoadOptions::default())?;
    let entries = hosts::known(&read.tasks.hosts, around)?;
    let flag: Vec<String> = host.map(str::to_owned).into_iter().collect();
    // Scripts run on one host: of a pool, on the one that keeps the images.
    let chosen = hosts::choose_all(&entries, &flag, read.tasks.config.host.as_deref(), around)
        .map_err(|error| error.diagnostic())?;
    // From here on, nothing else chooses.
    inner.env.insert(hosts::CHOICE[0].into(), "default".into());
    let Some(entry) = chosen.into_iter().next().filter(|entry| entry.source != Source::Default) else {
        return Ok(Meant { reached: None, world: inner, read: Some(read) });
    };
    let programs: Vec<(OsString, OsString)> =
        world.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let reached = entry.reach(around, &programs, stop).map_err(|error| error.diagnostic())?;
    inner.env.extend(reached.variables().into_iter().map(|(name, value)| (name.into(), value)));
    Ok(Meant { reached: Some((entry.name.clone(), reached)), world: inner, read: None })
}
