//! What can be typed: clap's structs, without meaning.

use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};

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

/// `run` and plain tasks: parsed apart, because tasks bring options of their own.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask run", about = "Run tasks with everything they need", disable_version_flag = true)]
pub(super) struct RunCli {
    #[command(flatten)]
    pub run: RunArgs,
    /// Names of tasks, groups, members (`build:base`), wildcards (`test:*`), tags (`@docs`) or paths of targets, each
    /// followed by its own options; `name=value` sets a variable of `vars`
    #[arg(value_name = "TASK [OPTION]…")]
    pub tasks: Vec<String>,
}

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

#[derive(Args, Debug, Clone)]
pub(super) struct RunArgs {
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
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = super::timings::DEFAULT, require_equals = true, conflicts_with_all = ["dry_run", "frozen"])]
    pub timings: Option<String>,
    /// Say what the time of this program itself went to: planning, stat, hash, database, spawn, wait
    #[arg(long)]
    pub self_profile: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Show the tasks
    List(ListArgs),
    /// Say why a task would run, or why it last did
    Explain(ExplainArgs),
    /// Remove what tasks have made
    Clean(CleanArgs),
    /// Forget that tasks ever succeeded
    Forget(ForgetArgs),
    /// Leave tasks out of every run until they are forgotten
    Ignore(NamesArgs),
    /// Take the current files as they are, without running anything
    Accept(NamesArgs),
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

#[derive(Args, Debug)]
pub(super) struct ListArgs {
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
pub(super) struct ExplainArgs {
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
pub(super) struct CleanArgs {
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
pub(super) struct ForgetArgs {
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
pub(super) struct NamesArgs {
    #[command(flatten)]
    pub file: FileArgs,
    pub tasks: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct HistoryArgs {
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
pub(super) struct GraphArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "dot", "mermaid", "json", "svg", "html"], default_value = "text")]
    pub format: String,
    /// What would run, and what is up to date
    #[arg(short, long)]
    pub status: bool,
    /// With everything that they need [default: all tasks]
    pub tasks: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct HostsArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// One JSON list
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(super) struct SyncArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// To this host (with a `root`), also several with commas [default: as for a run]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub host: Vec<String>,
    /// Into this folder below the root of the host
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<String>,
    /// `+ PATTERN` or `- PATTERN` of rsync; the first that fits a path decides
    #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
    pub filter: Vec<String>,
    /// Leave out what fits this pattern, after all --filter
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Keep there what is not here
    #[arg(long)]
    pub no_delete: bool,
    /// Delete even if the source is empty or has lost more than half of its files
    #[arg(long)]
    pub allow_collapse: bool,
    /// Compress on the way: for slow links [default: `compress` of the host]
    #[arg(long)]
    pub compress: bool,
    /// Compare contents, not only size and time
    #[arg(long)]
    pub checksum: bool,
    /// Files that are in this folder of the host already become hard links to it
    #[arg(long, value_name = "FOLDER")]
    pub link_dest: Option<String>,
    /// Copies to one host at once
    #[arg(long, value_name = "N")]
    pub per_host: Option<usize>,
    /// A JSON object per copy
    #[arg(long)]
    pub json: bool,
    /// Paths below the root, or ids of `storage`
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub what: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// What the tests of this project need, too
    #[arg(long)]
    pub all: bool,
    /// Install and start what is missing
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Args, Debug)]
pub(super) struct CiArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Install and start what is missing
    #[arg(short, long)]
    pub yes: bool,
    /// Without building the real stack
    #[arg(long)]
    pub fast: bool,
}

