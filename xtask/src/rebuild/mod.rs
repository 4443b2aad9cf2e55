//! The rebuilder: whether a task must run, and why. Pure functions over what was observed; does no IO.
//!
//! # What is in a fingerprint
//!
//! | part | value |
//! |---|---|
//! | `definition` | the expanded actions, cwd, shell, patterns of file_dep, paths of targets |
//! | `file_dep` | path and digest (content, kind, executable bit) of every input |
//! | `param` | params that the task consumes |
//! | `env` | declared environment |
//! | `result` | result of every task whose result dirties this one |
//! | `check` | what uptodate items compare (`config_changed`, `stat`, `output_of`) |
//! | `observed` | what built-in actions see of the outside world (the content key of an image) |
//!
//! Not in it: doc, title, verbosity, comments, the order of keys, times, absolute paths, the machine. Secrets only
//! as keyed digests. The parts are kept, not only their digest, so that a difference can be named: one walk, two
//! sinks.
//!
//! In the words of "Build Systems à la Carte" this is a verifying-trace rebuilder with early cutoff.

mod fingerprint;
mod verdict;

pub use fingerprint::{Fingerprint, Part, PartKey, PartValue};
pub use verdict::{LastAttempt, Observation, Trace, TraceTarget, decide};
