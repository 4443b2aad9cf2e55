//! The labels that say what an image was built on. Knows nothing of builds.

use std::collections::BTreeMap;

use super::PARENT_KEY_LABEL;
use super::identity::Basis;

/// From the reference that the built image begins with, and everything that it is built from.
///
/// The parents' keys are those of all images of the stack, separated by spaces: `stable` compares them. The OCI labels
/// are about the one image whose layers the built image begins with; a content key is no digest of an image, so a
/// parent whose id is unknown has no `base.digest`.
pub(super) fn labels(target: Option<&str>, bases: &BTreeMap<String, Basis>) -> Vec<(String, String)> {
    let oci = |name: &str| format!("org.opencontainers.image.base.{name}");
    let keys: Vec<String> =
        bases.values().filter(|basis| basis.image.is_some()).map(|basis| basis.digest.hex()).collect();
    let mut labels = vec![(PARENT_KEY_LABEL.to_owned(), keys.join(" "))];
    if let Some((name, basis)) = target.and_then(|target| bases.get_key_value(target)) {
        labels.push((oci("name"), name.clone()));
        let digest = if basis.image.is_some() { basis.id.clone() } else { Some(basis.digest.to_string()) };
        labels.extend(digest.map(|digest| (oci("digest"), digest)));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    fn basis(text: &str, image: Option<&str>, id: Option<&str>) -> Basis {
        let digest = Digest::of(text.as_bytes());
        Basis { digest, id: id.map(str::to_owned), pin: String::new(), image: image.map(Into::into), published: None }
    }

    #[test]
    fn all_parents_of_the_stack_are_named_and_the_target_s_base_is_the_base() {
        let bases = BTreeMap::from([
            ("debian:12".to_owned(), basis("outside", None, None)),
            ("lab/base:1".to_owned(), basis("base", Some("base"), Some("sha256:ab"))),
            ("lab/tools:1".to_owned(), basis("tools", Some("tools"), None)),
        ]);
        let keys = format!("{} {}", Digest::of(b"base").hex(), Digest::of(b"tools").hex());
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let (name, digest) = ("org.opencontainers.image.base.name", "org.opencontainers.image.base.digest");
        assert_eq!(
            labels(Some("lab/base:1"), &bases),
            [label(PARENT_KEY_LABEL, &keys), label(name, "lab/base:1"), label(digest, "sha256:ab")]
        );
        assert_eq!(
            labels(Some("debian:12"), &bases)[1..],
            [label(name, "debian:12"), label(digest, &Digest::of(b"outside").to_string())]
        );
        assert_eq!(labels(Some("lab/tools:1"), &bases)[1..], [label(name, "lab/tools:1")], "its id is unknown");
        assert_eq!(labels(None, &BTreeMap::new()), [label(PARENT_KEY_LABEL, "")], "from scratch");
    }
}
