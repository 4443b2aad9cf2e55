//! Dockerfile templates and macros, and the Dockerfile parser. Knows nothing of engines, tasks or the screen.

pub mod dockerfile;
