//! `env`: lists and builds environments, runs scripts in them, and looks after their containers.

pub(super) mod args;
mod build;
mod cache;
mod containers;
mod engine;
mod list;
mod prepare;
mod request;
mod run;
mod terminal;

use args::{EnvArgs, EnvCommand};

use crate::model::Diagnostics;
use crate::world::World;

pub(super) fn env(args: &EnvArgs, world: &World) -> Result<u8, Diagnostics> {
    match &args.command {
        EnvCommand::List(args) => list::list(args, world),
        EnvCommand::Build(args) => build::build(args, world),
        EnvCommand::Run(args) => run::run(args, world),
        EnvCommand::Ps(args) => containers::ps(args, world),
        EnvCommand::Stop(args) => containers::stop(args, world),
        EnvCommand::Gc(args) => containers::gc(args, world),
        EnvCommand::Cache(args) => cache::cache(args, world),
    }
}
