//! The action `image_changes`: what changed in the repository and which images that concerns, in `artifacts/`, before
//! anything is built. Needs no engine.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, json};

use super::services::{Services, whole};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::model::{Diagnostic, RepoPath, Stream, words};
use crate::stack::Stack;
use crate::stack::affected::{Affected, affected};
use crate::stack::artifacts::{self, Artifact};
use crate::stack::change::{Since, gather};
use crate::stack::git::Git;

pub(super) struct ImageChanges(pub(super) Arc<Services>);

impl ActionType for ImageChanges {
    fn name(&self) -> &'static str {
        "image_changes"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &[], optional: &["base"], short: Some("base") }
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let git = Git::open(&self.0.root, &self.0.env)?;
        let since = match call.args["base"].as_str().filter(|base| !base.is_empty()) {
            Some(base) => Since::Base(base.to_owned()),
            None => Since::Policy,
        };
        let change = gather(git.as_ref(), &stack.change, &since, self.0.is_first_run(&stack)?)?;
        let visible = |image: usize, file: &RepoPath| self.0.sees(&stack.images[image], file);
        let found = affected(&stack, &graph, &change, &visible);
        let keys: Vec<String> = found.images.keys().map(|at| stack.images[*at].key.to_string()).collect();
        write(call.root, git.as_ref(), &change.files, &keys)?;
        tell(call, &stack, &found);
        let remark = Some(format!("{} of {}", keys.len(), words::count(stack.images.len(), "image")));
        Ok(Done { values: Map::from_iter([("images".to_owned(), json!(keys))]), remark, ..Done::default() })
    }
}

/// Each image with the file, or the policy, that it is there for.
fn tell(call: &Call<'_>, stack: &Stack, found: &Affected) {
    for at in found.images.keys() {
        let line = format!("{}: {}", stack.images[*at].key, found.chain(stack, *at).join(" -> "));
        call.out.line(Stream::Stdout, line.as_bytes());
    }
}

fn write(root: &Path, git: Option<&Git>, files: &[RepoPath], keys: &[String]) -> Result<(), Diagnostic> {
    artifacts::prepare(root)?;
    let store = |artifact: Artifact, text: String| artifacts::store(root, &artifact.path(), text);
    if let Some(head) = git.map(Git::head).transpose()?.flatten() {
        store(Artifact::GitHash, head.hash.clone())?;
        store(Artifact::GitHashShort, head.short().to_owned())?;
        store(Artifact::GitMessage, head.message)?;
    }
    store(Artifact::GitChangedFiles, Artifact::list(files.iter().map(RepoPath::lossy)))?;
    store(Artifact::ImagesChanged, Artifact::list(keys))
}
