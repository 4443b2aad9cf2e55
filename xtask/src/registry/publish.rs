//! What a push has to do, decided before anything is sent. Pure; knows nothing of HTTP and engines.
//!
//! [`observe`] looks at the registry, [`plan_push`] decides, [`apply`] does it and [`Journal`] lets a later run finish
//! what an earlier one began.

mod apply;
mod journal;
mod observe;

pub(super) use apply::put_tag;
pub use apply::{Applied, apply};
pub use journal::{Journal, Unfinished};
pub use observe::{Observed, observe};

use serde::{Deserialize, Serialize};

use super::digest_text;
use crate::model::{Diagnostic, Digest, ImageRef};

/// Which content is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// A manifest, by its digest in the registry.
    Manifest(#[serde(with = "digest_text")] Digest),
    /// An image of an engine, by its id: the digest of its config.
    Local(#[serde(with = "digest_text")] Digest),
}

/// One tag that shall point to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedTag {
    pub tag: String,
    /// A version: once published it never moves.
    pub immutable: bool,
}

/// One image to be published. The list of them is in dependency order, parents first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Its name in the stack, for messages.
    pub image: String,
    /// `host/repository`, without a tag.
    pub name: String,
    pub identity: Identity,
    /// The tag under which the content arrives (of its key): there before any other tag is touched.
    pub anchor: String,
    pub tags: Vec<WantedTag>,
}

impl Wanted {
    /// One of its tags in full.
    pub fn reference(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// The repository as a reference.
    pub fn repository(&self) -> ImageRef {
        ImageRef { name: self.name.clone(), tag: None, digest: None }
    }
}

/// One act of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The content goes to the registry, under its anchor.
    Upload {
        image: String,
        /// `host/repository:anchor`
        to: String,
        identity: Identity,
    },
    /// A tag is put on the content.
    Tag {
        image: String,
        /// `host/repository`
        name: String,
        tag: String,
        immutable: bool,
        /// Where it points now.
        #[serde(with = "digest_text::option")]
        old: Option<Digest>,
        /// Where it shall point; `None` until the content is uploaded.
        #[serde(with = "digest_text::option")]
        new: Option<Digest>,
    },
    /// A tag that has the wanted digest already.
    Done {
        image: String,
        reference: String,
        #[serde(with = "digest_text")]
        digest: Digest,
    },
}

impl Step {
    pub fn image(&self) -> &str {
        match self {
            Self::Upload { image, .. } | Self::Tag { image, .. } | Self::Done { image, .. } => image,
        }
    }

    /// What the step is about, in full.
    pub fn reference(&self) -> String {
        match self {
            Self::Upload { to, .. } => to.clone(),
            Self::Tag { name, tag, .. } => format!("{name}:{tag}"),
            Self::Done { reference, .. } => reference.clone(),
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |digest: &Option<Digest>| digest.map_or("new content".to_owned(), |digest| digest.short());
        match self {
            Self::Upload { to, .. } => write!(f, "upload {to}"),
            Self::Tag { old: None, new, .. } => write!(f, "tag    {} → {}", self.reference(), short(new)),
            Self::Tag { old: Some(old), new, .. } => {
                write!(f, "move   {}: {} → {}", self.reference(), old.short(), short(new))
            }
            Self::Done { reference, digest, .. } => write!(f, "done   {reference} = {}", digest.short()),
        }
    }
}

/// Everything a push has to do, in order: content of all images, then version tags, then moving tags, parents first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub v: u8,
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Done { .. }))
    }
}

/// Decides. `observed` has one entry per wanted image, in the same order.
///
/// Refuses the whole push, with one diagnostic per reason, if a version exists with other content or if two images
/// want the same tag.
pub fn plan_push(wanted: &[Wanted], observed: &[Observed]) -> Result<Plan, Vec<Diagnostic>> {
    let mut refused = wanted_twice(wanted);
    let (mut uploads, mut versions, mut moving) = (Vec::new(), Vec::new(), Vec::new());
    for (wanted, observed) in wanted.iter().zip(observed) {
        let target = observed.content;
        if target.is_none() {
            uploads.push(Step::Upload {
                image: wanted.image.clone(),
                to: wanted.reference(&wanted.anchor),
                identity: wanted.identity,
            });
        }
        for tag in &wanted.tags {
            let old = observed.tags.get(&tag.tag).copied();
            match old {
                Some(digest) if target == Some(digest) => moving.push(Step::Done {
                    image: wanted.image.clone(),
                    reference: wanted.reference(&tag.tag),
                    digest,
                }),
                Some(digest) if tag.immutable => refused.push(taken(wanted, &tag.tag, digest)),
                _ => {
                    let step = Step::Tag {
                        image: wanted.image.clone(),
                        name: wanted.name.clone(),
                        tag: tag.tag.clone(),
                        immutable: tag.immutable,
                        old,
                        new: target,
                    };
                    if tag.immutable { versions.push(step) } else { moving.push(step) }
                }
            }
        }
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    uploads.extend(versions);
    uploads.extend(moving);
    Ok(Plan { v: 1, steps: uploads })
}

/// A version that is taken by other content.
pub(super) fn taken(wanted: &Wanted, tag: &str, digest: Digest) -> Diagnostic {
    let meant = match wanted.identity {
        Identity::Manifest(digest) => format!("to be pushed is {digest}"),
        Identity::Local(id) => format!("to be pushed is the image with the id {id}"),
    };
    Diagnostic::error(format!("`{}` exists with other content, and a version never moves", wanted.reference(tag)))
        .note(format!("in the registry is {digest}"))
        .note(meant)
        .help("push under a new version")
}

fn wanted_twice(wanted: &[Wanted]) -> Vec<Diagnostic> {
    let mut seen: Vec<(String, &Wanted)> = Vec::new();
    let mut refused = Vec::new();
    for one in wanted {
        for tag in &one.tags {
            let reference = one.reference(&tag.tag);
            match seen.iter().find(|(known, _)| *known == reference) {
                Some((_, other)) if other.identity == one.identity => {}
                Some((_, other)) => {
                    let images = format!("`{}` and `{}`", other.image, one.image);
                    refused.push(Diagnostic::error(format!("`{reference}` is wanted by {images}")));
                }
                None => seen.push((reference, one)),
            }
        }
    }
    refused
}

#[cfg(test)]
mod tests;
