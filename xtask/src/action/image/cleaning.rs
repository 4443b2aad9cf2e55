//! Removes images that this stack made from the engine: finds them by their labels and names. What is kept is decided
//! in `stack::retention`.

use std::collections::BTreeSet;

use super::build::bytes;
use super::services::{Services, whole};
use super::{BRANCH_LABEL, IMAGE_LABEL, KEY_LABEL, PARENT_KEY_LABEL};
use crate::docker::{DockerError, ImageSummary};
use crate::model::{Diagnostic, words};
use crate::registry::promote::{Log, State};
use crate::stack::Stack;
use crate::stack::retention::{Candidate, Cleaning, decide};

impl Services {
    /// Removes all images of the stack but the newest `keep` of each on each branch, those that were promoted, and
    /// what those stand on. Tells each; returns false if one could not be removed.
    ///
    /// # Errors
    /// The spec cannot be read; the engine does not answer; the log of promotions cannot be read.
    pub fn clean_images(&self, keep: usize, dry: bool, say: &mut dyn FnMut(&str)) -> Result<bool, Diagnostic> {
        let (stack, _) = self.stack().map_err(whole)?;
        let docker = self.docker()?;
        let found = docker.images_with_label(IMAGE_LABEL)?;
        let candidates = found.into_iter().filter_map(|image| candidate(&stack, image)).collect();
        let Cleaning { remove, bytes: freed, kept } = decide(candidates, keep, &self.promoted()?);
        let mut fine = true;
        for one in &remove {
            let name = one.names.join(", ");
            say(&format!("{} {name}", if dry { "would remove" } else { "removing" }));
            if dry {
                continue;
            }
            match docker.remove_image(&one.id, true) {
                Ok(_) | Err(DockerError::NotFound { .. }) => {}
                Err(DockerError::Conflict { message, .. }) => {
                    fine = false;
                    say(&format!("kept {name}: {message}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let verb = if dry { "would be freed" } else { "freed" };
        say(&format!("{} {verb} by {}, {kept} kept", bytes(freed), words::count(remove.len(), "image")));
        Ok(fine)
    }

    /// Content keys of everything that was ever promoted from here.
    fn promoted(&self) -> Result<BTreeSet<String>, Diagnostic> {
        let path = self.root.join("artifacts/promotions.jsonl");
        if !path.exists() {
            return Ok(BTreeSet::new());
        }
        let log = Log::open(&path, "clean", jiff::Timestamp::now)?;
        let done = log.records().iter().filter(|record| record.state == State::Done);
        Ok(done.flat_map(|record| &record.moves).filter_map(|one| one.key.clone()).collect())
    }
}

/// An image of the engine, if it is of this stack: another repository may have images of the same keys.
fn candidate(stack: &Stack, found: ImageSummary) -> Option<Candidate> {
    let label = |name: &str| found.labels.get(name).cloned();
    let image = label(IMAGE_LABEL)?;
    let ours = &stack.image(&image)?.image_name;
    let is_ours = |name: &String| name.rsplit_once(':').is_some_and(|(name, _)| name == ours);
    if !found.tags.iter().any(is_ours) {
        return None;
    }
    Some(Candidate {
        key: label(KEY_LABEL)?,
        parent: label(PARENT_KEY_LABEL),
        branch: label(BRANCH_LABEL).unwrap_or_default(),
        image,
        id: found.id,
        names: found.tags,
        created: found.created,
        size: found.size,
    })
}
