//! Actions of images for environments: the same work on the same engine path, by the environment's name. Also asks
//! for one environment without a graph. Knows nothing of what runs in an environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::identity::{self, key_reference};
use super::services::{Services, whole};
use super::{KEY_LABEL, build};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed, Output};
use crate::docker::Docker;
use crate::graph::Links;
use crate::model::{Diagnostic, Diagnostics, Digest, StopToken};
use crate::stack::{Image, Plan};

/// An action of an image, which takes an environment instead.
pub(super) struct ForEnvironment<A> {
    pub name: &'static str,
    pub inner: A,
}

impl<A: ActionType> ForEnvironment<A> {
    /// The arguments as the inner action knows them.
    fn args(args: &Value) -> Value {
        let mut args = args.clone();
        if let Some(map) = args.as_object_mut()
            && let Some(name) = map.remove("environment")
        {
            map.insert("image".to_owned(), name);
        }
        args
    }

    fn with<T>(call: &Call<'_>, run: impl FnOnce(&Call<'_>) -> T) -> T {
        run(&Call { args: &Self::args(call.args), ..*call })
    }
}

impl<A: ActionType> ActionType for ForEnvironment<A> {
    fn name(&self) -> &str {
        self.name
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["environment"], short: Some("environment"), ..self.inner.arguments() }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        super::text(self.name, args, "environment")?;
        let mut links = self.inner.links(&Self::args(args))?;
        // The Dockerfile is written by hand: nothing renders it, and its context is listed when it is built.
        // Its versions are its own, so that publishing it does not publish the stack.
        let foreign = ["rendered:", "staged:", "pushed:"];
        links.needs.retain(|need| !foreign.iter().any(|kind| need.resource.starts_with(kind)));
        links.inputs.retain(|input| !input.as_bytes().starts_with(b".xtask/"));
        Ok(links)
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        Self::with(call, |call| self.inner.observe(call))
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        Self::with(call, |call| self.inner.run(call))
    }
}

/// The image of an environment, in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// `sha256:…`
    pub id: String,
    /// The content key.
    pub key: Digest,
    /// The name of that key.
    pub reference: String,
}

/// A build of one environment without a graph.
pub struct Request<'a> {
    pub root: &'a Path,
    pub name: &'a str,
    /// The environment for processes that the build starts.
    pub env: &'a [(std::ffi::OsString, std::ffi::OsString)],
    pub stop: &'a StopToken,
    pub out: &'a dyn Output,
}

impl Services {
    /// The engine, for commands.
    ///
    /// # Errors
    /// There is no endpoint that can be understood.
    pub fn engine(&self) -> Result<Docker, Diagnostic> {
        self.docker()
    }

    /// The image that an environment is by its files now, with its key even if the engine does not hold it.
    ///
    /// # Errors
    /// The files are wrong, or a base that its key needs is not in the engine.
    pub fn environment(&self, name: &str) -> Result<(Digest, Option<Held>), Failure> {
        let (stack, graph) = self.stack().map_err(|problems: Diagnostics| Failure::error(whole(problems)))?;
        let (image, plan) = find(&stack, name)?;
        let identity = identity::identify(self, (&stack, &graph), image, plan, &BTreeMap::new())?;
        self.files.save();
        let key = identity.key.digest;
        let reference = key_reference(image, &key);
        let found = self.docker().map_err(Failure::error)?.find_image(&reference).map_err(build::infra)?;
        let found = found.filter(|found| found.labels.get(KEY_LABEL).is_some_and(|label| *label == key.hex()));
        Ok((key, found.map(|found| Held { id: found.id, key, reference })))
    }

    /// Builds one environment on what the engine holds.
    ///
    /// # Errors
    /// The build fails, or what it is built on is not there.
    pub fn build_environment(self: &Arc<Self>, request: &Request<'_>) -> Result<(), Failure> {
        let args = json!({ "image": request.name });
        build::ImageBuild(self.clone())
            .run(&Call {
                root: request.root,
                task: request.name,
                args: &args,
                resources: &BTreeMap::new(),
                previous: None,
                env: request.env,
                stop: request.stop,
                out: request.out,
            })
            .map(drop)
    }

    /// The name under which an environment's images are kept.
    ///
    /// # Errors
    /// There is no such environment.
    pub fn environment_repository(&self, name: &str) -> Result<String, Failure> {
        let (stack, _) = self.stack().map_err(|problems: Diagnostics| Failure::error(whole(problems)))?;
        find(&stack, name).map(|(image, _)| image.image_name.clone())
    }
}

/// An environment as an image, with the plan that it is built for.
pub(super) fn find<'s>(stack: &'s crate::stack::Stack, name: &str) -> Result<(&'s Image, &'s Plan), Failure> {
    let image = stack.image(name);
    let pair = image.and_then(|image| Some((image, stack.plans.iter().find(|plan| image.is_in(&plan.name))?)));
    pair.ok_or_else(|| Failure::error(Diagnostic::error(format!("environment `{name}` does not exist"))))
}
