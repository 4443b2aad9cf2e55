//! What the reading of tasks needs from outside, handed over by the caller, and what comes out of it. Knows no
//! implementation of any of it: this room sees only the nouns.

use std::collections::BTreeMap;
use std::io;

use crate::model::task::Taskfile;
use crate::model::{Diagnostic, Diagnostics, Digest, RepoPath};

/// Built-in commands, whose names no task may take.
pub const COMMANDS: &[&str] = &[
    "run",
    "list",
    "explain",
    "graph",
    "clean",
    "forget",
    "ignore",
    "accept",
    "watch",
    "affected",
    "env",
    "sync",
    "doctor",
    "history",
    "completions",
    "schema",
    "ci",
    "hosts",
    "help",
];

/// Names that every template of a task may use when it runs, beside params, getargs and `pos_arg`.
pub const RUN_TIME_NAMES: &[&str] = &["file_dep", "targets", "changed", "root", "task"];

/// How an interpolated value is written into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// As it is.
    Plain,
    /// As words of a shell; `| raw` is the way out.
    Shell,
}

/// The template language.
pub trait Expand {
    /// Replaces everything in `text`. An error is a phrase that follows a subject, such as
    /// ``uses `vars.x`, which is not defined``.
    fn expand(&self, text: &str, scope: &serde_json::Value, quote: Quote) -> Result<String, String>;

    /// The names that `text` uses but does not define itself, with their attributes: `vars.registry`, `version`.
    /// An error is a phrase such as `has a syntax error: …`.
    fn names(&self, text: &str) -> Result<Vec<String>, String>;
}

/// An image of the stack or an environment, as `for_each: image` and `for_each: environment` see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// The member's name: `build:<name>`.
    pub name: String,
    /// An object; `name` is added to it.
    pub fields: serde_json::Value,
}

/// The form of a built-in action or of one registered in Rust.
#[derive(Clone, Copy, Debug)]
pub struct ActionForm<'a> {
    pub name: &'a str,
    pub required: &'a [&'a str],
    /// `*` takes any argument.
    pub optional: &'a [&'a str],
    /// The argument that is meant where a text or a list stands in place of the map.
    pub short: Option<&'a str>,
}

/// Everything from outside.
pub struct LoadWorld<'a> {
    /// The bytes of a file, named relative to the root.
    pub read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    /// The images of the spec at this path; called at most once, and only if a task asks for them.
    pub images: &'a dyn Fn(&str) -> Result<Vec<ImageInfo>, Diagnostics>,
    /// The environments below `environments/`; called at most once, and only if a task asks for them.
    pub environments: &'a dyn Fn() -> Result<Vec<ImageInfo>, Diagnostics>,
    /// A variable of the environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub expand: &'a dyn Expand,
    /// The files that match a pattern relative to the root, sorted.
    pub glob: &'a dyn Fn(&str) -> Vec<RepoPath>,
    pub actions: &'a [ActionForm<'a>],
    /// Names of `uptodate` checks registered in Rust.
    pub checks: &'a [&'a str],
    /// Names that no task may take; usually [`COMMANDS`].
    pub commands: &'a [&'a str],
    /// `name=value` of the command line: wins over the `vars` of the file.
    pub globals: &'a BTreeMap<String, String>,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub taskfile: Taskfile,
    pub warnings: Vec<Diagnostic>,
    /// Every file that was read, relative to the root, with the digest of its bytes: the key of a cached form,
    /// together with `taskfile.env_read`, the globals, the images and the globs.
    pub sources: Vec<(String, Digest)>,
}
