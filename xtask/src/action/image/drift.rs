//! What the registry has under the name of an outside base now, beside what the lock file says. Changes the lock file;
//! pulls nothing.

use std::sync::PoisonError;

use jiff::Timestamp;

use super::services::{Services, whole};
use crate::model::{Diagnostic, Diagnostics, Digest, ImageRef, Reason};
use crate::registry::Registries;
use crate::stack::Policy;
use crate::stack::lock::{self, Entry, Lock, Lookup, Origin};

/// What the policy of a base asks for, now.
pub(super) enum Due {
    /// The lock stands, or there is none.
    Nothing,
    /// It was looked up because of its policy, and is what is locked.
    Same(Digest),
    /// It stands for something else than what is locked, or is not locked yet.
    Moved { old: Option<Digest>, new: Digest },
    /// It cannot be looked up: what is locked counts.
    Unknown(String),
}

impl Due {
    /// Why the task of the base must run.
    pub fn reason(&self, reference: &str) -> Option<Reason> {
        let stale = |why: String| Reason::UptodateFalse { item: why };
        match self {
            Self::Nothing => None,
            Self::Same(_) => Some(stale(format!("the age of base {reference} in the lock file"))),
            Self::Moved { old, new } => Some(Reason::BaseMoved {
                base: reference.to_owned(),
                old: old.map_or_else(|| "not locked".to_owned(), |digest| digest.to_string()),
                new: new.to_string(),
            }),
            Self::Unknown(why) => Some(stale(format!("base {reference} cannot be looked up: {why}"))),
        }
    }
}

/// Looks a base up if its policy says so.
pub(super) fn due(services: &Services, reference: &str) -> Result<Due, Diagnostics> {
    let (stack, _) = services.stack()?;
    let policy = lock::policy_of(&stack, reference);
    if policy == Policy::Pinned {
        return Ok(Due::Nothing);
    }
    let lock = Lock::load(&services.root, &lock::lock_file(&stack))?;
    let locked = lock.entries.get(reference).map(|entry| entry.digest);
    let asked = lock.lookup(reference, policy, Timestamp::now());
    if !asked.is_needed() {
        return Ok(Due::Nothing);
    }
    Ok(match look(&services.quick_registries(), reference) {
        Ok(found) if locked != Some(found) => Due::Moved { old: locked, new: found },
        Ok(found) if asked == Lookup::Expired => Due::Same(found),
        Ok(_) => Due::Nothing,
        Err(why) => Due::Unknown(why),
    })
}

/// What a reference stands for in its registry.
fn look(registries: &Registries, reference: &str) -> Result<Digest, String> {
    let image = ImageRef::parse(reference).ok_or("it is no image reference")?;
    let repository = registries.open(&image).map_err(|error| error.to_string())?;
    let tag = image.tag.as_deref().unwrap_or("latest");
    let found = repository.digest(tag).map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("`{}` is not in the registry", repository.full(tag)))
}

/// Locks a base at what it was found to be.
pub(super) fn record(services: &Services, reference: &str, digest: Digest) -> Result<Option<Reason>, Diagnostics> {
    let (stack, _) = services.stack()?;
    let file = lock::lock_file(&stack);
    let _alone = services.locking.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lock = Lock::load(&services.root, &file)?;
    let policy = lock::policy_of(&stack, reference);
    let moved = lock.record(reference, digest, Origin::Registry, policy, Timestamp::now());
    lock.save(&services.root, &file)?;
    Ok(moved)
}

/// One outside base, for people.
pub(crate) struct BaseState {
    pub reference: String,
    pub policy: Policy,
    pub locked: Option<Entry>,
    /// What its registry has, or why that is not known.
    pub found: Result<Digest, String>,
    /// The lock file has now what was found.
    pub written: bool,
}

impl BaseState {
    /// What is locked is not what the registry has.
    pub fn has_drifted(&self) -> bool {
        matches!((&self.locked, &self.found), (Some(entry), Ok(found)) if entry.digest != *found)
    }
}

impl Services {
    /// Looks up every base that the stack uses. Locks those that are not locked, moves those that float or whose time
    /// is over, and those of `update` (all of them if it is empty). With `write` false nothing is changed.
    ///
    /// # Errors
    /// Those of the spec and of the lock file, and a name that is no base.
    pub(crate) fn lock_bases(&self, update: Option<&[String]>, write: bool) -> Result<Vec<BaseState>, Diagnostics> {
        let (stack, graph) = self.stack()?;
        let mut references: Vec<String> = graph.outside().into_iter().map(|used| used.reference.clone()).collect();
        references.retain(|name| ImageRef::parse(name).is_some_and(|image| image.digest.is_none()));
        references.sort();
        references.dedup();
        refuse_unknown(update, &references)?;
        let file = lock::lock_file(&stack);
        let mut lock = Lock::load(&self.root, &file)?;
        let now = Timestamp::now();
        let registries = self.quick_registries();
        let mut states = Vec::new();
        for reference in &references {
            let policy = lock::policy_of(&stack, reference);
            let locked = lock.entries.get(reference).cloned();
            let found = look(&registries, reference);
            let told = update.is_some_and(|names| names.is_empty() || names.contains(reference));
            let moves = told || lock.lookup(reference, policy, now).is_needed();
            let mut written = false;
            if let (true, true, Ok(found)) = (write, moves, &found) {
                lock.record(reference, *found, Origin::Registry, policy, now);
                written = locked.as_ref().is_none_or(|entry| entry.digest != *found);
            }
            states.push(BaseState { reference: reference.clone(), policy, locked, found, written });
        }
        if write {
            lock.save(&self.root, &file)?;
        }
        Ok(states)
    }
}

fn refuse_unknown(update: Option<&[String]>, references: &[String]) -> Result<(), Diagnostics> {
    let known: Vec<&str> = references.iter().map(String::as_str).collect();
    let unknown = update.into_iter().flatten().filter(|name| !references.contains(name));
    let problems: Vec<Diagnostic> = unknown
        .map(|name| {
            Diagnostic::error(format!("`{name}` is no base of the stack"))
                .maybe_help(crate::model::words::suggest("base", name, &known))
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Diagnostics(problems)) }
}

/// Several errors of the lock file or the spec, as the failure of a task.
pub(super) fn failure(problems: Diagnostics) -> crate::action::Failure {
    crate::action::Failure::error(whole(problems))
}
