//! `file_dep`, `watch` and `targets`: paths relative to the root. Knows nothing of the disk.

use super::cx::Cx;
use super::{Node, read};
use crate::model::RepoPath;
use crate::model::task::{FileDep, Target, TargetPolicy};

/// Files, globs and directories; `!` in front takes away.
pub(super) fn file_deps(node: &Node, field: &str, cx: &mut Cx<'_>) -> Vec<FileDep> {
    let items = cx.list(node, field, "a list of paths");
    items.iter().filter_map(|item| file_dep(item, field, cx)).collect()
}

fn file_dep(node: &Node, field: &str, cx: &mut Cx<'_>) -> Option<FileDep> {
    let text = cx.fixed(node, field)?;
    let (negated, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.into()),
        None => (false, text),
    };
    let pattern = cx.path_text(&text, &node.place, field)?;
    // The root as a directory: everything in it.
    let pattern = if pattern.is_empty() { "**".into() } else { pattern };
    Some(FileDep { pattern, negated, place: node.place.clone() })
}

/// Paths (with a trailing `/`: directories), or maps `{path, policy, optional}`.
pub(super) fn targets(node: &Node, cx: &mut Cx<'_>) -> Vec<Target> {
    let items = cx.list(node, "targets", "a list of paths (or of maps of `path`, `policy` and `optional`)");
    items.iter().filter_map(|item| target(item, cx)).collect()
}

fn target(node: &Node, cx: &mut Cx<'_>) -> Option<Target> {
    if node.map().is_none() {
        return target_path(node, cx);
    }
    const POLICIES: &[(&str, TargetPolicy)] = &[
        ("auto", TargetPolicy::Auto),
        ("exists", TargetPolicy::Exists),
        ("stat", TargetPolicy::Stat),
        ("hash", TargetPolicy::Hash),
    ];
    let of = format!("a target of {}", cx.of);
    let fields = read::fields(node, &of, &["path", "policy", "optional"], cx.errors)?;
    let path = read::required(fields, node, "path", &of, cx.errors)?;
    let mut target = target_path(path, cx)?;
    if let Some(policy) = fields.get("policy") {
        target.policy = cx.choice(policy, "policy", POLICIES)?;
    }
    if let Some(optional) = fields.get("optional") {
        target.optional = cx.boolean(optional, "optional")?;
    }
    Some(target)
}

fn target_path(node: &Node, cx: &mut Cx<'_>) -> Option<Target> {
    let text = cx.fixed(node, "targets")?;
    let directory = text.ends_with('/');
    let path = cx.path_text(&text, &node.place, "targets").and_then(|text| RepoPath::from_root(&*text))?;
    if path.as_bytes().is_empty() {
        cx.wrong(node, "targets", "a path below the root");
        return None;
    }
    Some(Target { path, directory, policy: TargetPolicy::Auto, optional: false, place: node.place.clone() })
}
