//! The action `image_build`: an image for every plan of the stack, up to date by content key.
//!
//! A child is built on exactly the parent that its key was made with: the FROM line is replaced by the name of that
//! key, the name is checked to mean that image, and afterwards the layers are checked to begin with the parent's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::again;
use super::identity::{self, Basis, Identity, key_reference};
use super::layers::Narrator;
use super::origin;
use super::platforms::{self, LeftOut, Obstacle};
use super::publish;
use super::services::{Services, whole};
use super::shelf;
use super::veil::Veil;
use super::{
    BRANCH_LABEL, IMAGE_LABEL, KEY_LABEL, ancestry, cache, given, image_of, leftovers, log_stem, missed, published,
    text,
};
use crate::action::{ActionType, Arguments, Call, Check, Done, Failure, Observed, Seen};
use crate::docker::{BuildRequest, Builder, Docker, DockerError};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, Digest, ImageRef, Reason, Stream};
use crate::rebuild::{Part, PartKey, PartValue};
use crate::stack::{Image, Plan, Stack, tags};

pub(super) struct ImageBuild(pub(super) Arc<Services>);

/// An image that exists: in the engine, or in the registry alone.
struct Held {
    id: String,
    /// Where the registry has it, if the engine does not.
    published: Option<String>,
}

impl ImageBuild {
    fn look(&self, docker: &Docker, name: &str) -> Result<Option<shelf::Seen>, Failure> {
        let images = self.0.stack().map_or(0, |(stack, _)| stack.images.len() * stack.plans.len());
        self.0.shelf.find(docker, name, images).map_err(infra)
    }

    /// The image with this key, if it need not be built: the engine or the registry has it.
    fn made(
        &self,
        call: &Call<'_>,
        docker: &Docker,
        (image, plan): (&Image, &Plan),
        key: &Digest,
    ) -> Result<Option<Held>, Failure> {
        // The tag only finds it; the label says that it is it.
        let held = self.look(docker, &key_reference(image, key))?;
        if let Some(held) = held.filter(|held| held.key.as_ref().is_some_and(|label| *label == key.hex())) {
            return Ok(Some(Held { id: held.id, published: None }));
        }
        let found = published::find(&self.0, call.args["registry"].as_str(), (image, plan), key);
        Ok(found.map(|found| Held { id: found.id, published: Some(found.reference) }))
    }

    fn values(entries: Vec<(Arc<str>, Digest, Held, String)>, left_out: LeftOut) -> Map<String, Value> {
        let plans: Map<String, Value> = entries
            .into_iter()
            .map(|(plan, key, held, reference)| {
                let mut values = json!({ "key": key.hex(), "id": held.id, "ref": reference });
                if let Some(published) = held.published {
                    values["published"] = published.into();
                }
                (plan.to_string(), values)
            })
            .collect();
        let mut values = Map::from_iter([("plans".to_owned(), Value::Object(plans))]);
        left_out.add_to(&mut values);
        values
    }

    /// What dependents compare: the keys, by plan.
    fn result(keys: &BTreeMap<String, Digest>) -> Digest {
        let mut hasher = crate::model::digest::Hasher::new();
        for (plan, key) in keys {
            hasher.field(plan).field(key.0);
        }
        hasher.finish()
    }
}

pub(super) fn infra(error: DockerError) -> Failure {
    let interrupted = matches!(error, DockerError::Cancelled);
    Failure { is_error: true, interrupted, diagnostic: error.into() }
}

/// The parts of a key as parts of a fingerprint; `label` is the image, with the plan where it matters.
pub(super) fn parts(label: &str, identity: &Identity) -> Vec<Part> {
    let image: Arc<str> = label.into();
    let mut parts = Vec::new();
    for (name, shown) in &identity.key.parts {
        let value = PartValue::Text(shown.as_str().into());
        let key = if let Some(path) = name.strip_prefix("file ").or_else(|| name.strip_prefix("link ")) {
            PartKey::Context { image: image.clone(), path: path.into() }
        } else if let Some(arg) = name.strip_prefix("arg ") {
            PartKey::Param(format!("{label} build arg {arg}").into())
        } else if name.starts_with("base ") || name.starts_with("directory ") {
            continue;
        } else {
            PartKey::Context { image: image.clone(), path: name.as_str().into() }
        };
        parts.push(Part { key, value });
    }
    for (reference, Basis { digest, image: parent, .. }) in &identity.bases {
        let key = match parent {
            Some(parent) => PartKey::Parent { image: image.clone(), parent: parent.clone() },
            None => PartKey::Base(reference.as_str().into()),
        };
        parts.push(Part { key, value: PartValue::Text(digest.short().into()) });
    }
    // The whole key last: whatever the parts leave out (directories, order) is in it.
    parts.push(Part {
        key: PartKey::Check(format!("{}{label}", Reason::KEY_OF).into()),
        value: PartValue::Digest(identity.key.digest),
    });
    parts
}

