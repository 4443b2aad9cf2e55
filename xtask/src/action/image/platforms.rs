//! Where an image is built and run for a platform that is not the one of the engine that holds it: on a host of that
//! platform, else here if nothing of it has to run or the engine runs it all the same. Knows nothing of registries' tags.

use std::ffi::OsString;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::build::ImageBuild;
use super::exchange::carry;
use super::identity::{Basis, Identity, key_reference};
use super::services::Services;
use crate::action::{Call, Failure};
use crate::docker::Docker;
use crate::model::{Digest, ImageRef, Stream};
use crate::registry::platform_manifests;
use crate::render::dockerfile::{Dockerfile, FileStep};
use crate::stack::{Image, Plan, Stack};

/// Why an image is not built for a platform here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub why: String,
    /// It stays as long as the image is what it is.
    pub is_settled: bool,
}

/// Images that were left out of a build, by plan.
#[derive(Clone, Debug, Default)]
pub(super) struct LeftOut(Map<String, Value>);

impl LeftOut {
    pub(super) fn add(&mut self, plan: &Plan, key: &Digest, obstacle: &Obstacle) {
        let entry = json!({ "key": key.hex(), "why": obstacle.why, "settled": obstacle.is_settled });
        self.0.insert(plan.name.to_string(), entry);
    }

    /// What an earlier run found to stand in the way of an image with this key, if that cannot have changed.
    pub(super) fn settled(previous: Option<&Value>, plan: &Plan, key: &Digest) -> Option<Obstacle> {
        let entry = &previous?["left_out"][&*plan.name];
        let is_it = entry["key"].as_str() == Some(key.hex().as_str()) && entry["settled"].as_bool() == Some(true);
        is_it.then(|| Obstacle { why: entry["why"].as_str().unwrap_or_default().to_owned(), is_settled: true })
    }

    /// As a value of the task that builds, where there is something to tell.
    pub(super) fn add_to(self, values: &mut Map<String, Value>) {
        if !self.0.is_empty() {
            values.insert("left_out".to_owned(), Value::Object(self.0));
        }
    }
}

/// What stands in the way of a build for another platform, by what is known without the registry. `None` for a plan of
/// the spec, which is built whatever the engine says of it.
pub(super) fn obstacle(
    services: &Services,
    call: &Call<'_>,
    (stack, image, plan): (&Stack, &Image, &Plan),
    identity: &Identity,
) -> Result<Option<Obstacle>, Failure> {
    let Some(foreign) = &plan.foreign else { return Ok(None) };
    let settled = |why: String| Ok(Some(Obstacle { why, is_settled: true }));
    let base = identity.dockerfile.target_base().and_then(|reference| identity.bases.get(reference));
    let parent = base.and_then(|basis| stack.image(basis.image.as_deref()?));
    if let Some(parent) = parent.filter(|parent| !parent.is_in(&plan.name)) {
        return settled(format!("its parent `{}` does not declare that platform", parent.key));
    }
    let parents = identity.bases.values().filter_map(|basis| stack.image(basis.image.as_deref()?));
    for parent in parents.filter(|parent| parent.is_in(&plan.name)) {
        let built = call.resources.get(&*format!("image:{}", parent.key));
        if built.is_none_or(|values| values["plans"].get(&*plan.name).is_none()) {
            let why = format!("its parent `{}` was not built for that platform", parent.key);
            return Ok(Some(Obstacle { why, is_settled: false }));
        }
    }
    for (reference, basis) in identity.bases.iter().filter(|(_, basis)| basis.image.is_none()) {
        if !basis.pin.contains("@sha256:") {
            return settled(format!(
                "base `{reference}` comes from no registry, so there is only the one of this machine"
            ));
        }
    }
    let fleet = services.fleet().map_err(Failure::error)?;
    if fleet.host_for(&foreign.platform).is_some() || !runs_something(&identity.dockerfile) {
        return Ok(None);
    }
    if fleet.home_runs(&foreign.platform).map_err(Failure::error)? {
        return Ok(None);
    }
    let why = format!("`{}` has RUN, and no engine here runs programs of that platform", image.key);
    Ok(Some(Obstacle { why, is_settled: false }))
}

/// Whether a build runs programs of the image.
fn runs_something(dockerfile: &Dockerfile) -> bool {
    let needed = dockerfile.needed.iter().filter_map(|stage| dockerfile.stages.get(*stage));
    needed.flat_map(|stage| &stage.steps).any(|step| matches!(step, FileStep::Run { .. }))
}

