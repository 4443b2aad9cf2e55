//! How far the reading of files is that takes long enough to be shown. Knows nothing of files.

/// Done and in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// Of a few large files.
    Bytes(u64, u64),
    /// Of many files.
    Files(u64, u64),
}
