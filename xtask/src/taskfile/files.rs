//! The root file and those it includes, each parsed once. Knows nothing of tasks.

use super::world::LoadWorld;
use super::{Errors, Node, Value, names, read, yaml};
use crate::model::{Diagnostic, Digest, Place, RepoPath};

const ROOT_FIELDS: &[&str] =
    &["version", "config", "vars", "pools", "stack", "hosts", "storage", "include", "defaults", "tasks", "x-*"];
const INCLUDED_FIELDS: &[&str] = &["version", "vars", "pools", "hosts", "include", "defaults", "tasks", "x-*"];
/// More files than this are a mistake.
const MAX_FILES: usize = 256;

/// One file.
pub(super) struct File {
    /// Position in the list; the root has 0.
    pub index: usize,
    /// The file that includes it.
    pub parent: Option<usize>,
    pub name: String,
    /// Its folder, relative to the root.
    pub dir: RepoPath,
    /// In front of the names of its tasks: empty or `ci:`.
    pub namespace: String,
    pub node: Node,
}

/// A file that is to be read.
struct Wanted {
    name: String,
    namespace: String,
    parent: Option<usize>,
    /// Where it is named; `None` for the root.
    place: Option<Place>,
}

/// Reads the root and all includes, includers before what they include.
pub(super) fn gather(
    root_file: &str,
    world: &LoadWorld<'_>,
    errors: &mut Errors,
) -> (Vec<File>, Vec<(String, Digest)>) {
    let (mut files, mut sources): (Vec<File>, Vec<(String, Digest)>) = (Vec::new(), Vec::new());
    let mut wanted = vec![Wanted { name: root_file.to_owned(), namespace: String::new(), parent: None, place: None }];
    while let Some(next) = wanted.pop() {
        if !may_read(&next, &files, errors) {
            continue;
        }
        let Some((node, digest)) = parse(&next, world, errors) else { continue };
        let (index, dir) = (files.len(), folder(&next.name));
        if !sources.iter().any(|(name, _)| *name == next.name) {
            sources.push((next.name.clone(), digest));
        }
        let file = File { index, parent: next.parent, name: next.name, dir, namespace: next.namespace, node };
        check_top(&file, errors);
        let mut included = includes(&file, errors);
        included.reverse();
        wanted.extend(included);
        files.push(file);
    }
    (files, sources)
}

fn folder(name: &str) -> RepoPath {
    RepoPath::from_root(name).and_then(|path| path.parent()).unwrap_or_else(RepoPath::root)
}

/// Whether the file is neither an includer of itself nor there already under the same namespace.
fn may_read(next: &Wanted, files: &[File], errors: &mut Errors) -> bool {
    let Some(place) = &next.place else { return true };
    let mut chain = vec![next.name.as_str()];
    let mut above = next.parent;
    while let Some(index) = above {
        chain.push(&files[index].name);
        if files[index].name == next.name {
            chain.reverse();
            let message = format!("`{}` includes itself: {}", next.name, chain.join(" -> "));
            errors.push(Diagnostic::error(message).at(place.clone()).help("remove one of these includes"));
            return false;
        }
        above = files[index].parent;
    }
    if files.iter().any(|file| file.name == next.name && file.namespace == next.namespace) {
        let message = format!("`{}` is included twice", next.name);
        let help = "include it once, or give each include its own `namespace`";
        errors.push(Diagnostic::error(message).at(place.clone()).help(help));
        return false;
    }
    if files.len() >= MAX_FILES {
        errors.push(Diagnostic::error(format!("`include` names more than {MAX_FILES} files")).at(place.clone()));
        return false;
    }
    true
}

fn parse(next: &Wanted, world: &LoadWorld<'_>, errors: &mut Errors) -> Option<(Node, Digest)> {
    let bytes = match (world.read)(&next.name) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("failed to read file `{}`", next.name);
            let place = next.place.clone().unwrap_or_else(|| Place::file(&next.name));
            errors.push(Diagnostic::error(message).at(place).cause(error));
            return None;
        }
    };
    match yaml::parse(&next.name, &bytes) {
        Ok(node) => Some((node, Digest::of(&bytes))),
        Err(found) => {
            errors.extend(found);
            None
        }
    }
}

/// Unknown fields and the version.
fn check_top(file: &File, errors: &mut Errors) {
    let of = format!("`{}`", file.name);
    let known = if file.parent.is_none() { ROOT_FIELDS } else { INCLUDED_FIELDS };
    let Some(fields) = read::fields(&file.node, &of, known, errors) else { return };
    match fields.get("version") {
        Some(version) if version.plain().is_some_and(|text| &**text == "1") => {}
        Some(version) => {
            let message = format!("`version` of {of} is {}, expected `1`", version.found());
            errors.push(Diagnostic::error(message).at(version.place.clone()).note("this program reads version 1 only"));
        }
        None if file.parent.is_none() => {
            let error = Diagnostic::error(format!("{of} has no `version`")).at(file.node.place.clone());
            errors.push(error.help("add `version: 1` as its first line"));
        }
        None => {}
    }
}

fn includes(file: &File, errors: &mut Errors) -> Vec<Wanted> {
    let Some(node) = file.node.get("include") else { return Vec::new() };
    let subject = read::Subject::new("include", "");
    let items = read::list(node, subject, "a list of files (or of maps of `file` and `namespace`)", errors);
    items.iter().filter_map(|item| include(file, item, errors)).collect()
}

fn include(file: &File, item: &Node, errors: &mut Errors) -> Option<Wanted> {
    let subject = read::Subject::new("include", "");
    let (path, space) = match &item.value {
        Value::Map(_) => {
            let fields = read::fields(item, "`include`", &["file", "namespace"], errors)?;
            (read::required(fields, item, "file", "`include`", errors)?, fields.get("namespace"))
        }
        _ => (item, None),
    };
    let text = read::word(path, subject, errors)?;
    let Some(name) = RepoPath::new(&file.dir, text.as_bytes()) else {
        read::wrong(path, subject, "a path below the root, relative to the file that includes it", errors);
        return None;
    };
    let mut namespace = file.namespace.clone();
    if let Some(space) = space {
        let word = read::word(space, read::Subject::new("namespace", "`include`"), errors)?;
        if let Some(fault) = names::fault(&word) {
            errors.push(Diagnostic::error(format!("namespace `{word}` {fault}")).at(space.place.clone()));
            return None;
        }
        namespace.push_str(&word);
        namespace.push(':');
    }
    Some(Wanted { name: name.lossy(), namespace, parent: Some(file.index), place: Some(path.place.clone()) })
}
