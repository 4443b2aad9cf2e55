//! Images of the stack that the registry has under the tag of their key: they need not be built. Pulled only where
//! something needs them here: a child that is built on them, a test.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::KEY_LABEL;
use super::identity::key_reference;
use super::services::Services;
use crate::action::{Call, Failure};
use crate::docker::Docker;
use crate::model::{Diagnostic, Digest, ImageRef, Stream};
use crate::registry::{ErrorKind, RegistryError};
use crate::stack::{Image, Plan, tags};

/// An image that the registry has.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// As the engine will call it once it is pulled.
    pub id: String,
    /// By digest: exactly this image.
    pub reference: String,
}

/// Registries that did not answer, and until when they are not asked again: a run without a network shall not wait at
/// every image.
#[derive(Default)]
pub(super) struct Silent(Mutex<HashMap<String, Instant>>);

const SILENCE: Duration = Duration::from_mins(1);

impl Silent {
    pub(super) fn is(&self, host: &str) -> bool {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(host).is_some_and(|until| Instant::now() < *until)
    }

    pub(super) fn note(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), Instant::now() + SILENCE);
    }
}

/// Asks the registry for the image with this key. Whatever it cannot say definitely is no: then the image is built.
pub(super) fn find(
    services: &Services,
    registry: Option<&str>,
    (image, plan): (&Image, &Plan),
    key: &Digest,
) -> Option<Published> {
    let registry = registry.filter(|registry| !registry.is_empty())?;
    let name = ImageRef { name: tags::full_name(Some(registry), image), tag: None, digest: None };
    let host = name.host().unwrap_or("docker.io").to_owned();
    if services.silent.is(&host) {
        return None;
    }
    match look(services, &name, plan.platform(image), key) {
        Ok(found) => found,
        Err(error) => {
            if !matches!(error.kind, ErrorKind::NotFound { .. }) {
                services.silent.note(&host);
            }
            None
        }
    }
}

/// What was published last for a plan, if the registry has it: only its layers are of use.
pub(super) fn last(services: &Services, registry: Option<&str>, image: &Image, plan: &Plan) -> Option<String> {
    let registry = registry.filter(|registry| !registry.is_empty())?;
    let name = ImageRef { name: tags::full_name(Some(registry), image), tag: None, digest: None };
    if services.silent.is(name.host().unwrap_or("docker.io")) {
        return None;
    }
    let tag = tags::moving_tag(image, plan);
    let found = services.quick_registries().open(&name).and_then(|repository| repository.digest(&tag));
    found.ok().flatten().map(|_| format!("{}:{tag}", name.name))
}

fn look(
    services: &Services,
    name: &ImageRef,
    platform: Option<&str>,
    key: &Digest,
) -> Result<Option<Published>, RegistryError> {
    let repository = services.quick_registries().open(name)?;
    let tag = tags::key_tag(key);
    if repository.digest(&tag)?.is_none() {
        return Ok(None);
    }
    let found = repository.image(&tag, platform)?;
    // The tag has the first digits only; the label says that it is it.
    let is_it = found.labels.get(KEY_LABEL).is_some_and(|label| *label == key.hex());
    let reference = format!("{}@{}", name.name, found.digest);
    Ok(is_it.then(|| Published { id: found.id.to_string(), reference }))
}

/// Brings what was built of an image, by the values of its task, into the engine.
pub(super) fn fetch_built(
    services: &Services,
    call: &Call<'_>,
    image: &Image,
    values: &serde_json::Value,
) -> Result<(), Failure> {
    let key = values["key"].as_str().and_then(Digest::parse);
    let (Some(key), Some(published)) = (key, values["published"].as_str()) else { return Ok(()) };
    let docker = services.docker().map_err(Failure::error)?;
    fetch(services, &docker, call, image, &key, published)
}

/// Brings an image into the engine under the name of its key, unless it is there.
pub(super) fn fetch(
    services: &Services,
    docker: &Docker,
    call: &Call<'_>,
    image: &Image,
    key: &Digest,
    reference: &str,
) -> Result<(), Failure> {
    let own = key_reference(image, key);
    let is_there = |name: &str| {
        let found = docker.find_image(name).map_err(super::build::infra)?;
        Ok::<_, Failure>(found.filter(|found| found.labels.get(KEY_LABEL).is_some_and(|label| *label == key.hex())))
    };
    if is_there(&own)?.is_some() {
        return Ok(());
    }
    let wrong = || Diagnostic::error(format!("`{reference}` is no image reference"));
    let name = ImageRef::parse(reference).ok_or_else(|| Failure::error(wrong()))?;
    call.out.line(Stream::Stdout, format!("pulling {reference}: image `{}` is unchanged", image.key).as_bytes());
    super::publish::pull(services, docker, &name, call)?;
    let pulled = is_there(reference)?.ok_or_else(|| {
        Failure::error(Diagnostic::error(format!("`{reference}` is not the image `{}` with the wanted key", image.key)))
    })?;
    if let Some(own) = ImageRef::parse(&own) {
        docker.tag(&pulled.id, &own).map_err(super::build::infra)?;
    }
    Ok(())
}
