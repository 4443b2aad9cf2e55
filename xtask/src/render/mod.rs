//! Dockerfile templates and macros, and the Dockerfile parser.
