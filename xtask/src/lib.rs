//! Maintains a stack of Docker images through a graph of tasks.
//!
//! The rooms in reading order; what each may import is written in `ARCHITECTURE.md` and kept by the tidy test.

pub mod model;

pub mod profile;

pub mod queue;

pub mod taskfile;

pub mod graph;

pub mod rebuild;

pub mod schedule;

pub mod store;

pub mod exec;

pub mod render;

pub mod context;

pub mod stack;

pub mod docker;

pub mod registry;

pub mod remote;

pub mod environment;

pub mod action;

pub mod engine;

pub mod watch;

pub mod report;

pub mod cli;

pub mod world;

use std::ffi::OsString;
use std::process::ExitCode;

pub use action::{ActionSet, ActionType, Call, Check, Done, Failure};
pub use world::World;

/// Runs one command line (without the program's name) in a world; returns the exit code.
///
/// Can be called any number of times in one process.
pub fn run(args: impl IntoIterator<Item = impl Into<OsString>>, world: &World) -> u8 {
    cli::run(args.into_iter().map(Into::into).collect(), world)
}

/// The program with the actions of an embedding repository. A `main.rs` needs three lines:
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     xtask::App::new().main()
/// }
/// ```
#[derive(Default)]
pub struct App {
    extra: ActionSet,
}

impl App {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action written in Rust; tasks.yaml uses it by its name.
    #[must_use]
    pub fn action(mut self, action: impl ActionType + 'static) -> Self {
        self.extra.add(action);
        self
    }

    /// Adds a check written in Rust, for `uptodate`.
    #[must_use]
    pub fn check(mut self, check: impl Check + 'static) -> Self {
        self.extra.add_check(check);
        self
    }

    /// Runs the command line of this process.
    #[expect(clippy::print_stderr, reason = "there is no world yet that could be written to")]
    pub fn main(self) -> ExitCode {
        match World::real() {
            Ok(world) => {
                let world = World { extra: self.extra, ..world };
                ExitCode::from(run(std::env::args_os().skip(1), &world))
            }
            Err(error) => {
                eprintln!("error: the current folder cannot be used\n  caused by: {error}");
                ExitCode::from(3)
            }
        }
    }
}
