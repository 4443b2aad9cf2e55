//! Which entries of a tree the engine asks for: include patterns, exclude patterns and paths whose links are to be
//! followed. Knows nothing of the wire.

use std::collections::BTreeSet;

use super::tree::{Tree, components, is_below};
use crate::model::ContextKind;

/// What one transfer is to hold, as the engine words it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Everything, if there is neither one of these nor a followed path.
    pub include: Vec<Vec<u8>>,
    /// In order; `!` takes back.
    pub exclude: Vec<Vec<u8>>,
    /// Included, with the targets of the links on their way.
    pub follow: Vec<Vec<u8>>,
}

impl Filter {
    /// The indices of the entries to be sent: those that match, with all the folders above them.
    pub fn select(&self, tree: &Tree) -> Vec<u32> {
        let mut include: Vec<Vec<u8>> = self.include.iter().map(|pattern| clean(pattern)).collect();
        include.extend(follow_links(tree, &self.follow));
        let everything = include.is_empty() || include.iter().any(Vec::is_empty);
        let exclude: Vec<(bool, Vec<u8>)> = self
            .exclude
            .iter()
            .map(|pattern| match pattern.strip_prefix(b"!") {
                Some(rest) => (true, clean(rest)),
                None => (false, clean(pattern)),
            })
            .collect();
        let wanted = |path: &[u8]| {
            (everything || include.iter().any(|pattern| matches_or_above(pattern, path)))
                && !is_excluded(&exclude, path)
        };
        let mut chosen = Vec::new();
        let mut folders: Vec<(u32, &[u8], bool)> = Vec::new();
        for (index, entry) in tree.entries().iter().enumerate() {
            let (index, path) = (index as u32, entry.path.as_slice());
            while folders.last().is_some_and(|(_, folder, _)| !is_below(path, folder)) {
                folders.pop();
            }
            let wanted = wanted(path);
            if wanted {
                for (folder, _, sent) in &mut folders {
                    if !std::mem::replace(sent, true) {
                        chosen.push(*folder);
                    }
                }
                chosen.push(index);
            }
            if entry.kind == ContextKind::Directory {
                folders.push((index, path, wanted));
            }
        }
        chosen
    }
}

/// The last pattern that matches the path or a folder above it decides.
fn is_excluded(patterns: &[(bool, Vec<u8>)], path: &[u8]) -> bool {
    patterns.iter().fold(false, |excluded, (negated, pattern)| {
        if excluded == *negated && matches_or_above(pattern, path) { !negated } else { excluded }
    })
}

/// Whether the pattern matches the path or one of the folders above it.
fn matches_or_above(pattern: &[u8], path: &[u8]) -> bool {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.chain([path.len()]).any(|end| matches(pattern, &path[..end]))
}

/// Without `.`, `..`, doubled and outer slashes; empty for the root.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in components(path.trim_ascii()) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// Whether the whole path matches: `*` and `?` stop at `/`, `**` does not (and `**/` may be nothing), `[a-z]` and
/// `[^a-z]` are classes, `\` makes the next byte plain.
pub fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return path.is_empty() };
    match first {
        b'*' if rest.first() == Some(&b'*') => {
            let rest = &rest[1..];
            match rest.strip_prefix(b"/") {
                Some(rest) => starts(path).any(|at| matches(rest, &path[at..])),
                None => (0..=path.len()).any(|at| matches(rest, &path[at..])),
            }
        }
        b'*' => {
            let reach = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=reach).any(|at| matches(rest, &path[at..]))
        }
        b'?' => path.first().is_some_and(|byte| *byte != b'/') && matches(rest, &path[1..]),
        b'[' => match (class(rest), path.split_first()) {
            (Some((set, rest)), Some((byte, path))) => *byte != b'/' && set.has(*byte) && matches(rest, path),
            _ => false,
        },
        b'\\' if !rest.is_empty() => path.first() == rest.first() && matches(&rest[1..], &path[1..]),
        plain => path.first() == Some(plain) && matches(rest, &path[1..]),
    }
}

/// 0 and every place after a `/`.
fn starts(path: &[u8]) -> impl Iterator<Item = usize> {
    let after = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
    [0].into_iter().chain(after)
}

struct Class {
    negated: bool,
    ranges: Vec<(u8, u8)>,
}

impl Class {
    fn has(&self, byte: u8) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != self.negated
    }
}

/// Reads a class after its `[`; `None` if it never ends.
fn class(text: &[u8]) -> Option<(Class, &[u8])> {
    let (negated, mut text) = match text.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        let (low, rest) = one(text)?;
        text = rest;
        let high = match text {
            [b'-', next, ..] if *next != b']' => {
                let (high, rest) = one(&text[1..])?;
                text = rest;
                high
            }
            _ => low,
        };
        ranges.push((low, high));
        if let Some(rest) = text.strip_prefix(b"]") {
            return Some((Class { negated, ranges }, rest));
        }
    }
}

