//! Registries for tests: a real one on a free port, one that misbehaves on demand, and a clock that does not wait.
//!
//! Knows nothing of what is tested. Public so that integration tests and other rooms can use it; the program does not.

mod image;
mod real;

pub use image::{SampleImage, push_sample, sample};
pub use real::RealRegistry;
