//! An image that is built on another host than the one that keeps it: what it needs is brought there, what it became is
//! brought back. Knows nothing of which host is chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{ImageBuild, infra};
use super::exchange::carry;
use super::fleet::{Fleet, Slot};
use super::identity::{Basis, Identity, key_reference};
use super::{KEY_LABEL, platforms, published};
use crate::action::{Call, Failure};
use crate::docker::Docker;
use crate::model::{Diagnostic, Digest, ImageRef, Stream};
use crate::stack::{Image, Plan, Stack};

/// Where bases from outside are tagged on hosts that got them from another engine: those have no digest there.
const CARRIED: &str = "xtask-carried";

impl ImageBuild {
    /// Builds on the host of the pool that suits best; on the next one, if that host is lost on the way. The image is
    /// then held by the home in any case; its id there is the result.
    pub(super) fn build_somewhere(
        &self,
        call: &Call<'_>,
        home: &Docker,
        whom: (&Stack, &Image, &Plan),
        identity: &Identity,
    ) -> Result<String, Failure> {
        let fleet = self.0.fleet().map_err(Failure::error)?;
        let needs: Vec<String> = identity.bases.values().map(|basis| basis.pin.clone()).collect();
        let foreign = whom.2.foreign.as_ref().map(|foreign| &*foreign.platform);
        loop {
            // Other hosts like the home can do no more for another platform than the home, which has the parents.
            if let Some(platform) = foreign.filter(|platform| fleet.host_for(platform).is_none()) {
                // Its host may have been lost since.
                if let Some(obstacle) = platforms::obstacle(&self.0, call, whom, identity)? {
                    let text = format!("image `{}` cannot be built for {platform} any more", whom.1.key);
                    return Err(Failure::error(Diagnostic::error(text).cause(obstacle.why)));
                }
                return self.build(call, home, whom, identity, &identity.bases);
            }
            let slot = fleet.take(call.task, (&needs, foreign), call.stop)?;
            if slot.is_home() {
                let id = self.build(call, home, whom, identity, &identity.bases)?;
                fleet.note(slot.at, &key_reference(whom.1, &identity.key.digest));
                return Ok(id);
            }
            match self.build_on(call, (home, &fleet, &slot), whom, identity) {
                Ok(id) => return Ok(id),
                Err(failure) if !failure.interrupted && !call.stop.is_requested() && fleet.has_lost(slot.at) => {
                    let text = format!(
                        "host `{}` is left out, because it failed: {}; image `{}` is built elsewhere",
                        slot.name(),
                        failure.diagnostic.message,
                        whom.1.key
                    );
                    call.out.line(Stream::Stderr, text.as_bytes());
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn build_on(
        &self,
        call: &Call<'_>,
        (home, fleet, slot): (&Docker, &Arc<Fleet>, &Slot<'_>),
        whom: (&Stack, &Image, &Plan),
        identity: &Identity,
    ) -> Result<String, Failure> {
        let (stack, image, _) = whom;
        let there = slot.docker()?;
        call.out.line(Stream::Stdout, format!("image `{}` is built on host `{}`", image.key, slot.name()).as_bytes());
        let mut bases = identity.bases.clone();
        for (reference, basis) in &mut bases {
            // Of a base from outside, the home has the image for its own platform: the builder there pulls its own.
            if whom.2.foreign.is_some() && basis.image.is_none() {
                continue;
            }
            self.bring(call, (home, &there, slot.name()), stack, reference, basis)?;
            fleet.note(slot.at, &identity.bases[reference].pin);
        }
        self.build(call, &there, whom, identity, &bases)?;
        let reference = key_reference(image, &identity.key.digest);
        fleet.note(slot.at, &reference);
        let relatives: Vec<String> = identity.bases.values().map(|basis| basis.pin.clone()).collect();
        carry(&self.0, call, (&there, home), &reference, &relatives, &format!("from `{}`", slot.name()))?;
        let made = Self::held(home, image, &identity.key.digest)?.ok_or_else(|| {
            Failure::error(Diagnostic::error(format!(
                "image `{}` did not arrive from host `{}`",
                image.key,
                slot.name()
            )))
        })?;
        fleet.note(slot.at, &made);
        Ok(made)
    }

    /// Sees to it that a host has what an image is built on: it has it, or pulls it by digest, or gets it from the home.
    fn bring(
        &self,
        call: &Call<'_>,
        (home, there, name): (&Docker, &Docker, &str),
        stack: &Stack,
        reference: &str,
        basis: &mut Basis,
    ) -> Result<(), Failure> {
        let parent = basis.image.as_deref().and_then(|key| stack.image(key));
        if let Some(parent) = parent {
            if Self::held(there, parent, &basis.digest)?.is_some() {
                return Ok(());
            }
            if let Some(published) = &basis.published {
                match published::fetch(&self.0, there, call, parent, &basis.digest, published) {
                    Ok(()) => return Ok(()),
                    Err(failure) if failure.interrupted => return Err(failure),
                    // The host may not reach the registry, while this machine does.
                    Err(_) => published::fetch(&self.0, home, call, parent, &basis.digest, published)?,
                }
            }
            let relatives: Vec<String> = ancestors(home, &basis.pin)?;
            return carry(&self.0, call, (home, there), &basis.pin, &relatives, &format!("to `{name}`"));
        }
        let Some(id) = basis.id.clone() else { return Ok(()) };
        let is_it = |name: &str| there.find_image(name).map(|found| found.is_some_and(|found| found.id == id));
        if is_it(&basis.pin).map_err(infra)? {
            return Ok(());
        }
        let digits = id.trim_start_matches("sha256:");
        let own = format!("{CARRIED}:{}", &digits[..digits.len().min(20)]);
        if !is_it(&own).map_err(infra)? {
            let tag = ImageRef::parse(&own);
            if let Some(tag) = &tag {
                home.tag(&id, tag).map_err(infra)?;
            }
            let carried = carry(&self.0, call, (home, there), &own, &[], &format!("to `{name}` for `{reference}`"));
            if let Some(tag) = &tag {
                // Another build may have taken it away already.
                let _ = home.untag(tag);
            }
            carried?;
        }
        basis.pin = own;
        Ok(())
    }

    /// An image with this key that a host of the pool has, brought home: then it need not be built.
    pub(super) fn found_elsewhere(
        &self,
        call: &Call<'_>,
        home: &Docker,
        image: &Image,
        identity: &Identity,
    ) -> Result<Option<String>, Failure> {
        let fleet = self.0.fleet().map_err(Failure::error)?;
        for (at, name, there) in fleet.others() {
            // A host that fails here is left out when something is to be built on it.
            let Ok(Some(_)) = Self::held(&there, image, &identity.key.digest) else { continue };
            let reference = key_reference(image, &identity.key.digest);
            fleet.note(at, &reference);
            let relatives: Vec<String> = identity.bases.values().map(|basis| basis.pin.clone()).collect();
            match carry(&self.0, call, (&there, home), &reference, &relatives, &format!("from `{name}`")) {
                Ok(()) => return Self::held(home, image, &identity.key.digest),
                Err(failure) if failure.interrupted => return Err(failure),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// The id of the image with this key, if the engine holds it.
    pub(super) fn held(docker: &Docker, image: &Image, key: &Digest) -> Result<Option<String>, Failure> {
        let found = docker.find_image(&key_reference(image, key)).map_err(infra)?;
        // The tag only finds it; the label says that it is it.
        let found = found.filter(|found| found.labels.get(KEY_LABEL).is_some_and(|label| *label == key.hex()));
        Ok(found.map(|found| found.id))
    }
}

/// Names of the images that one of the stack was built on, nearest first: a host that has one of them has its layers.
fn ancestors(docker: &Docker, name: &str) -> Result<Vec<String>, Failure> {
    let Some(image) = docker.find_image(name).map_err(infra)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let own: BTreeMap<usize, Vec<String>> = docker
        .images_with_label(KEY_LABEL)
        .map_err(infra)?
        .into_iter()
        .filter(|other| other.id != image.id && !other.tags.is_empty())
        .take(64)
        .filter_map(|other| {
            let layers = docker.image(&other.id).ok()?.layers;
            image.layers.starts_with(&layers).then_some((layers.len(), other.tags))
        })
        .fold(BTreeMap::new(), |mut all, (length, tags)| {
            all.entry(length).or_insert_with(Vec::new).extend(tags);
            all
        });
    found.extend(own.into_values().rev().flatten());
    Ok(found)
}
