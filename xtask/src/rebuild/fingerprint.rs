//! The parts of a fingerprint, their digest, and how two lists of parts differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::digest::Hasher;
use crate::model::{Digest, Reason, RepoPath};

/// What one part is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PartKey {
    /// A field of the definition, e.g. `actions[0]`.
    Definition(Arc<str>),
    Param(Arc<str>),
    Env(Arc<str>),
    FileDep(RepoPath),
    /// The result of a task.
    Result(Arc<str>),
    /// An uptodate item that compares a value, by its text.
    Check(Arc<str>),
    /// A file in the build context of an image.
    Context {
        image: Arc<str>,
        path: Arc<str>,
    },
    /// The content key of the parent of an image.
    Parent {
        image: Arc<str>,
        parent: Arc<str>,
    },
    /// The digest of an outside base.
    Base(Arc<str>),
}

/// One part: what it is about and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub key: PartKey,
    pub value: PartValue,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartValue {
    Digest(Digest),
    /// Short text, kept so that a reason can show old and new.
    Text(Arc<str>),
    Absent,
}

impl PartValue {
    /// Text as it is, digests shortened.
    pub fn short(&self) -> String {
        match self {
            Self::Digest(digest) => digest.short(),
            Self::Text(text) => text.to_string(),
            Self::Absent => "nothing".to_owned(),
        }
    }
}

/// All parts, sorted by key and without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    parts: Vec<Part>,
}

impl Fingerprint {
    pub fn new(mut parts: Vec<Part>) -> Self {
        parts.sort_by(|a, b| a.key.cmp(&b.key));
        parts.dedup_by(|a, b| a.key == b.key);
        Self { parts }
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The digest over all parts: equal exactly when no part differs.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for part in &self.parts {
            hash_key(&mut hasher, &part.key);
            match &part.value {
                PartValue::Digest(digest) => hasher.field(b"d").field(digest.0),
                PartValue::Text(text) => hasher.field(b"t").field(text.as_bytes()),
                PartValue::Absent => hasher.field(b"-"),
            };
        }
        hasher.finish()
    }

    /// The parts of this one, as they were in `before` where it has them.
    #[must_use]
    pub fn as_before(self, before: &Self) -> Self {
        let known: BTreeMap<&PartKey, &Part> = before.parts.iter().map(|part| (&part.key, part)).collect();
        let parts = self.parts.into_iter().map(|part| known.get(&part.key).map_or(part, |known| (*known).clone()));
        Self { parts: parts.collect() }
    }

    /// Every difference to the fingerprint of the last success, as reasons.
    pub fn differences(&self, old: &Self) -> Vec<Reason> {
        let before: BTreeMap<&PartKey, &PartValue> = old.parts.iter().map(|part| (&part.key, &part.value)).collect();
        let now: BTreeMap<&PartKey, &PartValue> = self.parts.iter().map(|part| (&part.key, &part.value)).collect();
        let mut reasons = Vec::new();
        for (key, new) in &now {
            match before.get(key) {
                Some(old) if old == new => {}
                old => reasons.push(reason(key, old.copied(), Some(new))),
            }
        }
        for (key, old) in before.iter().filter(|(key, _)| !now.contains_key(*key)) {
            reasons.push(reason(key, Some(old), None));
        }
        reasons
    }

    /// The inputs whose content differs from the last success (all of them if there was none).
    pub fn changed_inputs(&self, old: Option<&Self>) -> Vec<RepoPath> {
        let before: BTreeMap<&PartKey, &PartValue> =
            old.into_iter().flat_map(|old| &old.parts).map(|part| (&part.key, &part.value)).collect();
        let inputs = self.parts.iter().filter_map(|part| match &part.key {
            PartKey::FileDep(path) if before.get(&part.key) != Some(&&part.value) => Some(path.clone()),
            _ => None,
        });
        inputs.collect()
    }
}

fn hash_key(hasher: &mut Hasher, key: &PartKey) {
    match key {
        PartKey::Definition(field) => hasher.field(b"definition").field(field.as_bytes()),
        PartKey::Param(name) => hasher.field(b"param").field(name.as_bytes()),
        PartKey::Env(name) => hasher.field(b"env").field(name.as_bytes()),
        PartKey::FileDep(path) => hasher.field(b"file_dep").field(path.as_bytes()),
        PartKey::Result(task) => hasher.field(b"result").field(task.as_bytes()),
        PartKey::Check(item) => hasher.field(b"check").field(item.as_bytes()),
        PartKey::Context { image, path } => hasher.field(b"context").field(image.as_bytes()).field(path.as_bytes()),
        PartKey::Parent { image, parent } => hasher.field(b"parent").field(image.as_bytes()).field(parent.as_bytes()),
        PartKey::Base(base) => hasher.field(b"base").field(base.as_bytes()),
    };
}

fn reason(key: &PartKey, old: Option<&PartValue>, new: Option<&PartValue>) -> Reason {
    let short = |value: Option<&PartValue>| value.map_or_else(|| "nothing".to_owned(), PartValue::short);
    let (was, is) = (short(old), short(new));
    match key {
        PartKey::Definition(field) => Reason::DefinitionChanged { field: field.to_string(), old: was, new: is },
        PartKey::Param(name) => Reason::ParamChanged { param: name.to_string(), old: was, new: is },
        PartKey::Env(name) => Reason::EnvChanged { variable: name.to_string(), old: was, new: is },
        PartKey::Result(task) => Reason::ResultChanged { task: task.to_string(), old: was, new: is },
        PartKey::Check(item) => Reason::UptodateFalse { item: item.to_string() },
        PartKey::Base(base) => Reason::BaseMoved { base: base.to_string(), old: was, new: is },
        PartKey::Parent { image, parent } => {
            Reason::ParentChanged { image: image.to_string(), parent: parent.to_string(), old: was, new: is }
        }
        PartKey::Context { image, path } => {
            Reason::ContextChanged { image: image.to_string(), path: path.to_string(), old: was, new: is }
        }
        PartKey::FileDep(path) => {
            let path = path.lossy();
            match (old, new) {
                (None, _) => Reason::FileDepAdded { path },
                (_, None) => Reason::FileDepRemoved { path },
                _ => Reason::FileDepChanged { path, old: was, new: is },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> Part {
        Part {
            key: PartKey::FileDep(RepoPath::from_root(path).unwrap()),
            value: PartValue::Digest(Digest::of(content.as_bytes())),
        }
    }

    #[test]
    fn order_and_repeats_do_not_matter() {
        let one = Fingerprint::new(vec![file("a", "1"), file("b", "2")]);
        let two = Fingerprint::new(vec![file("b", "2"), file("a", "1"), file("b", "2")]);
        assert_eq!(one.digest(), two.digest());
        assert!(one.differences(&two).is_empty());
    }

    #[test]
    fn differences_are_named() {
        let old = Fingerprint::new(vec![file("a", "1"), file("b", "2")]);
        let new = Fingerprint::new(vec![file("a", "x"), file("c", "2")]);
        let kinds: Vec<_> = new.differences(&old).iter().map(Reason::kind).collect();
        assert_eq!(kinds, ["file_dep_changed", "file_dep_added", "file_dep_removed"]);
        assert_eq!(new.changed_inputs(Some(&old)).len(), 2);
        assert_ne!(old.digest(), new.digest());
    }
}
