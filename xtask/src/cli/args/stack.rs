//! What can be typed about the stack and its hosts: clap's structs, without meaning.

use clap::{Args, Subcommand, ValueHint};

use super::FileArgs;

#[derive(Args, Debug)]
pub(in crate::cli) struct HostsArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// One JSON list
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct SyncArgs {
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
    /// Compress on the way [default: `compress` of the host, else where the way to it is slow]
    #[arg(long, conflicts_with = "no_compress")]
    pub compress: bool,
    /// Do not compress on the way
    #[arg(long)]
    pub no_compress: bool,
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
pub(in crate::cli) struct AffectedArgs {
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
pub(in crate::cli) struct CiPlanArgs {
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
pub(in crate::cli) struct ReportArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[arg(long, value_name = "FORMAT", value_parser = ["html", "json"], default_value = "html")]
    pub format: String,
    /// Write it here [default: stdout]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct SpecArgs {
    #[command(subcommand)]
    pub command: SpecCommand,
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum SpecCommand {
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
