//! Text of `tasks.yaml` to tasks, with every error and its place. Knows nothing of the disk.
//!
//! [`yaml`] turns bytes into a tree of [`Node`]s with places, [`read`] takes typed values out of it and collects
//! what is wrong; both serve the spec of the stack too. [`load`] makes the tasks.

mod action;
mod cx;
pub mod errors;
mod expansion;
mod files;
mod load;
mod members;
mod names;
pub mod node;
mod options;
pub mod params;
mod paths;
pub mod read;
mod schema;
mod task;
mod template;
mod toplevel;
mod uptodate;
pub mod words;
pub mod world;
pub mod yaml;

pub use errors::Errors;
pub use expansion::members;
pub use load::load;
pub use node::{Node, Scalar, Style, Value};
pub use params::{ParamValue, Source};
pub use schema::schema;
pub use toplevel::unknown_globals;
pub use words::{Selected, Selection, select};
pub use world::{ActionForm, COMMANDS, Expand, ImageInfo, LoadWorld, Loaded, Quote, RUN_TIME_NAMES};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod params_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod row_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod yaml_tests;
