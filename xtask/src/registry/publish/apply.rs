//! Carries out the plan of a push, step by verified step. Knows nothing of how content gets out of an engine.

use std::collections::HashMap;

use super::observe::has_id;
use super::{Identity, Journal, Plan, Step};
use crate::model::{Diagnostic, Digest, ImageRef};
use crate::registry::{Registries, Repository, relabel, tested};

/// One finished step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub reference: String,
    pub digest: Digest,
    /// Something was sent; `false` where it was so already.
    pub changed: bool,
}

/// Does what is left of a plan and reports each step through `progress`.
///
/// `upload` brings the content of a [`Step::Upload`] to its reference and gives the manifest's digest; what it claims
/// is checked. Each tag is read before and after it is written. Stops at the first failure; what is done stays, is
/// true, and is not done again when the same plan is applied once more.
pub fn apply(
    plan: &Plan,
    registries: &Registries,
    upload: &mut dyn FnMut(&Step) -> Result<Digest, Diagnostic>,
    journal: &mut Journal,
    progress: &mut dyn FnMut(&Step, &Applied),
) -> Result<Vec<Applied>, Diagnostic> {
    let mut contents: HashMap<String, Digest> = HashMap::new();
    let mut finished = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let reference = step.reference();
        let image = ImageRef::parse(&reference)
            .ok_or_else(|| Diagnostic::error(format!("`{reference}` is not the name of an image")))?;
        let repository = registries.open(&image)?;
        let tag = image.tag.unwrap_or_default();
        let applied = match step {
            Step::Done { digest, .. } => Applied { reference, digest: *digest, changed: false },
            Step::Upload { image, identity, .. } => {
                let there = present(&repository, &tag, *identity)?;
                let digest = match there {
                    Some(digest) => digest,
                    None => checked(&repository, &tag, *identity, upload(step)?, &reference)?,
                };
                contents.insert(image.clone(), digest);
                Applied { reference, digest, changed: there.is_none() }
            }
            Step::Label { image, labels, from, .. } => {
                let base = known(*from, image, &contents, &reference)?;
                let digest = relabel::relabel(&repository, base, labels)?;
                contents.insert(image.clone(), digest);
                Applied { reference, digest, changed: true }
            }
            Step::Record { image, key, of, .. } => {
                let content = known(*of, image, &contents, &reference)?;
                tested::put_record(&repository, content, key)?;
                Applied { reference, digest: content, changed: true }
            }
            Step::Tag { image, immutable, old, new, .. } => {
                let new = known(*new, image, &contents, &reference)?;
                let changed = put_tag(&repository, &tag, *immutable, *old, new)?;
                Applied { reference, digest: new, changed }
            }
        };
        journal.finished(index, applied.digest).map_err(|error| journal_failure(&error))?;
        progress(step, &applied);
        finished.push(applied);
    }
    journal.ended().map_err(|error| journal_failure(&error))?;
    Ok(finished)
}

/// The content of an image: known when the plan was made, or from an earlier step.
fn known(
    planned: Option<Digest>,
    image: &str,
    contents: &HashMap<String, Digest>,
    reference: &str,
) -> Result<Digest, Diagnostic> {
    planned
        .or_else(|| contents.get(image).copied())
        .ok_or_else(|| Diagnostic::error(format!("`{reference}` has no content in this plan")))
}

fn journal_failure(error: &std::io::Error) -> Diagnostic {
    Diagnostic::error("`push` cannot write its journal").cause(error)
}

/// The anchor's manifest, if it is that of the wanted content.
fn present(repository: &Repository, anchor: &str, identity: Identity) -> Result<Option<Digest>, Diagnostic> {
    let Some(digest) = repository.digest(anchor)? else { return Ok(None) };
    let same = match identity {
        Identity::Manifest(wanted) => digest == wanted,
        Identity::Local(id) => has_id(repository, digest, id)?,
    };
    Ok(same.then_some(digest))
}

/// Believes an upload only when the registry shows the wanted content under the anchor.
fn checked(
    repository: &Repository,
    anchor: &str,
    identity: Identity,
    claimed: Digest,
    reference: &str,
) -> Result<Digest, Diagnostic> {
    match present(repository, anchor, identity)? {
        Some(digest) if digest == claimed => Ok(digest),
        other => {
            let shown = other.map_or("other content or nothing".to_owned(), |digest| digest.to_string());
            Err(Diagnostic::error(format!("`{reference}` is not what was uploaded"))
                .note(format!("the upload reported {claimed}"))
                .note(format!("the registry shows {shown}")))
        }
    }
}

/// Read, verify, write, verify. `false` if the tag was right already.
pub fn put_tag(
    repository: &Repository,
    tag: &str,
    immutable: bool,
    old: Option<Digest>,
    new: Digest,
) -> Result<bool, Diagnostic> {
    let reference = repository.full(tag);
    let now = repository.digest(tag)?;
    if now == Some(new) {
        return Ok(false);
    }
    if now != old || (immutable && now.is_some()) {
        let show = |digest: Option<Digest>| digest.map_or("nothing".to_owned(), |digest| digest.to_string());
        return Err(Diagnostic::error(format!("`{reference}` was moved by somebody else meanwhile")).note(format!(
            "it pointed to {}, now it points to {}",
            show(old),
            show(now)
        )));
    }
    let manifest = repository.manifest(&new.to_string())?;
    repository.put_manifest(tag, &manifest)?;
    match repository.digest(tag)? {
        Some(after) if after == new => Ok(true),
        after => Err(Diagnostic::error(format!("`{reference}` does not point to what was written"))
            .note(format!("written was {new}"))
            .note(format!("read was {}", after.map_or("nothing".to_owned(), |digest| digest.to_string())))),
    }
}
