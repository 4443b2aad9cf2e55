//! The content key: an image's identity by everything that goes into it. Knows nothing of engines and registries.
//!
//! One walk over the parts feeds two sinks: the digest, and a list of (part, short value) by which `explain` names
//! the first part that differs. Absolute paths, times and values of secrets are no parts.

use std::collections::BTreeMap;

use crate::model::context::{Context, ContextKind};
use crate::model::digest::{Digest, Hasher};
use crate::render::dockerfile::Dockerfile;

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    /// Read from the text before any reference is pinned, with the build args of `args`.
    pub dockerfile: &'a Dockerfile,
    /// What the Dockerfile can see.
    pub context: &'a Context,
    /// All build args that are given; those that cannot change the result are left out here.
    pub args: &'a BTreeMap<String, String>,
    /// `os/arch[/variant]` if one is asked for.
    pub platform: Option<&'a str>,
    /// Options of the build that change the result, e.g. `network`.
    pub options: &'a BTreeMap<String, String>,
    /// What each needed image is, by its resolved reference: the content key of a parent in the stack, the manifest
    /// digest of an image from outside.
    pub bases: &'a BTreeMap<String, Digest>,
}

/// A key and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentKey {
    pub digest: Digest,
    /// (name of the part, its digest or short text), in the order of the walk.
    pub parts: Vec<(String, String)>,
}

/// Changes whenever the walk changes, so that keys of different rules never meet.
const RULES: &str = "content key 1";

/// The key of an image. An image that [`KeyParts::bases`] does not know has the part `base …: unknown`: give all.
pub fn content_key(parts: &KeyParts<'_>) -> ContentKey {
    let mut hasher = Hasher::new();
    hasher.field(RULES);
    let mut list = Vec::with_capacity(parts.context.entries.len() + 8);
    walk(parts, &mut |part| {
        hasher.field(part.kind).field(part.name).field(part.value);
        let name = String::from_utf8_lossy(part.name);
        let name = if name.is_empty() { part.kind.to_owned() } else { format!("{} {name}", part.kind) };
        list.push((name, part.shown));
    });
    ContentKey { digest: hasher.finish(), parts: list }
}

/// The first part that differs between two keys: its name, and what it was and is (`None` where it was not there).
pub fn first_difference<'k>(
    old: &'k [(String, String)],
    new: &'k [(String, String)],
) -> Option<(&'k str, Option<&'k str>, Option<&'k str>)> {
    let olds: BTreeMap<&str, &str> = old.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let news: BTreeMap<&str, &str> = new.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let changed = new.iter().find(|(name, value)| olds.get(name.as_str()) != Some(&value.as_str()));
    if let Some((name, value)) = changed {
        return Some((name, olds.get(name.as_str()).copied(), Some(value)));
    }
    let gone = old.iter().find(|(name, _)| !news.contains_key(name.as_str()))?;
    Some((&gone.0, Some(&gone.1), None))
}

/// One part on its way to the sinks.
struct Part<'p> {
    kind: &'static str,
    name: &'p [u8],
    /// What counts.
    value: &'p [u8],
    /// What people see of it.
    shown: String,
}

