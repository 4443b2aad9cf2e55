//! From changed files to the images and tests they concern, with the chain as explanation. Pure: whoever calls
//! knows git and the disk.

use std::collections::BTreeMap;
use std::fmt;

use crate::context::glob;
use crate::model::RepoPath;

use super::graph::Graph;
use super::types::{ChangePolicy, Form, Stack};

/// What happened, as far as it decides what is rebuilt.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub files: Vec<RepoPath>,
    /// Of the commits that are looked at.
    pub messages: Vec<String>,
    pub branch: Option<String>,
    /// Nothing was built on this branch before.
    pub first_run: bool,
}

/// What a changed file means to the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An entry of `ignore` says that it means nothing.
    Ignored { pattern: String },
    /// An entry of `build_all` says that it means everything.
    BuildAll { pattern: String },
    /// It belongs to the context of an image.
    Image(usize),
    /// It lies elsewhere, and these images bring it into their contexts.
    Brought(Vec<usize>),
    /// It belongs to the tests of an image.
    Tests(usize),
    /// It belongs to the tests of all images.
    AllTests,
    /// It lies beside the folders of the images, where shared templates live: any image may use it.
    Shared,
    /// It has nothing to do with an image.
    Nothing,
}

/// Why an image is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Everything is, and this says why.
    Full(Full),
    /// Its own file changed.
    File(RepoPath),
    /// A parent (its index) is built.
    Parent(usize),
}

/// Why everything is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Full {
    Message { text: String },
    Branch { branch: String },
    FirstRun { branch: String },
    File { file: RepoPath, pattern: String },
    Shared { file: RepoPath },
}

/// Why the tests of an image run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyTest {
    /// The image is built.
    Built,
    /// A test file changed: one of all images, of its own, or of an ancestor.
    File(RepoPath),
}

/// The answer. Images are indices into `Stack::images`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    pub images: BTreeMap<usize, Why>,
    pub tests: BTreeMap<usize, WhyTest>,
    /// Every changed file with its meaning, in the order given.
    pub files: Vec<(RepoPath, Effect)>,
}

/// Says whether a file within the folder of an image is seen by its Dockerfile; `None` = not known, then it is taken
/// to be unless it lies in a folder of tests.
pub type Visible<'a> = &'a dyn Fn(usize, &RepoPath) -> Option<bool>;

/// Images and tests that a change concerns.
pub fn affected(stack: &Stack, graph: &Graph, change: &Change, visible: Visible<'_>) -> Affected {
    let mut found = Affected::default();
    let mut full = full_rebuild(&stack.change, change);
    let (mut changed, mut tests) = (BTreeMap::new(), BTreeMap::new());
    for file in &change.files {
        let effect = effect(stack, file, visible);
        match &effect {
            Effect::Image(image) => {
                changed.entry(*image).or_insert_with(|| file.clone());
            }
            Effect::Brought(images) => {
                for image in images {
                    changed.entry(*image).or_insert_with(|| file.clone());
                }
            }
            Effect::Tests(image) => {
                tests.entry(*image).or_insert_with(|| file.clone());
            }
            Effect::AllTests => {
                for image in 0..stack.images.len() {
                    tests.entry(image).or_insert_with(|| file.clone());
                }
            }
            Effect::BuildAll { pattern } if full.is_none() => {
                full = Some(Full::File { file: file.clone(), pattern: pattern.clone() });
            }
            Effect::Shared if full.is_none() => full = Some(Full::Shared { file: file.clone() }),
            _ => {}
        }
        found.files.push((file.clone(), effect));
    }
    // Parents stand before their children, so that one pass reaches every descendant.
    for image in 0..stack.images.len() {
        let parent = graph.parents(image).iter().find(|parent| found.images.contains_key(parent));
        let why = match (&full, changed.remove(&image), parent) {
            (_, Some(file), _) => Why::File(file),
            (Some(full), None, _) => Why::Full(full.clone()),
            (None, None, Some(parent)) => Why::Parent(*parent),
            (None, None, None) => continue,
        };
        found.images.insert(image, why);
    }
    for image in 0..stack.images.len() {
        let own_or_inherited = std::iter::once(image).chain(graph.ancestors(image)).find_map(|at| tests.get(&at));
        let why = match (found.images.contains_key(&image), own_or_inherited) {
            (true, _) => WhyTest::Built,
            (false, Some(file)) => WhyTest::File(file.clone()),
            (false, None) => continue,
        };
        found.tests.insert(image, why);
    }
    found
}

fn full_rebuild(policy: &ChangePolicy, change: &Change) -> Option<Full> {
    if let Some(text) = policy.full_rebuild_message.as_ref().filter(|text| !text.is_empty()) {
        let wanted = text.to_lowercase();
        if change.messages.iter().any(|message| message.to_lowercase().contains(&wanted)) {
            return Some(Full::Message { text: text.clone() });
        }
    }
    let branch = change.branch.clone().unwrap_or_default();
    if policy.full_rebuild_branches.contains(&branch) {
        return Some(Full::Branch { branch });
    }
    (policy.full_rebuild_on_first_run && change.first_run).then_some(Full::FirstRun { branch })
}

