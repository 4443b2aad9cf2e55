//! Joins images for several platforms under one index. Knows nothing of how they were built.

use serde_json::json;

use super::copy::copy_image;
use super::error::{ErrorKind, RegistryError, Stage};
use super::manifest::{Kind, Manifest, media};
use super::repository::Repository;
use crate::model::{Diagnostic, Digest, words};

/// One platform's image, ready to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformManifest {
    /// `os/architecture` or `os/architecture/variant`, as the image's own config says.
    pub platform: String,
    pub digest: Digest,
    pub media_type: String,
    /// Of the manifest, in bytes.
    pub size: u64,
}

/// Makes the index of these images. The same images give the same bytes, in whatever order they come.
///
/// `declared` are the platforms that must be there; every one that is missing, there twice or not declared is
/// reported.
pub fn join_index(name: &str, declared: &[&str], images: &[PlatformManifest]) -> Result<Manifest, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut entries = Vec::new();
    for platform in declared {
        let mut fitting = images.iter().filter(|image| image.platform == *platform);
        match (fitting.next(), fitting.next()) {
            (Some(image), None) => entries.push(entry(image)),
            (Some(_), Some(_)) => {
                problems.push(Diagnostic::error(format!("`{name}` has more than one image for `{platform}`")));
            }
            (None, _) => {
                let have = images.iter().map(|image| &image.platform);
                let problem =
                    Diagnostic::error(format!("`{name}` has no image for the declared platform `{platform}`"));
                problems.push(if images.is_empty() {
                    problem
                } else {
                    problem.note(format!("there are images for {}", words::list(have)))
                });
            }
        }
    }
    for image in images.iter().filter(|image| !declared.contains(&image.platform.as_str())) {
        problems.push(Diagnostic::error(format!("`{name}` does not declare the platform `{}`", image.platform)));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // Old engines read a list of their own images only under its old name.
    let docker = images.iter().all(|image| image.media_type == media::DOCKER_MANIFEST);
    let media_type = if docker { media::DOCKER_LIST } else { media::OCI_INDEX };
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
    Ok(Manifest::new(index.to_string().into_bytes(), media_type))
}

fn entry(image: &PlatformManifest) -> serde_json::Value {
    let mut parts = image.platform.splitn(3, '/');
    let mut platform = serde_json::Map::new();
    for name in ["os", "architecture", "variant"] {
        platform.extend(parts.next().map(|part| (name.to_owned(), part.into())));
    }
    json!({
        "mediaType": image.media_type,
        "digest": image.digest.to_string(),
        "size": image.size,
        "platform": platform,
    })
}

/// Reads what a per-platform build pushed under `reference`: an image, or an index around one (as some builders make).
pub fn platform_manifests(repository: &Repository, reference: &str) -> Result<Vec<PlatformManifest>, RegistryError> {
    let about = repository.full(reference);
    let bad = |detail| repository.fail(Stage::ManifestGet, &about, ErrorKind::Malformed { detail });
    let outer = repository.manifest(reference)?;
    let images = match outer.kind().map_err(bad)? {
        Kind::Image => vec![outer],
        Kind::Index => {
            let listed = outer.manifests().map_err(bad)?;
            let images = listed.iter().filter(|one| one.platform.as_deref() != Some("unknown/unknown"));
            images.map(|one| repository.manifest(&one.digest.to_string())).collect::<Result<Vec<_>, _>>()?
        }
    };
    let describe = |manifest: Manifest| {
        let config = repository.image(&manifest.digest.to_string(), None)?;
        Ok(PlatformManifest {
            platform: config.platform,
            digest: manifest.digest,
            media_type: manifest.media_type,
            size: manifest.bytes.len() as u64,
        })
    };
    images.into_iter().map(describe).collect()
}

/// Joins what the builds for single platforms pushed into an index in `to`, under `tags`; gives its digest.
///
/// The parts may lie in other repositories; their content is brought over first. Nothing is written unless every
/// declared platform is there.
pub fn join_platforms(
    declared: &[&str],
    parts: &[(Repository, String)],
    to: &Repository,
    tags: &[&str],
) -> Result<Digest, Vec<Diagnostic>> {
    let one = |error: RegistryError| vec![error.to_diagnostic()];
    let mut images = Vec::new();
    let mut sources = Vec::new();
    for (repository, reference) in parts {
        for image in platform_manifests(repository, reference).map_err(one)? {
            sources.push((repository, image.digest));
            images.push(image);
        }
    }
    let name = to.full(tags.first().unwrap_or(&"latest"));
    let index = join_index(&name, declared, &images)?;
    for (repository, digest) in sources {
        if to.digest(&digest.to_string()).map_err(one)?.is_none() {
            copy_image(repository, &digest.to_string(), to, &[]).map_err(one)?;
        }
    }
    for tag in tags {
        to.put_manifest(tag, &index).map_err(one)?;
    }
    Ok(index.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(platform: &str, media_type: &str) -> PlatformManifest {
        PlatformManifest {
            platform: platform.to_owned(),
            digest: Digest::of(platform.as_bytes()),
            media_type: media_type.to_owned(),
            size: 7,
        }
    }

    const DECLARED: [&str; 2] = ["linux/amd64", "linux/arm/v7"];

    #[test]
    fn the_same_images_give_the_same_index_in_any_order() {
        let (one, two) = (image("linux/amd64", media::OCI_MANIFEST), image("linux/arm/v7", media::DOCKER_MANIFEST));
        let index = join_index("a:1", &DECLARED, &[one.clone(), two.clone()]).unwrap();
        assert_eq!(join_index("a:1", &DECLARED, &[two.clone(), one]).unwrap(), index);
        assert_eq!(index.media_type, media::OCI_INDEX, "a mixed set is an OCI index");
        let platforms: Vec<_> = index.manifests().unwrap().into_iter().map(|one| one.platform.unwrap()).collect();
        assert_eq!(platforms, DECLARED);
        let old = image("linux/amd64", media::DOCKER_MANIFEST);
        assert_eq!(join_index("a:1", &DECLARED, &[old, two]).unwrap().media_type, media::DOCKER_LIST);
    }

    #[test]
    fn every_wrong_platform_is_reported() {
        let images = ["linux/amd64", "linux/amd64", "linux/riscv64"].map(|name| image(name, media::OCI_MANIFEST));
        let problems = join_index("a:1", &DECLARED, &images).unwrap_err();
        let messages: Vec<&str> = problems.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "`a:1` has more than one image for `linux/amd64`",
                "`a:1` has no image for the declared platform `linux/arm/v7`",
                "`a:1` does not declare the platform `linux/riscv64`"
            ]
        );
    }
}
