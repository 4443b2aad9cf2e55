//! The parts of a fingerprint that a task itself tells: its definition, its params, its environment, its inputs as the
//! checker compares them, and what its `uptodate` items say. Knows nothing of other tasks or of verdicts.

use std::sync::Arc;

use super::{ParamValue, Project};
use crate::graph::TaskId;
use crate::model::digest::Hasher;
use crate::model::task::{ActionKind, Checker, StatField, Uptodate};
use crate::model::{Diagnostic, Digest, Task};
use crate::rebuild::{Part, PartKey, PartValue};
use crate::store::FileState;
use crate::store::db::Success;

/// The fields of a task that change what its actions do.
pub(super) fn definition(task: &Task) -> Vec<Part> {
    let mut parts = Vec::new();
    if !task.track_definition {
        return parts;
    }
    let mut add = |field: String, value: PartValue| parts.push(Part { key: PartKey::Definition(field.into()), value });
    for (index, action) in task.actions.iter().enumerate() {
        let text = match &action.kind {
            ActionKind::Shell(text) => text.to_string(),
            ActionKind::Argv(words) => format!("{words:?}"),
            ActionKind::BuiltIn { name, args } => format!("{name} {}", args.text()),
        };
        add(format!("actions[{index}]"), short_or_digest(&text));
        let step = &action.step;
        if *step != Default::default() {
            let rest = format!("{:?} {:?} {:?} {:?}", step.cwd, step.env, step.shell, step.ignore_error);
            add(format!("actions[{index}] settings"), PartValue::Digest(Digest::of(rest.as_bytes())));
        }
    }
    if let Some(cwd) = &task.cwd {
        add("cwd".into(), PartValue::Text(cwd.clone()));
    }
    if let Some(shell) = &task.shell {
        add("shell".into(), PartValue::Text(format!("{shell:?}").into()));
    }
    if !task.targets.is_empty() {
        let mut paths: Vec<String> = task.targets.iter().map(|target| target.path.lossy()).collect();
        paths.sort_unstable();
        add("targets".into(), short_or_digest(&paths.join(", ")));
    }
    parts
}

/// An input as the checker compares it.
pub(super) fn input(checker: Checker, state: &FileState) -> PartValue {
    match (checker, state) {
        (Checker::Timestamp, FileState::File { stat, .. }) => {
            PartValue::Text(format!("modified at {} ns", stat.mtime_ns).into())
        }
        _ => state.signature().map_or(PartValue::Absent, PartValue::Digest),
    }
}

pub(super) fn short_or_digest(text: &str) -> PartValue {
    if text.len() <= 200 { PartValue::Text(text.into()) } else { PartValue::Digest(Digest::of(text.as_bytes())) }
}

/// Params that the task's own text mentions. True if there is one.
pub(super) fn params(project: &Project, id: TaskId, task: &Task, parts: &mut Vec<Part>) -> bool {
    let Some(values) = project.params.get(&id) else { return false };
    let mut any = false;
    for (name, ParamValue { value, secret }) in values.iter().filter(|(name, _)| mentions(task, name)) {
        let value = if *secret {
            let mut hasher = Hasher::new();
            hasher.field(project.key.expose()).field(value.to_string());
            PartValue::Digest(hasher.finish())
        } else {
            value.as_str().map_or_else(|| short_or_digest(&value.to_string()), short_or_digest)
        };
        parts.push(Part { key: PartKey::Param(name.clone()), value });
        any = true;
    }
    if let (Some(name), Some(words)) = (&task.pos_arg, project.positional.get(&id)) {
        parts.push(Part { key: PartKey::Param(name.clone()), value: short_or_digest(&format!("{words:?}")) });
        any = true;
    }
    any
}

/// Whether any template of the task's actions, environment or cwd has this name in it.
fn mentions(task: &Task, name: &str) -> bool {
    let in_text = |text: &str| text.contains('{') && text.contains(name);
    task.actions.iter().any(|action| {
        let own = match &action.kind {
            ActionKind::Shell(text) => in_text(text),
            ActionKind::Argv(words) => words.iter().any(|word| in_text(word)),
            ActionKind::BuiltIn { args, .. } => in_text(args.text()),
        };
        own || action.step.env.values().any(|text| in_text(text))
            || action.step.cwd.as_ref().is_some_and(|text| in_text(text))
    }) || task.env.values().any(|text| in_text(text))
        || task.cwd.as_ref().is_some_and(|text| in_text(text))
}

