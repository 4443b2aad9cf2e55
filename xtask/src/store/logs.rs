//! One log file per task, made at the first byte. Knows nothing of what is logged.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The full output of one task, verbatim.
pub struct TaskLog {
    path: PathBuf,
    file: Option<File>,
    continues: bool,
    failed: Option<String>,
}

impl TaskLog {
    /// Names the log of `task` below the state folder of `root`; an old one is removed when the first byte comes, or
    /// `continues`.
    pub fn new(root: &Path, task: &str, continues: bool) -> Self {
        Self { path: root.join(relative(task)), file: None, continues, failed: None }
    }

    /// Whether anything was written.
    pub fn is_used(&self) -> bool {
        self.file.is_some()
    }

    /// Why the log could not be written, if so.
    pub fn problem(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}

/// Where the log of a task lies, relative to the root. `:` and `/` in names become `-` and `_`.
pub fn relative(task: &str) -> String {
    let name: String = task.chars().map(|c| if c == '/' { '_' } else { c }).collect();
    format!("{}/logs/{name}.log", super::STATE_DIR)
}

impl Write for TaskLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() {
            if let Some(dir) = self.path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let mut options = File::options();
            options.create(true).write(true).append(self.continues).truncate(!self.continues);
            self.file = Some(options.open(&self.path)?);
        }
        let result = self.file.as_mut().map_or(Ok(0), |file| file.write(bytes));
        if let Err(error) = &result {
            self.failed = Some(error.to_string());
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
