//! What can be typed: clap's structs, without meaning. The commands, and what several of them have.

mod project;
mod run;
mod stack;
mod tasks;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};

pub(super) use project::{
    CiArgs, CompletionsArgs, DoctorArgs, HooksArgs, HooksCommand, ImportArgs, InitArgs, ManArgs, SchemaArgs, SoakArgs,
};
pub(super) use run::{RunArgs, RunCli};
pub(super) use stack::{AffectedArgs, CiPlanArgs, HostsArgs, ReportArgs, SpecArgs, SpecCommand, SyncArgs};
pub(super) use tasks::{
    AcceptArgs, CleanArgs, ExplainArgs, ForgetArgs, GraphArgs, HistoryArgs, ListArgs, NamesArgs, TraceArgs,
};

/// Task runner that maintains a stack of Docker images
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", version, about, disable_help_subcommand = false, after_help = AFTER)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Tasks are commands, too: `cargo xtask NAME` runs the task NAME of tasks.yaml with everything it \
needs, and its params are its flags: `cargo xtask NAME --help`. Options of a run (`cargo xtask run --help`) may stand \
before or behind the names of tasks.\n\nExit codes: 0 done or up to date, 1 a task failed, 2 error while executing, 3 error \
before anything ran, 130 interrupted";

#[derive(Args, Debug, Clone)]
pub(super) struct FileArgs {
    /// The file with the tasks [default: tasks.yaml, searched upwards]
    #[arg(short, long, value_name = "FILE", env = "XTASK_FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<String>,
    /// Start in this folder
    #[arg(short = 'd', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<String>,
    /// Search tasks.yaml in the folders above, too (also with --no-seek in an alias)
    #[arg(short = 'k', long, overrides_with = "no_seek")]
    pub seek_file: bool,
    /// Take tasks.yaml from this folder only
    #[arg(long)]
    pub no_seek: bool,
    /// Colours
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "always", "never"], default_value = "auto")]
    pub color: String,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Show the tasks
    List(ListArgs),
    /// Say why a task would run, or why it last did
    Explain(ExplainArgs),
    /// Run one task, and show which files its commands read and wrote
    Trace(TraceArgs),
    /// Remove what tasks have made
    Clean(CleanArgs),
    /// Forget that tasks ever succeeded
    Forget(ForgetArgs),
    /// Leave tasks out of every run until they are forgotten
    Ignore(NamesArgs),
    /// Take the current files as they are, without running anything
    Accept(AcceptArgs),
    /// Show past runs, compare two, find flaky tasks
    History(HistoryArgs),
    /// Show tasks and what each needs
    Graph(GraphArgs),
    /// Show the engines that have a name, and whether they can be reached
    Hosts(HostsArgs),
    /// Copy folders and files to hosts, side by side
    Sync(SyncArgs),
    /// Build environments, and run scripts in them
    Env(super::env::args::EnvArgs),
    /// Say what this machine lacks, with a fix for each
    Doctor(DoctorArgs),
    /// Check everything: format, lints, tests, the stack
    Ci(CiArgs),
    /// Run the long forms of the reliability tests, and print what each came to
    Soak(SoakArgs),
    /// Say which images and tests changed files concern
    Affected(AffectedArgs),
    /// Print the script that completes commands, tasks and their params in a shell
    Completions(CompletionsArgs),
    /// Work on the spec of the stack
    Spec(SpecArgs),
    /// Look at and change the tags of a registry, without an engine
    #[command(arg_required_else_help = true)]
    Tags(super::tags::TagsArgs),
    /// Print the JSON Schema of tasks.yaml or of spec.yml, for editors
    Schema(SchemaArgs),
    /// Print the stack as jobs of a CI: one per image, handed on by digest
    CiPlan(CiPlanArgs),
    /// What runs before a commit or a push
    Hooks(HooksArgs),
    /// Show the stack as a page: images, tags, digests, sizes, tests, manifests, promotions
    Report(ReportArgs),
    /// Make a new repository: tasks.yaml, a first image, the crate behind `cargo xtask`
    Init(InitArgs),
    /// Print tasks of doit, a compose file or a bake file in the form of this program
    Import(ImportArgs),
    /// Write manual pages of all commands
    Man(ManArgs),
}

/// Names of built-in commands (`run` is parsed apart).
pub(super) fn built_in_names() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).chain(["help".to_owned()]).collect()
}
