//! What can be typed to look at tasks and their records: clap's structs, without meaning.

use clap::Args;

use super::FileArgs;

#[derive(Args, Debug)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Members of groups, too
    #[arg(long)]
    pub all: bool,
    /// Private tasks, too
    #[arg(short, long)]
    pub private: bool,
    /// Names only
    #[arg(short, long)]
    pub quiet: bool,
    /// R would run, U up to date, I ignored, E error
    #[arg(short, long)]
    pub status: bool,
    /// What each task needs
    #[arg(long)]
    pub deps: bool,
    /// By name, or in the order of the file
    #[arg(long, value_parser = ["name", "definition"], default_value = "name")]
    pub sort: String,
    /// A line per task, with {name}, {doc} and {status} replaced
    #[arg(long, value_name = "TEXT")]
    pub template: Option<String>,
    /// One JSON list
    #[arg(long)]
    pub json: bool,
    pub tasks: Vec<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ExplainArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Why it ran the last time
    #[arg(long)]
    pub last: bool,
    #[arg(long)]
    pub json: bool,
    /// Words of the task's own params may follow its name
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub task: Vec<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct TraceArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Files outside of the project, too
    #[arg(short, long)]
    pub all: bool,
    /// Leave what strace wrote in `strace.txt`
    #[arg(long)]
    pub keep: bool,
    /// Words of the task's own params may follow its name
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub task: Vec<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CleanArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// What the named tasks need, too
    #[arg(short = 'c', long)]
    pub clean_dep: bool,
    /// Every task
    #[arg(short = 'a', long)]
    pub clean_all: bool,
    /// Say what would be removed; remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Forget the cleaned tasks, too
    #[arg(long)]
    pub forget: bool,
    /// Instead of what tasks made: images of the stack that the engine need not hold any longer
    #[arg(long, conflicts_with_all = ["tasks", "clean_all", "clean_dep", "forget"])]
    pub images: bool,
    /// With --images: keep so many of each image on each branch; what was promoted is kept in any case
    #[arg(long, value_name = "N", default_value_t = 2, requires = "images")]
    pub keep: usize,
    pub tasks: Vec<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ForgetArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// What the named tasks need, too
    #[arg(short = 's', long)]
    pub follow_sub: bool,
    /// Everything
    #[arg(short, long)]
    pub all: bool,
    /// Without names, do not take the default tasks
    #[arg(long)]
    pub disable_default: bool,
    pub tasks: Vec<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct NamesArgs {
    #[command(flatten)]
    pub file: FileArgs,
    pub tasks: Vec<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct AcceptArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Words of the task's own params may follow its name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub tasks: Vec<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct HistoryArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// How many runs
    #[arg(short, long, default_value_t = 20)]
    pub limit: usize,
    /// A JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Two runs side by side
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["flaky", "run"])]
    pub compare: Option<Vec<i64>>,
    /// Tasks that failed and passed with the same inputs
    #[arg(long, conflicts_with = "run")]
    pub flaky: bool,
    /// The tasks of this run
    pub run: Option<i64>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct GraphArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// How it is shown
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "dot", "mermaid", "json", "svg", "html"], default_value = "text")]
    pub format: String,
    /// What would run, and what is up to date
    #[arg(short, long)]
    pub status: bool,
    /// With everything that they need [default: all tasks]
    pub tasks: Vec<String>,
}
