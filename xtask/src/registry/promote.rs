//! Moves a tag of a whole set of images (`stable`) by writing the same manifest bytes under it: all of them or none.
//!
//! Knows nothing of engines: no image is pulled. [`plan_promotion`] reads and checks, [`promote`] writes, verifies,
//! undoes on failure and keeps an append-only [`Log`]; [`plan_rollback`] reads that log backwards.

mod apply;
mod check;
mod log;
mod rollback;

pub use apply::{Failed, promote};
pub use log::{Action, Log, Record, State};
pub use rollback::plan_rollback;

use serde::{Deserialize, Serialize};

use super::digest_text;
use super::side_by_side::side_by_side;
use super::{Registries, RegistryError};
use crate::model::{Diagnostic, Digest, ImageRef};

/// One image of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name in the stack.
    pub image: String,
    /// `host/repository`, without a tag.
    pub name: String,
    /// The tag or digest to be promoted.
    pub from: String,
    /// The tag that moves, e.g. `stable`.
    pub to: String,
    /// Names of those members that it is built on.
    pub parents: Vec<String>,
    /// The content key that it must bear, if the caller knows it.
    pub key: Option<String>,
    /// Its tests passed for exactly this content; if not known here, the record in the registry decides.
    pub tested: bool,
}

impl Member {
    fn repository(&self) -> ImageRef {
        ImageRef { name: self.name.clone(), tag: None, digest: None }
    }
}

/// What may be overlooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Images that were built by something else carry no label about their parent.
    pub allow_unlabelled: bool,
    pub allow_untested: bool,
}

/// One tag that moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub image: String,
    /// `host/repository`
    pub name: String,
    pub from: String,
    pub to: String,
    /// Where it points before; `None` where it does not exist.
    #[serde(with = "digest_text::option")]
    pub old: Option<Digest>,
    /// Where it points afterwards; `None` (only in a rollback) where it did not exist before.
    #[serde(with = "digest_text::option")]
    pub new: Option<Digest>,
    /// The content key of what is promoted, if it bears one.
    pub key: Option<String>,
}

impl Move {
    /// The tag that moves, in full.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.to)
    }

    /// Whether it has something to do.
    pub fn moves(&self) -> bool {
        self.old != self.new
    }
}

impl std::fmt::Display for Move {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |digest: &Option<Digest>| digest.map_or("nothing".to_owned(), |digest| digest.short());
        if self.moves() {
            write!(f, "{}: {} → {}", self.reference(), short(&self.old), short(&self.new))
        } else {
            write!(f, "{}: {} already", self.reference(), short(&self.new))
        }
    }
}

/// A set of moves, parents first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    pub action: Action,
    pub moves: Vec<Move>,
}

impl Promotion {
    /// Whether every tag is where it shall be.
    pub fn is_done(&self) -> bool {
        !self.moves.iter().any(Move::moves)
    }
}

/// What the registry says about one member.
#[derive(Clone, Debug)]
struct Found {
    digest: Digest,
    /// Of the config: what `base.digest` holds where the parent was never pushed when the child was built.
    id: Digest,
    labels: std::collections::BTreeMap<String, String>,
    /// The registry has the record that its tests passed.
    tested: bool,
    old: Option<Digest>,
}

/// Reads and checks the whole set; nothing is written, so this is the dry run, too.
///
/// Refuses, with one diagnostic per reason: a member that the registry does not have, an untested one, one with
/// another content key than expected, and one that was built on another parent than the one in the set.
pub fn plan_promotion(members: &[Member], rules: Rules, registries: &Registries) -> Result<Promotion, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (member, answer) in members.iter().zip(side_by_side(members, |member| find(member, registries))) {
        match answer {
            Ok(Some(one)) => found.push(Some(one)),
            Ok(None) => {
                let reference = format!("{}:{}", member.name, member.from);
                let problem = Diagnostic::error(format!("`{reference}` is not in the registry"));
                problems.push(problem.help("publish it first, or name a tag that it has: `--from TAG`"));
                found.push(None);
            }
            Err(error) => {
                problems.push(error.to_diagnostic());
                found.push(None);
            }
        }
    }
    problems.extend(check::check(members, &found, rules));
    let order = check::parents_first(members).map_err(|cycle| vec![cycle])?;
    if !problems.is_empty() {
        return Err(problems);
    }
    let moves = order.into_iter().filter_map(|index| {
        let (member, found) = (&members[index], found[index].as_ref()?);
        Some(Move {
            image: member.image.clone(),
            name: member.name.clone(),
            from: member.from.clone(),
            to: member.to.clone(),
            old: found.old,
            new: Some(found.digest),
            key: found.labels.get(check::KEY_LABEL).cloned(),
        })
    });
    Ok(Promotion { action: Action::Promote, moves: moves.collect() })
}

fn find(member: &Member, registries: &Registries) -> Result<Option<Found>, RegistryError> {
    let repository = registries.open(&member.repository())?;
    let Some(digest) = repository.digest(&member.from)? else { return Ok(None) };
    let image = repository.image(&digest.to_string(), None)?;
    let old = repository.digest(&member.to)?;
    let tested = match image.labels.get(check::KEY_LABEL) {
        Some(key) if !member.tested => super::tested::has_record(&repository, digest, key)?,
        _ => member.tested,
    };
    Ok(Some(Found { digest, id: image.id, labels: image.labels, tested, old }))
}
