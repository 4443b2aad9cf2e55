//! The action `image_prune`: removes an image from the engine once it is done with, where the spec says so. Only what
//! bears this stack's label and this image's name goes; nothing else of the engine is touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::build::{bytes, infra};
use super::services::{Services, whole};
use super::{IMAGE_LABEL, image_of};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::docker::{Docker, DockerError};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, Stream};
use crate::stack::Image;

pub(super) struct ImagePrune(pub(super) Arc<Services>);

impl ActionType for ImagePrune {
    fn name(&self) -> &'static str {
        "image_prune"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image"], optional: &[], short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_prune", args)?;
        Ok(Links {
            needs: vec![Need { resource: format!("image:{}", image.key).into(), dirties: true }],
            ..Links::default()
        })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_prune", call.args)?;
        if !image.prune {
            return Ok(Done { remark: Some("is kept".to_owned()), ..Done::default() });
        }
        let docker = self.0.docker().map_err(Failure::error)?;
        let (count, freed) = prune(&docker, image, call)?;
        let values = Map::from_iter([("bytes".to_owned(), Value::from(freed))]);
        Ok(Done { result: None, values, remark: Some(format!("{count} removed, {} freed", bytes(freed))) })
    }
}

/// Removes every image of the stack under this name with all its tags; how many, and the bytes of their own layers.
fn prune(docker: &Docker, image: &Image, call: &Call<'_>) -> Result<(usize, u64), Failure> {
    let label = format!("{IMAGE_LABEL}={}", image.key);
    let found = docker.images_with_label(&label).map_err(infra)?;
    // Children inherit the label of their parent unless they have their own; a stack of another repository may have an
    // image of the same key.
    let is_ours =
        |tags: &[String]| tags.iter().any(|tag| tag.rsplit_once(':').is_some_and(|(name, _)| name == image.image_name));
    let ids: BTreeSet<&str> = found.iter().filter(|one| is_ours(&one.tags)).map(|one| &*one.id).collect();
    let (mut count, mut freed) = (0, 0);
    for id in ids {
        let history = docker.history(id).map_err(infra)?;
        match docker.remove_image(id, true) {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => {
                count += 1;
                freed += history.iter().take(gone.len()).map(|layer| layer.size).sum::<u64>();
                call.out.line(Stream::Stdout, format!("removed {}", &id[..19.min(id.len())]).as_bytes());
            }
            // Another image of the engine is built on it, or a container runs: then it is needed.
            Err(DockerError::Conflict { .. }) => {
                call.out.line(Stream::Stderr, format!("kept {}: it is in use", &id[..19.min(id.len())]).as_bytes());
            }
            Err(error) => return Err(infra(error)),
        }
    }
    Ok((count, freed))
}
