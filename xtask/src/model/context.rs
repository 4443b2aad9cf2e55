//! A build context as a manifest: which file content stands under which path. Knows nothing of tar or sessions.

use std::path::PathBuf;

use super::Digest;

/// What the builder is shown: exactly the visible files, sorted component by component, parents before children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub entries: Vec<ContextEntry>,
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextEntry {
    /// Within the context: no leading `/`, `/` between parts; bytes, because file names are bytes.
    pub path: Vec<u8>,
    pub kind: ContextKind,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextKind {
    Directory,
    File {
        /// Where the content is read from. It need not be below the context's folder (rendered files are not).
        source: PathBuf,
        /// Of the content when the manifest was made; what is sent must still have it.
        digest: Digest,
        size: u64,
        executable: bool,
    },
    Symlink {
        target: Vec<u8>,
    },
}

impl ContextEntry {
    /// 755 for directories and executables, 644 for other files: git knows no more either.
    pub fn mode(&self) -> u32 {
        match self.kind {
            ContextKind::Directory | ContextKind::File { executable: true, .. } => 0o755,
            ContextKind::File { .. } => 0o644,
            ContextKind::Symlink { .. } => 0o777,
        }
    }

    /// Seconds since 1970, derived from the content, so that equal content has equal time on every machine and
    /// other content has another: builders that trust (size, mtime) cannot be fooled.
    pub fn mtime(&self) -> (i64, u32) {
        let digest = match &self.kind {
            ContextKind::File { digest, .. } => *digest,
            ContextKind::Symlink { target } => Digest::of(target),
            ContextKind::Directory => return (BASE, 0),
        };
        let word = |at: usize| u32::from_be_bytes([digest.0[at], digest.0[at + 1], digest.0[at + 2], digest.0[at + 3]]);
        (BASE + i64::from(word(0) & WINDOW), word(4) % 1_000_000_000)
    }
}

/// 2001-09-09, a round number of seconds.
const BASE: i64 = 1_000_000_000;
/// 2^28 seconds, some eight years: wide, and still in the past.
const WINDOW: u32 = (1 << 28) - 1;
