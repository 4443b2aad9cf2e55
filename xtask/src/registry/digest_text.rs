//! Digests as `sha256:…` in JSON, for `#[serde(with)]`. Knows nothing of what they are digests of.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

use crate::model::Digest;

pub fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a digest")))
}

/// The same for a digest that may be missing.
pub mod option {
    use super::*;

    #[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
    pub fn serialize<S: Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => serializer.collect_str(digest),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse =
            |text: String| Digest::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a digest")));
        text.map(parse).transpose()
    }
}
