//! What a push has to do, decided before anything is sent. Pure; knows nothing of HTTP and engines.
//!
//! [`observe`] looks at the registry, [`plan_push`] decides, [`apply`] does it and [`Journal`] lets a later run finish
//! what an earlier one began.

mod apply;
mod journal;
mod observe;

pub use apply::{Applied, apply, put_tag};
pub use journal::{Journal, Unfinished};
pub use observe::{Observed, observe};

use std::collections::BTreeMap;

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
    /// Labels that the published image bears beside its own: the same layers under another config.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The content key that its tests passed for, to be recorded in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<String>,
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

/// An index over what was pushed for several platforms. It is made when all of them are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedIndex {
    /// The image's name in the stack, for messages.
    pub image: String,
    /// `host/repository`, without a tag.
    pub name: String,
    /// Which platforms there must be, sorted.
    pub platforms: Vec<String>,
    /// With the platform behind it, the tag under which each image waits.
    pub lead: String,
    pub tags: Vec<WantedTag>,
}

impl std::fmt::Display for WantedIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tags: Vec<&str> = self.tags.iter().map(|tag| tag.tag.as_str()).collect();
        write!(f, "join   {}:{} of {}", self.name, tags.join(", "), crate::model::words::list(&self.platforms))
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
    /// The content with more labels: another config over the same layers, made in the registry.
    Label {
        image: String,
        /// `host/repository:anchor`
        to: String,
        labels: BTreeMap<String, String>,
        /// The content without them; `None` until it is uploaded.
        #[serde(with = "digest_text::option")]
        from: Option<Digest>,
    },
    /// That its tests passed is written down beside the content.
    Record {
        image: String,
        /// `host/repository:anchor`
        to: String,
        key: String,
        /// The content; `None` until it is there.
        #[serde(with = "digest_text::option")]
        of: Option<Digest>,
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
            Self::Upload { image, .. }
            | Self::Label { image, .. }
            | Self::Record { image, .. }
            | Self::Tag { image, .. }
            | Self::Done { image, .. } => image,
        }
    }

    /// What the step is about, in full.
    pub fn reference(&self) -> String {
        match self {
            Self::Upload { to, .. } | Self::Label { to, .. } | Self::Record { to, .. } => to.clone(),
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
            Self::Label { to, labels, .. } => {
                write!(f, "label  {to}: {}", crate::model::words::list(labels.keys()))
            }
            Self::Record { to, .. } => write!(f, "record {to} as tested"),
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
    /// What it was made for: with that it can be made again, against what the registry has then.
    #[serde(default)]
    pub wanted: Vec<Wanted>,
    pub steps: Vec<Step>,
    /// What comes of the images of several platforms after all steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<WantedIndex>,
}

impl Plan {
    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.open().next().is_none()
    }

    /// The steps that have something to do.
    pub fn open(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !matches!(step, Step::Done { .. }))
    }

    /// Every tag that it is about, in full, sorted.
    pub fn references(&self) -> Vec<String> {
        let all = self.wanted.iter().flat_map(|one| one.tags.iter().map(|tag| one.reference(&tag.tag)));
        let joined = self.indexes.iter().flat_map(|one| one.tags.iter().map(|tag| format!("{}:{}", one.name, tag.tag)));
        let mut references: Vec<String> = all.chain(joined).collect();
        references.sort_unstable();
        references.dedup();
        references
    }

    /// Where a tag is now another than when this plan was made, and not where it shall be: one diagnostic each.
    pub fn moved_since(&self, now: &Self) -> Vec<Diagnostic> {
        let before = |reference: &str| {
            self.steps.iter().find_map(|step| match step {
                Step::Tag { old, .. } if step.reference() == reference => Some(*old),
                Step::Done { digest, .. } if step.reference() == reference => Some(Some(*digest)),
                _ => None,
            })
        };
        let moved = |step: &Step| {
            let Step::Tag { old, .. } = step else { return None };
            let was = before(&step.reference())?;
            let show = |digest: Option<Digest>| digest.map_or("nothing".to_owned(), |digest| digest.to_string());
            (was != *old).then(|| {
                Diagnostic::error(format!("`{}` was moved since the plan was made", step.reference()))
                    .note(format!("it pointed to {}, now it points to {}", show(was), show(*old)))
                    .help("make a new plan")
            })
        };
        now.steps.iter().filter_map(moved).collect()
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
        if observed.base.is_none() {
            uploads.push(Step::Upload {
                image: wanted.image.clone(),
                to: wanted.reference(&wanted.anchor),
                identity: wanted.identity,
            });
        }
        if target.is_none() && !wanted.labels.is_empty() {
            uploads.push(Step::Label {
                image: wanted.image.clone(),
                to: wanted.reference(&wanted.anchor),
                labels: wanted.labels.clone(),
                from: observed.base,
            });
        }
        if let (Some(key), false) = (&wanted.tested, observed.recorded) {
            uploads.push(Step::Record {
                image: wanted.image.clone(),
                to: wanted.reference(&wanted.anchor),
                key: key.clone(),
                of: target,
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
    Ok(Plan { v: 1, wanted: wanted.to_vec(), steps: uploads, indexes: Vec::new() })
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
                Some((_, other)) if (other.identity, &other.labels) == (one.identity, &one.labels) => {}
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
