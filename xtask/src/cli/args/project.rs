//! What can be typed about a repository, the machine and the program itself: clap's structs, without meaning.

use clap::{Args, Subcommand, ValueHint};

use super::FileArgs;

#[derive(Args, Debug)]
pub(in crate::cli) struct DoctorArgs {
    /// What the tests of this project need, too
    #[arg(long)]
    pub all: bool,
    /// Install and start what is missing
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CiArgs {
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
pub(in crate::cli) struct SoakArgs {
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
pub(in crate::cli) struct CompletionsArgs {
    /// bash, zsh, fish, powershell or elvish
    pub shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct InitArgs {
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
pub(in crate::cli) struct ImportArgs {
    /// A JSON list of doit's tasks, a compose file, or a bake file in HCL or JSON
    #[arg(value_hint = ValueHint::FilePath)]
    pub from: String,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ManArgs {
    /// The folder, made if it is missing
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: String,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct SchemaArgs {
    /// Of tasks.yaml or of spec.yml; `reference` is a page of Markdown with all commands, fields and actions
    #[arg(value_parser = ["tasks", "spec", "reference"], default_value = "tasks")]
    pub of: String,
    /// Write both to this folder instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub write: Option<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct HooksArgs {
    #[command(subcommand)]
    pub command: HooksCommand,
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum HooksCommand {
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
