//! Names of images. Knows nothing of engines or registries.

use std::fmt;

/// `host/repository:tag@sha256:…`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    /// With its host, e.g. `127.0.0.1:5000/lab/base`; without tag and digest.
    pub name: String,
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

impl ImageRef {
    /// Takes a reference apart. `None` for an empty name or one with characters that no reference has.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let after_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[after_slash..].find(':') {
            Some(colon) => (&rest[..after_slash + colon], Some(rest[after_slash + colon + 1..].to_owned())),
            None => (rest, None),
        };
        let plain =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:".contains(c));
        let fine = plain(name)
            && tag.as_deref().is_none_or(is_tag)
            && digest.as_deref().is_none_or(|digest| plain(digest) && digest.contains(':'));
        fine.then(|| Self { name: name.to_owned(), tag, digest })
    }

    /// The same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { name: self.name.clone(), tag: Some(tag.to_owned()), digest: None }
    }

    /// The registry's host, if the name has one: its first part has a dot or a colon, or is `localhost`.
    pub fn host(&self) -> Option<&str> {
        let (first, _) = self.name.split_once('/')?;
        (first.contains(['.', ':']) || first == "localhost").then_some(first)
    }

    /// The repository within its registry, without the host.
    pub fn repository(&self) -> &str {
        match self.host() {
            Some(host) => &self.name[host.len() + 1..],
            None => &self.name,
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether `text` can be a tag: at most 128 of letters, digits, `_`, `.`, `-`, not starting with `.` or `-`.
pub fn is_tag(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_not_tags() {
        let image = ImageRef::parse("127.0.0.1:5000/lab/base").unwrap();
        assert_eq!(
            (image.host(), image.repository(), image.tag.as_deref()),
            (Some("127.0.0.1:5000"), "lab/base", None)
        );
        let image = ImageRef::parse("127.0.0.1:5000/lab/base:2026.4@sha256:ab").unwrap();
        assert_eq!(image.tag.as_deref(), Some("2026.4"));
        assert_eq!(image.to_string(), "127.0.0.1:5000/lab/base:2026.4@sha256:ab");
        assert_eq!(ImageRef::parse("debian:bookworm-slim").unwrap().host(), None);
        assert_eq!(ImageRef::parse("a b"), None);
    }
}