/// Dockerfile and bases first: the order is the order in which causes are told.
fn walk(parts: &KeyParts<'_>, sink: &mut dyn FnMut(Part<'_>)) {
    let text = Digest::of(parts.dockerfile.canonical.as_bytes());
    sink(Part { kind: "dockerfile", name: b"", value: &text.0, shown: text.short() });
    for (index, image) in parts.dockerfile.needed_images().into_iter().enumerate() {
        // A base counts by what it is and where it is used, not by the name that a plan gives it.
        let known = parts.bases.get(&image.resolved);
        let shown = known.map_or_else(|| "unknown".to_owned(), Digest::short);
        let value = known.map_or(&[] as &[u8], |digest| &digest.0);
        sink(Part { kind: "base", name: (index + 1).to_string().as_bytes(), value, shown });
    }
    for (name, value) in parts.args.iter().filter(|(name, _)| parts.dockerfile.args_beyond_from.contains(*name)) {
        sink(Part { kind: "arg", name: name.as_bytes(), value: value.as_bytes(), shown: value.clone() });
    }
    let target = parts.dockerfile.target.to_string();
    sink(Part { kind: "target", name: b"", value: target.as_bytes(), shown: target.clone() });
    if let Some(platform) = parts.platform {
        sink(Part { kind: "platform", name: b"", value: platform.as_bytes(), shown: platform.to_owned() });
    }
    for (name, value) in parts.options {
        sink(Part { kind: "option", name: name.as_bytes(), value: value.as_bytes(), shown: value.clone() });
    }
    for entry in &parts.context.entries {
        let (kind, value, shown) = match &entry.kind {
            ContextKind::Directory => ("directory", Vec::new(), String::new()),
            ContextKind::File { digest, executable, .. } => {
                let mode = if *executable { b'x' } else { b'-' };
                let shown = format!("{}{}", digest.short(), if *executable { " executable" } else { "" });
                ("file", [&digest.0[..], &[mode]].concat(), shown)
            }
            ContextKind::Symlink { target } => {
                ("link", target.clone(), format!("-> {}", String::from_utf8_lossy(target)))
            }
        };
        sink(Part { kind, name: &entry.path, value: &value, shown });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::context::ContextEntry;
    use crate::render::dockerfile::BuildOptions;

    const TEXT: &str = "ARG BASE=lab/base\nFROM $BASE\nARG V=1\nARG UNUSED\nCOPY a /\nLABEL v=$V\n";

    struct Case {
        text: String,
        args: BTreeMap<String, String>,
        context: Context,
        platform: Option<&'static str>,
        options: BTreeMap<String, String>,
        base: Digest,
    }

    fn case() -> Case {
        let file = |path: &str, content: &[u8]| ContextEntry {
            path: path.as_bytes().to_vec(),
            kind: ContextKind::File {
                source: Path::new("/anywhere").join(path),
                digest: Digest::of(content),
                size: content.len() as u64,
                executable: false,
            },
        };
        Case {
            text: TEXT.to_owned(),
            args: BTreeMap::new(),
            context: Context { entries: vec![file("a", b"1"), file("b", b"2")] },
            platform: None,
            options: BTreeMap::new(),
            base: Digest::of(b"base"),
        }
    }

    impl Case {
        fn key(&self) -> ContentKey {
            let options = BuildOptions { args: self.args.clone(), ..BuildOptions::default() };
            let dockerfile = Dockerfile::read("Dockerfile", &self.text, &options).unwrap();
            let bases = dockerfile.images.iter().map(|image| (image.resolved.clone(), self.base)).collect();
            content_key(&KeyParts {
                dockerfile: &dockerfile,
                context: &self.context,
                args: &self.args,
                platform: self.platform,
                options: &self.options,
                bases: &bases,
            })
        }
    }

    fn changed(change: impl FnOnce(&mut Case)) -> Option<String> {
        let old = case().key();
        let mut case = case();
        change(&mut case);
        let new = case.key();
        let difference = first_difference(&old.parts, &new.parts).map(|(name, ..)| name.to_owned());
        assert_eq!(old.digest != new.digest, difference.is_some(), "the two sinks must agree");
        difference
    }

    fn arg(name: &str, value: &str) -> impl FnOnce(&mut Case) {
        let (name, value) = (name.to_owned(), value.to_owned());
        move |case| _ = case.args.insert(name, value)
    }

    #[test]
    fn each_part_changes_the_key_and_is_named() {
        assert_eq!(changed(|case| case.text.push_str("USER x\n")).as_deref(), Some("dockerfile"));
        assert_eq!(changed(arg("V", "2")).as_deref(), Some("arg V"));
        assert_eq!(changed(|case| case.base = Digest::of(b"other")).as_deref(), Some("base 1"));
        assert_eq!(changed(|case| case.platform = Some("linux/arm64")).as_deref(), Some("platform"));
        assert_eq!(
            changed(|case| _ = case.options.insert("network".into(), "none".into())).as_deref(),
            Some("option network")
        );
        assert_eq!(changed(|case| _ = case.context.entries.pop()).as_deref(), Some("file b"));
        assert_eq!(
            changed(|case| case.context.entries[0].kind = ContextKind::Directory).as_deref(),
            Some("directory a")
        );
        let set = |digest: Digest, executable: bool| {
            changed(move |case| {
                let source = Path::new("/elsewhere").to_owned();
                case.context.entries[0].kind = ContextKind::File { source, digest, size: 1, executable };
            })
        };
        assert_eq!(set(Digest::of(b"3"), false).as_deref(), Some("file a"));
        assert_eq!(set(Digest::of(b"1"), true).as_deref(), Some("file a"));
        // Where a file lies is no part of it.
        assert_eq!(set(Digest::of(b"1"), false), None);
    }

    #[test]
    fn what_cannot_change_the_image_does_not_change_the_key() {
        assert_eq!(changed(arg("UNUSED", "2")), None);
        assert_eq!(changed(arg("NEVER_DECLARED", "2")), None);
        assert_eq!(changed(arg("BASE", "lab/base:other-plan")), None);
        assert_eq!(changed(|case| case.text = TEXT.replace("LABEL", "# why\n\nLABEL")), None);
    }
}