impl ActionType for ImageBuild {
    fn name(&self) -> &'static str {
        "image_build"
    }

    fn arguments(&self) -> Arguments {
        Arguments {
            required: &["image"],
            optional: &["registry", "secrets", "builder", "no_cache"],
            short: Some("image"),
        }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_build", args)?;
        let at = stack.images.iter().position(|one| one.key == image.key).unwrap_or_default();
        let mut needs = vec![Need { resource: format!("rendered:{}", image.key).into(), dirties: false }];
        needs.push(Need { resource: format!("staged:{}", image.key).into(), dirties: false });
        for parent in graph.parents(at) {
            // Its key is part of ours, so its result need not be compared again.
            needs.push(Need { resource: format!("image:{}", stack.images[*parent].key).into(), dirties: false });
        }
        let mut outside: Vec<&str> = Vec::new();
        for plan in 0..stack.all_plans().count() {
            let uses = graph.uses(at, plan).iter().filter(|used| used.source == crate::stack::graph::Source::Outside);
            outside.extend(uses.map(|used| used.reference.as_str()));
        }
        outside.sort_unstable();
        outside.dedup();
        needs.extend(outside.iter().map(|base| Need { resource: format!("base:{base}").into(), dirties: false }));
        Ok(Links {
            provides: vec![format!("image:{}", image.key).into()],
            needs,
            inputs: vec![identity::rendered_path(image)],
            watch: std::iter::once(image.dir.clone()).chain(self.0.sources(image).brought).collect(),
            observes: true,
            ..Links::default()
        })
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let (stack, graph) = self.0.stack().map_err(|problems| Failure::error(whole(problems)))?;
        let image = image_of(&stack, "image_build", call.args)?;
        let docker = self.0.docker().map_err(Failure::error)?;
        let mut observed = Observed { satisfied: true, ..Observed::default() };
        let (mut entries, mut keys, mut left_out) = (Vec::new(), BTreeMap::new(), LeftOut::default());
        for plan in stack.plans_of(image) {
            let identity = identity::identify(&self.0, (&stack, &graph), image, plan, call.resources)?;
            let key = identity.key.digest;
            let label = publish::label(&stack, image, plan);
            observed.parts.extend(parts(&label, &identity));
            let made = self.made(call, &docker, (image, plan), &key)?;
            if made.is_none()
                && let Some(obstacle) = self.obstacle(call, (&stack, image, plan), &identity)?
            {
                left_out.add(plan, &key, &obstacle);
                continue;
            }
            keys.insert(plan.name.to_string(), key);
            match made {
                Some(held) if held.published.is_some() => {
                    entries.push((plan.name.clone(), key, held, key_reference(image, &key)));
                }
                Some(held) => {
                    let name = moving_name(image, plan);
                    let named = self.look(&docker, &name)?;
                    // A run that was killed after the build did not get to it.
                    if named.is_none_or(|named| named.id != held.id) {
                        observed.satisfied = false;
                        observed.forced.push(Reason::ImageMissing { image: name, key: key.short() });
                    }
                    entries.push((plan.name.clone(), key, held, key_reference(image, &key)));
                }
                None => {
                    observed.satisfied = false;
                    let before = call.previous.and_then(|values| values["plans"][&*plan.name]["key"].as_str());
                    if before == Some(key.hex().as_str()) {
                        observed.forced.push(Reason::ImageMissing { image: label, key: key.short() });
                    }
                }
            }
        }
        self.0.files.save();
        if observed.satisfied {
            observed.result = Some(Self::result(&keys));
            observed.values = Some(Self::values(entries, left_out));
        }
        Ok(observed)
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, graph) = self.0.stack().map_err(|problems| Failure::error(whole(problems)))?;
        let image = image_of(&stack, "image_build", call.args)?;
        let docker = self.0.docker().map_err(Failure::error)?;
        leftovers::sweep(&self.0, &docker);
        let (mut entries, mut keys, mut left_out, mut built) = (Vec::new(), BTreeMap::new(), LeftOut::default(), 0);
        for plan in stack.plans_of(image) {
            let identity = identity::identify(&self.0, (&stack, &graph), image, plan, call.resources)?;
            let key = identity.key.digest;
            let held = match self.made(call, &docker, (image, plan), &key)? {
                Some(held) => held,
                None => match self.found_elsewhere(call, &docker, image, &identity)? {
                    Some(id) => Held { id, published: None },
                    None => {
                        let obstacle = self.obstacle(call, (&stack, image, plan), &identity)?;
                        if let Some(obstacle) = obstacle.or_else(|| platforms::base_obstacle(&self.0, plan, &identity))
                        {
                            platforms::tell(call, image, plan, "built", &obstacle.why);
                            left_out.add(plan, &key, &obstacle);
                            continue;
                        }
                        built += 1;
                        let id = self.build_somewhere(call, &docker, (&stack, image, plan), &identity)?;
                        Held { id, published: None }
                    }
                },
            };
            if let (Some(name), None) = (ImageRef::parse(&moving_name(image, plan)), &held.published) {
                again::ask(&docker, again::PATIENCE, call.stop, || docker.tag(&held.id, &name)).map_err(infra)?;
            }
            keys.insert(plan.name.to_string(), key);
            entries.push((plan.name.clone(), key, held, key_reference(image, &key)));
        }
        let remark = (built == 0).then(|| "already there".to_owned());
        Ok(Done { result: Some(Self::result(&keys)), values: Self::values(entries, left_out), remark })
    }
}

