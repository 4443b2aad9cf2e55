//! The action `stage`: writes down exactly what the build of an image can see, to `artifacts/<image>/context.txt`.
//!
//! Local builds need no copy: the manifest is served to the builder file by file. The list is for people, and an error
//! in it (a COPY of nothing) stops the chain before the engine is asked. With `into`, the files themselves are put
//! into that folder too, as a builder sees them.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value;

use super::identity;
use super::services::{Services, whole};
use super::{image_of, render};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed};
use crate::context::{StageError, stage};
use crate::graph::{Links, Need};
use crate::model::context::ContextKind;
use crate::model::words::count;
use crate::model::{Context, Diagnostic, Digest, RepoPath, Stream};
use crate::rebuild::{Part, PartKey, PartValue};

pub(super) struct Stage(pub(super) Arc<Services>);

impl Stage {
    fn list(&self, call: &Call<'_>) -> Result<(RepoPath, String, Arc<Context>), Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "stage", call.args)?;
        let context = match stack.plans.iter().find(|plan| image.is_in(&plan.name)) {
            Some(plan) => identity::context_as_rendered(&self.0, &stack, image, plan)?,
            None => Arc::default(),
        };
        Ok((list_path(&image.key), listing(&context), context))
    }
}

fn list_path(key: &str) -> RepoPath {
    // Keys are names of folders, so the path is within the root.
    RepoPath::from_root(format!("artifacts/{key}/context.txt")).unwrap_or_else(RepoPath::root)
}

/// One line per entry: mode, size, digest, path.
pub(super) fn listing(context: &Context) -> String {
    let mut text = String::new();
    for entry in &context.entries {
        let path = String::from_utf8_lossy(&entry.path);
        // Writing to a string cannot fail.
        let _ = match &entry.kind {
            ContextKind::Directory => writeln!(text, "{:o} {:>10} {:12} {path}/", entry.mode(), "-", "-"),
            ContextKind::Symlink { target } => {
                writeln!(
                    text,
                    "{:o} {:>10} {:12} {path} -> {}",
                    entry.mode(),
                    "-",
                    "-",
                    String::from_utf8_lossy(target)
                )
            }
            ContextKind::File { digest, size, .. } => {
                writeln!(text, "{:o} {size:>10} {:12} {path}", entry.mode(), digest.short())
            }
        };
    }
    text
}

/// The folder of `into`, if there is one.
fn folder(args: &Value) -> Result<Option<RepoPath>, Diagnostic> {
    let Some(text) = args["into"].as_str() else { return Ok(None) };
    match RepoPath::from_root(text) {
        Some(path) if path.parent().is_some() => Ok(Some(path)),
        _ => Err(Diagnostic::error(format!("action `stage` has into `{text}`, which is not a folder below the root"))
            .help("write a path such as `.xtask/stage/NAME`")),
    }
}

pub(super) fn refused(error: StageError) -> Diagnostic {
    match error {
        StageError::Foreign(path) => {
            Diagnostic::error(format!("`{}` has files that staging did not put there", path.display()))
                .note("staging removes from its folder what the context does not have")
                .help("name another folder in `into`, or empty this one")
        }
        other => Diagnostic::error(other.to_string()),
    }
}

impl ActionType for Stage {
    fn name(&self) -> &'static str {
        "stage"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image"], optional: &["into"], short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "stage", args)?;
        Ok(Links {
            provides: vec![format!("staged:{}", image.key).into()],
            needs: vec![Need { resource: format!("rendered:{}", image.key).into(), dirties: false }],
            inputs: vec![identity::rendered_path(image)],
            targets: std::iter::once(list_path(&image.key)).chain(folder(args)?).collect(),
            watch: std::iter::once(image.dir.clone()).chain(self.0.sources(image).brought).collect(),
            observes: true,
        })
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let (_, text, _) = self.list(call)?;
        let key = PartKey::Check("files in the context".into());
        let parts = vec![Part { key, value: PartValue::Digest(Digest::of(text.as_bytes())) }];
        Ok(Observed { parts, ..Observed::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (path, text, context) = self.list(call)?;
        render::write(&call.root.join(path.as_path()), &text)
            .map_err(|error| Diagnostic::error(format!("failed to write file `{path}`")).cause(error))?;
        let files = count(text.lines().count(), "path");
        call.out.line(Stream::Stdout, format!("{files} in the context, see {path}").as_bytes());
        if let Some(into) = folder(call.args)? {
            let staged = stage(&context, &call.root.join(into.as_path())).map_err(refused)?;
            let line =
                format!("{} written to {into}, {} removed", count(staged.written as usize, "file"), staged.removed);
            call.out.line(Stream::Stdout, line.as_bytes());
        }
        Ok(Done { result: Some(Digest::of(text.as_bytes())), ..Done::default() })
    }
}
