//! Reads the spec of a stack in all its generations. Knows nothing of Dockerfiles beyond their FROM lines.

mod check;
mod current;
mod fields;
mod legacy;
mod load;
mod migrate;
mod read;
mod schema;
mod taggers;
mod tree;

#[cfg(test)]
mod tests;

pub use check::{cycle_error, parent_indices};
pub use load::{folders, load};
pub use migrate::to_current_form;
pub use read::{Folder, Source, empty, parse};
pub use schema::schema;
pub use tree::tree;
