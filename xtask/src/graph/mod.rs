//! Edges between tasks, their checks, and the selection of a plan. Knows nothing of files' content or of running.
