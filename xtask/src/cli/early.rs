//! What can begin before the graph of the tasks is made: the engine lists its images while the Dockerfiles of a large
//! stack are read. A guess by the text of the tasks: whether it is right decides nothing but when the engine is asked.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::action::image::Services;
use crate::graph::{is_wildcard, matches};
use crate::model::Task;
use crate::model::task::ActionKind;

/// Lets the engine be asked if one of the named tasks is about images, or one that these name.
pub(super) fn ask_engine(tasks: &[Task], wanted: &[String], images: &Arc<Services>) {
    if wants_images(tasks, wanted) {
        let builds = tasks.iter().filter(|task| uses(task, |action| action == "image_build")).count();
        Services::list_early(images, builds);
    }
}

/// Whether a task needs what an engine holds.
pub(super) fn is_about_images(task: &Task) -> bool {
    uses(task, |name| {
        (name.starts_with("image_") && name != "image_stable") || matches!(name, "base_image" | "stack_push")
    })
}

/// Whether an action of the task is a built-in one that `is_meant`.
pub(super) fn uses(task: &Task, is_meant: impl Fn(&str) -> bool) -> bool {
    task.actions.iter().any(|action| match &action.kind {
        ActionKind::BuiltIn { name, .. } => is_meant(name),
        _ => false,
    })
}

fn wants_images(tasks: &[Task], wanted: &[String]) -> bool {
    let known: BTreeMap<&str, &Task> = tasks.iter().map(|task| (&*task.name, task)).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = wanted.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        let own = known.get(name).copied().filter(|_| !is_wildcard(name));
        // One of those that a pattern means says enough: they are made alike.
        let Some(task) = own.or_else(|| tasks.iter().find(|task| matches(name, &task.name))) else { continue };
        if is_about_images(task) {
            return true;
        }
        open.extend(task.members.first().map(|member| &**member));
        open.extend(task.task_dep.iter().chain(&task.result_dep).map(|dep| &*dep.value));
    }
    false
}