fn one(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

/// The paths themselves and, for each symbolic link on their way, what it points to. Patterns stay patterns.
fn follow_links(tree: &Tree, paths: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<(Vec<u8>, usize)> = paths.iter().map(|path| (clean(path), 0)).collect();
    while let Some((path, hops)) = open.pop() {
        // As many as a kernel follows before it calls them a loop.
        if !found.insert(path.clone()) || hops == 40 {
            continue;
        }
        let parts: Vec<&[u8]> = components(&path).collect();
        for depth in 1..=parts.len() {
            let here = parts[..depth].join(&b'/');
            for (folder, target) in links(tree, &here) {
                let mut next = if target.starts_with(b"/") { Vec::new() } else { folder };
                next.push(b'/');
                next.extend_from_slice(&target);
                for part in &parts[depth..] {
                    next.push(b'/');
                    next.extend_from_slice(part);
                }
                // The link itself must be there too, not only what it leads to.
                found.insert(here.clone());
                open.push((clean(&next), hops + 1));
            }
        }
    }
    found
}

/// The links at `path` (a pattern, perhaps): the folder each is in, and its target.
fn links(tree: &Tree, path: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let as_link = |entry: &crate::model::ContextEntry| match &entry.kind {
        ContextKind::Symlink { target } => {
            let end = entry.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            Some((entry.path[..end].to_vec(), target.clone()))
        }
        _ => None,
    };
    if path.iter().any(|byte| b"*?[\\".contains(byte)) {
        tree.entries().iter().filter(|entry| matches(path, &entry.path)).filter_map(as_link).collect()
    } else {
        tree.find(path).and_then(as_link).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Context, ContextEntry};

    #[test]
    fn globs_are_those_of_the_engine() {
        let yes = [
            ("a", "a"),
            ("*", "a"),
            ("a*c", "abc"),
            ("a?c", "abc"),
            ("**", "a/b/c"),
            ("**/c", "c"),
            ("**/c", "a/b/c"),
            ("a/**", "a/b/c"),
            ("a/**/c", "a/c"),
            ("a/**/c", "a/x/y/c"),
            ("[a-c]x", "bx"),
            ("[^a-c]x", "dx"),
            (r"\*", "*"),
            ("*.txt", ".txt"),
            ("a**z", "a/b/z"),
        ];
        for (pattern, path) in yes {
            assert!(matches(pattern.as_bytes(), path.as_bytes()), "{pattern} must match {path}");
        }
        let no =
            [("*", "a/b"), ("a?c", "a/c"), ("**/c", "xc"), ("[a-c]x", "dx"), ("[a", "a"), (r"\*", "x"), ("a", "ab")];
        for (pattern, path) in no {
            assert!(!matches(pattern.as_bytes(), path.as_bytes()), "{pattern} must not match {path}");
        }
    }

    /// A trailing `/` is a folder, ` -> x` a link, anything else a link to nowhere that stands for a file.
    fn tree(lines: &[&str]) -> Tree {
        let entries = lines
            .iter()
            .map(|line| match line.split_once(" -> ") {
                Some((path, target)) => (path, ContextKind::Symlink { target: target.into() }),
                None if line.ends_with('/') => (line.trim_end_matches('/'), ContextKind::Directory),
                None => (*line, ContextKind::Symlink { target: b"/nowhere".to_vec() }),
            })
            .map(|(path, kind)| ContextEntry { path: path.into(), kind })
            .collect();
        Tree::new(Arc::new(Context { entries })).unwrap()
    }

    fn select(tree: &Tree, include: &[&str], exclude: &[&str], follow: &[&str]) -> Vec<String> {
        let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let filter = Filter { include: bytes(include), exclude: bytes(exclude), follow: bytes(follow) };
        let name = |index: u32| String::from_utf8_lossy(&tree.entries()[index as usize].path).into_owned();
        filter.select(tree).into_iter().map(name).collect()
    }

    #[test]
    fn folders_come_with_what_they_hold() {
        let tree = tree(&["a/", "a/b/", "a/b/c", "a/d", "e/", "e/f", "g"]);
        assert_eq!(select(&tree, &[], &[], &[]).len(), 7);
        assert_eq!(select(&tree, &["."], &[], &[]).len(), 7);
        assert_eq!(select(&tree, &["/a/b"], &[], &[]), ["a", "a/b", "a/b/c"]);
        assert_eq!(select(&tree, &["*/f"], &[], &[]), ["e", "e/f"]);
        assert_eq!(select(&tree, &[], &["a", "!a/b/c"], &[]), ["a", "a/b", "a/b/c", "e", "e/f", "g"]);
        assert_eq!(select(&tree, &["nothing"], &[], &[]), Vec::<String>::new());
    }

    #[test]
    fn links_are_followed() {
        let tree = tree(&["d/", "d/f", "l -> d", "m -> l", "n -> /d/f", "o -> o", "p -> p/q"]);
        assert_eq!(select(&tree, &[], &[], &["m/f"]), ["d", "d/f", "l", "m"]);
        assert_eq!(select(&tree, &[], &[], &["n"]), ["d", "d/f", "n"]);
        assert_eq!(select(&tree, &[], &[], &["?/f"]).first().map(String::as_str), Some("d"));
        assert_eq!(select(&tree, &[], &[], &["o"]), ["o"]);
        assert_eq!(select(&tree, &[], &[], &["p/x"]), ["p"]);
    }
}
