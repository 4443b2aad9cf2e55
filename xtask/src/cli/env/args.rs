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
    /// Run a script or a command in an environment
    Run(Box<RunArgs>),
    /// Show the containers that are kept for environments
    Ps(PsArgs),
    /// Stop and remove containers of environments
    Stop(StopArgs),
    /// Remove containers that are idle or left over
    Gc(GcArgs),
    /// Show or remove the images of environments
    Cache(CacheArgs),
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

#[derive(Args, Debug)]
#[command(after_help = AFTER_RUN)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// The environment
    pub name: String,
    /// A file with a script; words behind `--` are its arguments
    #[arg(conflicts_with = "text")]
    pub script: Option<String>,
    /// The script itself
    #[arg(short = 'c', long = "command", value_name = "TEXT", allow_hyphen_values = true)]
    pub text: Option<String>,
    /// What the script is written in [default: its first line, its name, the metadata]
    #[arg(long, value_name = "WORD", value_parser = ["sh", "bash", "python"])]
    pub language: Option<String>,
    /// On the engine of this host: of `hosts` in tasks.yaml, or a docker context
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// In a new container, which is removed afterwards
    #[arg(long)]
    pub fresh: bool,
    /// With the terminal, in a new container: a command [default: sh]
    #[arg(short, long, conflicts_with_all = ["script", "text", "secret", "upload", "download"])]
    pub interactive: bool,
    /// A port of the container, reachable in a new container: [[ADDRESS:]PORT:]PORT
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// A file or folder, seen inside: SOURCE:TARGET, or SOURCE:TARGET:ro
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// A variable: NAME=VALUE, or NAME to take it from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// A variable that is taken from here and hidden in what is printed
    #[arg(long, value_name = "NAME")]
    pub secret: Vec<String>,
    /// A file or folder that is copied in; its path inside is in UPLOAD_0, UPLOAD_1, …
    #[arg(long, value_name = "PATH")]
    pub upload: Vec<String>,
    /// What is copied out after a success: SOURCE:TARGET; a relative source is below RUN_RESULT_DIR
    #[arg(long, value_name = "SOURCE:TARGET")]
    pub download: Vec<String>,
    /// The folder in which it runs [default: that of the image]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// uid[:gid], or `image` for the user of the image [default: the caller]
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// `all`, or ids of devices separated by commas
    #[arg(long, value_name = "GPUS")]
    pub gpus: Option<String>,
    /// Shared memory in /dev/shm: a size, or `auto`
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = "auto")]
    pub shm_size: Option<String>,
    /// Shared memory and services in common with the other runs of this session
    #[arg(long, value_name = "NAME", conflicts_with = "shm_size")]
    pub session: Option<String>,
    /// Where the services of the session are in the container
    #[arg(long, value_name = "DIR", requires = "session", default_value = crate::environment::session::SERVICE_DIR)]
    pub service_dir: String,
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Processors, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<String>,
    /// `none`, `host`, `bridge`, or the name of a network
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,
    /// What a script may do to the machine
    #[arg(long, value_name = "PRESET", value_parser = ["strict", "default", "permissive"], default_value = "default")]
    pub security: String,
    /// The run is ended after it: seconds, or such as 90s, 1h30m
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Nothing but the script's own output, unless it could not be run
    #[arg(short, long)]
    pub quiet: bool,
    /// A command instead of a script, or the script's arguments
    #[arg(last = true, value_name = "WORDS")]
    pub words: Vec<String>,
}

const AFTER_RUN: &str = "\
Exit codes: that of the script; 3 wrong words, 124 the time was over, 125 it could not be run or the engine was lost, \
130 interrupted.\n\n\
  cargo xtask env run python_environment analysis.py --mount ./data:/data -- --year 2026\n  \
  cargo xtask env run shell_environment -c 'uname -a'\n  \
  cargo xtask env run shell_environment -- ls -l /";

#[derive(Args, Debug)]
pub(in crate::cli) struct PsArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// One JSON list
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct StopArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Those in which something runs, too
    #[arg(long)]
    pub force: bool,
    /// Environments, or ids of containers [default: all]
    #[arg(value_name = "NAME|ID")]
    pub names: Vec<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct GcArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Keep containers that were used within this time
    #[arg(long, value_name = "TIME", default_value = "0")]
    pub idle: String,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CacheArgs {
    #[command(subcommand)]
    pub command: CacheCommand,
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum CacheCommand {
    /// Show what is known of the images
    List(CacheListArgs),
    /// Remove images that were not used for the longest time and that no container uses
    Prune(PruneArgs),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CacheListArgs {
    /// One JSON list
    #[arg(long)]
    pub json: bool,
    /// Colours
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "always", "never"], default_value = "auto")]
    pub color: String,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct PruneArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// How many stay
    #[arg(long, value_name = "N", default_value_t = crate::environment::records::DEFAULT_LIMIT)]
    pub keep: usize,
    /// None stays, and idle containers go, too
    #[arg(long, conflicts_with = "keep")]
    pub all: bool,
}
