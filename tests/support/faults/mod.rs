//! The fault kit: what tests use to break the program and to see what it did. Knows nothing of any one row.
#![allow(dead_code, reason = "each test target uses a part of it")]

pub mod counts;
pub mod space;

pub use counts::count;
pub use space::{Ran, Space};
