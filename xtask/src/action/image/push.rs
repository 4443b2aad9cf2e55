//! The action `image_push`: publishes an image of every plan as a version, under its plan's tag and as `latest`.
//!
//! Done when the registry says so: the remote tag has the wanted content. Content first, then version tags, which never
//! move, then moving tags. Nothing that was not tested is pushed.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::services::{Services, whole};
use super::{build, image_of, text};
use crate::action::{ActionType, Arguments, Call, Check, Done, Failure, Observed, Seen};
use crate::docker::{Docker, TransferEvent};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, Diagnostics, Digest, ImageRef, Reason, Stream};
use crate::registry::publish::{self, Identity, Journal, Step, Wanted, WantedTag};
use crate::stack::{Image, Stack, tags};
use crate::store::STATE_DIR;

pub(super) struct ImagePush(pub(super) Arc<Services>);

impl ImagePush {
    /// What shall be in the registry, one entry per plan.
    fn wanted(&self, call: &Call<'_>, stack: &Stack, image: &Image) -> Result<Vec<Wanted>, Failure> {
        let registry = call.args["registry"].as_str();
        let version = match call.args["version"].as_str().filter(|version| !version.is_empty()) {
            None => None,
            Some(version) => Some(semver::Version::parse(version).map_err(|error| {
                Failure::error(Diagnostic::error(format!("`{version}` is no version such as 1.4.0")).cause(error))
            })?),
        };
        let built = call.resources.get(&*format!("image:{}", image.key)).cloned().unwrap_or_default();
        let mut wanted = Vec::new();
        for plan in stack.plans.iter().filter(|plan| image.is_in(&plan.name)) {
            let values = &built["plans"][&*plan.name];
            let (Some(id), Some(key)) = (values["id"].as_str().and_then(Digest::parse), values["key"].as_str()) else {
                return Err(Failure::error(Diagnostic::error(format!(
                    "image `{}` was not built for plan `{}`",
                    image.key, plan.name
                ))));
            };
            refuse_untested(call, image, key)?;
            let mut names = Vec::new();
            if let Some(version) = &version {
                let tag = tags::checked(tags::version_tag(stack, image, plan, version))?;
                names.push(WantedTag { tag, immutable: true });
                names.push(WantedTag { tag: tags::checked(tags::latest_tag(stack, image, plan))?, immutable: false });
            }
            let tag = build::published_tag(&self.0, stack, image, plan)?;
            names.push(WantedTag { tag, immutable: false });
            let anchor = Digest::parse(key).map(|key| tags::key_tag(&key)).unwrap_or_default();
            let name = tags::full_name(registry, image);
            let label =
                if stack.plans.len() == 1 { image.key.to_string() } else { format!("{} ({})", image.key, plan.name) };
            wanted.push(Wanted { image: label, name, identity: Identity::Local(id), anchor, tags: names });
        }
        Ok(wanted)
    }
}

/// Nothing untested is pushed.
fn refuse_untested(call: &Call<'_>, image: &Image, key: &str) -> Result<(), Failure> {
    let Some(tested) = call.resources.get(&*format!("tested:{}", image.key)) else {
        return Err(Failure::failed(
            Diagnostic::error(format!("image `{}` is untested, and nothing untested is pushed", image.key))
                .help(format!("cargo xtask test:{}", image.key)),
        ));
    };
    if tested["tested"].get(key).is_none() {
        return Err(Failure::failed(
            Diagnostic::error(format!("image `{}` was tested with other content", image.key))
                .help(format!("cargo xtask test:{}", image.key)),
        ));
    }
    Ok(())
}

impl ActionType for ImagePush {
    fn name(&self) -> &'static str {
        "image_push"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image"], optional: &["registry", "version"], short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_push", args)?;
        let at = stack.images.iter().position(|one| one.key == image.key).unwrap_or_default();
        let need = |resource: String, dirties| Need { resource: resource.into(), dirties };
        let mut needs = vec![need(format!("image:{}", image.key), true), need(format!("tested:{}", image.key), false)];
        // Parents are published first.
        needs.extend(
            graph.parents(at).iter().map(|parent| need(format!("pushed:{}", stack.images[*parent].key), false)),
        );
        Ok(Links { provides: vec![format!("pushed:{}", image.key).into()], needs, observes: true, ..Links::default() })
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_push", call.args)?;
        let wanted = self.wanted(call, &stack, image)?;
        let mut observed = Observed::default();
        let seen = match publish::observe(&wanted, &self.0.registries()) {
            Ok(seen) => seen,
            // It may be started by a setup task of this very task; if not, the run says what is wrong.
            Err(error) => {
                let reference = wanted.first().map(|one| one.name.clone()).unwrap_or_default();
                observed.forced.push(Reason::RemoteDiffers {
                    reference,
                    old: error.to_string(),
                    new: "the image".into(),
                });
                return Ok(observed);
            }
        };
        let plan =
            publish::plan_push(&wanted, &seen).map_err(|problems| Failure::failed(whole(Diagnostics(problems))))?;
        for step in plan.steps.iter().filter(|step| !matches!(step, Step::Done { .. })) {
            let (old, new) = match step {
                Step::Tag { old, new, .. } => (old.map(|d| d.short()), new.map(|d| d.short())),
                _ => (None, None),
            };
            observed.forced.push(Reason::RemoteDiffers {
                reference: step.reference(),
                old: old.unwrap_or_else(|| "absent".into()),
                new: new.unwrap_or_else(|| "the image".into()),
            });
        }
        observed.satisfied = plan.is_done();
        if plan.is_done() {
            observed.values = Some(published(&plan.steps));
        }
        Ok(observed)
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_push", call.args)?;
        let docker = self.0.docker().map_err(Failure::error)?;
        let wanted = self.wanted(call, &stack, image)?;
        let registries = self.0.registries();
        let seen = publish::observe(&wanted, &registries).map_err(|error| Failure::failed(error.to_diagnostic()))?;
        let plan =
            publish::plan_push(&wanted, &seen).map_err(|problems| Failure::failed(whole(Diagnostics(problems))))?;
        let path = call.root.join(STATE_DIR).join(format!("push-{}.jsonl", image.key));
        let mut journal = Journal::create(&path, &plan).map_err(|error| {
            Failure::error(Diagnostic::error("the journal of the push cannot be written").cause(error))
        })?;
        let mut upload = |step: &Step| self.upload(call, &docker, step);
        let mut progress = |step: &Step, applied: &publish::Applied| {
            let word = if applied.changed { "" } else { "  (was there)" };
            call.out.line(Stream::Stdout, format!("{step}{word}").as_bytes());
        };
        publish::apply(&plan, &registries, &mut upload, &mut journal, &mut progress).map_err(Failure::failed)?;
        let seen = publish::observe(&wanted, &registries).map_err(|error| Failure::failed(error.to_diagnostic()))?;
        let after =
            publish::plan_push(&wanted, &seen).map_err(|problems| Failure::failed(whole(Diagnostics(problems))))?;
        let remark = plan.is_done().then(|| "already in the registry".to_owned());
        Ok(Done { result: None, values: published(&after.steps), remark })
    }
}

