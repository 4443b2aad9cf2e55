//! The Dockerfiles of a stack: rendered and read side by side, and not read again as long as they say the same. Knows
//! nothing of contexts and engines.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::identity;
use super::ledger::Member;
use super::services::{Services, Sources};
use crate::model::{Diagnostics, RepoPath};
use crate::render::dockerfile::{BuildOptions, Dockerfile, ImageUse};
use crate::stack::graph::Mention;
use crate::stack::{Image, Plan, Stack};

/// Images that are worth the start of a thread.
const FEW: usize = 8;

/// What was read of one image in one plan.
#[derive(Debug)]
struct Known {
    options: BuildOptions,
    dockerfile: Arc<Dockerfile>,
}

/// Dockerfiles that were read, by image and plan. A run reads each of them three times: for the edges of the stack, for
/// the list of the context, for the key.
#[derive(Debug, Default)]
pub(super) struct Dockerfiles(Mutex<HashMap<Member, Known>>);

impl Dockerfiles {
    /// Reads a text, unless the last one of this image in this plan was the same, to be built in the same way.
    pub(super) fn read(
        &self,
        (file, text): (&str, &str),
        options: BuildOptions,
        (image, plan): (&Image, &Plan),
    ) -> Result<Arc<Dockerfile>, Diagnostics> {
        let name = (image.key.clone(), plan.name.clone());
        let is_same =
            |known: &&Known| known.dockerfile.text == text && known.dockerfile.file == file && known.options == options;
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&name).filter(is_same) {
            return Ok(known.dockerfile.clone());
        }
        let dockerfile = Arc::new(Dockerfile::read(file, text, &options)?);
        lock().insert(name, Known { options, dockerfile: dockerfile.clone() });
        Ok(dockerfile)
    }
}

/// What the Dockerfiles of a stack mention, by the keys of image and plan.
pub(super) type Mentions = HashMap<Member, Result<Vec<Mention>, Diagnostics>>;

/// Renders and reads the Dockerfiles of all images. What each was rendered from is kept in the services.
pub(super) fn mentions(services: &Services, stack: &Stack) -> Mentions {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Mentions::new()));
    let work = || {
        let mut own = Mentions::new();
        while let Some(image) = stack.images.get(next.fetch_add(1, Ordering::Relaxed)) {
            own.extend(mentions_of(services, stack, image));
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
    };
    // Threads of our own: one of a pool could be given a task that waits for what is being made here.
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(stack.images.len() / FEW);
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| _ = scope.spawn(work));
        work();
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn mentions_of(services: &Services, stack: &Stack, image: &Image) -> Mentions {
    let plans = || stack.plans_of(image);
    let name = |plan: &Plan| (image.key.clone(), plan.name.clone());
    let (file, rendered) = match identity::render_whole(services, stack, image) {
        Ok(found) => found,
        // Told for each plan, as before: who adds them up tells each error once.
        Err(problems) => return plans().map(|plan| (name(plan), Err(problems.clone()))).collect(),
    };
    let found = plans().map(|plan| {
        let read = identity::read(services, (&file, &rendered.text), stack, image, plan);
        let needed = |dockerfile: Arc<Dockerfile>| {
            let mention = |used: &ImageUse| Mention { reference: used.resolved.clone(), place: used.place(&file) };
            dockerfile.needed_images().into_iter().map(mention).collect()
        };
        (name(plan), read.map(needed))
    });
    let found: Mentions = found.collect();
    if found.values().any(Result::is_ok) {
        let in_root = |path: &std::path::PathBuf| services.in_root(&services.root.join(path));
        let sources = Sources {
            read: rendered.files_read.iter().filter_map(in_root).collect(),
            shipped: rendered.shipped,
            brought: rendered.brought.iter().filter_map(|one| RepoPath::from_root(&one.from)).collect(),
        };
        services.keep_sources(image, sources);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Place;

    #[test]
    fn the_same_text_is_read_once_and_another_text_or_build_again() {
        let image = Image::new("a", "lab/a", RepoPath::root(), Place::file("spec.yml"));
        let plan = Plan::only(None, Place::file("spec.yml"));
        let all = Dockerfiles::default();
        let read = |text: &str, value: &str| {
            let args = [("V".to_owned(), value.to_owned())].into();
            let options = BuildOptions { args, ..BuildOptions::default() };
            all.read(("Dockerfile", text), options, (&image, &plan))
        };
        let text = "ARG V=1\nFROM lab/base:$V\n";
        let first = read(text, "2").unwrap();
        assert!(Arc::ptr_eq(&first, &read(text, "2").unwrap()));
        assert_eq!(read(text, "3").unwrap().images[0].resolved, "lab/base:3");
        assert_eq!(read("FROM lab/other\n", "3").unwrap().images[0].resolved, "lab/other");
        assert!(read("FRM x\n", "3").is_err(), "an error is not kept");
        assert_eq!(read("FROM lab/other\n", "3").unwrap().images[0].resolved, "lab/other");
    }
}
