//! Finds what a stack is read from on the disk. Knows nothing of what a spec says.

use std::path::Path;

use crate::model::{Diagnostic, Diagnostics, Place, RepoPath};
use crate::render::dockerfile::{BuildOptions, Dockerfile};
use crate::stack::graph::Mention;
use crate::stack::types::{Image, Stack};
use crate::taskfile::yaml;

use super::read::{self, Folder, Source};
use super::tree::tree;

/// Reads the spec `spec` (relative to `root`), the names of the folders beside it and `change_ignore.json`. If `spec`
/// is a folder, it is a stack without a spec: its folders with Dockerfiles are the images.
///
/// Errors: a file that cannot be read; everything that is wrong with the spec.
pub fn load(root: &Path, spec: &RepoPath) -> Result<Stack, Diagnostics> {
    if root.join(spec.as_path()).is_dir() {
        let folders = folders(&root.join(spec.as_path()));
        return tree(spec, &folders, |image| mentions(root, image));
    }
    let file = spec.lossy();
    let bytes = bytes_of(root, spec)?.ok_or_else(|| {
        Diagnostic::error(format!("the spec `{file}` does not exist"))
            .help("name the spec in `stack:` of tasks.yaml, or the folder of the images where there is no spec")
    })?;
    let text = yaml::decode(&file.as_str().into(), &bytes)?;
    let dir = spec.parent().unwrap_or_else(RepoPath::root);
    let ignore = RepoPath::new(&dir, "change_ignore.json").unwrap_or_else(RepoPath::root);
    let ignore = text_of(root, &ignore)?;
    let folders = folders(&root.join(dir.as_path()));
    read::parse(&Source { file: &file, text, folders, change_ignore: ignore.as_deref() })
}

/// The images that the plain Dockerfile of an image needs, with the defaults of its build args.
fn mentions(root: &Path, image: &Image) -> Result<Vec<Mention>, Diagnostics> {
    let path = RepoPath::new(&image.dir, &image.dockerfile).unwrap_or_else(|| image.dir.clone());
    let Some(text) = text_of(root, &path)? else { return Ok(Vec::new()) };
    let dockerfile = Dockerfile::read(&path.lossy(), &text, &BuildOptions::default())?;
    let mention = |used: &&crate::render::dockerfile::ImageUse| Mention {
        reference: used.resolved.clone(),
        place: used.place(&path.lossy()),
    };
    Ok(dockerfile.needed_images().iter().map(mention).collect())
}

fn text_of(root: &Path, path: &RepoPath) -> Result<Option<String>, Diagnostics> {
    let Some(bytes) = bytes_of(root, path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let place = Place::file(&path.lossy());
        Diagnostic::error(format!("`{path}` is not UTF-8 text")).at(place).cause(error.utf8_error()).into()
    })
}

fn bytes_of(root: &Path, path: &RepoPath) -> Result<Option<Vec<u8>>, Diagnostics> {
    match std::fs::read(root.join(path.as_path())) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Diagnostic::error(format!("failed to read file `{path}`")).cause(error).into()),
    }
}

/// The folders below `dir`, two levels deep, sorted. What cannot be listed is left out: its keys will miss it.
pub fn folders(dir: &Path) -> Vec<Folder> {
    let mut found = Vec::new();
    for name in folder_names(dir) {
        let below = dir.join(&name);
        for inner in folder_names(&below) {
            let path = format!("{name}/{inner}");
            found.push(Folder { has_dockerfile: has_dockerfile(&below.join(&inner)), path });
        }
        found.push(Folder { has_dockerfile: has_dockerfile(&below), path: name });
    }
    found.sort();
    found
}

fn folder_names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    // Contexts may hold many files: only links are worth a question to the disk.
    let folder = |entry: &std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    };
    entries.flatten().filter(folder).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn has_dockerfile(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else { return false };
    entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"Dockerfile"))
}
