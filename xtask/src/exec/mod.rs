//! Processes of a task: groups, pipes, signals, timeouts. Knows nothing of tasks' dependencies.
