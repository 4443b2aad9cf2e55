//! What to say when the system gives no more watches. Reads the limits; knows nothing of who needs them.

use std::fs;

use crate::model::{Diagnostic, words};

/// The number in a file of `/proc/sys`.
fn number(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?.trim().parse().ok()
}

/// The tighter of the limit of the machine and that of the user namespace.
fn tighter(machine: &'static str, namespace: &'static str) -> (&'static str, u64) {
    match (number(machine), number(namespace)) {
        (Some(machine_limit), Some(limit)) if limit < machine_limit => (namespace, limit),
        (Some(limit), _) => (machine, limit),
        (None, limit) => (namespace, limit.unwrap_or(0)),
    }
}

/// `needed` directories want a watch, `polled` of them got none.
pub fn too_few_watches(needed: usize, polled: usize) -> Diagnostic {
    let (name, limit) = tighter("fs.inotify.max_user_watches", "user.max_inotify_watches");
    let enough = (needed as u64 * 2).next_power_of_two().max(524_288);
    Diagnostic::warning(format!(
        "`{name}` is {limit} for all programs of this user, and {} need a watch here",
        words::count(needed, "directory").replace("directorys", "directories")
    ))
    .note(format!("{polled} of them {} looked at twice a second instead", if polled == 1 { "is" } else { "are" }))
    .help(format!("raise the limit: sudo sysctl {name}={enough}"))
}

/// No watcher at all could be made, `cause` says why.
pub fn no_watcher(cause: &str) -> Diagnostic {
    let (name, limit) = tighter("fs.inotify.max_user_instances", "user.max_inotify_instances");
    Diagnostic::warning("the system gives no watcher, so all inputs are looked at twice a second")
        .cause(cause)
        .note(format!("`{name}` is {limit} for all programs of this user"))
        .help(format!("raise the limit: sudo sysctl {name}={}", (limit * 2).max(512)))
}

/// The file system tells nobody of changes made elsewhere.
pub fn silent(dirs: usize) -> Diagnostic {
    Diagnostic::warning("a network or guest file system sends no news of changes")
        .note(format!("{dirs} of the watched directories are on it and are looked at twice a second"))
}
