//! Why a task must run: facts first, words from one table. Knows nothing of how they were found.

use std::fmt;

/// One reason, with old and new where there are two. The `kind` of its JSON form is part of the interface.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Reason {
    /// No record of a success.
    NeverRan,
    /// Neither file_dep nor a decisive uptodate item: such a task always runs.
    NoDependencies,
    /// An uptodate item says no; `item` is its text.
    UptodateFalse {
        item: String,
    },
    TargetMissing {
        path: String,
    },
    TargetChanged {
        path: String,
    },
    FileDepChanged {
        path: String,
        old: String,
        new: String,
    },
    FileDepAdded {
        path: String,
    },
    FileDepRemoved {
        path: String,
    },
    /// A field of the definition differs, e.g. `actions[0]`.
    DefinitionChanged {
        field: String,
        old: String,
        new: String,
    },
    /// The result of another task differs.
    ResultChanged {
        task: String,
        old: String,
        new: String,
    },
    ParamChanged {
        param: String,
        old: String,
        new: String,
    },
    EnvChanged {
        variable: String,
        old: String,
        new: String,
    },
    /// Asked for by `--always`.
    Always,
    /// The record was removed by `forget`.
    Forgotten,
    /// The last attempt was cut short.
    Interrupted,
    /// The last attempt failed.
    LastFailed,
    InputChangedDuringRun {
        path: String,
    },
    /// The engine holds no image with this content key, or with [`Reason::ANY_KEY`] none of this name.
    ImageMissing {
        image: String,
        key: String,
    },
    /// The registry's tag does not have the wanted digest.
    RemoteDiffers {
        reference: String,
        old: String,
        new: String,
    },
    /// The parent image has another content key than the one built on.
    ParentChanged {
        image: String,
        parent: String,
        old: String,
        new: String,
    },
    FullRebuild {
        why: String,
    },
    /// An outside base moved: `old → new` digest.
    BaseMoved {
        base: String,
        old: String,
        new: String,
    },
    /// The content key of an image differs because of its own files or Dockerfile.
    ContextChanged {
        image: String,
        path: String,
        old: String,
        new: String,
    },
}

impl Reason {
    /// In place of a content key, where the name alone counts.
    pub const ANY_KEY: &str = "any";
    /// What the item of [`Reason::UptodateFalse`] begins with where it is the content key of an image.
    pub const KEY_OF: &str = "content key of ";

    /// The stable name used in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NeverRan => "never_ran",
            Self::NoDependencies => "no_dependencies",
            Self::UptodateFalse { .. } => "uptodate_false",
            Self::TargetMissing { .. } => "target_missing",
            Self::TargetChanged { .. } => "target_changed",
            Self::FileDepChanged { .. } | Self::ContextChanged { .. } => "file_dep_changed",
            Self::FileDepAdded { .. } => "file_dep_added",
            Self::FileDepRemoved { .. } => "file_dep_removed",
            Self::DefinitionChanged { .. } => "definition_changed",
            Self::ResultChanged { .. } => "result_changed",
            Self::ParamChanged { .. } => "param_changed",
            Self::EnvChanged { .. } => "env_changed",
            Self::Always => "always",
            Self::Forgotten => "forgotten",
            Self::Interrupted => "interrupted",
            Self::LastFailed => "last_failed",
            Self::InputChangedDuringRun { .. } => "input_changed_during_run",
            Self::ImageMissing { .. } => "image_missing",
            Self::RemoteDiffers { .. } => "remote_differs",
            Self::ParentChanged { .. } | Self::BaseMoved { .. } => "parent_changed",
            Self::FullRebuild { .. } => "full_rebuild",
        }
    }

    /// Reads what `to_json` made. `None` for anything else, such as the record of another version.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        let mut facts = value.as_object()?.clone();
        facts.remove("kind")?;
        let form = |name: &&str| {
            if facts.is_empty() { serde_json::json!(name) } else { serde_json::json!({ *name: facts }) }
        };
        // Two variants may share a kind, and differ in their facts.
        VARIANTS
            .iter()
            .filter_map(|name| serde_json::from_value::<Self>(form(name)).ok())
            .find(|reason| reason.to_json() == *value)
    }

    /// The JSON object: `kind` and the facts.
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        object.insert("kind".into(), self.kind().into());
        // The derived form is `"Name"` or `{"Name": {facts}}`.
        if let Ok(serde_json::Value::Object(outer)) = serde_json::to_value(self)
            && let Some((_, serde_json::Value::Object(facts))) = outer.into_iter().next()
        {
            object.extend(facts);
        }
        serde_json::Value::Object(object)
    }
}

