//! Processes of a task: their environment, groups, pipes, signals and time limits. Knows nothing of tasks'
//! dependencies, of files' digests or of the screen.
//!
//! One process runs in one worker's thread: [`run`] starts it through `duct`, waits with `poll` for its two pipes and
//! its end, and returns how it ended. Each process leads a group of its own; what it leaves behind is ended with it
//! (see [`family`]).

pub mod command;
pub mod environment;
pub mod exit;
pub mod family;
pub mod interrupt;
mod lines;
mod orphans;
mod program;
mod pulse;
mod pump;
mod spawn;
mod terminal;
mod watchdog;

pub use command::{CommandResult, CommandSpec, Reader, Stdin, run};
pub use exit::Exit;
pub use family::{Supervisor, end_leftovers, supervise};

#[cfg(test)]
mod tests;
