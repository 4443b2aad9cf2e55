//! Registries for tests: a real one on a free port, one that misbehaves on demand, and a clock that does not wait.
//!
//! Knows nothing of what is tested. Public so that integration tests and other rooms can use it; the program does not.

mod clock;
mod content;
mod fake;
mod http;
mod image;
mod login;
mod proxy;
mod real;

pub use clock::TestClock;
pub use fake::{Endpoint, FakeRegistry, Fault, Seen};
pub use image::{SampleImage, push_sample, sample};
pub use login::Login;
pub use proxy::{CutProxy, Direction};
pub use real::RealRegistry;
