//! Checks the names of a stack against one another and against the folders, and sorts the images. Knows nothing
//! of YAML or Dockerfiles.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Diagnostic, ImageRef, words};
use crate::stack::order;
use crate::stack::types::{Form, Image, Stack};

use super::fields::Findings;
use super::read::{Draft, Folder};

/// All checks; afterwards the images stand in topological order unless there was an error.
pub fn check(draft: &mut Draft, folders: &[Folder], findings: &mut Findings) {
    names(&draft.stack, findings);
    plans(&draft.stack, findings);
    references(&draft.stack, folders, findings);
    roots(draft, folders, findings);
    folder_of_each_key(&draft.stack, folders, findings);
    key_of_each_folder(&draft.stack, folders, findings);
    match order::topological(&parent_indices(&draft.stack)) {
        Ok(sorted) => {
            let images = std::mem::take(&mut draft.stack.images);
            draft.stack.images = sorted.into_iter().map(|at| images[at].clone()).collect();
        }
        Err(cycles) => findings.errors.extend(cycles.iter().map(|cycle| cycle_error(&draft.stack.images, cycle))),
    }
}

/// The parents of every image by index; unknown ones are left out.
pub fn parent_indices(stack: &Stack) -> Vec<Vec<usize>> {
    let index: HashMap<&str, usize> = stack.images.iter().enumerate().map(|(at, image)| (&*image.key, at)).collect();
    let known = |image: &Image| image.depend_on.iter().filter_map(|key| index.get(&*key.value).copied()).collect();
    stack.images.iter().map(known).collect()
}

/// A cycle as one error with one place per edge.
pub fn cycle_error(images: &[Image], cycle: &[usize]) -> Diagnostic {
    let keys: Vec<&str> = cycle.iter().map(|at| &*images[*at].key).collect();
    if let [one] = keys.as_slice() {
        let place = images[cycle[0]].depend_on.first().map_or(&images[cycle[0]].place, |parent| &parent.place);
        return Diagnostic::error(format!("image `{one}` needs itself")).at(place.clone());
    }
    let mut text = keys.join(" -> ");
    text.push_str(" -> ");
    text.push_str(keys[0]);
    let mut error = Diagnostic::error(format!("images need each other in a cycle: {text}"));
    for (at, index) in cycle.iter().enumerate() {
        let (image, needed) = (&images[*index], keys[(at + 1) % keys.len()]);
        let edge = image.depend_on.iter().find(|parent| &*parent.value == needed);
        let place = edge.map_or(&image.place, |parent| &parent.place);
        error = error.at_because(place.clone(), format!("`{}` needs `{needed}`", image.key));
    }
    error.help("remove one of these edges")
}

fn names(stack: &Stack, findings: &mut Findings) {
    let mut seen: HashMap<(&str, Option<&str>), &Image> = HashMap::new();
    for image in &stack.images {
        let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if image.key.is_empty() || !image.key.chars().all(fine) || image.key.starts_with(['.', '-']) {
            findings.error(
                Diagnostic::error(format!("image key `{}` is not a plain name", image.key))
                    .at(image.place.clone())
                    .note("a key has letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`"),
            );
        }
        let parsed = ImageRef::parse(&image.image_name);
        let repository = |name: &ImageRef| name.tag.is_none() && name.digest.is_none() && is_repository(&name.name);
        if !parsed.as_ref().is_some_and(repository) {
            findings.error(
                Diagnostic::error(format!(
                    "`image_name` of image `{}` is `{}`, not the name of a repository",
                    image.key, image.image_name
                ))
                .at(image.image_name_place.clone())
                .note("a repository has lower-case letters, digits, `.`, `_`, `-` and `/`, and no tag"),
            );
        }
        if let Some(other) = seen.insert((&image.image_name, image.variant.as_deref()), image) {
            findings.error(
                Diagnostic::error(format!(
                    "images `{}` and `{}` have the same image_name `{}`",
                    other.key, image.key, image.image_name
                ))
                .at_because(other.image_name_place.clone(), format!("`{}`", other.key))
                .at_because(image.image_name_place.clone(), format!("`{}`", image.key))
                .note("each would overwrite the tags of the other"),
            );
        }
    }
}

/// Lower case, no empty part; the host may have upper case and a port.
fn is_repository(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) => path,
        _ => name,
    };
    path.split('/').all(|part| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    })
}

fn plans(stack: &Stack, findings: &mut Findings) {
    for (at, plan) in stack.plans.iter().enumerate() {
        let same = |other: &&crate::stack::types::Plan| other.name == plan.name || other.tag_prefix == plan.tag_prefix;
        if let Some(other) = stack.plans[..at].iter().find(same) {
            let what = if other.name == plan.name {
                format!("plan `{}` is given twice", plan.name)
            } else {
                let prefix = plan
                    .tag_prefix
                    .as_deref()
                    .map_or("no tag_prefix".to_owned(), |text| format!("the tag_prefix `{text}`"));
                format!("plans `{}` and `{}` have both {prefix}", other.name, plan.name)
            };
            findings.error(
                Diagnostic::error(what)
                    .at(other.place.clone())
                    .at(plan.place.clone())
                    .note("each would overwrite the tags of the other"),
            );
        }
    }
}

