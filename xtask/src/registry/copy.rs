//! Copies an image with everything it needs to another repository. Knows nothing of versions and promotion.

use super::blobs::RemoteBlob;
use super::error::{ErrorKind, RegistryError, Stage};
use super::manifest::{Kind, Manifest};
use super::repository::Repository;
use crate::model::Digest;

/// Copies what `reference` names in `from` to `to` and puts `tags` on it, byte for byte; gives the digest.
///
/// Content first (mounted where both lie in one registry, else streamed), tags last: nothing is half-published.
pub fn copy_image(from: &Repository, reference: &str, to: &Repository, tags: &[&str]) -> Result<Digest, RegistryError> {
    let manifest = from.manifest(reference)?;
    ensure_content(from, &manifest, to)?;
    if tags.is_empty() {
        to.put_manifest(&manifest.digest.to_string(), &manifest)?;
    }
    for tag in tags {
        to.put_manifest(tag, &manifest)?;
    }
    Ok(manifest.digest)
}

fn same_place(from: &Repository, to: &Repository) -> bool {
    from.client.same_registry(&to.client) && from.name == to.name
}

fn ensure_content(from: &Repository, manifest: &Manifest, to: &Repository) -> Result<(), RegistryError> {
    if same_place(from, to) || to.digest(&manifest.digest.to_string())?.is_some() {
        return Ok(());
    }
    let about = from.full(&manifest.digest.to_string());
    let bad = |detail| from.fail(Stage::ManifestGet, &about, ErrorKind::Malformed { detail });
    match manifest.kind().map_err(bad)? {
        Kind::Index => {
            for listed in manifest.manifests().map_err(bad)? {
                let child = from.manifest(&listed.digest.to_string())?;
                ensure_content(from, &child, to)?;
                to.put_manifest(&child.digest.to_string(), &child)?;
            }
        }
        Kind::Image => {
            for blob in manifest.blobs().map_err(bad)?.iter().filter(|blob| !blob.foreign) {
                ensure_blob(from, blob.digest, blob.size, to)?;
            }
        }
    }
    Ok(())
}

fn ensure_blob(from: &Repository, digest: Digest, size: u64, to: &Repository) -> Result<(), RegistryError> {
    if to.has_blob(digest)? {
        return Ok(());
    }
    if from.client.same_registry(&to.client) && to.mount(digest, from.name())? {
        return Ok(());
    }
    to.put_blob(digest, size, &RemoteBlob { repository: from, digest }).map(|_| ())
}
