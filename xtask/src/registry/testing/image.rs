//! Makes small images for tests. Knows nothing of which registry they go to.

use std::collections::BTreeMap;

use crate::model::Digest;
use crate::registry::{Manifest, RegistryError, Repository, media};

/// An image in memory.
#[derive(Clone, Debug)]
pub struct SampleImage {
    pub manifest: Manifest,
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
}

/// An image with one layer of these bytes and these labels.
pub fn sample(layer: &[u8], labels: &[(&str, &str)]) -> SampleImage {
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(layer).to_string()] },
    });
    let config = config.to_string().into_bytes();
    let descriptor = |media_type: &str, bytes: &[u8]| serde_json::json!({"mediaType": media_type, "size": bytes.len(), "digest": Digest::of(bytes).to_string()});
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media::DOCKER_MANIFEST,
        "config": descriptor("application/vnd.docker.container.image.v1+json", &config),
        "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
    });
    // Odd white space, so that a client that parses and writes anew is caught.
    let bytes = format!("\n {manifest:#}\n\t").into_bytes();
    SampleImage { manifest: Manifest::new(bytes, media::DOCKER_MANIFEST), config, layer: layer.to_vec() }
}

/// Pushes an image with our own client.
pub fn push_sample(repository: &Repository, image: &SampleImage, tags: &[&str]) -> Result<Digest, RegistryError> {
    repository.put_bytes(&image.layer)?;
    repository.put_bytes(&image.config)?;
    for tag in tags {
        repository.put_manifest(tag, &image.manifest)?;
    }
    Ok(image.manifest.digest)
}
