//! Reads the spec of a stack in all its generations. Knows nothing of Dockerfiles beyond their FROM lines.

mod check;
mod current;
mod fields;
mod legacy;
mod load;
mod read;

#[cfg(test)]
mod tests;

pub use check::cycle_error;
pub use load::{folders, load};
pub use read::{Folder, Source, parse};
