//! `tags`: what a registry has, and its tags, without an engine. Knows nothing of the stack.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::action::image::Services;
use crate::model::image::is_tag;
use crate::model::{Diagnostic, Diagnostics, Digest, ImageRef, words};
use crate::registry::{Registries, Repository, copy_image, delete_tags, list_tags, plan_deletion};
use crate::world::World;

#[derive(Args, Debug)]
pub(super) struct TagsArgs {
    #[command(subcommand)]
    pub command: TagsCommand,
}

#[derive(Subcommand, Debug)]
pub(super) enum TagsCommand {
    /// Every tag of a repository with digest and date
    List {
        /// HOST/NAME
        repository: String,
        /// A JSON object per line, with the labels
        #[arg(long)]
        json: bool,
    },
    /// The digest of an image; exit 1 where the registry does not have it
    Digest {
        /// HOST/NAME:TAG
        image: String,
    },
    /// Put more tags on an image, by the same bytes
    Retag {
        /// HOST/NAME:TAG or HOST/NAME@DIGEST
        image: String,
        #[arg(required = true)]
        tags: Vec<String>,
        /// Move tags that exist with other content
        #[arg(long)]
        replace: bool,
    },
    /// Copy an image to another repository, with everything it needs; within a registry nothing is sent
    Copy {
        /// HOST/NAME:TAG or HOST/NAME@DIGEST
        from: String,
        /// HOST/NAME:TAG
        to: String,
    },
    /// Delete tags, after saying what else has the same digest
    Delete {
        /// HOST/NAME:TAG
        #[arg(required = true)]
        images: Vec<String>,
        /// Do it
        #[arg(short, long)]
        yes: bool,
    },
}

pub(super) fn tags(args: &TagsArgs, world: &World) -> Result<u8, Diagnostics> {
    let registries = Services::new(Path::new("."), &world.env).registries();
    match &args.command {
        TagsCommand::List { repository, json } => list(&open(&registries, repository)?.0, *json, world),
        TagsCommand::Digest { image } => {
            let (repository, reference) = open(&registries, image)?;
            match repository.digest(&reference).map_err(|error| error.to_diagnostic())? {
                Some(digest) => world.out.line(&digest.to_string()),
                None => {
                    super::show(world, &absent(&repository, &reference).into());
                    return Ok(1);
                }
            }
            Ok(0)
        }
        TagsCommand::Retag { image, tags, replace } => retag(&registries, image, tags, *replace, world),
        TagsCommand::Copy { from, to } => copy(&registries, from, to, world),
        TagsCommand::Delete { images, yes } => delete(&registries, images, *yes, world),
    }
}

/// The repository that a name means, and its tag or digest.
fn open(registries: &Registries, text: &str) -> Result<(Repository, String), Diagnostics> {
    let image = ImageRef::parse(text).ok_or_else(|| Diagnostic::error(format!("`{text}` is no image reference")))?;
    let repository = registries.open(&image).map_err(|error| error.to_diagnostic())?;
    let reference = image.digest.or(image.tag).unwrap_or_else(|| "latest".to_owned());
    Ok((repository, reference))
}

fn absent(repository: &Repository, reference: &str) -> Diagnostic {
    Diagnostic::error(format!("`{}` is not in the registry", repository.full(reference)))
}

fn list(repository: &Repository, as_json: bool, world: &World) -> Result<u8, Diagnostics> {
    let tags = list_tags(repository).map_err(|error| error.to_diagnostic())?;
    let width = tags.iter().map(|info| info.tag.len()).max().unwrap_or_default();
    for info in tags {
        world.out.line(&if as_json {
            json!({ "tag": info.tag, "digest": info.digest.to_string(), "created": info.created, "labels": info.labels })
                .to_string()
        } else {
            format!("{:width$}  {}  {}", info.tag, info.digest, info.created).trim_end().to_owned()
        });
    }
    Ok(0)
}

