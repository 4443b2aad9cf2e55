//! Environments: images in which scripts run, and the containers that are kept for them. Knows nothing of tasks.

pub mod catalog;
pub mod metadata;

pub use catalog::Environment;
pub use metadata::{Language, Metadata};
