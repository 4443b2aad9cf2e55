//! The words of `env`: clap's structs, without meaning.

use clap::{Args, Subcommand};

use crate::cli::args::FileArgs;

#[derive(Args, Debug)]
pub(in crate::cli) struct EnvArgs {
    #[command(subcommand)]
    pub command: EnvCommand,
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum EnvCommand {
    /// Show the environments
    List(ListArgs),
    /// Build environments
    Build(BuildArgs),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// One JSON list
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct BuildArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// On the engine of this host: of `hosts` in tasks.yaml, or a docker context
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}
