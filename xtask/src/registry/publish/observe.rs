//! What the registry has of the images that are to be pushed. Knows nothing of what follows from it.

use std::collections::BTreeMap;

use super::{Identity, Wanted};
use crate::model::Digest;
use crate::registry::side_by_side::side_by_side;
use crate::registry::{Kind, Registries, RegistryError, Repository, relabel, tested};

/// What the registry has of one wanted image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The manifest of the content before labels are added, if the registry has it.
    pub base: Option<Digest>,
    /// The manifest of exactly the wanted content, if the registry has it.
    pub content: Option<Digest>,
    /// Where the wanted tags point; a missing tag is not listed.
    pub tags: BTreeMap<String, Digest>,
    /// The registry has the record that the content's tests passed.
    pub recorded: bool,
}

/// Asks for every wanted image; the answers come in the same order. Costs one HEAD per tag and, for images that are
/// known by their id, one GET per different digest; a label or a record of tests costs two more.
pub fn observe(wanted: &[Wanted], registries: &Registries) -> Result<Vec<Observed>, RegistryError> {
    let look = |wanted: &Wanted| observe_one(wanted, &registries.open(&wanted.repository())?);
    side_by_side(wanted, look).into_iter().collect()
}

fn observe_one(wanted: &Wanted, repository: &Repository) -> Result<Observed, RegistryError> {
    let mut observed = Observed::default();
    for tag in &wanted.tags {
        if let Some(digest) = repository.digest(&tag.tag)? {
            observed.tags.insert(tag.tag.clone(), digest);
        }
    }
    observed.base = match wanted.identity {
        Identity::Manifest(digest) => repository.digest(&digest.to_string())?,
        Identity::Local(id) => {
            let mut candidates: Vec<Digest> = repository.digest(&wanted.anchor)?.into_iter().collect();
            candidates.extend(observed.tags.values());
            find_by_id(repository, id, &candidates)?
        }
    };
    let Some(base) = observed.base else { return Ok(observed) };
    observed.content = if wanted.labels.is_empty() {
        Some(base)
    } else {
        let labelled = relabel::relabelled(repository, base, &wanted.labels)?;
        repository.digest(&labelled.manifest.digest.to_string())?
    };
    if let (Some(content), Some(key)) = (observed.content, &wanted.tested) {
        observed.recorded = tested::has_record(repository, content, key)?;
    }
    Ok(observed)
}

fn find_by_id(repository: &Repository, id: Digest, candidates: &[Digest]) -> Result<Option<Digest>, RegistryError> {
    for (index, digest) in candidates.iter().enumerate() {
        let seen = candidates[..index].contains(digest);
        if !seen && has_id(repository, *digest, id)? {
            return Ok(Some(*digest));
        }
    }
    Ok(None)
}

/// Whether a manifest is that of the image with this id. An index is not.
pub fn has_id(repository: &Repository, digest: Digest, id: Digest) -> Result<bool, RegistryError> {
    let manifest = repository.manifest(&digest.to_string())?;
    let config = manifest.config().ok().map(|config| config.digest);
    Ok(manifest.kind() == Ok(Kind::Image) && config == Some(id))
}
