//! Events in, text out: the only room that prints.
//!
//! Knows nothing of how a run is decided or made.

pub mod capture;
pub mod clean;
pub mod diagnostic;
pub mod doit;
pub mod fancy;
pub mod github;
pub mod graph;
pub mod history;
pub mod json;
pub mod junit;
pub mod keys;
pub mod layout;
pub mod live;
pub mod narrator;
pub mod options;
pub mod page;
pub mod paint;
pub mod plain;
pub mod remaining;
pub mod run_log;
pub mod screen;
pub mod stack_page;
pub mod summary;
pub mod table;
mod ticker;
pub mod timings;
mod watch;

#[cfg(test)]
mod browser_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use options::{Ci, Kind, Options, OutputMode};
pub use paint::{ColorChoice, wants_color};

use crate::model::{Diagnostic, Event};

/// Is told what happens and shows it in its way.
///
/// Errors of the streams it writes to are swallowed: a reader that went away must not stop the work.
pub trait Reporter: Send {
    /// Something happened.
    fn event(&mut self, event: &Event);
    /// Errors or warnings outside a run: the taskfile, the command line.
    fn diagnostics(&mut self, diagnostics: &[Diagnostic]);
    /// The runs that follow are those of a watch, which reads keys or not.
    fn watches(&mut self, _keys: bool) {}
    /// A line for a person, above what is live on a terminal. False: there is no such thing, and it was not written.
    fn say(&mut self, _line: &str) -> bool {
        false
    }
    /// What keeps the bottom of the terminal clear for somebody else; `None` if nothing is ever there.
    fn curtain(&self) -> Option<Curtain> {
        None
    }
    /// Nothing more will come; everything must be on its stream when this returns. Calling it twice is fine.
    fn finish(&mut self);
}

/// To hide what is live on a terminal; any thread may have it.
pub struct Curtain {
    pub close: Box<dyn Fn() + Send>,
    pub open: Box<dyn Fn() + Send>,
}

/// The reporter of this kind; `Auto` is resolved by the options.
pub fn make(kind: Kind, options: Options) -> Box<dyn Reporter> {
    match kind.resolve(options.is_tty, options.ci) {
        Kind::Fancy => Box::new(fancy::Fancy::new(options)),
        Kind::Auto | Kind::Plain => Box::new(plain::Plain::new(options)),
        Kind::Json => Box::new(json::Json::new(options)),
        Kind::Junit => Box::new(junit::Junit::new(options)),
        Kind::Github => Box::new(github::Github::new(options)),
        kind @ (Kind::Console | Kind::ExecutedOnly | Kind::Zero | Kind::ErrorOnly) => {
            Box::new(doit::Doit::new(kind, options))
        }
    }
}
