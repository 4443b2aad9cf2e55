//! The stack of images: spec.yml, plans, tags, content keys, what changed, manifests. Knows nothing of engines.

pub mod order;
pub mod spec;
pub mod types;

pub use types::*;
