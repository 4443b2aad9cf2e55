//! Whether a task must run, and why: pure functions over what was observed.
