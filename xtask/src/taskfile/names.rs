//! Names of tasks: what they may look like, that each is unique, and what a reference within a namespace means.
//! Knows nothing of YAML.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

use super::Errors;
use crate::model::task::{At, CalcDep, Task};
use crate::model::{Diagnostic, Place, words};

/// What is wrong with a name, as a phrase that follows the name; `None` for a good one.
pub(super) fn fault(name: &str) -> Option<&'static str> {
    if name.contains('=') {
        return Some("holds `=`, which on the command line makes a variable of it");
    }
    if name.starts_with('-') {
        return Some("starts with `-` like an option");
    }
    if name.split(':').any(str::is_empty) {
        return Some("has an empty part, expected `name` or `group:member`");
    }
    (!name.chars().all(is_fine)).then_some("holds characters other than letters, digits and `_-.:+@/,~`")
}

/// The same of what follows `group:`.
pub(super) fn fault_of_member(name: &str) -> Option<&'static str> {
    fault(&format!("group:{name}"))
}

/// A good name that looks like this one.
pub(super) fn like(name: &str) -> String {
    let like: String = name.chars().map(|c| if is_fine(c) && c != ':' { c } else { '_' }).collect();
    if like.trim_matches('_').is_empty() { "NAME".to_owned() } else { like.trim_start_matches('-').to_owned() }
}

fn is_fine(c: char) -> bool {
    c.is_alphanumeric() || "_-.:+@/,~".contains(c)
}

/// Reports every task whose name another one has.
pub(super) fn unique(tasks: &[Task], errors: &mut Errors) {
    let mut first: HashMap<&str, &Task> = HashMap::with_capacity(tasks.len());
    for task in tasks {
        if let Some(other) = first.insert(&task.name, task) {
            let error = Diagnostic::error(format!("task `{}` is defined twice", task.name)).at(task.place.clone());
            let same = other.place == task.place;
            errors.push(if same { error } else { error.at_because(other.place.clone(), "first defined here") });
        }
    }
}

/// Reports every task whose pool nobody declares.
pub(super) fn pools(tasks: &[Task], pools: &BTreeMap<Arc<str>, usize>, errors: &mut Errors) {
    for task in tasks {
        if let Some(pool) = task.pool.as_ref().filter(|pool| !pools.contains_key(*pool)) {
            let known: Vec<&str> = pools.keys().map(|name| &**name).collect();
            let message = format!("task `{}` has unknown pool `{pool}`", task.name);
            errors.push(
                Diagnostic::error(message).at(task.place.clone()).maybe_help(words::suggest("pool", pool, &known)),
            );
        }
    }
}

/// The tasks of the file with this namespace (`ci:`, or empty), by their places in the list.
pub(super) struct Range {
    pub namespace: String,
    pub tasks: std::ops::Range<usize>,
}

/// Turns the references of each task into whole names: within a namespace, `x` means `namespace:x` if there is such
/// a task, and `:x` always means the root's.
pub(super) fn resolve(tasks: &mut [Task], ranges: &[Range]) {
    let names: BTreeSet<Arc<str>> = tasks.iter().map(|task| task.name.clone()).collect();
    for range in ranges {
        for task in &mut tasks[range.tasks.clone()] {
            let whole = |name: &mut Arc<str>| *name = qualified(name, &range.namespace, &names);
            task.task_dep
                .iter_mut()
                .chain(&mut task.result_dep)
                .chain(&mut task.setup)
                .for_each(|at| whole(&mut at.value));
            task.expand_after.iter_mut().for_each(|at| whole(&mut at.value));
            for at in &mut task.calc_dep {
                if let CalcDep::Task(name) = &mut at.value {
                    whole(name);
                }
            }
            for getarg in &mut task.getargs {
                split_key(&mut getarg.task, &mut getarg.key, &range.namespace, &names);
            }
        }
    }
}

fn qualified(name: &Arc<str>, namespace: &str, names: &BTreeSet<Arc<str>>) -> Arc<str> {
    if let Some(root) = name.strip_prefix(':') {
        return root.into();
    }
    if namespace.is_empty() {
        return name.clone();
    }
    let own = format!("{namespace}{name}");
    let there = match own.split_once('*') {
        None => names.contains(&*own),
        Some((start, _)) => {
            names.range::<str, _>((Included(start), Unbounded)).next().is_some_and(|found| found.starts_with(start))
        }
    };
    if there { own.into() } else { name.clone() }
}

/// `task.key`: the longest task name wins, so that `test:py3.11` can be meant as a whole.
fn split_key(task: &mut Arc<str>, key: &mut Option<Arc<str>>, namespace: &str, names: &BTreeSet<Arc<str>>) {
    let whole = qualified(task, namespace, names);
    if key.is_some() || names.contains(&whole) {
        *task = whole;
        return;
    }
    for (at, _) in task.rmatch_indices('.') {
        let producer = qualified(&task[..at].into(), namespace, names);
        if names.contains(&producer) {
            *key = Some(task[at + 1..].into());
            *task = producer;
            return;
        }
    }
    // Nobody has the name; the graph says so, about the part before the last dot.
    if let Some((producer, part)) = task.clone().rsplit_once('.') {
        *key = Some(part.into());
        *task = producer.into();
    }
}

/// References and `default_tasks` of the root.
pub(super) fn resolve_root(list: &mut [At<Arc<str>>]) {
    for at in list {
        if let Some(name) = at.value.strip_prefix(':') {
            at.value = name.into();
        }
    }
}

/// Says that a name cannot be one.
pub(super) fn refuse(name: &str, place: &Place, commands: &[&str], errors: &mut Errors) {
    if let Some(fault) = fault(name) {
        errors.push(Diagnostic::error(format!("task name `{}` {fault}", super::node::shorten(name))).at(place.clone()));
    } else if commands.contains(&name) {
        let message = format!("task `{name}` has the name of a built-in command");
        let help = format!("give it another name, such as `{name}-all`");
        errors.push(Diagnostic::error(message).at(place.clone()).help(help));
    }
}