/// Whether the bases from outside have an image for the platform: asked of the registry before a build.
pub(super) fn base_obstacle(services: &Services, plan: &Plan, identity: &Identity) -> Option<Obstacle> {
    let platform = &plan.foreign.as_ref()?.platform;
    let mut outside = identity.bases.iter().filter(|(_, basis)| basis.image.is_none());
    outside.find_map(|(reference, basis)| lacks(services, reference, basis, platform))
}

fn lacks(services: &Services, reference: &str, basis: &Basis, platform: &str) -> Option<Obstacle> {
    let unknown = |why: String| {
        let why = format!("base `{reference}` cannot be looked up in its registry: {why}");
        Some(Obstacle { why, is_settled: false })
    };
    let Some(name) = ImageRef::parse(&basis.pin) else { return unknown("its name is none".to_owned()) };
    let found = services
        .registries()
        .open(&name)
        .and_then(|repository| platform_manifests(&repository, name.digest.as_deref().unwrap_or_default()));
    let found = found.map(|found| found.into_iter().map(|one| one.platform).collect::<Vec<_>>());
    match found {
        Err(error) => unknown(error.to_string()),
        Ok(found) if found.iter().any(|one| one == platform) => None,
        Ok(found) => {
            let have = crate::model::words::list(&found);
            Some(Obstacle { why: format!("base `{reference}` is there for {have} only"), is_settled: true })
        }
    }
}

/// An engine on which an image of a plan can be run.
pub(super) struct Runner {
    pub docker: Docker,
    /// The host, where it is not the engine that holds all images.
    pub host: Option<Arc<str>>,
    /// What the docker command line must find in its environment to use it.
    pub env: Vec<(OsString, OsString)>,
}

/// Finds an engine that runs what is made in a plan; for a plan of the spec that is the one that holds everything.
pub(super) fn runner(services: &Services, plan: &Plan) -> Result<Option<Runner>, Failure> {
    let fleet = services.fleet().map_err(Failure::error)?;
    let Some(foreign) = &plan.foreign else { return home(services).map(Some) };
    if let Some((at, host, docker)) = fleet.host_for(&foreign.platform) {
        let env = fleet.variables_of(at).into_iter().map(|(name, value)| (name.into(), value)).collect();
        return Ok(Some(Runner { docker, host: Some(host), env }));
    }
    if fleet.home_runs(&foreign.platform).map_err(Failure::error)? { home(services).map(Some) } else { Ok(None) }
}

/// The engine that holds everything.
pub(super) fn home(services: &Services) -> Result<Runner, Failure> {
    Ok(Runner { docker: services.docker().map_err(Failure::error)?, host: None, env: Vec::new() })
}

impl Runner {
    /// Sees to it that the engine has an image that the home holds.
    pub(super) fn fetch(
        &self,
        services: &Services,
        call: &Call<'_>,
        image: &Image,
        values: &Value,
    ) -> Result<(), Failure> {
        super::published::fetch_built(services, call, image, values)?;
        let (Some(host), Some(key)) = (&self.host, values["key"].as_str().and_then(Digest::parse)) else {
            return Ok(());
        };
        if ImageBuild::held(&self.docker, image, &key)?.is_some() {
            return Ok(());
        }
        let home = services.docker().map_err(Failure::error)?;
        carry(services, call, (&home, &self.docker), &key_reference(image, &key), &[], &format!("to `{host}`"))
    }
}

/// Says that something is not done for a platform, and why.
pub(super) fn tell(call: &Call<'_>, image: &Image, plan: &Plan, what: &str, why: &str) {
    let platform = plan.foreign.as_ref().map_or("this platform", |foreign| &*foreign.platform);
    call.out.line(Stream::Stderr, format!("image `{}` is not {what} for {platform}: {why}", image.key).as_bytes());
}

/// Why nothing is run.
pub(super) const NO_RUNNER: &str = "no engine here runs programs of that platform";

/// The image was made for the platform that was asked for, as the engine says.
pub(super) fn check_made(made: &crate::docker::Image, plan: &Plan) -> Result<(), Failure> {
    let Some(foreign) = &plan.foreign else { return Ok(()) };
    let parts = [Some(&made.os), Some(&made.arch), made.variant.as_ref()];
    let platform = parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("/");
    // An engine may leave out or add the variant that goes without saying.
    let is_it = platform.starts_with(&foreign.platform) || foreign.platform.starts_with(&platform);
    if is_it {
        return Ok(());
    }
    Err(Failure::failed(
        crate::model::Diagnostic::error(format!(
            "the engine made an image for {platform}, not for {}",
            foreign.platform
        ))
        .help("take BuildKit, or name a host of that platform with --host"),
    ))
}