impl ImageBuild {
    /// Why an image is not built for another platform: what can be told without the registry, and what an earlier run was
    /// told for good.
    fn obstacle(
        &self,
        call: &Call<'_>,
        whom: (&Stack, &Image, &Plan),
        identity: &Identity,
    ) -> Result<Option<Obstacle>, Failure> {
        match LeftOut::settled(call.previous, whom.2, &identity.key.digest) {
            Some(known) => Ok(Some(known)),
            None => platforms::obstacle(&self.0, call, whom, identity),
        }
    }

    /// Builds on one engine, which has `bases`; returns the image's id there.
    pub(super) fn build(
        &self,
        call: &Call<'_>,
        docker: &Docker,
        (stack, image, plan): (&Stack, &Image, &Plan),
        identity: &Identity,
        bases: &BTreeMap<String, Basis>,
    ) -> Result<String, Failure> {
        self.fetch_parents(call, docker, stack, bases)?;
        let parents = Self::check_parents(docker, (image, plan), bases)?;
        let pins: HashMap<String, String> =
            bases.iter().map(|(reference, basis)| (reference.clone(), basis.pin.clone())).collect();
        let key = identity.key.digest;
        let reference = key_reference(image, &key);
        let mut labels = self.0.labels(image);
        labels.insert(KEY_LABEL.into(), key.hex());
        labels.insert(IMAGE_LABEL.into(), image.key.to_string());
        labels.extend(self.0.git().branch.map(|branch| (BRANCH_LABEL.to_owned(), branch)));
        labels.extend(ancestry::labels(identity.dockerfile.target_base(), &identity.bases));
        let secrets = given::secrets(&self.0, call, image, identity)?;
        let veil = Veil::over(&secrets);
        let request = BuildRequest {
            dockerfile: identity.dockerfile.pin(&pins).into_bytes(),
            context: identity.context.clone(),
            shared_key: format!("xtask-{}", image.key),
            tags: ImageRef::parse(&reference).into_iter().collect(),
            build_args: identity
                .args
                .iter()
                .filter(|(name, _)| identity.dockerfile.args_declared.contains(*name))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
            labels,
            target: image.target.clone(),
            platform: plan.platform(image).map(str::to_owned),
            network: image.network.clone(),
            no_cache: call.args["no_cache"].as_bool().unwrap_or(false),
            cache_from: cache::sources(&self.0, call, image, plan),
            inline_cache: image.inline_cache,
            secrets,
            ssh_agent: given::agent(&self.0, image, identity)?,
            credentials: Some(given::credentials(&self.0)),
            builder: match call.args["builder"].as_str() {
                Some("classic") => Builder::Classic,
                Some("buildkit") => Builder::BuildKit,
                _ => Builder::Auto,
            },
            ..BuildRequest::default()
        };
        let stem = log_stem(stack, image, &plan.name);
        let mut narrator = Narrator::new(call.root, &stem, &reference, &veil, call.out);
        // Another host of a pool is not waited for: there are others.
        let is_home = self.0.docker().is_ok_and(|home| home.endpoint() == docker.endpoint());
        let patience = if is_home { again::PATIENCE } else { Duration::ZERO };
        let fleet = self.0.fleet().map_err(Failure::error)?;
        let result = again::build((docker, fleet.staged(docker)), &request, &mut narrator, patience, call.stop);
        let result = result.map_err(|error| match error {
            DockerError::Cancelled => Failure::interrupted(call.task),
            DockerError::BuildFailed { step, exit_code, tail, message } => {
                let tail = tail.iter().map(|line| veil.hide(line).into_owned()).collect();
                let message = veil.hide(&message).into_owned();
                let place = identity.dockerfile.place_of(&step);
                let problem = Diagnostic::from(DockerError::BuildFailed { step, exit_code, tail, message });
                let problem = place.into_iter().fold(problem, Diagnostic::at);
                origin::failure(&self.0, stack, Failure::failed(problem))
            }
            error => infra(error),
        })?;
        let made = again::ask(docker, patience, call.stop, || docker.image(&result.image)).map_err(infra)?;
        platforms::check_made(&made, plan)?;
        for (reference, layers) in &parents {
            if identity.dockerfile.target_base() == Some(reference.as_str()) && !made.layers.starts_with(layers) {
                return Err(Failure::failed(
                    Diagnostic::error(format!("image `{}` was not built on the parent that was planned: `{reference}`", image.key))
                        .note("its layers do not begin with those of the parent; the name of the key was moved by somebody else")
                        .help(format!("cargo xtask run build:{}", image.key)),
                ));
            }
        }
        narrator.line(
            Stream::Stdout,
            &format!(
                "built {reference} {} ({} of {} steps cached, {} sent)",
                &made.id[7..19.min(made.id.len())],
                result.cached,
                result.steps,
                bytes(result.sent)
            ),
        );
        cache::write(&self.0, call, docker, (image, plan), &made.id, &mut narrator);
        let base = identity.dockerfile.target_base().map(str::to_owned);
        let steps = narrator.into_steps();
        missed::note(call.root, (&image.key, &plan.name, &stem), &identity.key.parts, &steps);
        self.0.ledger.note(&image.key, &plan.name, |facts| (facts.steps, facts.base) = (Some(steps), base));
        Ok(made.id)
    }

