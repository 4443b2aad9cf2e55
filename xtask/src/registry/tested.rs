//! The record in a registry that an image's tests passed: an artifact of known bytes beside it, under no tag.
//!
//! Whoever knows the image knows the digest of its record, so one question finds it; the list of tags stays as it is.
//! Knows nothing of tests.

use serde_json::json;

use super::error::RegistryError;
use super::manifest::{Manifest, media};
use super::repository::Repository;
use crate::model::Digest;

/// The config and only layer of the artifact.
const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const RECORD_TYPE: &str = "application/vnd.xtask.tested.v1+json";

/// The record for an image with this manifest and content key.
fn record(of: &Manifest, key: &str) -> Manifest {
    let empty = json!({ "mediaType": EMPTY_TYPE, "digest": Digest::of(EMPTY).to_string(), "size": EMPTY.len() });
    let record = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": RECORD_TYPE,
        "config": empty,
        "layers": [empty],
        // Registries that know subjects keep the record as long as its image.
        "subject": { "mediaType": of.media_type, "digest": of.digest.to_string(), "size": of.bytes.len() },
        "annotations": { "dev.xtask.tested": "passed", "dev.xtask.key": key },
    });
    Manifest::new(record.to_string().into_bytes(), media::OCI_MANIFEST)
}

/// Whether the registry has the record for the image with this digest and content key.
pub fn has_record(repository: &Repository, digest: Digest, key: &str) -> Result<bool, RegistryError> {
    let image = repository.manifest(&digest.to_string())?;
    Ok(repository.digest(&record(&image, key).digest.to_string())?.is_some())
}

/// Writes the record.
pub fn put_record(repository: &Repository, digest: Digest, key: &str) -> Result<(), RegistryError> {
    let image = repository.manifest(&digest.to_string())?;
    let record = record(&image, key);
    repository.put_blob(Digest::of(EMPTY), EMPTY.len() as u64, &EMPTY)?;
    repository.put_manifest(&record.digest.to_string(), &record)?;
    Ok(())
}
