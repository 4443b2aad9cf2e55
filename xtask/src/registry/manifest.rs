//! OCI and Docker manifests: their bytes, and the few fields that we read. Knows nothing of HTTP.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::Digest;

/// The media types of manifests.
pub mod media {
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// All four: a registry converts (and so changes the digest) what it is not told that we accept.
    pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
         application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
}

/// What a manifest describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One image (or artifact): a config and layers.
    Image,
    /// A list of manifests, one per platform.
    Index,
}

impl Kind {
    /// From a media type, parameters allowed; `None` for anything that is no manifest.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type.split(';').next().unwrap_or_default().trim() {
            media::OCI_INDEX | media::DOCKER_LIST => Some(Self::Index),
            media::OCI_MANIFEST | media::DOCKER_MANIFEST => Some(Self::Image),
            _ => None,
        }
    }
}

/// The bytes of a manifest exactly as the registry holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub bytes: Vec<u8>,
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
}

/// Reference from a manifest to content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// `os/architecture` or `os/architecture/variant`; only in an index.
    pub platform: Option<String>,
    /// The content lies elsewhere (`urls`): a registry need not hold it.
    pub foreign: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    #[serde(default)]
    manifests: Vec<RawDescriptor>,
    config: Option<RawDescriptor>,
    #[serde(default)]
    layers: Vec<RawDescriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    platform: Option<RawPlatform>,
    #[serde(default)]
    urls: Vec<String>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
}

impl RawDescriptor {
    fn into_descriptor(self) -> Result<Descriptor, String> {
        let digest = Digest::parse(&self.digest).ok_or_else(|| format!("`{}` is not a SHA-256 digest", self.digest))?;
        let platform = self.platform.map(|platform| {
            let mut text = format!("{}/{}", platform.os, platform.architecture);
            if !platform.variant.is_empty() {
                text.push('/');
                text.push_str(&platform.variant);
            }
            text
        });
        let foreign = !self.urls.is_empty();
        Ok(Descriptor { media_type: self.media_type, digest, size: self.size, platform, foreign })
    }
}

impl Manifest {
    pub fn new(bytes: Vec<u8>, media_type: impl Into<String>) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, media_type: media_type.into(), digest }
    }

    /// Image or index; the error says what it is instead.
    pub fn kind(&self) -> Result<Kind, String> {
        Kind::of(&self.media_type).ok_or_else(|| format!("`{}` is not a manifest that we know", self.media_type))
    }

    fn raw(&self) -> Result<RawManifest, String> {
        serde_json::from_slice(&self.bytes).map_err(|error| format!("the manifest is not valid: {error}"))
    }

    /// The manifests that an index lists; none for an image.
    pub fn manifests(&self) -> Result<Vec<Descriptor>, String> {
        self.raw()?.manifests.into_iter().map(RawDescriptor::into_descriptor).collect()
    }

    /// The config of an image.
    pub fn config(&self) -> Result<Descriptor, String> {
        self.raw()?.config.ok_or("the manifest has no config")?.into_descriptor()
    }

    /// Everything an image needs besides its manifest: the config first, then the layers, each once.
    pub fn blobs(&self) -> Result<Vec<Descriptor>, String> {
        let raw = self.raw()?;
        let mut blobs: Vec<Descriptor> = Vec::new();
        for descriptor in raw.config.into_iter().chain(raw.layers) {
            let descriptor = descriptor.into_descriptor()?;
            if !blobs.iter().any(|known| known.digest == descriptor.digest) {
                blobs.push(descriptor);
            }
        }
        Ok(blobs)
    }
}

/// What an image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// Of the manifest that the reference names (an index, where it is one).
    pub digest: Digest,
    /// Of the config: what engines call the image's id.
    pub id: Digest,
    pub labels: BTreeMap<String, String>,
    /// `os/architecture` or `os/architecture/variant`.
    pub platform: String,
    /// As written by the builder, RFC 3339; empty where it did not say.
    pub created: String,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
    created: Option<String>,
    config: Option<RawContainerConfig>,
}

#[derive(Deserialize)]
struct RawContainerConfig {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

impl ImageConfig {
    /// Reads a config blob.
    pub fn parse(digest: Digest, id: Digest, bytes: &[u8]) -> Result<Self, String> {
        let raw: RawConfig =
            serde_json::from_slice(bytes).map_err(|error| format!("the config is not valid: {error}"))?;
        let mut platform = format!("{}/{}", raw.os, raw.architecture);
        if !raw.variant.is_empty() {
            platform = format!("{platform}/{}", raw.variant);
        }
        let labels = raw.config.and_then(|config| config.labels).unwrap_or_default();
        Ok(Self { digest, id, labels, platform, created: raw.created.unwrap_or_default() })
    }
}
