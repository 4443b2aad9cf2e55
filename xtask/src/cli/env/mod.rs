//! `env`: lists and builds environments, and runs scripts in them. Knows nothing of containers.

pub(super) mod args;
mod build;
mod list;

use args::{EnvArgs, EnvCommand};

use crate::model::Diagnostics;
use crate::world::World;

pub(super) fn env(args: &EnvArgs, world: &World) -> Result<u8, Diagnostics> {
    match &args.command {
        EnvCommand::List(args) => list::list(args, world),
        EnvCommand::Build(args) => build::build(args, world),
    }
}