    /// Parents that are unchanged and only in the registry: not built, but needed here now.
    fn fetch_parents(
        &self,
        call: &Call<'_>,
        docker: &Docker,
        stack: &Stack,
        bases: &BTreeMap<String, Basis>,
    ) -> Result<(), Failure> {
        for basis in bases.values() {
            let parent = basis.image.as_deref().and_then(|key| stack.image(key));
            if let (Some(parent), Some(published)) = (parent, &basis.published) {
                published::fetch(&self.0, docker, call, parent, &basis.digest, published)?;
            }
        }
        Ok(())
    }

    /// Every pinned name must mean the image that the key was made with. Gives the layers of each.
    fn check_parents(
        docker: &Docker,
        (image, plan): (&Image, &Plan),
        bases: &BTreeMap<String, Basis>,
    ) -> Result<Vec<(String, Vec<String>)>, Failure> {
        let mut layers = Vec::new();
        // Of a base from outside, the engine may hold the image for its own platform; the builder finds the right one.
        for (reference, basis) in bases.iter().filter(|(_, basis)| plan.foreign.is_none() || basis.image.is_some()) {
            let found = docker.find_image(&basis.pin).map_err(infra)?;
            let fine = found.as_ref().is_some_and(|found| match (&basis.image, &basis.id) {
                (Some(_), _) => found.labels.get(KEY_LABEL).is_some_and(|key| *key == basis.digest.hex()),
                (None, Some(id)) => found.id == *id,
                (None, None) => true,
            });
            match found {
                Some(found) if fine => layers.push((reference.clone(), found.layers)),
                _ => {
                    let name = basis.image.as_deref().unwrap_or(reference);
                    return Err(Failure::error(
                        Diagnostic::error(format!("parent `{name}` of image `{}` is not in the engine", image.key))
                            .note(format!("wanted: `{}`", basis.pin))
                            .help(format!("cargo xtask build:{name}")),
                    ));
                }
            }
        }
        Ok(layers)
    }
}

/// The name under which people find the image of a plan that was built last.
pub(super) fn moving_name(image: &Image, plan: &Plan) -> String {
    format!("{}:{}", image.image_name, tags::moving_tag(image, plan))
}

pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// `uptodate: [{image: ref}]`: the engine holds the image, with the id of the last success.
pub(super) struct ImageCheck(pub(super) Arc<Services>);

impl Check for ImageCheck {
    fn name(&self) -> &'static str {
        "image"
    }

    fn look(&self, call: &Call<'_>) -> Result<Seen, Failure> {
        let reference = call.args.as_str().map_or_else(|| text("image", call.args, "image"), Ok)?;
        let docker = self.0.docker().map_err(Failure::error)?;
        let found = docker.find_image(reference).map_err(infra)?;
        let missing = || Reason::ImageMissing { image: reference.to_owned(), key: Reason::ANY_KEY.into() };
        let reason = found.is_none().then(missing);
        Ok(Seen { satisfied: None, value: Some(found.map_or_else(|| "absent".to_owned(), |image| image.id)), reason })
    }
}

/// The tag under which an image of a plan is published beside its versions.
pub(super) fn published_tag(
    services: &Services,
    stack: &Stack,
    image: &Image,
    plan: &Plan,
) -> Result<String, Diagnostic> {
    tags::checked(tags::plan_tag(image, plan, &services.suffix(stack)?))
}