#[derive(Args, Debug)]
pub(super) struct SoakArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// How long a row may take that could go on for ever: fuzzing, random faults
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub seconds: u64,
    /// Only these rows of docs/reliability.md, such as U1,D2
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub rows: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct AffectedArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Files changed since this commit, those on disk included [default: the policy of the spec]
    #[arg(long, value_name = "REF", conflicts_with = "files")]
    pub base: Option<String>,
    /// These files, relative to the root
    #[arg(long, num_args = 1.., value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Option<Vec<String>>,
    /// How each image came to be affected
    #[arg(long)]
    pub explain: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// bash, zsh, fish, powershell or elvish
    pub shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The folder, made if it is missing [default: the current one]
    pub dir: Option<String>,
    /// The name of the first image
    #[arg(long, value_name = "NAME", default_value = "base")]
    pub image: String,
    /// What the first image is built from
    #[arg(long, value_name = "IMAGE", default_value = "debian:bookworm-slim")]
    pub base: String,
    /// In front of the names of all images [default: the name of the folder]
    #[arg(long, value_name = "PREFIX")]
    pub name: Option<String>,
    /// The crate gets the library from this repository
    #[arg(long, value_name = "URL", conflicts_with = "path")]
    pub git: Option<String>,
    /// The commit of that repository
    #[arg(long, value_name = "COMMIT", requires = "git")]
    pub rev: Option<String>,
    /// The crate gets the library from this folder [default: the sources of this program]
    #[arg(long, value_name = "DIR")]
    pub path: Option<String>,
    /// No crate, no alias: the program is installed
    #[arg(long, conflicts_with_all = ["git", "path"])]
    pub no_crate: bool,
}

#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// A JSON list of doit's tasks, a compose file, or a bake file in HCL or JSON
    #[arg(value_hint = ValueHint::FilePath)]
    pub from: String,
}

#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// The folder, made if it is missing
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: String,
}

#[derive(Args, Debug)]
pub(super) struct SchemaArgs {
    /// Of tasks.yaml or of spec.yml; `reference` is a page of Markdown with all commands, fields and actions
    #[arg(value_parser = ["tasks", "spec", "reference"], default_value = "tasks")]
    pub of: String,
    /// Write both to this folder instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub write: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct CiPlanArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// A workflow of GitHub, or data
    #[arg(long, value_name = "FORMAT", value_parser = ["github", "json"], default_value = "github")]
    pub format: String,
    /// Every image; a workflow then decides when it runs which of them are affected
    #[arg(long, conflicts_with_all = ["base", "files"])]
    pub all: bool,
    /// Files changed since this commit, those on disk included [default: the policy of the spec]
    #[arg(long, value_name = "REF", conflicts_with = "files")]
    pub base: Option<String>,
    /// These files, relative to the root
    #[arg(long, num_args = 1.., value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Option<Vec<String>>,
}

#[derive(Args, Debug)]
pub(super) struct HooksArgs {
    #[command(subcommand)]
    pub command: HooksCommand,
}

#[derive(Subcommand, Debug)]
pub(super) enum HooksCommand {
    /// Let git run the checks before each commit and push, without pre-commit
    Install,
    /// Take those hooks away again
    Uninstall,
    /// Read tasks.yaml, the spec and every Dockerfile, and say what is wrong
    Check {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Render every Dockerfile
    Render {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Run the tasks named or tagged `lint` that read one of these files
    Affected {
        #[command(flatten)]
        file: FileArgs,
        #[arg(value_hint = ValueHint::FilePath)]
        files: Vec<String>,
    },
}

#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[arg(long, value_name = "FORMAT", value_parser = ["html", "json"], default_value = "html")]
    pub format: String,
    /// Write it here [default: stdout]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct SpecArgs {
    #[command(subcommand)]
    pub command: SpecCommand,
}

#[derive(Subcommand, Debug)]
pub(super) enum SpecCommand {
    /// Print a spec of an older form in the current one
    Migrate {
        /// [default: the `stack` of tasks.yaml]
        file: Option<String>,
    },
    /// Look up what the bases from outside stand for now, and write bases.lock.yml: what is not locked, what floats, and
    /// what is to be updated. Says which pinned base has moved
    Lock {
        /// Move these pins, too; all of them where none is named
        #[arg(long, num_args = 0.., value_name = "BASE")]
        update: Option<Vec<String>>,
        /// Write nothing; exit with 1 where a base is not locked or has moved
        #[arg(long, conflicts_with = "update")]
        check: bool,
    },
    /// Check a spec and the FROM lines
    Check {
        /// [default: the `stack` of tasks.yaml]
        file: Option<String>,
    },
}
