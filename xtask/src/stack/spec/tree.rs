//! A stack from folders with Dockerfiles and no spec: every folder is an image, the FROM lines are the edges.
//! Knows no Dockerfile syntax.

use crate::model::{Diagnostic, Diagnostics, ImageRef, Place, RepoPath};
use crate::stack::graph::Mention;
use crate::stack::types::{Form, Image, Plan, Stack};

use super::fields::Findings;
use super::read::{self, Draft, Folder};

/// Folders within an image's folder that never are images.
const NOT_IMAGES: [&str; 6] = ["test", "tests", "integration_tests", "workflow_tests", "manual_tests", "units"];

/// Makes a stack of the folders below `dir` that hold a Dockerfile; a folder within such a folder is a variant of
/// it. `mentions` says which images the Dockerfile of an image needs.
///
/// An image is called as the FROM lines of others call it (`<registry>/<owner>/<folder>`); where no other needs it,
/// the images that it needs tell registry and owner.
///
/// Errors: no Dockerfile at all; those of `mentions`; names that are no names of images.
pub fn tree(
    dir: &RepoPath,
    folders: &[Folder],
    mut mentions: impl FnMut(&Image) -> Result<Vec<Mention>, Diagnostics>,
) -> Result<Stack, Diagnostics> {
    let file = dir.lossy();
    let mut stack = read::empty(&file, dir.clone());
    stack.form = Form::Tree;
    stack.plans.push(Plan::only(None, Place::file(&file)));
    stack.images = folders.iter().filter_map(|folder| image(dir, folder, folders)).collect();
    if stack.images.is_empty() {
        return Err(Diagnostic::error(format!("no folder in `{file}` holds a Dockerfile"))
            .help("name the folder of the images in `stack:` of tasks.yaml")
            .into());
    }
    let mut findings = Findings::default();
    let mut needed = Vec::new();
    for image in &stack.images {
        match mentions(image) {
            Ok(found) => needed.extend(found.iter().filter_map(|mention| ImageRef::parse(&mention.reference))),
            Err(errors) => findings.errors.extend(errors.0),
        }
    }
    name(&mut stack.images, &needed);
    let mut draft = Draft { stack, roots: Vec::new() };
    super::check::check(&mut draft, folders, &mut findings);
    read::finish(draft.stack, findings)
}

fn image(dir: &RepoPath, folder: &Folder, folders: &[Folder]) -> Option<Image> {
    if !folder.has_dockerfile || folder.path.split('/').any(|part| NOT_IMAGES.contains(&part)) {
        return None;
    }
    let path = RepoPath::new(dir, &folder.path)?;
    let place = Place::file(&format!("{path}/Dockerfile"));
    let mut image = Image::new(&folder.path.replace('/', "-"), &folder.path, path, place);
    if let Some((outer, inner)) = folder.path.split_once('/') {
        let has_default = folders.iter().any(|other| other.path == outer && other.has_dockerfile);
        image.variant = has_default.then(|| inner.to_owned());
        image.image_name = if has_default { outer.to_owned() } else { inner.to_owned() };
    }
    Some(image)
}

/// Sets registry and owner of every image.
fn name(images: &mut [Image], needed: &[ImageRef]) {
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let is_ours = |reference: &&ImageRef| images.iter().any(|image| image.image_name == last(&reference.name));
    let ours: Vec<&ImageRef> = needed.iter().filter(is_ours).collect();
    let common = ours.iter().find_map(|reference| reference.name.rsplit_once('/')).map(|(space, _)| space.to_owned());
    let names: Vec<String> = images
        .iter()
        .map(|image| match (ours.iter().find(|reference| last(&reference.name) == image.image_name), &common) {
            (Some(reference), _) => reference.name.clone(),
            (None, Some(space)) => format!("{space}/{}", image.image_name),
            (None, None) => image.image_name.clone(),
        })
        .collect();
    for (image, name) in images.iter_mut().zip(names) {
        image.image_name = name;
    }
}
