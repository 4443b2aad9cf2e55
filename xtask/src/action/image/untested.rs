//! The action `image_push_untested`: gives images to machines that test them elsewhere, under a tag that says so.
//!
//! Which ones is a list, as `images` of the call or in the environment variable `PREPUSH_IMAGES` (JSON, as in datahub's
//! older pipeline); all others are left alone. Nothing else ever moves to such a tag, and it is never promoted.

use std::ffi::OsStr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::publish::{self, given};
use super::services::{Services, whole};
use super::{image_of, published};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, ImageRef};
use crate::rebuild::{Part, PartKey, PartValue};
use crate::stack::{Image, tags};

pub(super) struct PushUntested(pub(super) Arc<Services>);

/// Read where the call names no images.
const VARIABLE: &str = "PREPUSH_IMAGES";

impl PushUntested {
    /// Whether an image is to be tested elsewhere: by its key or its image_name.
    fn is_asked_for(&self, call: &Call<'_>, image: &Image) -> Result<bool, Failure> {
        let list: Vec<String> = match (given(call, "images"), self.0.env.get(OsStr::new(VARIABLE))) {
            (Some(text), _) => text.split([',', ' ']).map(str::to_owned).collect(),
            (None, Some(text)) => serde_json::from_str(&text.to_string_lossy()).map_err(|error| {
                Failure::error(
                    Diagnostic::error(format!("`{VARIABLE}` is no JSON list of images"))
                        .cause(error)
                        .help(format!("{VARIABLE}='[\"{}\"]'", image.key)),
                )
            })?,
            (None, None) => Vec::new(),
        };
        Ok(list.iter().any(|name| *name == *image.key || *name == image.image_name))
    }
}

impl ActionType for PushUntested {
    fn name(&self) -> &'static str {
        "image_push_untested"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image", "registry"], optional: &["images"], short: None }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_push_untested", args)?;
        let needs = vec![Need { resource: format!("image:{}", image.key).into(), dirties: true }];
        Ok(Links { needs, observes: true, ..Links::default() })
    }

    /// Another list is another task.
    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let (stack, _) = self.0.stack().map_err(|problems| Failure::error(whole(problems)))?;
        let asked = self.is_asked_for(call, image_of(&stack, "image_push_untested", call.args)?)?;
        let key = PartKey::Check("whether it is tested elsewhere".into());
        let parts = vec![Part { key, value: PartValue::Text(asked.to_string().into()) }];
        Ok(Observed { parts, ..Observed::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, _) = self.0.stack().map_err(|problems| Failure::error(whole(problems)))?;
        let image = image_of(&stack, "image_push_untested", call.args)?;
        if !self.is_asked_for(call, image)? {
            return Ok(Done { remark: Some("tested here".to_owned()), ..Done::default() });
        }
        let docker = self.0.docker().map_err(Failure::error)?;
        let built = call.resources.get(&*format!("image:{}", image.key)).cloned().unwrap_or_default();
        let (mut pushed, mut plans) = (Vec::new(), Map::new());
        for plan in stack.plans.iter().filter(|plan| image.is_in(&plan.name)) {
            let values = &built["plans"][&*plan.name];
            let missing = || {
                Failure::error(Diagnostic::error(format!(
                    "image `{}` was not built for plan `{}`",
                    image.key, plan.name
                )))
            };
            published::fetch_built(&self.0, call, image, values)?;
            let id = values["id"].as_str().ok_or_else(missing)?;
            let tag = super::build::published_tag(&self.0, &stack, image, plan)?;
            let tag = tags::checked(format!("{tag}-untested"))?;
            let name =
                ImageRef { name: tags::full_name(call.args["registry"].as_str(), image), tag: Some(tag), digest: None };
            docker.tag(id, &name).map_err(super::build::infra)?;
            let sent = publish::push(&self.0, &docker, &name, call);
            let _ = docker.untag(&name);
            plans.insert(plan.name.to_string(), json!(sent.map_err(Failure::failed)?));
            self.0.ledger.note(&image.key, &plan.name, |facts| facts.untested = Some(name.to_string()));
            pushed.push(name.to_string());
        }
        let values = Map::from_iter([("untested".to_owned(), Value::Object(plans))]);
        Ok(Done { values, remark: Some(format!("as {}", pushed.join(", "))), ..Done::default() })
    }
}