fn retag(
    registries: &Registries,
    image: &str,
    tags: &[String],
    replace: bool,
    world: &World,
) -> Result<u8, Diagnostics> {
    let (repository, reference) = open(registries, image)?;
    let digest = repository.digest(&reference).map_err(|error| error.to_diagnostic())?;
    let digest = digest.ok_or_else(|| absent(&repository, &reference))?;
    // Every tag is looked at before one is written.
    let mut moves: Vec<(&String, Option<Digest>)> = Vec::new();
    let mut problems = Vec::new();
    for tag in tags {
        if !is_tag(tag) {
            problems.push(Diagnostic::error(format!("`{tag}` cannot be a tag")));
            continue;
        }
        match repository.digest(tag) {
            Err(error) => problems.push(error.to_diagnostic()),
            Ok(Some(old)) if old != digest && !replace => problems.push(
                Diagnostic::error(format!("`{}` exists with other content", repository.full(tag)))
                    .note(format!("it is {old}"))
                    .help("to move it, add `--replace`"),
            ),
            Ok(old) => moves.push((tag, old)),
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    for (tag, old) in moves {
        let changed = crate::registry::publish::put_tag(&repository, tag, false, old, digest)?;
        let word = if changed { "" } else { "  (was there)" };
        world.out.line(&format!("{} = {digest}{word}", repository.full(tag)));
    }
    Ok(0)
}

fn copy(registries: &Registries, from: &str, to: &str, world: &World) -> Result<u8, Diagnostics> {
    let (source, reference) = open(registries, from)?;
    let (target, tag) = open(registries, to)?;
    if !is_tag(&tag) {
        return Err(Diagnostic::error(format!("`{to}` names a digest, expected a tag")).into());
    }
    let wanted = source.digest(&reference).map_err(|error| error.to_diagnostic())?;
    let wanted = wanted.ok_or_else(|| absent(&source, &reference))?;
    let old = target.digest(&tag).map_err(|error| error.to_diagnostic())?;
    if let Some(old) = old.filter(|old| *old != wanted) {
        return Err(Diagnostic::error(format!("`{}` exists with other content", target.full(&tag)))
            .note(format!("it is {old}"))
            .help("copy it under another tag")
            .into());
    }
    let digest = copy_image(&source, &wanted.to_string(), &target, &[&tag]).map_err(|error| error.to_diagnostic())?;
    world.out.line(&format!("{} = {digest}", target.full(&tag)));
    Ok(0)
}

/// Says first what hangs together; deletes only what was confirmed.
fn delete(registries: &Registries, images: &[String], yes: bool, world: &World) -> Result<u8, Diagnostics> {
    let mut by_repository: Vec<(Repository, Vec<String>)> = Vec::new();
    for image in images {
        let (repository, tag) = open(registries, image)?;
        if !is_tag(&tag) || ImageRef::parse(image).is_some_and(|image| image.tag.is_none()) {
            return Err(Diagnostic::error(format!("`{image}` names no tag")).help("write HOST/NAME:TAG").into());
        }
        let known = by_repository.iter_mut().find(|(known, _)| {
            known.name() == repository.name() && known.client().host() == repository.client().host()
        });
        match known {
            Some((_, tags)) => tags.push(tag),
            None => by_repository.push((repository, vec![tag])),
        }
    }
    let mut plans = Vec::new();
    for (repository, tags) in &by_repository {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        for deletion in plan_deletion(repository, &tags).map_err(Diagnostics)? {
            plans.push((repository, deletion));
        }
    }
    for (repository, deletion) in &plans {
        let host = repository.client().host();
        world.out.line(&format!("{host}/{}: {deletion}", repository.name()));
    }
    if !yes {
        let tags = words::count(images.len(), "tag");
        return Err(Diagnostic::error(format!("{tags} would be deleted, and nothing was"))
            .help(format!("to delete: cargo xtask tags delete {} --yes", images.join(" ")))
            .into());
    }
    for (repository, deletion) in &plans {
        delete_tags(repository, deletion)?;
    }
    Ok(0)
}
