//! Other machines: ssh connections, trees copied by rsync, hosts and how they are chosen.
//!
//! Knows nothing of tasks, images or containers. All programs are run through `exec`; nothing reads the environment,
//! it is handed in.

pub mod error;
pub mod hosts;
mod pace;
pub mod placement;
pub mod progress;
pub mod rsync;
mod script;
pub mod ssh;
pub mod staged;
mod staged_script;
mod stdio;
pub mod sync;
pub mod target;
mod transfer;
mod tree;

pub use error::RemoteError;
pub use hosts::{HostEntry, Reached};
pub use progress::Progress;
pub use rsync::{Filter, SyncSpec};
pub use ssh::{Forward, Master};
pub use staged::Staged;
pub use stdio::Dialled;
pub use sync::{Job, JobReport, JobState, sync_all};
pub use target::Target;
pub use transfer::Patience;

#[cfg(test)]
pub(crate) mod sshd;
#[cfg(test)]
mod tests;
