//! What can be typed for `run`, `watch` and plain tasks: clap's structs, without meaning.

use clap::{Args, Parser};

use super::FileArgs;

/// `run` and plain tasks: parsed apart, because tasks bring options of their own.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask run", about = "Run tasks with everything they need", disable_version_flag = true)]
pub(in crate::cli) struct RunCli {
    #[command(flatten)]
    pub run: RunArgs,
    /// Names of tasks, groups, members (`build:base`), wildcards (`test:*`), tags (`@docs`) or paths of targets, each
    /// followed by its own options; `name=value` sets a variable of `vars`
    #[arg(value_name = "TASK [OPTION]…")]
    pub tasks: Vec<String>,
}

#[derive(Args, Debug, Clone)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Run everything in the plan, up to date or not
    #[arg(short, long = "always", visible_alias = "always-execute")]
    pub always: bool,
    /// After a failure, go on with tasks that do not need the failed one
    #[arg(short, long = "continue", visible_alias = "keep-going")]
    pub continue_: bool,
    /// Stop at the first failure, whatever the file says
    #[arg(long, overrides_with = "continue_")]
    pub no_continue: bool,
    /// Tasks at once [default: config.jobs, else two more than processors]
    #[arg(short = 'n', long = "jobs", visible_short_alias = 'j', visible_alias = "process", value_name = "N")]
    pub jobs: Option<usize>,
    /// Only the named tasks, without their order dependencies
    #[arg(short, long)]
    pub single: bool,
    /// Output of tasks: 0 none unless they fail, 1 stderr, 2 both and every reason (also `-v` alone)
    #[arg(short, long, value_name = "0|1|2", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub verbosity: Option<u8>,
    /// How events are shown: auto fancy plain json junit github, or doit's console executed-only zero error-only
    #[arg(short, long, value_name = "NAME")]
    pub reporter: Option<String>,
    /// Where the reporter writes its data [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<String>,
    /// Output of tasks that run at once
    #[arg(long, value_name = "MODE", value_parser = ["grouped", "prefixed", "raw"], default_value = "grouped")]
    pub output: String,
    /// Say what would run and why; run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Fail if anything would run
    #[arg(long)]
    pub frozen: bool,
    /// As if this file had changed
    #[arg(short = 'W', long, value_name = "FILE")]
    pub what_if: Vec<String>,
    /// Random order where edges allow it: shows missing edges
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "1", require_equals = true)]
    pub shuffle: Option<u64>,
    /// Run tasks that were told to be ignored, too
    #[arg(long)]
    pub include_ignored: bool,
    /// Ignored tasks make the run fail
    #[arg(long)]
    pub strict: bool,
    /// A wildcard may match nothing
    #[arg(long)]
    pub allow_empty: bool,
    /// If another run has the state: fail at once instead of waiting
    #[arg(long)]
    pub no_wait: bool,
    /// Build, test and keep images on this host: of `hosts` in tasks.yaml, or a docker context; several (also with
    /// commas) share the builds, and the first keeps the images
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub host: Vec<String>,
    /// Only failures and the summary
    #[arg(short, long)]
    pub quiet: bool,
    /// Install and start what is missing without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Write where the time went: a page, and FILE.trace.json for Perfetto [default FILE: .xtask/timings.html]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = crate::cli::timings::DEFAULT, require_equals = true, conflicts_with_all = ["dry_run", "frozen"])]
    pub timings: Option<String>,
    /// Say what the time of this program itself went to: planning, stat, hash, database, spawn, wait
    #[arg(long)]
    pub self_profile: bool,
}
