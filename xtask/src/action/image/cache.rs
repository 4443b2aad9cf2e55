//! Layers of earlier builds that a builder may take, and where it leaves its own. Never decides whether something is built.

use super::build::moving_name;
use super::layers::Narrator;
use super::services::Services;
use super::{publish, published};
use crate::action::Call;
use crate::docker::Docker;
use crate::model::{Diagnostic, ImageRef, Stream};
use crate::stack::{Image, Plan, tags};

/// The references of the spec, and with `prepull` what was published last for this plan.
pub(super) fn sources(services: &Services, call: &Call<'_>, image: &Image, plan: &Plan) -> Vec<String> {
    let mut all = image.cache_from.clone();
    if image.prepull && image.inline_cache {
        all.extend(published::last(services, call.args["registry"].as_str(), image, plan));
    }
    all
}

/// Sends an image with the cache within it to where the spec wants it. What fails is a warning: the image is built.
pub(super) fn write(
    services: &Services,
    call: &Call<'_>,
    docker: &Docker,
    (image, plan): (&Image, &Plan),
    id: &str,
    narrator: &mut Narrator<'_>,
) {
    for to in &image.cache_to {
        match send(services, call, docker, (image, plan), id, to) {
            Ok(name) => narrator.line(Stream::Stdout, &format!("cache written to {name}")),
            Err(problem) => {
                let text = format!(
                    "warning: the cache of image `{}` was not written to `{to}`: {}",
                    image.key, problem.message
                );
                narrator.line(Stream::Stderr, &text);
                for note in &problem.notes {
                    narrator.line(Stream::Stderr, &format!("note: {note}"));
                }
            }
        }
    }
}

fn send(
    services: &Services,
    call: &Call<'_>,
    docker: &Docker,
    (image, plan): (&Image, &Plan),
    id: &str,
    to: &str,
) -> Result<ImageRef, Diagnostic> {
    let mut name = ImageRef::parse(to).ok_or_else(|| Diagnostic::error("it is no image reference"))?;
    name.tag.get_or_insert_with(|| tags::moving_tag(image, plan));
    // What bears the name of the image itself is not taken away afterwards.
    let is_own = name.to_string() == moving_name(image, plan);
    docker.tag(id, &name)?;
    let sent = publish::push(services, docker, &name, call);
    if !is_own {
        let _ = docker.untag(&name);
    }
    sent.map(|_| name)
}
