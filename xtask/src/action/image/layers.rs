//! What happens while an image is built, for the screen, `logs/<image>.build.log` and `artifacts/`: steps with times.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::build::bytes;
use super::veil::Veil;
use crate::action::Output;
use crate::docker::{BuildEvent, StepState};
use crate::model::Stream;
use crate::stack::artifacts::BuildStep;

/// Turns build events into lines and a log.
pub(super) struct Narrator<'a> {
    out: &'a dyn Output,
    /// Over every line, on the screen and in the log.
    veil: &'a Veil,
    log: Option<File>,
    start: Instant,
    steps: HashMap<Arc<str>, BuildStep>,
    order: Vec<Arc<str>>,
    partial: HashMap<Arc<str>, Vec<u8>>,
    /// When each transfer was first heard of, for its rate.
    transfers: HashMap<String, Instant>,
    done: u64,
}

impl<'a> Narrator<'a> {
    /// `label` says what is built; the log is `logs/<stem>.build.log` below the root, made anew.
    pub(super) fn new(root: &Path, stem: &str, label: &str, veil: &'a Veil, out: &'a dyn Output) -> Self {
        let dir = root.join("logs");
        // A log that cannot be written does not stop a build: the task's own log has the same lines.
        let log = std::fs::create_dir_all(&dir).and_then(|()| File::create(dir.join(format!("{stem}.build.log")))).ok();
        let mut narrator = Self {
            out,
            veil,
            log,
            start: Instant::now(),
            steps: HashMap::new(),
            order: Vec::new(),
            partial: HashMap::new(),
            transfers: HashMap::new(),
            done: 0,
        };
        narrator.line(Stream::Stdout, &format!("building {label}"));
        narrator
    }

    pub(super) fn line(&mut self, stream: Stream, text: &str) {
        let text = self.veil.hide(text);
        self.out.line(stream, text.as_bytes());
        self.write(text.as_bytes());
    }

    fn write(&mut self, line: &[u8]) {
        if let Some(log) = &mut self.log {
            let stamp = format!("{:8.2} ", self.start.elapsed().as_secs_f64());
            let _ =
                log.write_all(stamp.as_bytes()).and_then(|()| log.write_all(line)).and_then(|()| log.write_all(b"\n"));
        }
    }

    pub(super) fn event(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::Step { id, name, index, total, state } => {
                let shown = step_name(&name, index, total);
                let is_chore = index.is_none();
                if !is_chore {
                    self.keep(&id, &name, &state);
                }
                match state {
                    StepState::Started => {
                        let total = u64::from(total.unwrap_or(0));
                        // A step that has begun is not done.
                        let done = u64::from(index.unwrap_or(0)).saturating_sub(1);
                        self.out.progress(done, total, &without_flags(&shown));
                    }
                    StepState::Cached if is_chore => {}
                    StepState::Cached => self.line(Stream::Stdout, &format!("{shown}  CACHED")),
                    StepState::Done { seconds } => {
                        self.flush(&id);
                        self.done += 1;
                        if !is_chore || seconds >= 1.0 {
                            self.line(Stream::Stdout, &format!("{shown}  {seconds:.1}s"));
                        }
                    }
                    StepState::Failed { message } => {
                        self.flush(&id);
                        self.line(Stream::Stderr, &format!("{shown}  FAILED: {message}"));
                    }
                }
            }
            // Both streams alike: package managers chatter on the one for errors while all is well. What matters is in
            // the log, and on the screen if the step fails.
            BuildEvent::Log { step, bytes, .. } => self.output(&step, &bytes),
            BuildEvent::Transfer { what, done, total, .. } => {
                let text = self.transfer(&what, done, total);
                self.out.progress(done, total.unwrap_or(0), &text);
            }
            BuildEvent::Warning { text } => self.line(Stream::Stderr, &format!("warning: {text}")),
        }
    }

    /// What moves, how much of it has moved, and how fast.
    fn transfer(&mut self, what: &str, done: u64, total: Option<u64>) -> String {
        let since = self.transfers.entry(what.to_owned()).or_insert_with(Instant::now).elapsed().as_secs_f64();
        match total {
            _ if done == 0 => what.to_owned(),
            None => format!("{what} {}", bytes(done)),
            Some(total) if since < 1.0 => format!("{what} {} of {}", bytes(done), bytes(total)),
            Some(total) => {
                let rate = bytes((done as f64 / since) as u64);
                format!("{what} {} of {}, {rate}/s", bytes(done), bytes(total))
            }
        }
    }

    /// Keeps the times of a step, for `builder-metainfo.json`.
    fn keep(&mut self, id: &Arc<str>, name: &str, state: &StepState) {
        let now = jiff::Timestamp::now().as_millisecond() as f64 / 1e3;
        let command = self.veil.hide(name).into_owned();
        let order = &mut self.order;
        let step = self.steps.entry(id.clone()).or_insert_with(|| {
            order.push(id.clone());
            BuildStep { command, started: now, ..BuildStep::default() }
        });
        step.finished = now;
        step.cached |= *state == StepState::Cached;
        if let StepState::Done { seconds } = state {
            step.started = now - seconds;
        }
    }

    /// The steps that were made or found, in order of their start.
    pub(super) fn into_steps(mut self) -> Vec<BuildStep> {
        self.order.iter().filter_map(|id| self.steps.remove(id)).collect()
    }

    /// Whole lines as they come.
    fn output(&mut self, step: &Arc<str>, bytes: &[u8]) {
        let mut pending = self.partial.remove(step).unwrap_or_default();
        pending.extend_from_slice(bytes);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line[..end]).trim_end_matches('\r').to_owned();
            self.said(step, &text);
        }
        self.partial.insert(step.clone(), pending);
    }

    fn flush(&mut self, step: &Arc<str>) {
        if let Some(rest) = self.partial.remove(step).filter(|rest| !rest.is_empty()) {
            let text = String::from_utf8_lossy(&rest).into_owned();
            self.said(step, &text);
        }
    }

    fn said(&mut self, step: &Arc<str>, text: &str) {
        self.line(Stream::Stdout, &format!("    {text}"));
        let text = self.veil.hide(text).into_owned();
        if let Some(step) = self.steps.get_mut(step) {
            step.logs.push(text);
        }
    }
}

/// `[2/5] RUN make`. The name of a step of a named stage has its number already: `[builder 2/5] RUN make`.
fn step_name(name: &str, index: Option<u32>, total: Option<u32>) -> String {
    match (index, total) {
        (Some(index), Some(total)) if !name.starts_with('[') => format!("[{index}/{total}] {name}"),
        _ => name.to_owned(),
    }
}

/// Without mounts and the like, which hide on one line what is run.
fn without_flags(step: &str) -> String {
    let words = step
        .split(' ')
        .filter(|word| !["--mount=", "--network=", "--chown="].iter().any(|flag| word.starts_with(flag)));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_in_few_words() {
        assert_eq!(step_name("RUN make", Some(2), Some(5)), "[2/5] RUN make");
        assert_eq!(step_name("[builder 2/5] RUN make", Some(2), Some(5)), "[builder 2/5] RUN make");
        assert_eq!(step_name("exporting layers", None, None), "exporting layers");
        assert_eq!(without_flags("[2/5] RUN --mount=type=cache,id=pip pip install x"), "[2/5] RUN pip install x");
    }
}
