//! The nouns of the program: plain data without any effect.
//!
//! Knows nothing of files, YAML, Docker, threads or the screen. Every other room speaks in these types,
//! so a change here is a change for all.

pub mod context;
pub mod diagnostic;
pub mod digest;
pub mod event;
pub mod hashing;
pub mod image;
pub mod path;
pub mod reason;
pub mod secret;
pub mod stars;
pub mod step;
pub mod stop;
pub mod task;
pub mod words;

pub use context::{Context, ContextEntry, ContextKind};
pub use diagnostic::{Diagnostic, Diagnostics, Place};
pub use digest::Digest;
pub use event::{Counts, Event, Outcome, Stream, Verdict, WatchStatus};
pub use hashing::Hashing;
pub use image::ImageRef;
pub use path::RepoPath;
pub use reason::Reason;
pub use secret::Secret;
pub use stars::Stars;
pub use step::{Step, Steps};
pub use stop::StopToken;
pub use task::Task;
