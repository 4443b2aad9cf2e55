//! Paths below the root of the repository: relative, normalised, bytes. Knows nothing of the disk.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A path relative to the root, with `/` between its parts and neither `.`, `..` nor a leading or trailing `/`.
///
/// Bytes, because file names are bytes. The root itself is the empty path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoPath(Arc<[u8]>);

impl RepoPath {
    /// Normalises `text`, which is relative to the directory `base` (itself relative to the root).
    ///
    /// `None` if it is absolute or leaves the root.
    pub fn new(base: &Self, text: impl AsRef<[u8]>) -> Option<Self> {
        let text = text.as_ref();
        if text.first() == Some(&b'/') {
            return None;
        }
        let mut parts: Vec<&[u8]> = base.parts().collect();
        for part in text.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop()?;
                }
                _ => parts.push(part),
            }
        }
        Some(Self(parts.join(&b'/').into()))
    }

    /// Normalises `text`, relative to the root.
    pub fn from_root(text: impl AsRef<[u8]>) -> Option<Self> {
        Self::new(&Self::root(), text)
    }

    /// The root itself.
    pub fn root() -> Self {
        Self(Arc::from([]))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a path for the system, relative to the root.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The text, with replacement characters where a name is not UTF-8: for people only.
    pub fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// The directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// Whether it is `dir` or lies below it.
    pub fn is_within(&self, dir: &Self) -> bool {
        dir.0.is_empty() || self.0 == dir.0 || (self.0.starts_with(&dir.0) && self.0.get(dir.0.len()) == Some(&b'/'))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl serde::Serialize for RepoPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for RepoPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = RepoPath;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a path")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<RepoPath, E> {
                Ok(RepoPath(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_file_are_one_path() {
        let path = |text: &str| RepoPath::from_root(text);
        assert_eq!(path("./o"), path("o"));
        assert_eq!(path("a//b/../c/"), path("a/c"));
        assert_eq!(path("../x"), None);
        assert_eq!(path("/x"), None);
        let base = path("a/b").unwrap();
        assert_eq!(RepoPath::new(&base, "../c"), path("a/c"));
    }

    #[test]
    fn within_respects_component_borders() {
        let path = |text: &str| RepoPath::from_root(text).unwrap();
        assert!(path("a/b").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")));
        assert!(path("a").is_within(&RepoPath::root()));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(RepoPath::root()));
    }
}
