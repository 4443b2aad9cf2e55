//! Which images of the stack the engine holds, by one listing where many are asked about. Knows nothing of why.
//!
//! A listing counts only as long as no task of the run has begun, and for a moment: whatever runs may make, move and
//! remove images, so from then on each question goes to the engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::KEY_LABEL;
use super::services::Services;
use crate::action::{Chronicle, Ending};
use crate::docker::{Docker, DockerError};
use crate::model::Diagnostic;

/// How long a listing counts.
const MOMENT: Duration = Duration::from_secs(1);
/// From how many images on one listing costs less than single questions, which take about a millisecond each.
const MANY: usize = 32;

/// An image that the engine holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub id: String,
    /// The content key that its label tells.
    pub key: Option<String>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Unasked,
    /// By `repository:tag`: all images with a content key.
    Listed(Instant, HashMap<String, Seen>),
    /// Something runs that may change images.
    Disturbed,
}

/// What a listing can say of a name.
enum Answer {
    /// The image of that name, if there is one.
    Listed(Option<Seen>),
    /// Listings do not count now.
    Unknown,
}

/// Whether a listing is worth it for a stack of so many images.
pub(super) fn is_listed(images: usize) -> bool {
    images >= MANY
}

#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<State>);

impl Shelf {
    /// The image of this name; `stack` is how many images there are to ask about.
    pub(super) fn find(&self, docker: &Docker, name: &str, stack: usize) -> Result<Option<Seen>, DockerError> {
        if is_listed(stack)
            && let Answer::Listed(found) = self.listed(docker, name)?
        {
            return Ok(found);
        }
        let found = docker.find_image(name)?;
        Ok(found.map(|mut found| Seen { key: found.labels.remove(KEY_LABEL), id: found.id }))
    }

    /// Has the engine list its images now: whoever asks meanwhile waits for that listing.
    pub(super) fn list(&self, docker: &Docker) {
        // What is wrong is said to whoever asks: the engine is asked again then.
        let _ = self.listed(docker, "");
    }

    /// What the listing says, where listings count.
    fn listed(&self, docker: &Docker, name: &str) -> Result<Answer, DockerError> {
        // Held while the engine is asked, so that all who come meanwhile have the same listing.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = match &*state {
            State::Disturbed => return Ok(Answer::Unknown),
            State::Unasked => true,
            State::Listed(at, _) => at.elapsed() > MOMENT,
        };
        if is_old {
            let (at, mut names) = (Instant::now(), HashMap::new());
            for image in docker.images_with_label(KEY_LABEL)? {
                let seen = Seen { id: image.id, key: image.labels.get(KEY_LABEL).cloned() };
                names.extend(image.tags.into_iter().map(|tag| (tag, seen.clone())));
            }
            *state = State::Listed(at, names);
        }
        let State::Listed(_, names) = &*state else { return Ok(Answer::Unknown) };
        Ok(Answer::Listed(names.get(name).cloned()))
    }

    /// Whether no task of the run has begun.
    pub(super) fn is_still(&self) -> bool {
        !matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Disturbed)
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Tells the shelf of these services what a run does.
pub(super) struct Watcher(pub(super) Arc<Services>);

impl Chronicle for Watcher {
    fn task_starts(&self) {
        self.0.shelf.set(State::Disturbed);
        self.0.files.forget();
    }

    fn run_ended(&self, _: &[Ending<'_>]) -> Result<(), Diagnostic> {
        self.0.shelf.set(State::Unasked);
        self.0.files.forget();
        Ok(())
    }
}
