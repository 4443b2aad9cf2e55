//! Text of `tasks.yaml` to tasks, with every error and its place. Knows nothing of the disk.
