//! Environments: images in which scripts run, and the containers that are kept for them. Knows nothing of tasks.

mod alone;
pub mod catalog;
pub mod evict;
mod facts;
mod fill;
pub mod folders;
mod lease;
pub mod live;
pub mod metadata;
pub mod options;
pub mod pool;
pub mod records;
pub mod run;
pub mod script;
pub mod session;
pub mod shared;
mod transfer;
mod user;

pub use catalog::Environment;
pub use folders::Folders;
pub use lease::{Use, now};
pub use metadata::{Language, Metadata};
pub use options::{Options, Security};
pub use pool::{Pool, Wanted, project_word};
pub use run::{Job, Outcome, Report};
pub use script::Work;
