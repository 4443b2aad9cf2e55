//! The actions that make, test, describe and publish the images of the stack. Knows nothing of the graph's order.
//!
//! They are tied together by resources: `rendered:<image>`, `base:<reference>`, `image:<image>`, `tested:<image>`.

mod again;
mod ancestry;
mod base;
mod branches;
mod build;
mod cache;
mod changes;
mod cleaning;
mod context_files;
mod dockerfile;
mod drift;
mod elsewhere;
mod environment;
mod exchange;
mod fleet;
mod given;
mod identity;
mod indexes;
mod inside;
mod join;
mod layers;
mod ledger;
mod leftovers;
mod live;
mod manifest;
mod mentions;
pub(crate) mod missed;
mod monthly;
mod origin;
mod platforms;
mod prune;
mod publish;
mod published;
mod push;
mod pytest;
mod remote_tag;
mod render;
mod results;
mod services;
mod shelf;
mod stable;
mod stack_push;
mod stage;
mod style;
mod test;
mod untested;
mod veil;
mod wiki;
mod wish;

use std::sync::Arc;

pub(crate) use drift::BaseState;
pub use environment::{Held, Request as BuildEnvironment};
pub(crate) use fleet::Known as KnownHosts;
pub use services::Services;

use super::{ActionSet, text};
use crate::model::{Diagnostic, words};
use crate::stack::{Image, Stack};

/// Adds all of them.
pub(super) fn add(actions: &mut ActionSet, services: &Arc<Services>) {
    actions.add(render::Render(services.clone()));
    actions.add(stage::Stage(services.clone()));
    actions.add(dockerfile::WriteDockerfile(services.clone()));
    actions.add(base::BaseImage(services.clone()));
    actions.add(build::ImageBuild(services.clone()));
    for kind in [test::Kind::Basic, test::Kind::Integration, test::Kind::Workflow] {
        actions.add(test::ImageTest(services.clone(), kind));
    }
    actions.add(prune::ImagePrune(services.clone()));
    actions.add(manifest::ImageManifest(services.clone()));
    actions.add(push::ImagePush(services.clone()));
    actions.add(untested::PushUntested(services.clone()));
    actions.add(stack_push::StackPush(services.clone()));
    actions.add(join::StackJoin(services.clone()));
    actions.add(stable::ImageStable(services.clone()));
    actions.add(changes::ImageChanges(services.clone()));
    actions.add(wiki::ImageWiki(services.clone()));
    actions.add_chronicle(results::Results(services.clone()));
    actions.add_chronicle(shelf::Watcher(services.clone()));
    actions.add_check(build::ImageCheck(services.clone()));
    actions.add_check(remote_tag::RemoteTagCheck(services.clone()));
}

/// Adds the same for environments; `services` are those that know them.
pub(super) fn add_for_environments(actions: &mut ActionSet, services: &Arc<Services>) {
    use environment::ForEnvironment;
    actions.add(ForEnvironment { name: "environment_build", inner: build::ImageBuild(services.clone()) });
    actions
        .add(ForEnvironment { name: "environment_test", inner: test::ImageTest(services.clone(), test::Kind::Basic) });
    actions.add_chronicle(shelf::Watcher(services.clone()));
    actions.add(live::EnvironmentLive(services.clone()));
    actions.add(ForEnvironment { name: "environment_push", inner: push::ImagePush(services.clone()) });
}

/// Begins the names of the logs of an image in a plan.
fn log_stem(stack: &Stack, image: &Image, plan: &str) -> String {
    match plan.split_once('@') {
        Some((_, platform)) if stack.plans.len() == 1 => format!("{}.{platform}", image.key),
        None if stack.plans.len() == 1 => image.key.to_string(),
        _ => format!("{}.{plan}", image.key),
    }
}

/// The image that the argument `image` names.
fn image_of<'s>(stack: &'s Stack, action: &str, args: &serde_json::Value) -> Result<&'s Image, Diagnostic> {
    let key = text(action, args, "image")?;
    stack.image(key).ok_or_else(|| {
        let known: Vec<&str> = stack.images.iter().map(|image| &*image.key).collect();
        Diagnostic::error(format!("image `{key}` is not in `{}`", stack.file))
            .maybe_help(words::suggest("image", key, &known))
    })
}

/// Label of the content key of an image.
pub(crate) const KEY_LABEL: &str = "dev.xtask.key";
/// Label of the content key of its parent, where that is an image of the stack.
pub(crate) const PARENT_KEY_LABEL: &str = "dev.xtask.parent-key";
/// Label of its name in the stack.
pub(crate) const IMAGE_LABEL: &str = "dev.xtask.image";
/// Label of the branch on which it was built first.
pub(crate) const BRANCH_LABEL: &str = "dev.xtask.branch";
/// Label of a base that was made here: what it was made from.
pub(crate) const BASE_LABEL: &str = "dev.xtask.base";
