//! Images that the engine holds: look, list, name, remove. Knows nothing of how they are made.

use std::collections::{BTreeMap, HashMap};

use bollard::models;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};

use super::{Docker, DockerError, ask};
use crate::model::ImageRef;

/// An image in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…`: the digest of its configuration.
    pub id: String,
    /// `repo:tag`.
    pub tags: Vec<String>,
    /// `repo@sha256:…`, known once it was pushed or pulled.
    pub repo_digests: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Digests of the uncompressed layers, lowest first.
    pub layers: Vec<String>,
    /// Bytes, parents included.
    pub size: u64,
    /// RFC 3339, as the engine writes it.
    pub created: String,
    pub os: String,
    pub arch: String,
    pub variant: Option<String>,
    pub env: Vec<String>,
    pub cmd: Vec<String>,
    pub entrypoint: Vec<String>,
    pub user: String,
    pub workdir: String,
    pub exposed_ports: Vec<String>,
    /// Its containers say by a command whether they are ready.
    pub has_health_check: bool,
}

impl Image {
    /// The digest under which `repository` holds it, if the engine knows.
    pub fn digest_in(&self, repository: &str) -> Option<&str> {
        self.repo_digests.iter().find_map(|name| name.strip_prefix(repository)?.strip_prefix('@'))
    }
}

/// An image as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    pub id: String,
    pub parent: String,
    pub tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Bytes, parents included.
    pub size: u64,
    /// Seconds since 1970.
    pub created: i64,
}

/// One entry of an image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// `None` for all but the topmost of an image built elsewhere or by BuildKit.
    pub id: Option<String>,
    pub created_by: String,
    /// Seconds since 1970.
    pub created: i64,
    /// Bytes it adds.
    pub size: u64,
    pub comment: String,
    pub tags: Vec<String>,
}

impl Docker {
    /// An image by id, tag or digest; `NotFound` if the engine does not hold it.
    pub fn image(&self, name: &str) -> Result<Image, DockerError> {
        ask(&format!("image `{name}`"), self.api.inspect_image(name)).map(image)
    }

    /// The same, with `None` for an image that is not there.
    pub fn find_image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        match self.image(name) {
            Ok(image) => Ok(Some(image)),
            Err(DockerError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All images that bear this label; `label` is `key` or `key=value`.
    pub fn images_with_label(&self, label: &str) -> Result<Vec<ImageSummary>, DockerError> {
        self.list_images("label", label)
    }

    /// All images with a tag that matches, e.g. `lab/*` or `127.0.0.1:5000/lab/base`.
    pub fn images_named(&self, reference: &str) -> Result<Vec<ImageSummary>, DockerError> {
        self.list_images("reference", reference)
    }

    fn list_images(&self, filter: &str, value: &str) -> Result<Vec<ImageSummary>, DockerError> {
        let filters = HashMap::from([(filter.to_owned(), vec![value.to_owned()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let found = ask("images", self.api.list_images(Some(options)))?;
        Ok(found.into_iter().map(summary).collect())
    }

    /// Gives an image one more name.
    pub fn tag(&self, image: &str, name: &ImageRef) -> Result<(), DockerError> {
        let tag = name.tag.as_deref().unwrap_or("latest");
        let options = TagImageOptionsBuilder::new().repo(&name.name).tag(tag).build();
        ask(&format!("image `{image}`"), self.api.tag_image(image, Some(options)))
    }

    /// Takes a name away. The image goes as well if that was its last name and nothing uses it; `NotFound` if there
    /// is no such name.
    pub fn untag(&self, name: &ImageRef) -> Result<(), DockerError> {
        self.remove_image(&name.to_string(), false).map(drop)
    }

    /// Removes an image (by id: with all its names if `force`). Returns the ids of what is gone for good.
    pub fn remove_image(&self, image: &str, force: bool) -> Result<Vec<String>, DockerError> {
        let options = RemoveImageOptionsBuilder::new().force(force).build();
        let gone = ask(&format!("image `{image}`"), self.api.remove_image(image, Some(options), None))?;
        Ok(gone.into_iter().filter_map(|item| item.deleted).collect())
    }

    /// How an image came to be, newest layer first.
    pub fn history(&self, image: &str) -> Result<Vec<Layer>, DockerError> {
        let items = ask(&format!("image `{image}`"), self.api.image_history(image))?;
        Ok(items
            .into_iter()
            .map(|item| Layer {
                id: Some(item.id).filter(|id| id.starts_with("sha256:")),
                created_by: item.created_by,
                created: item.created,
                size: item.size.try_into().unwrap_or(0),
                comment: item.comment,
                tags: item.tags,
            })
            .collect())
    }
}

fn image(found: models::ImageInspect) -> Image {
    let config = found.config.unwrap_or_default();
    Image {
        id: found.id.unwrap_or_default(),
        tags: found.repo_tags.unwrap_or_default(),
        repo_digests: found.repo_digests.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        layers: found.root_fs.and_then(|fs| fs.layers).unwrap_or_default(),
        size: found.size.unwrap_or(0).try_into().unwrap_or(0),
        created: found.created.unwrap_or_default(),
        os: found.os.unwrap_or_default(),
        arch: found.architecture.unwrap_or_default(),
        variant: found.variant.filter(|variant| !variant.is_empty()),
        env: config.env.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        workdir: config.working_dir.unwrap_or_default(),
        exposed_ports: config.exposed_ports.unwrap_or_default(),
        has_health_check: config
            .healthcheck
            .and_then(|check| check.test)
            .is_some_and(|test| test.first().is_some_and(|word| word != "NONE")),
    }
}

fn summary(found: models::ImageSummary) -> ImageSummary {
    let named = |names: Vec<String>| names.into_iter().filter(|name| !name.contains("<none>")).collect();
    ImageSummary {
        id: found.id,
        parent: found.parent_id,
        tags: named(found.repo_tags),
        repo_digests: named(found.repo_digests),
        labels: found.labels.into_iter().collect(),
        size: found.size.try_into().unwrap_or(0),
        created: found.created,
    }
}
