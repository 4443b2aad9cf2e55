//! Which images of the stack an engine need not hold any longer. Pure; knows nothing of engines.

use std::collections::{BTreeMap, BTreeSet};

/// One image that this stack made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    pub id: String,
    /// Its names, e.g. `lab/base:k-0123456789ab`.
    pub names: Vec<String>,
    /// Its key in the spec.
    pub image: String,
    /// The branch on which it was built, as far as known.
    pub branch: String,
    /// Its content key, and that of the image that it was built on.
    pub key: String,
    pub parent: Option<String>,
    /// Seconds since 1970.
    pub created: i64,
    /// Bytes, parents included.
    pub size: u64,
}

/// What may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaning {
    /// The newest first, so that children go before their parents.
    pub remove: Vec<Candidate>,
    /// Bytes that only these hold.
    pub bytes: u64,
    pub kept: usize,
}

/// Keeps the newest `keep` of each image on each branch for each of its moving names, everything that was promoted,
/// and whatever those are built on.
pub fn decide(mut all: Vec<Candidate>, keep: usize, promoted: &BTreeSet<String>) -> Cleaning {
    all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    for one in &all {
        let count = seen.entry((&one.image, &one.branch)).or_default();
        *count += 1;
        // A name beside that of its key is the one that people use now.
        let is_current = keep > 0 && one.names.len() > 1;
        if *count <= keep || is_current || promoted.contains(&one.key) {
            wanted.insert(&one.key);
        }
    }
    let parents: BTreeMap<&str, &str> =
        all.iter().filter_map(|one| Some((one.key.as_str(), one.parent.as_deref()?))).collect();
    let mut open: Vec<&str> = wanted.iter().copied().collect();
    while let Some(key) = open.pop() {
        if let Some(parent) = parents.get(key).filter(|parent| wanted.insert(parent)) {
            open.push(parent);
        }
    }
    let sizes: BTreeMap<&str, u64> = all.iter().map(|one| (one.key.as_str(), one.size)).collect();
    let own = |one: &Candidate| {
        let below = one.parent.as_deref().and_then(|parent| sizes.get(parent)).copied().unwrap_or(0);
        one.size.saturating_sub(below)
    };
    let wanted: BTreeSet<String> = wanted.into_iter().map(str::to_owned).collect();
    let bytes = all.iter().filter(|one| !wanted.contains(&one.key)).map(own).sum();
    let (kept, remove): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| wanted.contains(&one.key));
    Cleaning { remove, bytes, kept: kept.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(image: &str, branch: &str, key: &str, parent: Option<&str>, created: i64) -> Candidate {
        Candidate {
            id: format!("sha256:{key}"),
            names: vec![format!("lab/{image}:k-{key}")],
            image: image.to_owned(),
            branch: branch.to_owned(),
            key: key.to_owned(),
            parent: parent.map(str::to_owned),
            created,
            size: if parent.is_some() { 150 } else { 100 },
        }
    }

    fn stack() -> Vec<Candidate> {
        vec![
            candidate("base", "main", "b1", None, 1),
            candidate("leaf", "main", "l1", Some("b1"), 2),
            candidate("base", "main", "b2", None, 3),
            candidate("leaf", "main", "l2", Some("b2"), 4),
            candidate("leaf", "main", "l3", Some("b2"), 5),
            candidate("leaf", "topic", "t1", Some("b1"), 6),
        ]
    }

    fn removed(keep: usize, promoted: &[&str]) -> (Vec<String>, u64) {
        let promoted = promoted.iter().map(|key| (*key).to_owned()).collect();
        let cleaning = decide(stack(), keep, &promoted);
        assert_eq!(cleaning.kept + cleaning.remove.len(), 6);
        (cleaning.remove.into_iter().map(|one| one.key).collect(), cleaning.bytes)
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn the_newest_of_each_branch_and_what_they_stand_on_are_kept() {
        assert_eq!(removed(1, &[]), (keys(&["l2", "l1"]), 100), "b1 carries t1");
        assert_eq!(removed(2, &[]), (keys(&["l1"]), 50));
        assert_eq!(removed(9, &[]), (keys(&[]), 0));
        assert_eq!(removed(0, &[]).0, keys(&["t1", "l3", "l2", "b2", "l1", "b1"]), "children first");
    }

    #[test]
    fn what_was_promoted_is_kept_with_its_parents() {
        assert_eq!(removed(0, &["l1"]).0, keys(&["t1", "l3", "l2", "b2"]));
        assert_eq!(removed(1, &["l1"]).0, keys(&["l2"]));
    }

    #[test]
    fn what_bears_a_name_beside_that_of_its_key_is_in_use() {
        let mut all = stack();
        all[1].names.push("lab/leaf:t".to_owned());
        let gone: Vec<String> = decide(all, 1, &BTreeSet::new()).remove.into_iter().map(|one| one.key).collect();
        assert_eq!(gone, ["l2"]);
    }
}
