//! Finds templates by name in given folders, and nowhere else. Knows nothing of what is in them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::{Error, ErrorKind};

use super::trace::Tracer;
use crate::model::words::suggest;

/// Where names of templates lead.
pub(super) struct Library {
    pub(super) root: PathBuf,
    pub(super) dirs: Vec<PathBuf>,
    pub(super) read: Arc<Mutex<Read>>,
    /// Set when the macros that are shipped were asked for.
    pub(super) shipped: Arc<AtomicBool>,
    /// Marks what is read, if it shall be known later where each line came from.
    pub(super) tracer: Option<Arc<Tracer>>,
}

/// The macros that every template has, unless a file of the repository bears the name.
pub(super) const SHIPPED: (&str, &str) = ("xtask.j2", include_str!("xtask.j2"));

/// The templates that were read: name to path relative to the root.
pub(super) type Read = BTreeMap<String, PathBuf>;

impl Library {
    /// The text of the template `name`.
    pub(super) fn load(&self, name: &str) -> Result<Option<String>, Error> {
        let path = Path::new(name);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Error::new(ErrorKind::BadInclude, format!("includes `{name}`, which leaves its folder")));
        }
        for dir in &self.dirs {
            let (dir, file) = (self.root.join(dir), dir.join(path));
            let real = match self.root.join(&file).canonicalize() {
                Ok(real) => real,
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                Err(why) => return Err(unreadable(name, why)),
            };
            if !dir.canonicalize().is_ok_and(|dir| real.starts_with(dir)) {
                let detail = format!("includes `{name}`, which is a link out of its folder");
                return Err(Error::new(ErrorKind::BadInclude, detail));
            }
            let mut text = std::fs::read_to_string(&real).map_err(|why| unreadable(name, why))?;
            if let Some(line) = super::depth::too_deep(&text) {
                let detail = format!("includes `{name}`, where in line {line} {}", super::guard::DEEP);
                return Err(Error::new(ErrorKind::BadInclude, detail));
            }
            if let Some(tracer) = &self.tracer {
                text = tracer.mark(&file.to_string_lossy(), &text);
            }
            self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), file);
            return Ok(Some(text));
        }
        if name == SHIPPED.0 {
            self.shipped.store(true, Ordering::Relaxed);
            return Ok(Some(SHIPPED.1.to_owned()));
        }
        let dirs: Vec<String> = self.dirs.iter().map(|dir| format!("`{}`", dir.display())).collect();
        let near = suggest("template", name, &self.names().iter().map(String::as_str).collect::<Vec<_>>());
        let mut detail = format!("includes `{name}`, which is not in {}", dirs.join(" or "));
        if let Some(near) = near {
            detail = format!("{detail}; {near}");
        }
        Err(Error::new(ErrorKind::BadInclude, detail))
    }

    fn names(&self) -> Vec<String> {
        let entries = self.dirs.iter().flat_map(|dir| std::fs::read_dir(self.root.join(dir)).into_iter().flatten());
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "j2"))
            .collect()
    }
}

fn unreadable(name: &str, why: io::Error) -> Error {
    Error::new(ErrorKind::BadInclude, format!("includes `{name}`, which cannot be read: {why}"))
}