impl ImagePush {
    /// Content goes out of the engine under the anchor's name, which is taken away again.
    fn upload(&self, call: &Call<'_>, docker: &Docker, step: &Step) -> Result<Digest, Diagnostic> {
        let Step::Upload { to, identity, .. } = step else {
            return Err(Diagnostic::error("only content is uploaded"));
        };
        let Identity::Local(id) = identity else {
            return Err(Diagnostic::error(format!("`{to}` is not in the engine")));
        };
        let name = ImageRef::parse(to).ok_or_else(|| Diagnostic::error(format!("`{to}` is no image reference")))?;
        docker.tag(&id.to_string(), &name)?;
        let login = self.0.login(&name)?;
        let pushed =
            docker.push(&name, login.as_ref(), &mut |event| show_transfer(call, "pushing", &name, event), call.stop);
        // The image keeps its own names.
        let _ = docker.untag(&name);
        let digest = pushed?;
        Digest::parse(&digest)
            .ok_or_else(|| Diagnostic::error(format!("the engine gave `{digest}` for the digest of `{to}`")))
    }
}

/// Shows how far a push or pull is.
fn show_transfer(call: &Call<'_>, verb: &str, name: &ImageRef, event: TransferEvent) {
    match event {
        TransferEvent::Layer { id, status, done, total } => {
            call.out.progress(done, total.unwrap_or(0), &format!("{verb} {name}: {id} {status}"));
        }
        TransferEvent::Retry { attempt, wait, problem } => {
            let text = format!("attempt {attempt} failed, trying again in {:.0} s: {problem}", wait.as_secs_f64());
            call.out.line(Stream::Stderr, text.as_bytes());
        }
    }
}

/// Pulls an image into the engine.
pub(super) fn pull(services: &Services, docker: &Docker, name: &ImageRef, call: &Call<'_>) -> Result<(), Failure> {
    let login = services.login(name)?;
    let pulled =
        docker.pull(name, None, login.as_ref(), &mut |event| show_transfer(call, "pulling", name, event), call.stop);
    pulled.map(drop).map_err(build::infra)
}

/// Digests by reference, as values of the task.
fn published(steps: &[Step]) -> Map<String, Value> {
    let references: Map<String, Value> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Done { reference, digest, .. } => Some((reference.clone(), json!(digest.to_string()))),
            _ => None,
        })
        .collect();
    Map::from_iter([("pushed".to_owned(), Value::Object(references))])
}

/// `uptodate: [{remote_tag: ref}]`: the registry's tag has the digest of the last success.
pub(super) struct RemoteTagCheck(pub(super) Arc<Services>);

impl Check for RemoteTagCheck {
    fn name(&self) -> &'static str {
        "remote_tag"
    }

    fn look(&self, call: &Call<'_>) -> Result<Seen, Failure> {
        let reference = call.args.as_str().map_or_else(|| text("remote_tag", call.args, "remote_tag"), Ok)?;
        let image = ImageRef::parse(reference)
            .ok_or_else(|| Failure::error(Diagnostic::error(format!("`{reference}` is no image reference"))))?;
        let repository = self.0.registries().open(&image).map_err(|error| Failure::error(error.to_diagnostic()))?;
        let tag = image.tag.as_deref().unwrap_or("latest");
        let digest = repository.digest(tag).map_err(|error| Failure::error(error.to_diagnostic()))?;
        let reason = digest.is_none().then(|| Reason::RemoteDiffers {
            reference: reference.to_owned(),
            old: "absent".into(),
            new: "any".into(),
        });
        Ok(Seen {
            satisfied: None,
            value: Some(digest.map_or_else(|| "absent".into(), |digest| digest.to_string())),
            reason,
        })
    }
}
