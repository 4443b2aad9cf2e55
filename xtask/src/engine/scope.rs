//! What templates of a task may refer to when it runs. Knows nothing of the template language.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ParamValue;
use crate::model::{RepoPath, Task};

/// Expands templates: the seam to the room `render`.
pub trait Expander: Send + Sync {
    /// Replaces `{{ … }}`; with `quote`, every value becomes one quoted shell word (a list, several).
    ///
    /// # Errors
    /// An undefined name or a template that cannot be read, in words.
    fn text(&self, template: &str, scope: &Value, quote: bool) -> Result<String, String>;

    /// The same for one word of an argv: exactly one `{{ list }}` becomes several words.
    ///
    /// # Errors
    /// As for `text`.
    fn words(&self, template: &str, scope: &Value) -> Result<Vec<String>, String>;
}

/// Values by name for one task.
pub(super) struct ScopeParts<'a> {
    pub task: &'a Task,
    pub inputs: &'a [RepoPath],
    pub changed: &'a [RepoPath],
    pub params: Option<&'a BTreeMap<Arc<str>, ParamValue>>,
    pub positional: &'a [String],
    pub getargs: Map<String, Value>,
}

/// The scope as one JSON object.
pub(super) fn scope(parts: &ScopeParts<'_>) -> Value {
    let paths = |paths: &[RepoPath]| Value::from(paths.iter().map(RepoPath::lossy).collect::<Vec<_>>());
    let mut scope = Map::new();
    scope.insert("task".into(), Value::from(&*parts.task.name));
    scope.insert("root".into(), Value::from("."));
    scope.insert("file_dep".into(), paths(parts.inputs));
    scope.insert("changed".into(), paths(parts.changed));
    let targets: Vec<RepoPath> = parts.task.targets.iter().map(|target| target.path.clone()).collect();
    scope.insert("targets".into(), paths(&targets));
    for (name, value) in parts.params.into_iter().flatten() {
        scope.insert(name.to_string(), value.value.clone());
    }
    if let Some(name) = &parts.task.pos_arg {
        scope.insert(name.to_string(), Value::from(parts.positional.to_vec()));
    }
    scope.extend(parts.getargs.clone());
    Value::Object(scope)
}

/// Expands the strings of a JSON value, keys left alone.
pub(super) fn expand_json(expander: &dyn Expander, value: &Value, scope: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(expander.text(text, scope, false)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| expand_json(expander, item, scope)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, item)| Ok((key.clone(), expand_json(expander, item, scope)?)))
                .collect::<Result<_, String>>()?,
        ),
        plain => plain.clone(),
    })
}

/// Expands declared environment variables.
pub(super) fn expand_env(
    expander: &dyn Expander,
    env: &BTreeMap<Arc<str>, Arc<str>>,
    scope: &Value,
) -> Result<Vec<(OsString, OsString)>, String> {
    env.iter()
        .map(|(name, template)| Ok((name.as_ref().into(), expander.text(template, scope, false)?.into())))
        .collect()
}
