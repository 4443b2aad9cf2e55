//! `bases.lock.yml`: the digests that stand for the images from outside. Does not look digests up.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use crate::model::{Diagnostic, Diagnostics, Digest, Place, Reason, RepoPath};
use crate::taskfile::{Errors, Node, read, yaml};

use super::types::{Policy, Stack};

/// The committed record, by reference as in the FROM line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub entries: BTreeMap<String, Entry>,
}

/// What one reference stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of the manifest in the registry; of the image's configuration where it was made here.
    pub digest: Digest,
    pub origin: Origin,
    /// When the digest was looked up; whole seconds.
    pub recorded: Timestamp,
    /// The policy at that time: for people who read the file.
    pub policy: Policy,
}

/// Where a digest comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Registry,
    /// Made by the base's bootstrap program.
    Bootstrap,
}

/// Whether a digest has to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The recorded digest stands.
    No,
    /// Nothing is recorded.
    Missing,
    /// The policy is to look every time.
    Float,
    /// The record is older than the policy allows.
    Expired,
}

impl Lookup {
    pub fn is_needed(self) -> bool {
        self != Self::No
    }
}

/// The lock file of a stack: beside its spec.
pub fn lock_file(stack: &Stack) -> RepoPath {
    RepoPath::new(&stack.dir, "bases.lock.yml").unwrap_or_else(|| stack.dir.clone())
}

/// The policy for a reference: that of `bases`, else pinned.
pub fn policy_of(stack: &Stack, reference: &str) -> Policy {
    stack.bases.iter().find(|base| base.reference == reference).map(|base| base.policy).unwrap_or_default()
}

impl Lock {
    /// Reads the file; an absent one is an empty lock.
    ///
    /// Errors: it cannot be read, or is not what `save` writes.
    pub fn load(root: &Path, file: &RepoPath) -> Result<Self, Diagnostics> {
        match std::fs::read(root.join(file.as_path())) {
            Ok(bytes) => Self::parse(&file.lossy(), &bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Diagnostic::error(format!("failed to read file `{file}`")).cause(error).into()),
        }
    }

    /// Reads the text of the file.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Diagnostics> {
        let node = yaml::parse(file, bytes)?;
        let mut errors = Errors::new();
        let mut entries = BTreeMap::new();
        if let Some(fields) = read::fields(&node, "the lock file", &["version", "bases"], &mut errors) {
            if fields.get("version").and_then(Node::text).is_none_or(|version| &**version != "1") {
                let place = fields.get("version").map_or(&node.place, |version| &version.place);
                errors.push(Diagnostic::error("`version` of the lock file is not 1").at(place.clone()));
            }
            let bases = fields.get("bases").filter(|bases| !bases.is_null());
            let subject = read::Subject::new("bases", "the lock file");
            for (key, value) in bases.map(|node| read::map(node, subject, "a map", &mut errors)).unwrap_or_default() {
                if let Some(entry) = entry(key, value, &mut errors) {
                    entries.insert(key.key().to_owned(), entry);
                }
            }
        }
        errors.finish().map_err(|errors| with_help(errors, file))?;
        Ok(Self { entries })
    }

    /// The text of the file; equal locks give equal text.
    pub fn text(&self) -> String {
        let entries: serde_json::Map<String, serde_json::Value> = self
            .entries
            .iter()
            .map(|(reference, entry)| {
                let policy = match entry.policy {
                    Policy::Pinned => json!("pinned"),
                    Policy::Float => json!("float"),
                    Policy::Ttl(time) => json!(format!("ttl {}s", time.as_secs())),
                };
                let origin = match entry.origin {
                    Origin::Registry => "registry",
                    Origin::Bootstrap => "bootstrap",
                };
                let recorded = entry.recorded.to_string();
                let fields = json!({
                    "digest": entry.digest.to_string(), "origin": origin, "recorded": recorded, "policy": policy,
                });
                (reference.clone(), fields)
            })
            .collect();
        let text = yaml::write(&json!({ "version": 1, "bases": entries }));
        format!(
            "# What the images from outside stood for when they were last looked up. Written by xtask; commit it.\n{text}"
        )
    }

    /// Writes the file, whole or not at all; an equal file is left alone.
    ///
    /// Errors: the folder cannot be written.
    pub fn save(&self, root: &Path, file: &RepoPath) -> Result<(), Diagnostic> {
        let (path, text) = (root.join(file.as_path()), self.text());
        if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        let failed =
            |error: &dyn std::fmt::Display| Diagnostic::error(format!("failed to write file `{file}`")).cause(error);
        let dir = path.parent().unwrap_or(root);
        let mut temp =
            tempfile::Builder::new().permissions(world_readable()).tempfile_in(dir).map_err(|error| failed(&error))?;
        temp.write_all(text.as_bytes()).and_then(|()| temp.as_file().sync_all()).map_err(|error| failed(&error))?;
        temp.persist(&path).map_err(|error| failed(&error.error))?;
        Ok(())
    }

    /// Whether the digest of a base has to be looked up at the time `now`.
    pub fn lookup(&self, reference: &str, policy: Policy, now: Timestamp) -> Lookup {
        let Some(entry) = self.entries.get(reference) else { return Lookup::Missing };
        match policy {
            Policy::Pinned => Lookup::No,
            Policy::Float => Lookup::Float,
            Policy::Ttl(time) => {
                // A record from the future is one of a wrong clock: looked up again.
                let age = now.as_second() - entry.recorded.as_second();
                let fresh = u64::try_from(age).is_ok_and(|age| age < time.as_secs());
                if fresh { Lookup::No } else { Lookup::Expired }
            }
        }
    }

    /// Records what was found and says if the base moved. An unchanged digest keeps its time under the policies that
    /// do not need it, so that the committed file does not change for nothing.
    pub fn record(
        &mut self,
        reference: &str,
        digest: Digest,
        origin: Origin,
        policy: Policy,
        now: Timestamp,
    ) -> Option<Reason> {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let old = self.entries.get(reference).cloned();
        let keeps_time = !matches!(policy, Policy::Ttl(_));
        let recorded = match &old {
            Some(old) if old.digest == digest && keeps_time => old.recorded,
            _ => now,
        };
        self.entries.insert(reference.to_owned(), Entry { digest, origin, recorded, policy });
        let old = old.filter(|old| old.digest != digest)?;
        Some(Reason::BaseMoved { base: reference.to_owned(), old: old.digest.to_string(), new: digest.to_string() })
    }

    /// Removes what no Dockerfile mentions any more, and names it.
    pub fn forget_unused<'a>(&mut self, used: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let used: std::collections::BTreeSet<&str> = used.into_iter().collect();
        let unused: Vec<String> = self.entries.keys().filter(|name| !used.contains(name.as_str())).cloned().collect();
        for name in &unused {
            self.entries.remove(name);
        }
        unused
    }
}

