//! Lists what a repository holds and deletes tags of it, saying first what hangs together. Knows nothing of which
//! tags are worth keeping.

use std::collections::BTreeMap;

use super::error::RegistryError;
use super::repository::{PointedBy, Repository};
use super::side_by_side::side_by_side;
use crate::model::{Diagnostic, Digest, words};

/// One tag and what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagInfo {
    pub tag: String,
    pub digest: Digest,
    /// RFC 3339, as the builder wrote it; empty where it did not say.
    pub created: String,
    /// Labels of the image (of an index: of its first image).
    pub labels: BTreeMap<String, String>,
}

/// Every tag with date and labels, sorted by tag. Costs three requests per different digest.
pub fn list_tags(repository: &Repository) -> Result<Vec<TagInfo>, RegistryError> {
    let tags = repository.tag_digests()?;
    let mut digests: Vec<Digest> = tags.iter().map(|(_, digest)| *digest).collect();
    digests.sort();
    digests.dedup();
    let images = side_by_side(&digests, |digest| repository.image(&digest.to_string(), None));
    let images = images.into_iter().collect::<Result<Vec<_>, _>>()?;
    let info = |(tag, digest): (String, Digest)| {
        let image = digests.binary_search(&digest).ok().map(|index| &images[index]);
        TagInfo {
            tag,
            digest,
            created: image.map(|image| image.created.clone()).unwrap_or_default(),
            labels: image.map(|image| image.labels.clone()).unwrap_or_default(),
        }
    };
    Ok(tags.into_iter().map(info).collect())
}

/// What deleting some tags of one digest means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub digest: Digest,
    /// Tags that shall go.
    pub tags: Vec<String>,
    /// Other tags of the same digest, which deleting by digest would take along.
    pub shared: Vec<String>,
    /// Tags of indexes that list the digest, which would be left broken.
    pub indexes: Vec<String>,
}

impl std::fmt::Display for Deletion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "delete {} ({})", words::list(&self.tags), self.digest.short())?;
        if !self.shared.is_empty() {
            write!(f, ", which also bears {}", words::list(&self.shared))?;
        }
        if !self.indexes.is_empty() {
            write!(f, ", and which {} lists", words::list(&self.indexes))?;
        }
        Ok(())
    }
}

/// Finds out what hangs on these tags; deletes nothing. A tag that does not exist is an error, all of them at once.
pub fn plan_deletion(repository: &Repository, tags: &[&str]) -> Result<Vec<Deletion>, Vec<Diagnostic>> {
    let one = |error: RegistryError| vec![error.to_diagnostic()];
    let heads = repository.tag_heads().map_err(one)?;
    let unknown: Vec<Diagnostic> = tags
        .iter()
        .filter(|tag| !heads.iter().any(|(known, ..)| known == *tag))
        .map(|tag| {
            let known: Vec<&str> = heads.iter().map(|(known, ..)| known.as_str()).collect();
            Diagnostic::error(format!("`{}` does not exist", repository.full(tag)))
                .maybe_help(words::suggest("tag", tag, &known))
        })
        .collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let mut deletions: Vec<Deletion> = Vec::new();
    for (tag, digest, _) in heads.iter().filter(|(tag, ..)| tags.contains(&tag.as_str())) {
        if let Some(known) = deletions.iter_mut().find(|known| known.digest == *digest) {
            known.tags.push(tag.clone());
            continue;
        }
        let PointedBy { tags: all, indexes } = repository.pointers(&heads, *digest).map_err(one)?;
        let shared = all.into_iter().filter(|other| !tags.contains(&other.as_str())).collect();
        deletions.push(Deletion { digest: *digest, tags: vec![tag.clone()], shared, indexes });
    }
    Ok(deletions)
}

/// Deletes the tags. Where the digest bears others, too, only if the registry can delete a single tag.
pub fn delete_tags(repository: &Repository, deletion: &Deletion) -> Result<(), Diagnostic> {
    if deletion.shared.is_empty() && deletion.indexes.is_empty() {
        let tags: Vec<&str> = deletion.tags.iter().map(String::as_str).collect();
        repository.delete(deletion.digest, &tags)?;
        return Ok(());
    }
    for tag in &deletion.tags {
        if !repository.delete_tag(tag)? {
            let message = format!("`{}` cannot be deleted alone in this registry", repository.full(tag));
            let mut refused = Diagnostic::error(message);
            if !deletion.shared.is_empty() {
                refused = refused.note(format!("its digest also bears {}", words::list(&deletion.shared)));
            }
            if !deletion.indexes.is_empty() {
                refused = refused.note(format!("its digest is listed by {}", words::list(&deletion.indexes)));
            }
            return Err(refused);
        }
    }
    Ok(())
}