/// Declared variables: the templates of `env` and the values taken over by `pass_env`.
pub(super) fn environment(project: &Project, task: &Task, parts: &mut Vec<Part>) {
    for (name, template) in &task.env {
        parts.push(Part { key: PartKey::Env(name.clone()), value: short_or_digest(template) });
    }
    let passed = task.pass_env.iter().flat_map(|name| match name.strip_suffix('*') {
        // Each of a family counts by itself, so that one that comes or goes is a change.
        Some(prefix) => {
            let of_family = |known: &&str| known.starts_with(prefix);
            project.env.keys().filter_map(|known| known.to_str()).filter(of_family).map(Arc::from).collect()
        }
        None => vec![name.clone()],
    });
    for name in passed {
        let value = project.env.get(std::ffi::OsStr::new(&*name));
        // A value may be a secret: only its keyed digest is stored.
        let value = value.map_or(PartValue::Absent, |value| {
            let mut hasher = Hasher::new();
            hasher.field(project.key.expose()).field(std::os::unix::ffi::OsStrExt::as_bytes(value.as_os_str()));
            PartValue::Digest(hasher.finish())
        });
        parts.push(Part { key: PartKey::Env(name), value });
    }
}

/// Evaluates one item of uptodate that needs no probe. `None`: it has no say. `Some(None)`: true or false by itself
/// (see [`is_false`]). `Some(Some(part))`: compared with the last success.
#[expect(clippy::option_option, reason = "the three answers are documented above")]
pub(super) fn check(project: &Project, index: usize, item: &Uptodate) -> Result<Option<Option<Vec<Part>>>, Diagnostic> {
    Ok(match item {
        Uptodate::Null => None,
        Uptodate::Bool(_) | Uptodate::RunOnce | Uptodate::Timeout(_) | Uptodate::Shell(_) => Some(None),
        // Their parts come with the probe.
        Uptodate::OutputOf(_) | Uptodate::Image(_) | Uptodate::RemoteTag(_) | Uptodate::Named { .. } => {
            Some(Some(Vec::new()))
        }
        Uptodate::ConfigChanged(json) => {
            // A task may have several.
            let key = PartKey::Check(format!("config_changed (item {})", index + 1).into());
            Some(Some(vec![Part { key, value: short_or_digest(json.text()) }]))
        }
        Uptodate::Stat { path, field } => {
            let meta = std::fs::metadata(project.root.join(path.as_path())).map_err(|error| {
                Diagnostic::error(format!("uptodate item `stat` needs `{path}`, which cannot be looked at"))
                    .cause(error)
            })?;
            use std::os::unix::fs::MetadataExt;
            let (name, time) = match field {
                StatField::Access => ("access", (meta.atime(), meta.atime_nsec())),
                StatField::Status => ("status", (meta.ctime(), meta.ctime_nsec())),
                StatField::Modify => ("modify", (meta.mtime(), meta.mtime_nsec())),
            };
            let key = PartKey::Check(format!("stat {path} {name}").into());
            Some(Some(vec![Part { key, value: PartValue::Text(format!("{}.{:09}", time.0, time.1).into()) }]))
        }
    })
}

pub(super) fn is_false(item: &Uptodate, success: Option<&Success>, now: i64) -> bool {
    match item {
        Uptodate::Bool(value) => !value,
        Uptodate::RunOnce => success.is_none(),
        Uptodate::Timeout(limit) => success
            .is_none_or(|success| u128::try_from(now - success.finished).is_ok_and(|age| age >= limit.as_millis())),
        _ => false,
    }
}

pub(super) fn words(item: &Uptodate) -> String {
    match item {
        Uptodate::Bool(value) => value.to_string(),
        Uptodate::RunOnce => "run_once".into(),
        Uptodate::Timeout(limit) => format!("timeout {limit:?}"),
        Uptodate::Shell(command) => command.to_string(),
        other => format!("{other:?}"),
    }
}