fn world_readable() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o644)
}

fn entry(key: &Node, node: &Node, errors: &mut Errors) -> Option<Entry> {
    let owner = format!("`{}`", key.key());
    let fields = read::fields(node, &owner, &["digest", "origin", "recorded", "policy"], errors)?;
    let wrong = |field: &str, expected: &str, errors: &mut Errors| {
        let subject = read::Subject::new(field, &owner);
        match fields.get(field) {
            Some(node) => read::wrong(node, subject, expected, errors),
            None => errors.push(Diagnostic::error(format!("{owner} has no `{field}`")).at(node.place.clone())),
        }
    };
    let text = |field: &str| fields.get(field).and_then(Node::text).map(|text| text.to_string());
    let digest = text("digest").and_then(|text| Digest::parse(&text));
    let recorded = text("recorded").and_then(|text| text.parse::<Timestamp>().ok());
    let origin = match text("origin").as_deref() {
        Some("bootstrap") => Some(Origin::Bootstrap),
        Some("registry") | None => Some(Origin::Registry),
        Some(_) => None,
    };
    let policy = text("policy").map_or(Some(Policy::Pinned), |text| policy(&text));
    for (is_missing, field, expected) in [
        (digest.is_none(), "digest", "`sha256:` and 64 hexadecimal digits"),
        (recorded.is_none(), "recorded", "a time such as `2026-01-31T12:00:00Z`"),
        (origin.is_none(), "origin", "`registry` or `bootstrap`"),
        (policy.is_none(), "policy", "`pinned`, `float` or `ttl` and a duration"),
    ] {
        if is_missing {
            wrong(field, expected, errors);
        }
    }
    Some(Entry { digest: digest?, origin: origin?, recorded: recorded?, policy: policy? })
}

fn policy(text: &str) -> Option<Policy> {
    match text {
        "pinned" => Some(Policy::Pinned),
        "float" => Some(Policy::Float),
        other => read::parse_duration(other.strip_prefix("ttl ")?).map(Policy::Ttl),
    }
}

