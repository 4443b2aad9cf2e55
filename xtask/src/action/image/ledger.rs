//! What the actions of one run found out about each image, until the run is over. Plain facts; writes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::stack::artifacts::{BuildStep, TestResult};

/// What is known of one image in one plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The steps of its build, if it was built.
    pub steps: Option<Vec<BuildStep>>,
    /// The reference in its last FROM line, as it was resolved.
    pub base: Option<String>,
    pub basic_tests: Option<TestResult>,
    pub integration_tests: Option<TestResult>,
    /// What the push said, line by line; `None` if there was no push.
    pub push_log: Option<Vec<String>>,
    /// The name under which it went to those who test it elsewhere.
    pub untested: Option<String>,
    /// What the registry has of it now, by tag: `host/repository:tag`.
    pub pushed: Vec<String>,
}

/// Image and plan.
pub(super) type Member = (Arc<str>, Arc<str>);

/// Facts of the run that goes on.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Page>);

#[derive(Default)]
struct Page {
    facts: BTreeMap<Member, Facts>,
    /// What the registry has of an image that need not be pushed.
    found: BTreeMap<Member, Vec<String>>,
    promoted: Vec<(String, String)>,
}

impl Ledger {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what is known of an image in a plan.
    pub(super) fn note(&self, image: &Arc<str>, plan: &Arc<str>, change: impl FnOnce(&mut Facts)) {
        change(self.page().facts.entry((image.clone(), plan.clone())).or_default());
    }

    /// Keeps what the registry has of an image that need not be pushed.
    pub(super) fn note_found(&self, image: &Arc<str>, plan: &Arc<str>, references: Vec<String>) {
        self.page().found.insert((image.clone(), plan.clone()), references);
    }

    /// References of an image in a plan that the registry has: pushed by this run, or found.
    pub(super) fn pushed(&self, image: &Arc<str>, plan: &Arc<str>) -> Vec<String> {
        let (page, member) = (self.page(), (image.clone(), plan.clone()));
        let pushed = page.facts.get(&member).map(|facts| &facts.pushed).filter(|pushed| !pushed.is_empty());
        pushed.or_else(|| page.found.get(&member)).cloned().unwrap_or_default()
    }

    /// The reference in the last FROM line of an image in a plan that was built.
    pub(super) fn base(&self, image: &Arc<str>, plan: &Arc<str>) -> Option<String> {
        self.page().facts.get(&(image.clone(), plan.clone()))?.base.clone()
    }

    /// Tags that were moved, or are where they shall be: new and old name of each.
    pub(super) fn note_promoted(&self, moves: Vec<(String, String)>) {
        self.page().promoted = moves;
    }

    pub(super) fn promoted(&self) -> Vec<(String, String)> {
        self.page().promoted.clone()
    }

    /// Everything, for the end of the run; the next one begins with nothing.
    pub(super) fn take(&self) -> BTreeMap<Member, Facts> {
        std::mem::take(&mut *self.page()).facts
    }
}
