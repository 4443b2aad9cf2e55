//! The fault kit: what tests use to break the program and to see what it did. Knows nothing of any one row.
#![allow(dead_code, reason = "each test target uses a part of it")]

pub mod counts;
pub mod helper;
pub mod namespace;
pub mod program;
pub mod pty;
pub mod space;
pub mod steps;
pub mod strace;

pub use counts::count;
pub use space::{Ran, Space};