fn with_help(errors: Diagnostics, file: &str) -> Diagnostics {
    let mut errors = errors.0;
    if let Some(last) = errors.last_mut() {
        let help = format!("restore it: git checkout -- {file}");
        let whole = Place::file(file);
        if last.places.is_empty() {
            last.places.push((whole, String::new()));
        }
        last.helps.push(help);
    }
    Diagnostics(errors)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lock() -> Lock {
        let mut lock = Lock::default();
        let day = Policy::Ttl(Duration::from_hours(24));
        assert_eq!(
            lock.record("debian:bookworm-slim", Digest::of(b"1"), Origin::Bootstrap, Policy::Pinned, at(1000)),
            None
        );
        assert_eq!(lock.record("busybox:stable", Digest::of(b"2"), Origin::Registry, day, at(1000)), None);
        lock
    }

    #[test]
    fn the_file_reads_as_it_was_written() {
        insta::assert_snapshot!(lock().text(), @r"
        # What the images from outside stood for when they were last looked up. Written by xtask; commit it.
        version: 1
        bases:
          busybox:stable:
            digest: sha256:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35
            origin: registry
            recorded: 1970-01-01T00:16:40Z
            policy: ttl 86400s
          debian:bookworm-slim:
            digest: sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b
            origin: bootstrap
            recorded: 1970-01-01T00:16:40Z
            policy: pinned
        ");
        assert_eq!(Lock::parse("bases.lock.yml", lock().text().as_bytes()).unwrap(), lock());
        let empty = Lock::default();
        assert_eq!(Lock::parse("bases.lock.yml", empty.text().as_bytes()).unwrap(), empty);
    }

    #[test]
    fn a_file_on_disk_changes_only_when_it_must() {
        let root = tempfile::tempdir().unwrap();
        let file = RepoPath::from_root("bases.lock.yml").unwrap();
        assert_eq!(Lock::load(root.path(), &file).unwrap(), Lock::default());
        lock().save(root.path(), &file).unwrap();
        let inode = |root: &Path| {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(root.join("bases.lock.yml")).map(|meta| (meta.ino(), meta.mode() & 0o777)).unwrap()
        };
        let first = inode(root.path());
        assert_eq!(first.1, 0o644);
        lock().save(root.path(), &file).unwrap();
        assert_eq!(inode(root.path()), first, "an equal file is left alone");
        assert_eq!(Lock::load(root.path(), &file).unwrap(), lock());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn policies_say_when_to_look() {
        let lock = lock();
        let day = Policy::Ttl(Duration::from_hours(24));
        assert_eq!(lock.lookup("absent", Policy::Pinned, at(0)), Lookup::Missing);
        assert_eq!(lock.lookup("busybox:stable", Policy::Pinned, at(9_999_999)), Lookup::No);
        assert_eq!(lock.lookup("busybox:stable", Policy::Float, at(1000)), Lookup::Float);
        assert_eq!(lock.lookup("busybox:stable", day, at(1000 + 86_399)), Lookup::No);
        assert_eq!(lock.lookup("busybox:stable", day, at(1000 + 86_400)), Lookup::Expired);
        assert_eq!(lock.lookup("busybox:stable", day, at(999)), Lookup::Expired);
    }

    #[test]
    fn a_moved_base_is_a_reason_and_an_unmoved_one_changes_nothing() {
        let mut lock = lock();
        let before = lock.clone();
        assert_eq!(
            lock.record("debian:bookworm-slim", Digest::of(b"1"), Origin::Bootstrap, Policy::Pinned, at(5000)),
            None
        );
        assert_eq!(lock, before);
        let reason = lock.record("debian:bookworm-slim", Digest::of(b"3"), Origin::Registry, Policy::Pinned, at(5000));
        let (old, new) = (Digest::of(b"1").to_string(), Digest::of(b"3").to_string());
        assert_eq!(reason, Some(Reason::BaseMoved { base: "debian:bookworm-slim".to_owned(), old, new }));
        assert_eq!(lock.entries["debian:bookworm-slim"].recorded, at(5000));
        assert_eq!(lock.forget_unused(["debian:bookworm-slim"]), ["busybox:stable"]);
    }

    #[test]
    fn a_broken_file_is_told_whole() {
        let text =
            "version: 2\nbases:\n  a: {digest: sha256:12, recorded: today, policy: often}\n  b: {origin: moon}\n";
        insta::assert_snapshot!(Lock::parse("images/bases.lock.yml", text.as_bytes()).unwrap_err(), @r"
        error: `version` of the lock file is not 1
          --> images/bases.lock.yml:1:10
        error: `digest` of `a` is `sha256:12`, expected `sha256:` and 64 hexadecimal digits
          --> images/bases.lock.yml:3:15
        error: `recorded` of `a` is `today`, expected a time such as `2026-01-31T12:00:00Z`
          --> images/bases.lock.yml:3:36
        error: `policy` of `a` is `often`, expected `pinned`, `float` or `ttl` and a duration
          --> images/bases.lock.yml:3:51
        error: `b` has no `digest`
          --> images/bases.lock.yml:4:6
        error: `b` has no `recorded`
          --> images/bases.lock.yml:4:6
        error: `origin` of `b` is `moon`, expected `registry` or `bootstrap`
          --> images/bases.lock.yml:4:15
          help: restore it: git checkout -- images/bases.lock.yml
        ");
    }
}
