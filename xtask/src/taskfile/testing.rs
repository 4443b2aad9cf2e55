//! A small world for this room's tests: files in memory and a template engine. Knows no disk.

use std::collections::BTreeMap;
use std::io;

use super::*;
use crate::model::{Diagnostics, RepoPath, Task};

/// The template language, enough of it for tests.
pub(super) struct Jinja;

impl Jinja {
    fn environment(quote: Quote) -> minijinja::Environment<'static> {
        let mut environment = minijinja::Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("raw", |text: String| minijinja::Value::from_safe_string(text));
        environment.set_formatter(move |out, _, value| {
            let text = value.to_string();
            let bare = |c: char| c.is_ascii_alphanumeric() || "-_./:=@".contains(c);
            if quote == Quote::Plain || value.is_safe() || (!text.is_empty() && text.chars().all(bare)) {
                Ok(out.write_str(&text)?)
            } else {
                Ok(write!(out, "'{}'", text.replace('\'', r"'\''"))?)
            }
        });
        environment
    }
}

fn value(json: &serde_json::Value) -> minijinja::Value {
    match json {
        serde_json::Value::Null => minijinja::Value::from(()),
        serde_json::Value::Bool(truth) => (*truth).into(),
        serde_json::Value::Number(number) => number.as_f64().into(),
        serde_json::Value::String(text) => text.clone().into(),
        serde_json::Value::Array(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        serde_json::Value::Object(entries) => {
            minijinja::Value::from_pairs(entries.iter().map(|(key, item)| (key.clone(), value(item))))
        }
    }
}

impl Expand for Jinja {
    fn expand(&self, text: &str, scope: &serde_json::Value, quote: Quote) -> Result<String, String> {
        Self::environment(quote).render_str(text, value(scope)).map_err(|error| match error.kind() {
            minijinja::ErrorKind::UndefinedError => format!("uses something that is not defined in `{text}`"),
            _ => format!("is wrong: {error}"),
        })
    }

    fn names(&self, text: &str) -> Result<Vec<String>, String> {
        let environment = Self::environment(Quote::Plain);
        let template = environment.template_from_str(text).map_err(|_| "has a syntax error".to_owned())?;
        let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
        names.sort();
        Ok(names)
    }
}

/// Built-in actions that the samples use.
pub(super) const ACTIONS: &[ActionForm<'static>] = &[
    ActionForm { name: "image_build", required: &["image"], optional: &["target"], short: None },
    ActionForm { name: "remove", required: &["path"], optional: &[], short: Some("path") },
    ActionForm { name: "greet", required: &[], optional: &["*"], short: None },
];

/// Files in memory, two images, a few environment variables.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub files: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    pub globals: BTreeMap<String, String>,
}

impl World {
    /// With one file, `tasks.yaml`.
    pub(super) fn of(text: &str) -> Self {
        Self::default().file("tasks.yaml", text)
    }

    /// With the usual head in front of the tasks.
    pub(super) fn tasks(text: &str) -> Self {
        Self::of(&format!("version: 1\ntasks:\n{text}"))
    }

    pub(super) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.insert(name.to_owned(), text.to_owned());
        self
    }

    pub(super) fn load(&self) -> Result<Loaded, Diagnostics> {
        self.with(|world| load("tasks.yaml", world))
    }

    /// Hands this world over in the form that the room takes.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&LoadWorld<'_>) -> T) -> T {
        let read = |name: &str| {
            self.files
                .get(name)
                .map(|text| text.clone().into_bytes())
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let image = |name: &str| ImageInfo {
            name: name.to_owned(),
            fields: serde_json::json!({"dir": format!("images/{name}")}),
        };
        let glob = |pattern: &str| {
            let start = pattern.split('*').next().unwrap_or_default();
            let files = self.files.keys().filter(|name| name.starts_with(start) && *name != "tasks.yaml");
            files.filter_map(RepoPath::from_root).collect()
        };
        let world = LoadWorld {
            read: &read,
            images: &|_| Ok(vec![image("base"), image("notebook")]),
            environments: &|| Ok(vec![image("py_environment")]),
            env: &|name| self.env.get(name).cloned(),
            expand: &Jinja,
            glob: &glob,
            actions: ACTIONS,
            checks: &["engine_runs"],
            commands: COMMANDS,
            globals: &self.globals,
        };
        use_it(&world)
    }

    /// The message of a file that is wrong; empty for a good one.
    pub(super) fn refused(&self) -> String {
        self.load().err().unwrap_or_default().to_string()
    }

    /// One task of a file that is right.
    pub(super) fn task(&self, name: &str) -> Task {
        let loaded = self.load().unwrap_or_else(|errors| panic!("{errors}"));
        loaded.taskfile.tasks.into_iter().find(|task| &*task.name == name).unwrap_or_else(|| panic!("no task {name}"))
    }

    /// Names of all tasks in order.
    pub(super) fn names(&self) -> Vec<String> {
        let loaded = self.load().unwrap_or_else(|errors| panic!("{errors}"));
        loaded.taskfile.tasks.iter().map(|task| task.name.to_string()).collect()
    }
}
