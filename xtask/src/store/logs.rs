//! One log file per task, made at the first byte. Knows nothing of what is logged.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the output of a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// In the place of what an earlier run has left.
    Anew,
    /// Behind what this run has written.
    Behind,
    /// Into no file.
    Nowhere,
}

/// The full output of one task, verbatim.
pub struct TaskLog {
    path: PathBuf,
    file: Option<File>,
    place: LogPlace,
    failed: Option<String>,
}

impl TaskLog {
    /// Names the log of `task` below the state folder of `root`; it is opened when the first byte comes.
    pub fn new(root: &Path, task: &str, place: LogPlace) -> Self {
        Self { path: root.join(relative(task)), file: None, place, failed: None }
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
        if self.place == LogPlace::Nowhere {
            return Ok(bytes.len());
        }
        if self.file.is_none() {
            if let Some(dir) = self.path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let mut options = File::options();
            let is_behind = self.place == LogPlace::Behind;
            options.create(true).write(true).append(is_behind).truncate(!is_behind);
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
