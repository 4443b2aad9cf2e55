//! Text of `tasks.yaml` to tasks, with every error and its place. Knows nothing of the disk.
//!
//! [`yaml`] turns bytes into a tree of [`Node`]s with places, [`read`] takes typed values out of it and collects
//! what is wrong; both serve the spec of the stack too. [`load`] makes the tasks.

pub mod errors;
pub mod node;
pub mod read;
pub mod yaml;

pub use errors::Errors;
pub use node::{Node, Scalar, Style, Value};

#[cfg(test)]
mod yaml_tests;
