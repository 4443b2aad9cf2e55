//! The action `image_push`: publishes one image of every plan as a version, under its plan's tag and as `latest`.
//!
//! Done when the registry says so: the remote tag has the wanted content.

use std::sync::Arc;

use serde_json::Value;

use super::services::{Services, whole};
use super::wish::{self, Wish};
use super::{image_of, publish};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, Reason};
use crate::stack::taggers;

pub(super) struct ImagePush(pub(super) Arc<Services>);

impl ActionType for ImagePush {
    fn name(&self) -> &'static str {
        "image_push"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image"], optional: &publish::ARGUMENTS, short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_push", args)?;
        let at = stack.images.iter().position(|one| one.key == image.key).unwrap_or_default();
        let need = |resource: String, dirties| Need { resource: resource.into(), dirties };
        let mut needs = vec![need(format!("image:{}", image.key), true), need(format!("tested:{}", image.key), false)];
        if !taggers::of(&stack, &graph, image).is_empty() {
            needs.push(need(wish::manifest_of(image), true));
        }
        // Parents are published first.
        needs.extend(
            graph.parents(at).iter().map(|parent| need(format!("pushed:{}", stack.images[*parent].key), false)),
        );
        Ok(Links { provides: vec![format!("pushed:{}", image.key).into()], needs, observes: true, ..Links::default() })
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_push", call.args)?;
        observed(&self.0, &Wish::of(&self.0, call, &stack, &[image])?)
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_push", call.args)?;
        let wish = Wish::of(&self.0, call, &stack, &[image])?;
        wish.tell_missing(call);
        let plan = publish::plan(&self.0, &wish.wanted, &wish.indexes)?;
        let after = publish::carry_out(&self.0, call, &plan)?;
        let remark = (plan.is_done() && plan.indexes.is_empty()).then(|| "already in the registry".to_owned());
        Ok(Done { result: None, values: publish::published(&after), remark })
    }
}

/// What the registry says of what is wanted.
pub(super) fn observed(services: &Services, wish: &Wish) -> Result<Observed, Failure> {
    let mut observed = Observed::default();
    let wanted = &wish.wanted[..];
    let mut plan = match crate::registry::publish::observe(wanted, &services.registries()) {
        Ok(seen) => crate::registry::publish::plan_push(wanted, &seen)
            .map_err(|problems| Failure::failed(whole(crate::model::Diagnostics(problems))))?,
        // It may be started by a setup task of this very task; if not, the run says what is wrong.
        Err(error) => {
            let reference = wanted.first().map(|one| one.name.clone()).unwrap_or_default();
            observed.forced.push(Reason::RemoteDiffers { reference, old: error.to_string(), new: "the image".into() });
            return Ok(observed);
        }
    };
    plan.indexes.clone_from(&wish.indexes);
    observed.forced = publish::reasons(&plan);
    if plan.is_done() && !wish.indexes.is_empty() {
        observed.forced = publish::note_joined(services, &mut plan)?;
    }
    observed.satisfied = observed.forced.is_empty();
    observed.values = observed.satisfied.then(|| publish::published(&plan));
    if observed.satisfied {
        publish::note_found(services, &plan)?;
    }
    Ok(observed)
}
