//! File events to batches of changed paths.
