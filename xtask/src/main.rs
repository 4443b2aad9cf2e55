//! The thin binary: real world in, exit code out.

fn main() {}
