//! How an image gets from one host of a pool to another: by its digest through a registry, where one is named for that,
//! else from engine to engine. Knows nothing of why it is wanted there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::build::{bytes, infra};
use super::publish;
use super::services::Services;
use crate::action::{Call, Failure};
use crate::docker::Docker;
use crate::model::{Diagnostic, ImageRef, Stream, words};

/// Copies of the same image go one after the other: they share the tag that a push needs.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Turns {
    fn of(&self, reference: &str) -> Arc<Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(reference.to_owned()).or_default().clone()
    }
}

/// Copies one image and says which way it took. `relatives` are images that may be there, with layers of this one.
pub(super) fn carry(
    services: &Services,
    call: &Call<'_>,
    engines: (&Docker, &Docker),
    reference: &str,
    relatives: &[String],
    way: &str,
) -> Result<(), Failure> {
    let repository = services.transfer().filter(|name| !services.silent.is(name.host().unwrap_or("docker.io")));
    if let Some(repository) = repository {
        let turn = services.turns.of(reference);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        match through(services, call, engines, reference, &repository) {
            Ok(digest) => {
                let text = format!("copied {reference} {way} by digest: {}@{digest}", repository.name);
                call.out.line(Stream::Stdout, text.as_bytes());
                return Ok(());
            }
            Err(_) if call.stop.is_requested() => return Err(Failure::interrupted(call.task)),
            Err(problem) => {
                // One of the hosts may not reach it: then none of them waits for it again for a while.
                services.silent.note(repository.host().unwrap_or("docker.io"));
                let text = format!("{reference} goes from engine to engine: {}", problem.message);
                call.out.line(Stream::Stderr, text.as_bytes());
            }
        }
    }
    directly(call, engines, reference, relatives, way)
}

/// The one engine pushes, the other pulls what was pushed, and nothing else: by digest. Neither keeps a name of the
/// repository, and the tag that a push needs is taken away again where the registry can do that.
fn through(
    services: &Services,
    call: &Call<'_>,
    (from, to): (&Docker, &Docker),
    reference: &str,
    repository: &ImageRef,
) -> Result<String, Diagnostic> {
    let image = from.image(reference)?;
    let digits = image.id.trim_start_matches("sha256:");
    let tag = format!("x-{}", &digits[..digits.len().min(20)]);
    let tagged = ImageRef { tag: Some(tag.clone()), ..repository.clone() };
    from.tag(&image.id, &tagged)?;
    let pushed = publish::push(services, from, &tagged, call);
    let _ = from.untag(&tagged);
    let digest = pushed?;
    let by_digest = ImageRef { digest: Some(digest.clone()), ..repository.clone() };
    let pulled = publish::pull(services, to, &by_digest, call).map_err(|failure| failure.diagnostic);
    if let Ok(repository) = services.quick_registries().open(repository) {
        // It is in nobody's way there: no image is looked for in this repository.
        let _ = repository.delete_tag(&tag);
    }
    pulled?;
    let arrived = to.image(&by_digest.to_string())?;
    if arrived.layers != image.layers || arrived.labels != image.labels {
        return Err(Diagnostic::error(format!("`{by_digest}` is not what was pushed")));
    }
    let own = ImageRef::parse(reference);
    let own = own.ok_or_else(|| Diagnostic::error(format!("`{reference}` is no image reference")))?;
    to.tag(&arrived.id, &own)?;
    let _ = to.untag(&by_digest);
    Ok(digest)
}

/// Copies one image from engine to engine and says how much went over the wire.
fn directly(
    call: &Call<'_>,
    (from, to): (&Docker, &Docker),
    reference: &str,
    relatives: &[String],
    way: &str,
) -> Result<(), Failure> {
    let size = from.image(reference).map_err(infra)?.size;
    let mut show = |sent: u64| call.out.progress(sent, size, &format!("copying {reference} {way}"));
    let copied = from.copy_to(to, &[reference], relatives, &mut show, call.stop).map_err(infra)?;
    let kept = match copied.kept {
        0 => String::new(),
        kept => format!(", {} were there already", words::count(kept, "layer")),
    };
    let text = format!("copied {reference} {way}: {}{kept}", bytes(copied.sent));
    call.out.line(Stream::Stdout, text.as_bytes());
    Ok(())
}
