//! Tests of the loop on small graphs.
