//! Dockerfile templates and macros, and the Dockerfile parser. Knows nothing of engines, tasks or the screen.

pub mod brought;
mod depth;
pub mod dockerfile;
mod filters;
mod guard;
mod library;
pub mod macros;
mod problem;
mod project;
mod shell;
pub mod task_text;
pub mod template;
mod trace;
mod values;
mod write;
