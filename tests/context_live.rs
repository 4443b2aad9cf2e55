//! The ignore rules and the visible files against the real docker command line and the real engine.
//!
//! Knows nothing of how rules and files are found.

mod support;

#[path = "context_live/cli.rs"]
mod cli;
#[path = "context_live/ignore.rs"]
mod ignore;
#[path = "context_live/visible.rs"]
mod visible;
#[path = "context_live/written.rs"]
mod written;
