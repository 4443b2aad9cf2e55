//! The actions `copy` and `remove`: small file work without a shell.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{ActionType, Arguments, Call, Done, Failure, text};
use crate::model::{Diagnostic, RepoPath, Stream};

/// `copy: {from, to}`: one file, or a directory with everything below it.
pub(super) struct Copy;

impl ActionType for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["from", "to"], optional: &[], short: None }
    }

    fn links_are_constant(&self) -> bool {
        true
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let from = inside(call, text("copy", call.args, "from")?)?;
        let to = inside(call, text("copy", call.args, "to")?)?;
        copy(&call.root.join(from.as_path()), &call.root.join(to.as_path())).map_err(|error| {
            Diagnostic::error(format!("task `{}` failed to copy `{from}` to `{to}`", call.task)).cause(error)
        })?;
        call.out.line(Stream::Stdout, format!("copied {from} to {to}").as_bytes());
        Ok(Done::default())
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::copy(from, to).map(|_| ())
}

/// `remove: [path, …]` (or one path): files and directories; what is absent is fine.
pub(super) struct Remove;

impl ActionType for Remove {
    fn name(&self) -> &'static str {
        "remove"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["paths"], optional: &[], short: Some("paths") }
    }

    fn links_are_constant(&self) -> bool {
        true
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let paths: Vec<&str> = match call.args.get("paths") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for path in paths {
            let path = inside(call, path)?;
            let full = call.root.join(path.as_path());
            let Ok(meta) = full.symlink_metadata() else { continue };
            let removed = if meta.is_dir() { fs::remove_dir_all(&full) } else { fs::remove_file(&full) };
            removed.map_err(|error| {
                Diagnostic::error(format!("task `{}` failed to remove `{path}`", call.task)).cause(error)
            })?;
            call.out.line(Stream::Stdout, format!("removed {path}").as_bytes());
        }
        Ok(Done::default())
    }
}

/// A path below the root, and not the root itself.
fn inside(call: &Call<'_>, path: &str) -> Result<RepoPath, Failure> {
    RepoPath::from_root(path).filter(|path| !path.as_bytes().is_empty()).ok_or_else(|| {
        Failure::error(Diagnostic::error(format!("`{path}` of task `{}` is not below the root", call.task)))
    })
}