fn references(stack: &Stack, folders: &[Folder], findings: &mut Findings) {
    let keys: Vec<&str> = stack.images.iter().map(|image| &*image.key).collect();
    let known: HashSet<&str> = keys.iter().copied().collect();
    let plans: Vec<&str> = stack.plans.iter().map(|plan| &*plan.name).collect();
    let taggers: Vec<&str> = stack.taggers.iter().map(|tagger| tagger.name.as_str()).collect();
    let cmds: Vec<&str> = stack.info_cmds.iter().map(|cmd| cmd.name.as_str()).collect();
    for image in &stack.images {
        let mut parents: BTreeSet<&Arc<str>> = BTreeSet::new();
        for parent in &image.depend_on {
            let message = if !parents.insert(&parent.value) {
                format!("image `{}` names `{}` twice in depend_on", image.key, parent.value)
            } else if known.contains(&*parent.value) {
                continue;
            } else {
                format!("image `{}` has unknown depend_on `{}`", image.key, parent.value)
            };
            let error = Diagnostic::error(message).at(parent.place.clone());
            findings.error(with_folder(error, &parent.value, &keys, folders));
        }
        for plan in image.skip_plans.iter().chain(image.plan_args.keys()) {
            if !plans.contains(&plan.as_str()) {
                unknown(stack, image, ("plan", plan), &plans, findings);
            }
        }
        for cmd in &image.info_cmds {
            if !cmds.contains(&cmd.as_str()) {
                unknown(stack, image, ("info command", cmd), &cmds, findings);
            }
        }
        for tagger in image.taggers.iter().filter(|tagger| !taggers.contains(&tagger.as_str())) {
            unknown(stack, image, ("tagger", tagger), &taggers, findings);
        }
        if !stack.plans.is_empty() && stack.plans.iter().all(|plan| !image.is_in(&plan.name)) {
            findings.warn(
                Diagnostic::warning(format!("image `{}` skips every plan and is never built", image.key))
                    .at(image.place.clone()),
            );
        }
    }
}

/// A name that refers to nothing: an error, in the older forms a warning, because they were read like that.
fn unknown(stack: &Stack, image: &Image, (kind, name): (&str, &str), known: &[&str], findings: &mut Findings) {
    let message = format!("image `{}` names unknown {kind} `{name}`", image.key);
    let help = words::suggest(kind, name, known);
    if stack.form == Form::Current {
        findings.error(Diagnostic::error(message).at(image.place.clone()).maybe_help(help));
    } else {
        findings.warn(Diagnostic::warning(message).at(image.place.clone()).note("it is left out").maybe_help(help));
    }
}

fn with_folder(error: Diagnostic, name: &str, keys: &[&str], folders: &[Folder]) -> Diagnostic {
    if keys.contains(&name) {
        return error.help("remove one of the two");
    }
    if folders.iter().any(|folder| folder.path == name && folder.has_dockerfile) {
        return error
            .note(format!("the folder `{name}` exists, but `images` has no such key"))
            .help(format!("add an entry `{name}` to `images`"));
    }
    error.maybe_help(words::suggest("image", name, keys))
}

fn roots(draft: &Draft, folders: &[Folder], findings: &mut Findings) {
    let keys: Vec<&str> = draft.stack.images.iter().map(|image| &*image.key).collect();
    for root in &draft.roots {
        match draft.stack.image(&root.value) {
            None => {
                let error =
                    Diagnostic::error(format!("`root` names unknown image `{}`", root.value)).at(root.place.clone());
                findings.error(with_folder(error, &root.value, &keys, folders));
            }
            Some(image) => {
                if let Some(parent) = image.depend_on.first() {
                    findings.error(
                        Diagnostic::error(format!("`root` names image `{}`, which has a parent", root.value))
                            .at(root.place.clone())
                            .at_because(parent.place.clone(), format!("depend_on `{}`", parent.value)),
                    );
                }
            }
        }
    }
}

fn relative<'a>(stack: &Stack, image: &'a Image) -> std::borrow::Cow<'a, str> {
    let skip = stack.dir.parts().count();
    let parts: Vec<_> = image.dir.parts().skip(skip).map(String::from_utf8_lossy).collect();
    parts.join("/").into()
}

fn folder_of_each_key(stack: &Stack, folders: &[Folder], findings: &mut Findings) {
    let names: Vec<&str> =
        folders.iter().filter(|folder| folder.has_dockerfile).map(|folder| folder.path.as_str()).collect();
    let by_path: HashMap<&str, &Folder> = folders.iter().map(|folder| (folder.path.as_str(), folder)).collect();
    for image in &stack.images {
        let wanted = relative(stack, image);
        let (message, help) = match by_path.get(&*wanted) {
            Some(folder) if folder.has_dockerfile => continue,
            Some(_) => (format!("the folder `{}` of image `{}` holds no Dockerfile", image.dir, image.key), None),
            None => (
                format!("image `{}` has no folder `{}`", image.key, image.dir),
                words::closest(&wanted, names.iter().copied())
                    .map(|name| format!("a folder with a similar name exists: `{name}`")),
            ),
        };
        findings.error(Diagnostic::error(message).at(image.place.clone()).maybe_help(help));
    }
}

/// A folder with a Dockerfile that no key claims is never built: worth a warning, and harmless.
fn key_of_each_folder(stack: &Stack, folders: &[Folder], findings: &mut Findings) {
    let claimed: BTreeSet<String> = stack.images.iter().map(|image| relative(stack, image).into_owned()).collect();
    for folder in folders.iter().filter(|folder| folder.has_dockerfile && !folder.path.contains('/')) {
        if !claimed.contains(&folder.path) {
            let dir = crate::model::RepoPath::new(&stack.dir, &folder.path).unwrap_or_else(|| stack.dir.clone());
            findings.warn(
                Diagnostic::warning(format!(
                    "the folder `{dir}` holds a Dockerfile, but `images` has no key `{}`",
                    folder.path
                ))
                .at(crate::model::Place::file(&stack.file))
                .note("it is not built"),
            );
        }
    }
}
