//! The stack of images: spec.yml, plans, tags, content keys, what changed, manifests. Knows nothing of engines.

pub mod affected;
pub mod artifacts;
pub mod change;
pub mod git;
pub mod graph;
pub mod key;
pub mod lock;
pub mod manifest;
pub mod months;
pub mod order;
pub mod retention;
pub mod sections;
pub mod spec;
pub mod taggers;
pub mod tags;
pub mod types;
pub mod wiki;
pub mod wiki_repository;

pub use graph::Graph;
pub use key::{ContentKey, KeyParts, content_key, first_difference};
pub use types::*;

#[cfg(test)]
mod oracle_tests;
