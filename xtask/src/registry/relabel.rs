//! Adds labels to an image that the registry has: another config over the same layers. Knows nothing of what they say.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::error::{ErrorKind, RegistryError, Stage};
use super::manifest::{Kind, Manifest};
use super::repository::Repository;
use crate::model::Digest;

/// What an image is with more labels. The same image and labels give the same bytes.
#[derive(Clone, Debug)]
pub struct Relabelled {
    pub config: Vec<u8>,
    pub manifest: Manifest,
}

/// Computes it; writes nothing.
pub fn relabelled(
    repository: &Repository,
    digest: Digest,
    labels: &BTreeMap<String, String>,
) -> Result<Relabelled, RegistryError> {
    let about = repository.full(&digest.to_string());
    let bad = |detail: String| repository.fail(Stage::ManifestGet, &about, ErrorKind::Malformed { detail });
    let manifest = repository.manifest(&digest.to_string())?;
    if manifest.kind() != Ok(Kind::Image) {
        return Err(bad("labels can be added to an image, and this is an index".to_owned()));
    }
    let config = repository.blob(manifest.config().map_err(bad)?.digest)?;
    with_labels(&manifest, &config, labels).map_err(bad)
}

/// Puts the config and the manifest, by its digest; no tag points to it yet.
pub(super) fn relabel(
    repository: &Repository,
    digest: Digest,
    labels: &BTreeMap<String, String>,
) -> Result<Digest, RegistryError> {
    let Relabelled { config, manifest } = relabelled(repository, digest, labels)?;
    repository.put_blob(Digest::of(&config), config.len() as u64, &config.as_slice())?;
    repository.put_manifest(&manifest.digest.to_string(), &manifest)
}

fn with_labels(manifest: &Manifest, config: &[u8], labels: &BTreeMap<String, String>) -> Result<Relabelled, String> {
    let invalid = |error: serde_json::Error| format!("the image is not valid: {error}");
    let mut config: Value = serde_json::from_slice(config).map_err(invalid)?;
    let mut outer: Value = serde_json::from_slice(&manifest.bytes).map_err(invalid)?;
    let inner = object(config.as_object_mut(), "config")?;
    let all = object(Some(inner), "Labels")?;
    all.extend(labels.iter().map(|(name, value)| (name.clone(), json!(value))));
    let config = config.to_string().into_bytes();
    let descriptor = outer.get_mut("config").and_then(Value::as_object_mut).ok_or("the manifest has no config")?;
    descriptor.insert("digest".to_owned(), json!(Digest::of(&config).to_string()));
    descriptor.insert("size".to_owned(), json!(config.len()));
    let manifest = Manifest::new(outer.to_string().into_bytes(), manifest.media_type.clone());
    Ok(Relabelled { config, manifest })
}

/// The object under a name, made where it is absent or null.
fn object<'a>(of: Option<&'a mut Map<String, Value>>, name: &str) -> Result<&'a mut Map<String, Value>, String> {
    let wrong = || format!("the image is not valid: `{name}` is no object");
    let value = of.ok_or_else(wrong)?.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::super::manifest::{ImageConfig, media};
    use super::*;

    #[test]
    fn only_the_labels_and_what_follows_from_them_differ() {
        let config = br#"{"architecture":"amd64","os":"linux","config":{"Cmd":["a"],"Labels":{"a":"1","b":"2"}},"rootfs":{"diff_ids":["x"]}}"#;
        let layer = Digest::of(b"layer");
        let manifest = json!({
            "schemaVersion": 2, "config": { "digest": Digest::of(config).to_string(), "size": config.len() },
            "layers": [{ "digest": layer.to_string(), "size": 5 }],
        });
        let manifest = Manifest::new(manifest.to_string().into_bytes(), media::OCI_MANIFEST);
        let labels = BTreeMap::from([("b".to_owned(), "a \"quoted\" word\nand a line".to_owned())]);
        let made = with_labels(&manifest, config, &labels).unwrap();
        let read = ImageConfig::parse(made.manifest.digest, Digest::of(&made.config), &made.config).unwrap();
        assert_eq!(read.labels["a"], "1");
        assert_eq!(read.labels["b"], labels["b"]);
        let listed = made.manifest.blobs().unwrap();
        assert_eq!((listed[0].digest, listed[0].size), (Digest::of(&made.config), made.config.len() as u64));
        assert_eq!(listed[1].digest, layer);
        assert_eq!(with_labels(&manifest, config, &labels).unwrap().manifest, made.manifest, "the same bytes again");
        let none = br#"{"config":null}"#;
        assert!(with_labels(&manifest, none, &labels).is_ok(), "an image without a config of its own");
    }
}
