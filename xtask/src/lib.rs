//! Maintains a stack of Docker images through a graph of tasks.
//!
//! The rooms in reading order; what each may import is written in `ARCHITECTURE.md` and kept by the tidy test.

pub mod model;

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