/// One reason of each form with what it means, for the reference.
#[allow(clippy::enum_glob_use, reason = "a table of all of them")]
pub fn examples() -> Vec<(Reason, &'static str)> {
    use Reason::*;
    let text = str::to_owned;
    let (old, new) = (|| text("1f0c…"), || text("9d4e…"));
    vec![
        (NeverRan, "there is no record of a success"),
        (NoDependencies, "nothing could say that it is up to date; give it `file_dep`, `uptodate` or `run: once`"),
        (UptodateFalse { item: text("test -e out/done") }, "an item of `uptodate` says no"),
        (TargetMissing { path: text("out/report.txt") }, "a target is not there"),
        (TargetChanged { path: text("out/report.txt") }, "a target has other content than the task gave it"),
        (FileDepChanged { path: text("src/a.txt"), old: old(), new: new() }, "an input has other content"),
        (
            ContextChanged { image: text("base"), path: text("images/base/setup.sh"), old: old(), new: new() },
            "a file that the build of the image can see has other content",
        ),
        (FileDepAdded { path: text("src/b.txt") }, "a pattern matches a file that it did not"),
        (FileDepRemoved { path: text("src/b.txt") }, "a file that was an input is none any more"),
        (
            DefinitionChanged { field: text("actions[0]"), old: text("make"), new: text("make all") },
            "the task itself was edited",
        ),
        (
            ResultChanged { task: text("version"), old: text("1.0"), new: text("1.1") },
            "a `result_dep` came to another result",
        ),
        (
            ParamChanged { param: text("level"), old: text("low"), new: text("high") },
            "a param that it uses has another value",
        ),
        (
            EnvChanged { variable: text("CC"), old: text("gcc"), new: text("clang") },
            "a variable of `env` or `pass_env` differs",
        ),
        (Always, "`-a` was given"),
        (Forgotten, "`forget` removed its record"),
        (Interrupted, "its last run was cut short"),
        (LastFailed, "its last run failed"),
        (InputChangedDuringRun { path: text("src/a.txt") }, "what it made may be of the older content"),
        (ImageMissing { image: text("base"), key: text("4f2a…") }, "neither the engine nor the registry has the image"),
        (
            RemoteDiffers { reference: text("registry/lab/base:1.0"), old: text("absent"), new: new() },
            "the tag in the registry is not what it should be",
        ),
        (
            ParentChanged { image: text("mid"), parent: text("base"), old: old(), new: new() },
            "the image is built on another one now",
        ),
        (
            BaseMoved { base: text("debian:bookworm-slim"), old: old(), new: new() },
            "an image from outside is another one now",
        ),
        (FullRebuild { why: text("`images/spec.yml` changed") }, "the spec's `change_policy` asks for it"),
    ]
}

/// Names of the variants, for reading their JSON form.
const VARIANTS: [&str; 23] = [
    "NeverRan",
    "NoDependencies",
    "UptodateFalse",
    "TargetMissing",
    "TargetChanged",
    "FileDepChanged",
    "FileDepAdded",
    "FileDepRemoved",
    "DefinitionChanged",
    "ResultChanged",
    "ParamChanged",
    "EnvChanged",
    "Always",
    "Forgotten",
    "Interrupted",
    "LastFailed",
    "InputChangedDuringRun",
    "ImageMissing",
    "RemoteDiffers",
    "ParentChanged",
    "FullRebuild",
    "BaseMoved",
    "ContextChanged",
];

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRan => f.write_str("never ran"),
            Self::NoDependencies => f.write_str("has neither file_dep nor uptodate, so it always runs"),
            Self::UptodateFalse { item } if item.starts_with(Self::KEY_OF) => write!(f, "the {item} changed"),
            Self::UptodateFalse { item } => write!(f, "uptodate item `{item}` is false"),
            Self::TargetMissing { path } => write!(f, "target `{path}` is missing"),
            Self::TargetChanged { path } => write!(f, "target `{path}` was changed by somebody else"),
            Self::FileDepChanged { path, .. } => write!(f, "file_dep `{path}` changed"),
            Self::FileDepAdded { path } => write!(f, "file_dep `{path}` was added"),
            Self::FileDepRemoved { path } => write!(f, "file_dep `{path}` was removed"),
            Self::DefinitionChanged { field, old, new } => {
                write!(f, "definition changed: {field}")?;
                if !old.is_empty() || !new.is_empty() {
                    write!(f, ": {old} → {new}")?;
                }
                Ok(())
            }
            Self::ResultChanged { task, old, new } => write!(f, "result of `{task}` changed: {old} → {new}"),
            Self::ParamChanged { param, old, new } => write!(f, "param `{param}` changed: {old} → {new}"),
            Self::EnvChanged { variable, old, new } => write!(f, "env `{variable}` changed: {old} → {new}"),
            Self::Always => f.write_str("asked for by --always"),
            Self::Forgotten => f.write_str("its record was forgotten"),
            Self::Interrupted => f.write_str("its last run was interrupted"),
            Self::LastFailed => f.write_str("its last run failed"),
            Self::InputChangedDuringRun { path } => write!(f, "file_dep `{path}` changed while it last ran"),
            Self::ImageMissing { image, key } if key == Self::ANY_KEY => write!(f, "image `{image}` is not there"),
            Self::ImageMissing { image, key } => write!(f, "image `{image}` with key {key} is not there"),
            Self::RemoteDiffers { reference, old, new } => write!(f, "`{reference}` is {old}, wanted {new}"),
            Self::ParentChanged { parent, old, new, .. } => write!(f, "parent `{parent}` changed: {old} → {new}"),
            Self::FullRebuild { why } => write!(f, "full rebuild: {why}"),
            Self::BaseMoved { base, old, new } => write!(f, "base `{base}` moved: {old} → {new}"),
            // What the key of an image calls its Dockerfile.
            Self::ContextChanged { image, path, .. } if path == "dockerfile" => {
                write!(f, "the Dockerfile of `{image}` changed")
            }
            Self::ContextChanged { path, .. } => write!(f, "`{path}` in its build context changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_example_of_each_form() {
        let all = examples();
        let mut seen: Vec<_> = all.iter().map(|(reason, _)| std::mem::discriminant(reason)).collect();
        seen.dedup();
        assert_eq!(seen.len(), VARIANTS.len());
        for (reason, _) in all {
            assert_eq!(Reason::from_json(&reason.to_json()), Some(reason));
        }
    }
}
