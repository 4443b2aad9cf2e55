//! Whether the images of a set belong together. Pure; knows nothing of the registry.

use super::{Found, Member, Rules};
use crate::model::{Diagnostic, words};

/// The content key of the image.
pub const KEY_LABEL: &str = "dev.xtask.key";
/// The content key of the parent that it was built on.
const PARENT_KEY_LABEL: &str = "dev.xtask.parent-key";
/// The digest of the parent that it was built on.
const BASE_DIGEST_LABEL: &str = "org.opencontainers.image.base.digest";

/// Every reason against promoting these images together.
pub fn check(members: &[Member], found: &[Option<Found>], rules: Rules) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (member, one) in members.iter().zip(found) {
        let reference = format!("{}:{}", member.name, member.from);
        let Some(one) = one else { continue };
        if !one.tested && !rules.allow_untested {
            problems.push(untested(&reference));
        }
        let key = one.labels.get(KEY_LABEL);
        if let (Some(expected), Some(key)) = (&member.key, key)
            && expected != key
        {
            problems.push(
                Diagnostic::error(format!("`{reference}` has another content key than image `{}`", member.image))
                    .note(format!("the registry has {key}, the stack has {expected}")),
            );
        }
        for parent in &member.parents {
            let parent = members.iter().zip(found).find(|(other, _)| other.image == *parent);
            if let Some((parent_member, Some(parent))) = parent {
                problems.extend(parent_problem(&reference, one, &parent_member.image, parent, rules));
            }
        }
    }
    problems
}

fn untested(reference: &str) -> Diagnostic {
    Diagnostic::error(format!("`{reference}` is untested"))
        .note("the registry has no record that its tests passed; `push` writes one")
        .help("test and publish it: cargo xtask push --version VERSION")
}

/// A key is compared with a key; only where one of them is missing does the digest decide.
fn parent_problem(reference: &str, child: &Found, name: &str, parent: &Found, rules: Rules) -> Option<Diagnostic> {
    let differs = |had: &str, has: String| {
        Diagnostic::error(format!("`{reference}` was built on another `{name}` than the one in the set"))
            .note(format!("built on {had}"))
            .note(format!("in the set is {has}"))
            .help("cargo xtask build-stack")
    };
    let built_on_keys = child.labels.get(PARENT_KEY_LABEL).filter(|keys| !keys.is_empty());
    if let (Some(keys), Some(key)) = (built_on_keys, parent.labels.get(KEY_LABEL)) {
        // Several parents: their keys are separated by spaces.
        let fits = keys.split_whitespace().any(|one| one == key);
        return (!fits).then(|| differs(keys, key.clone()));
    }
    match child.labels.get(BASE_DIGEST_LABEL).filter(|digest| !digest.is_empty()) {
        Some(digest) => {
            let fits = [parent.digest, parent.id].iter().any(|one| one.to_string() == *digest);
            (!fits).then(|| differs(digest, parent.digest.to_string()))
        }
        None if rules.allow_unlabelled => None,
        None => Some(
            Diagnostic::error(format!("`{reference}` does not say which `{name}` it was built on"))
                .note(format!("neither the label `{PARENT_KEY_LABEL}` nor `{BASE_DIGEST_LABEL}` is there")),
        ),
    }
}

/// Indexes of the members, parents before children, otherwise in the given order.
pub fn parents_first(members: &[Member]) -> Result<Vec<usize>, Diagnostic> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < members.len() {
        let waits = |member: &Member| {
            let placed = |name: &String| order.iter().any(|index| members[*index].image == *name);
            let in_set = |name: &String| members.iter().any(|other| other.image == *name);
            member.parents.iter().any(|parent| in_set(parent) && !placed(parent))
        };
        let free = |index: &usize| !order.contains(index) && !waits(&members[*index]);
        match (0..members.len()).find(free) {
            Some(index) => order.push(index),
            None => {
                let left = members.iter().enumerate().filter(|(index, _)| !order.contains(index));
                let names = words::list(left.map(|(_, member)| &member.image));
                return Err(Diagnostic::error(format!(
                    "`stable` cannot order {names}: they are parents of one another"
                )));
            }
        }
    }
    Ok(order)
}