/// What one file means.
pub fn effect(stack: &Stack, file: &RepoPath, visible: Visible<'_>) -> Effect {
    let matching = |patterns: &[String]| patterns.iter().find(|pattern| covers(&stack.dir, pattern, file)).cloned();
    if let Some(pattern) = matching(&stack.change.ignore) {
        return Effect::Ignored { pattern };
    }
    if let Some(pattern) = matching(&stack.change.build_all) {
        return Effect::BuildAll { pattern };
    }
    let holds = |at: &usize| file.is_within(&stack.images[*at].dir);
    // A variant lies within the folder of its image: the innermost folder counts.
    let image = (0..stack.images.len()).filter(holds).max_by_key(|at| stack.images[*at].dir.as_bytes().len());
    if let Some(image) = image {
        return in_image(stack, image, file, visible);
    }
    if !file.is_within(&stack.dir) || *file == stack.dir {
        let images: Vec<usize> = (0..stack.images.len()).filter(|at| visible(*at, file) == Some(true)).collect();
        return if images.is_empty() { Effect::Nothing } else { Effect::Brought(images) };
    }
    let below: Vec<&[u8]> = file.parts().skip(stack.dir.parts().count()).collect();
    match below.as_slice() {
        [b"tests_common", ..] | [b"conftest.py" | b"pytest.ini"] => Effect::AllTests,
        // The older programs looked at nothing but the folders of images and the list.
        [_] if matches!(stack.form, Form::Current | Form::Tree) => Effect::Shared,
        _ => Effect::Nothing,
    }
}

fn in_image(stack: &Stack, image: usize, file: &RepoPath, visible: Visible<'_>) -> Effect {
    let depth = stack.images[image].dir.parts().count();
    let is_test = matches!(file.parts().nth(depth), Some(b"test" | b"tests" | b"integration_tests"))
        && file.parts().count() > depth + 1;
    let is_seen = match file.parts().nth(depth) {
        Some(b"manual_tests") => false,
        _ => !is_test,
    };
    if visible(image, file).unwrap_or(is_seen) {
        Effect::Image(image)
    } else if is_test {
        Effect::Tests(image)
    } else {
        Effect::Nothing
    }
}

/// Whether an entry of a list covers a file: a plain name covers what has it directly below the folder of the images,
/// a pattern with `/` or wildcards is matched against the path from the root (`**` = any folders).
fn covers(dir: &RepoPath, pattern: &str, file: &RepoPath) -> bool {
    let parts: Vec<&[u8]> = file.parts().collect();
    if !pattern.contains(['/', '*', '?', '[']) {
        let below = dir.parts().count();
        return file.is_within(dir) && parts.get(below) == Some(&pattern.as_bytes())
            || parts.as_slice() == [pattern.as_bytes()];
    }
    let pattern: Vec<&[u8]> = pattern.trim_matches('/').split('/').map(str::as_bytes).collect();
    matches(&pattern, &parts)
}

fn matches(pattern: &[&[u8]], parts: &[&[u8]]) -> bool {
    match pattern.split_first() {
        // What is named covers what lies in it.
        None => true,
        Some((&b"**", rest)) => {
            let least = usize::from(rest.is_empty());
            (0..=parts.len()).any(|skip| parts.len() - skip >= least && matches(rest, &parts[skip..]))
        }
        Some((first, rest)) => {
            parts.split_first().is_some_and(|(part, below)| glob::matches(first, part) && matches(rest, below))
        }
    }
}

impl Affected {
    /// From the changed file to the image, one step per entry, e.g. `images/base/Dockerfile`, `base`, `leaf`.
    pub fn chain(&self, stack: &Stack, image: usize) -> Vec<String> {
        let mut chain = vec![stack.images[image].key.to_string()];
        let mut at = image;
        loop {
            match self.images.get(&at) {
                Some(Why::Parent(parent)) => {
                    chain.push(stack.images[*parent].key.to_string());
                    at = *parent;
                }
                Some(Why::File(file)) => {
                    chain.push(file.lossy());
                    break;
                }
                Some(Why::Full(full)) => {
                    chain.push(full.to_string());
                    break;
                }
                None => break,
            }
        }
        chain.reverse();
        chain
    }

    /// The chain to the tests of an image; empty if they need not run.
    pub fn test_chain(&self, stack: &Stack, image: usize) -> Vec<String> {
        let mut chain = match self.tests.get(&image) {
            None => return Vec::new(),
            Some(WhyTest::Built) => self.chain(stack, image),
            Some(WhyTest::File(file)) => vec![file.lossy()],
        };
        chain.push(format!("tests of {}", stack.images[image].key));
        chain
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { text } => write!(f, "`{text}` in a commit message"),
            Self::Branch { branch } => write!(f, "everything is built on branch `{branch}`"),
            Self::FirstRun { branch } => write!(f, "first run of branch `{branch}`"),
            Self::File { file, pattern } if file.lossy() == *pattern => write!(f, "{file}"),
            Self::File { file, pattern } => write!(f, "{file} (build_all `{pattern}`)"),
            Self::Shared { file } => write!(f, "{file} (shared by all images)"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored { pattern } => write!(f, "ignored by `{pattern}`"),
            Self::BuildAll { pattern } => write!(f, "all images by `{pattern}`"),
            Self::Image(_) => write!(f, "its image"),
            Self::Brought(images) if images.len() == 1 => write!(f, "the image that brings it into its context"),
            Self::Brought(images) => write!(f, "the {} images that bring it into their contexts", images.len()),
            Self::Tests(_) => write!(f, "tests of its image"),
            Self::AllTests => write!(f, "tests of all images"),
            Self::Shared => write!(f, "all images"),
            Self::Nothing => write!(f, "no image"),
        }
    }
}

#[cfg(test)]
#[path = "affected_tests.rs"]
mod tests;
