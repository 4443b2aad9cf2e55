//! What goes into a build context: ignore rules, visible files, staging, tar. Knows nothing of engines and tasks.

pub mod glob;
pub mod ignore;
pub mod live;
mod pattern;
pub mod stage;
pub mod visible;
mod walk;

pub use ignore::Ignore;
pub use stage::{StageError, Staged, stage};
pub use visible::{FileFacts, Joined, Tree, VisibleError, visible};
pub use walk::Found;
