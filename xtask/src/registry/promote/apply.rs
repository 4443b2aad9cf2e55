//! Writes the tags of a promotion, each verified before and after, and puts them back if one fails. Knows nothing of
//! what belongs together.

use super::{Action, Log, Move, Promotion, State};
use crate::model::{Diagnostic, Digest, ImageRef};
use crate::registry::publish::put_tag;
use crate::registry::{Registries, Repository};

/// A promotion that did not succeed.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub cause: Diagnostic,
    /// Tags that are back where they were.
    pub undone: Vec<String>,
    /// Tags that could not be put back, each with the reason.
    pub left: Vec<(String, String)>,
}

impl From<Diagnostic> for Failed {
    fn from(cause: Diagnostic) -> Self {
        Self { cause, undone: Vec::new(), left: Vec::new() }
    }
}

impl Failed {
    /// The cause, what was put back and what was not.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let mut diagnostic = self.cause.clone();
        if !self.undone.is_empty() {
            diagnostic = diagnostic.note(format!("put back: {}", crate::model::words::list(&self.undone)));
        }
        for (reference, why) in &self.left {
            diagnostic = diagnostic.note(format!("`{reference}` could not be put back: {why}"));
        }
        diagnostic
    }
}

/// Moves the tags, parents first; gives how many moved. If one fails, those before it are put back, last first.
///
/// A promotion with nothing to do writes neither to the registry nor to the log.
pub fn promote(
    promotion: &Promotion,
    registries: &Registries,
    log: &mut Log,
    progress: &mut dyn FnMut(&Move),
) -> Result<usize, Failed> {
    let mut recorded = promotion.moves.clone();
    for one in &mut recorded {
        if let Some(earlier) = log.done_by_killed(one) {
            one.old = earlier.old;
        }
    }
    if !recorded.iter().any(Move::moves) {
        return Ok(0);
    }
    let id = log.new_id(&recorded);
    log.append(&id, &promotion.action, State::Started, &recorded)?;
    let mut moved: Vec<&Move> = Vec::new();
    for one in promotion.moves.iter().filter(|one| one.moves()) {
        match write(one, registries) {
            Ok(()) => {
                moved.push(one);
                progress(one);
            }
            Err(cause) => {
                let failed = undo(cause, one, &moved, registries);
                return Err(told(failed, log, &id, &promotion.action, &recorded));
            }
        }
    }
    // Registries cannot compare and swap: whoever moved a tag of the set meanwhile, or put one back, is noticed here.
    for one in &moved {
        if let Err(cause) = still(one, registries) {
            let failed = undo(cause, one, &moved, registries);
            return Err(told(failed, log, &id, &promotion.action, &recorded));
        }
    }
    log.append(&id, &promotion.action, State::Done, &recorded)?;
    Ok(moved.len())
}

/// Records a failure. It is what the caller must hear of, even if it cannot be recorded.
fn told(failed: Failed, log: &mut Log, id: &str, action: &Action, recorded: &[Move]) -> Failed {
    let state = if failed.left.is_empty() { State::Undone } else { State::Stuck };
    let _ = log.append(id, action, state, recorded);
    failed
}

/// Whether a tag that was moved is where it was moved to.
fn still(one: &Move, registries: &Registries) -> Result<(), Diagnostic> {
    match open(one, registries)?.digest(&one.to)? {
        now if now == one.new => Ok(()),
        now => {
            let show = |digest: Option<Digest>| digest.map_or("nothing".to_owned(), |digest| digest.to_string());
            Err(Diagnostic::error(format!("`{}` was moved by somebody else meanwhile", one.reference())).note(format!(
                "promoted was {}, now it is {}",
                show(one.new),
                show(now)
            )))
        }
    }
}

fn open(one: &Move, registries: &Registries) -> Result<Repository, Diagnostic> {
    let image = ImageRef { name: one.name.clone(), tag: None, digest: None };
    Ok(registries.open(&image)?)
}

fn write(one: &Move, registries: &Registries) -> Result<(), Diagnostic> {
    let repository = open(one, registries)?;
    match one.new {
        Some(new) => put_tag(&repository, &one.to, false, one.old, new).map(|_| ()),
        None => remove(&repository, &one.to),
    }
}

fn remove(repository: &Repository, tag: &str) -> Result<(), Diagnostic> {
    if repository.delete_tag(tag)? {
        return Ok(());
    }
    let reference = repository.full(tag);
    Err(Diagnostic::error(format!("`{reference}` did not exist before, and its registry cannot delete a tag")))
}

/// Puts back what was moved, and the tag that failed, too: its answer may have been lost after it was written.
fn undo(cause: Diagnostic, failed: &Move, moved: &[&Move], registries: &Registries) -> Failed {
    let mut result = Failed::from(cause);
    if wrote_anyway(failed, registries) {
        restore(failed, registries, &mut result);
    }
    for one in moved.iter().rev() {
        restore(one, registries, &mut result);
    }
    result
}

/// Where even this cannot be asked, restoring is tried, and its failure is reported.
fn wrote_anyway(failed: &Move, registries: &Registries) -> bool {
    let now = |repository: Repository| repository.digest(&failed.to).ok();
    match open(failed, registries).ok().and_then(now) {
        Some(now) => now == failed.new,
        None => true,
    }
}

fn restore(one: &Move, registries: &Registries, result: &mut Failed) {
    let back = || -> Result<(), Diagnostic> {
        let repository = open(one, registries)?;
        let now: Option<Digest> = repository.digest(&one.to)?;
        match one.old {
            _ if now == one.old => Ok(()),
            // Somebody else moved it after us: theirs to keep.
            _ if now != one.new => Err(Diagnostic::error("it was moved by somebody else meanwhile")),
            Some(old) => put_tag(&repository, &one.to, false, now, old).map(|_| ()),
            None => remove(&repository, &one.to),
        }
    };
    match back() {
        Ok(()) => result.undone.push(one.reference()),
        Err(error) => result.left.push((one.reference(), error.message)),
    }
}
