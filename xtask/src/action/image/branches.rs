//! Whether the stack was built on this branch before: on this machine, or by somebody who published it. Only asked where
//! the policy of the stack wants everything built on a branch's first run.

use std::path::Path;

use super::services::Services;
use crate::model::{Diagnostic, ImageRef};
use crate::stack::{Stack, Suffix, tags};
use crate::store::STATE_DIR;

/// Branches that were built here, one per line.
const FILE: &str = "branches";

impl Services {
    /// Whether this is the first run on the branch. Without a branch, e.g. on a detached head, it is none.
    ///
    /// # Errors
    /// The list of branches cannot be read.
    pub fn is_first_run(&self, stack: &Stack) -> Result<bool, Diagnostic> {
        if !stack.change.full_rebuild_on_first_run {
            return Ok(false);
        }
        let Some(branch) = self.git().branch else { return Ok(false) };
        Ok(!known(&self.root)?.contains(&branch) && !self.is_published(stack, &branch))
    }

    /// Remembers that the stack was built on the branch that is checked out.
    pub(super) fn note_branch(&self, stack: &Stack) -> Result<(), Diagnostic> {
        if !stack.change.full_rebuild_on_first_run {
            return Ok(());
        }
        let Some(branch) = self.git().branch else { return Ok(()) };
        let mut branches = known(&self.root)?;
        if branches.contains(&branch) {
            return Ok(());
        }
        branches.push(branch);
        let file = self.root.join(STATE_DIR).join(FILE);
        std::fs::write(&file, branches.join("\n") + "\n")
            .map_err(|error| Diagnostic::error(format!("failed to write file `{}`", file.display())).cause(error))
    }

    /// Whether the registry has every image under the tag of this branch. One that does not answer has none: then
    /// more is built, not less.
    fn is_published(&self, stack: &Stack, branch: &str) -> bool {
        if stack.suffix != Suffix::Branch {
            return false;
        }
        let Ok(suffix) = tags::branch_text(branch) else { return false };
        let registry = self.env.get(std::ffi::OsStr::new("STACK_REGISTRY")).map(|value| value.to_string_lossy());
        let registries = self.registries();
        stack.pairs().all(|(image, plan)| {
            let name = tags::full_name(registry.as_deref(), image);
            let tag = tags::plan_tag(image, plan, &suffix);
            let found = ImageRef::parse(&name).map(|name| registries.open(&name).and_then(|there| there.digest(&tag)));
            matches!(found, Some(Ok(Some(_))))
        })
    }
}

fn known(root: &Path) -> Result<Vec<String>, Diagnostic> {
    let file = root.join(STATE_DIR).join(FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Diagnostic::error(format!("failed to read file `{}`", file.display())).cause(error)),
    }
}
