//! `--timings`: keeps the events of a run with their times, and writes where the time went. Knows nothing of pages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::graph::Graph;
use crate::model::{Diagnostic, Event};
use crate::report::timings::{self, Needs};
use crate::store::STATE_DIR;

/// What `--timings` without a file means.
pub(super) const DEFAULT: &str = "";

/// The events of one run. Output and progress are left out: they may be large, and take no part in the page.
pub(super) struct Recorder {
    start: Instant,
    events: Vec<(Duration, Event)>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), events: Vec::new() }
    }

    /// Keeps one event.
    pub(super) fn see(&mut self, event: &Event) {
        if !matches!(event, Event::TaskOutput { .. } | Event::TaskProgress { .. }) {
            self.events.push((self.start.elapsed(), event.clone()));
        }
    }

    /// Writes the page to `file`, and the trace beside it.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn write(&self, file: &Path, title: &str, graph: &Graph) -> Result<(), Diagnostic> {
        let needs = needs(graph);
        let words = title.split(' ').filter(|word| !word.is_empty() && !word.starts_with("--timings"));
        let title: Vec<&str> = ["cargo xtask"].into_iter().chain(words).collect();
        put(file, &timings::html(&title.join(" "), &self.events, &needs))?;
        put(&trace_of(file), &timings::chrome_trace(&self.events, &needs))
    }
}

/// Where the page goes: what was given, relative to `cwd`, else a file in the state directory.
pub(super) fn path(given: &str, root: &Path, cwd: &Path) -> PathBuf {
    if given == DEFAULT { root.join(STATE_DIR).join("timings.html") } else { cwd.join(given) }
}

/// `FILE.trace.json`
pub(super) fn trace_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".trace.json");
    name.into()
}

fn put(file: &Path, text: &str) -> Result<(), Diagnostic> {
    let wrong = |error| Diagnostic::error(format!("failed to write timings to `{}`", file.display())).cause(error);
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).map_err(wrong)?;
    }
    std::fs::write(file, text).map_err(wrong)
}

fn needs(graph: &Graph) -> Needs {
    let of = |id| {
        let node = graph.node(id);
        let names: Vec<Arc<str>> =
            node.needs.iter().chain(&node.setup).map(|edge| graph.name(edge.to).clone()).collect();
        (graph.name(id).clone(), names)
    };
    graph.ids().map(of).collect()
}
