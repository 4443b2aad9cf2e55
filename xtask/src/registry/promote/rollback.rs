//! Turns the last promotion of the log around. Knows nothing of how tags are written.

use super::{Action, Log, Move, Promotion};
use crate::model::{Diagnostic, ImageRef};
use crate::registry::Registries;

/// The moves that undo the last promotion that stands; nothing is written, so this is the dry run, too.
///
/// Children first, since that is the promotion backwards. Refuses if there is none, or if a tag was moved since.
pub fn plan_rollback(log: &Log, registries: &Registries) -> Result<Promotion, Vec<Diagnostic>> {
    let Some(last) = log.last_standing() else {
        return Err(vec![Diagnostic::error("`stable` has no promotion in the log that could be rolled back")]);
    };
    let mut problems = Vec::new();
    let mut moves = Vec::new();
    for one in last.moves.iter().rev() {
        let image = ImageRef { name: one.name.clone(), tag: None, digest: None };
        let now = registries.open(&image).and_then(|repository| repository.digest(&one.to));
        match now {
            Ok(now) if now == one.new || now == one.old => {
                moves.push(Move { old: now, new: one.old, from: one.to.clone(), key: None, ..one.clone() });
            }
            Ok(now) => {
                let show = |digest: Option<crate::model::Digest>| {
                    digest.map_or("nothing".to_owned(), |digest| digest.to_string())
                };
                problems.push(
                    Diagnostic::error(format!("`{}` was moved since promotion {}", one.reference(), last.id))
                        .note(format!("promoted was {}, now it is {}", show(one.new), show(now))),
                );
            }
            Err(error) => problems.push(error.to_diagnostic()),
        }
    }
    if problems.is_empty() { Ok(Promotion { action: Action::Rollback(last.id.clone()), moves }) } else { Err(problems) }
}
