//! From BuildKit's trace to events: merges the many partial reports of each step. Knows nothing of the wire.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexStatus};

use super::{BuildEvent, StepState};
use crate::docker::DockerError;
use crate::docker::answer::{Tail, number_after};
use crate::docker::error::{from_text, of_engine};
use crate::model::Stream;

/// What is known of the steps of a build.
#[derive(Default)]
pub struct Progress {
    steps: HashMap<String, Step>,
    /// Of the first step that failed.
    failed: Option<String>,
}

struct Step {
    id: Arc<str>,
    name: Arc<str>,
    index: Option<u32>,
    total: Option<u32>,
    started: bool,
    cached: bool,
    ended: bool,
    error: String,
    tail: Tail,
}

impl Progress {
    /// What a report tells that was not known before.
    pub fn feed(&mut self, report: StatusResponse) -> Vec<BuildEvent> {
        let mut events = Vec::new();
        for vertex in &report.vertexes {
            self.vertex(vertex, &mut events);
        }
        for status in report.statuses {
            events.extend(self.status(status));
        }
        for log in report.logs {
            if let Some(step) = self.steps.get_mut(&log.vertex) {
                step.tail.push(&log.msg);
                let stream = if log.stream == 2 { Stream::Stderr } else { Stream::Stdout };
                events.push(BuildEvent::Log { step: Arc::clone(&step.id), stream, bytes: log.msg });
            }
        }
        events.extend(
            report
                .warnings
                .iter()
                .map(|warning| BuildEvent::Warning { text: String::from_utf8_lossy(&warning.short).into_owned() }),
        );
        events
    }

    fn vertex(&mut self, vertex: &Vertex, events: &mut Vec<BuildEvent>) {
        let step = self.steps.entry(vertex.digest.clone()).or_insert_with(|| Step::new(vertex));
        step.cached |= vertex.cached;
        let started = vertex.started.is_some();
        if started && !step.started && !step.cached {
            step.started = true;
            events.push(step.event(StepState::Started));
        }
        if step.ended || vertex.completed.is_none() {
            return;
        }
        step.ended = true;
        let state = if !vertex.error.is_empty() {
            step.error.clone_from(&vertex.error);
            if self.failed.is_none() && !vertex.error.contains("context canceled") {
                self.failed = Some(vertex.digest.clone());
            }
            StepState::Failed { message: vertex.error.clone() }
        } else if step.cached {
            StepState::Cached
        } else {
            StepState::Done { seconds: seconds(vertex.started.as_ref(), vertex.completed.as_ref()) }
        };
        events.push(step.event(state));
    }

    fn status(&self, status: VertexStatus) -> Option<BuildEvent> {
        let step = self.steps.get(&status.vertex)?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let what = if status.name.is_empty() { status.id } else { status.name };
        let total = Some(count(status.total)).filter(|total| *total > 0);
        Some(BuildEvent::Transfer { step: Arc::clone(&step.id), what, done: count(status.current), total })
    }

    /// Numbered steps that ended, and how many of those were cached.
    pub fn counts(&self) -> (usize, usize) {
        let numbered = || self.steps.values().filter(|step| step.index.is_some() && step.ended);
        (numbered().count(), numbered().filter(|step| step.cached).count())
    }

    /// The error that the engine's last word stands for.
    pub fn error(&self, message: &str) -> DockerError {
        // Steps that are given up for want of room fail in any order.
        let full = |step: &Step| step.of_engine().filter(|error| matches!(error, DockerError::DiskFull { .. }));
        if let Some(error) = self.steps.values().find_map(full) {
            return error;
        }
        let Some(step) = self.failed.as_ref().and_then(|digest| self.steps.get(digest)) else {
            return without_step(message);
        };
        for prefix in ["[internal] load metadata for ", "resolve image config for "] {
            if let Some(image) = step.name.strip_prefix(prefix) {
                return base_missing(image, &step.error);
            }
        }
        if step.name.starts_with("[internal]") {
            return without_step(message);
        }
        step.of_engine().unwrap_or_else(|| DockerError::BuildFailed {
            step: step.name.to_string(),
            exit_code: step.exit_code(),
            tail: step.tail.lines(),
            message: step.error.clone(),
        })
    }
}

impl Step {
    fn new(vertex: &Vertex) -> Self {
        let (name, index, total) = numbered(&vertex.name);
        Self {
            id: vertex.digest.as_str().into(),
            name: name.into(),
            index,
            total,
            started: false,
            cached: false,
            ended: false,
            error: String::new(),
            tail: Tail::default(),
        }
    }

    /// Of the program that it ran, if that is how it ended.
    fn exit_code(&self) -> Option<i64> {
        number_after(&self.error, "exit code:")
    }

    /// What its error says of the engine, if it is not its own.
    fn of_engine(&self) -> Option<DockerError> {
        if self.exit_code().is_some() { None } else { of_engine(&self.name, &self.error) }
    }

    fn event(&self, state: StepState) -> BuildEvent {
        BuildEvent::Step {
            id: Arc::clone(&self.id),
            name: Arc::clone(&self.name),
            index: self.index,
            total: self.total,
            state,
        }
    }
}

/// `[stage-1 2/3] RUN x` is step 2 of 3; the name of a stage that has one is kept.
fn numbered(name: &str) -> (&str, Option<u32>, Option<u32>) {
    let parts = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let Some((place, text)) = parts else { return (name, None, None) };
    let (stage, count) = place.rsplit_once(' ').unwrap_or(("", place));
    let Some((index, total)) = count.split_once('/') else { return (name, None, None) };
    match (index.trim().parse().ok(), total.trim().parse().ok()) {
        (Some(index), Some(total)) => {
            let plain = stage.is_empty() || stage.starts_with("stage-");
            (if plain { text } else { name }, Some(index), Some(total))
        }
        _ => (name, None, None),
    }
}

fn seconds(from: Option<&Timestamp>, to: Option<&Timestamp>) -> f64 {
    match (from, to) {
        (Some(from), Some(to)) => {
            (to.seconds - from.seconds) as f64 + f64::from(to.nanos - from.nanos) / 1_000_000_000.0
        }
        _ => 0.0,
    }
}

fn base_missing(image: &str, message: &str) -> DockerError {
    let what = format!("base image `{image}`");
    let gone = ["not found", "pull access denied", "does not exist"].iter().any(|text| message.contains(text));
    if gone {
        return DockerError::NotFound { what, message: message.to_owned() };
    }
    match from_text(&what, message) {
        DockerError::Infra { what, message } => DockerError::Registry { what, message },
        other => other,
    }
}

fn without_step(message: &str) -> DockerError {
    let inner = message.rsplit("failed to create LLB definition: ").next().unwrap_or(message);
    let about_text = ["dockerfile parse", "Dockerfile parse", "unknown instruction", "failed to create LLB definition"]
        .iter()
        .chain(&["target stage", "the Dockerfile", "unsupported frontend", "frontend dockerfile.v0"])
        .any(|text| message.contains(text));
    if about_text {
        let inner = inner.strip_prefix("failed to solve with frontend dockerfile.v0: ").unwrap_or(inner);
        return DockerError::BadDockerfile { message: inner.to_owned() };
    }
    from_text("the build", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(name: &str, started: bool, completed: Option<i32>, cached: bool, error: &str) -> StatusResponse {
        let time = |nanos| Timestamp { seconds: 10, nanos };
        let vertex = Vertex {
            digest: name.to_owned(),
            name: name.to_owned(),
            cached,
            started: started.then(|| time(0)),
            completed: completed.map(time),
            error: error.to_owned(),
            ..Default::default()
        };
        StatusResponse { vertexes: vec![vertex], ..Default::default() }
    }

    fn states(events: Vec<BuildEvent>) -> Vec<StepState> {
        events
            .into_iter()
            .filter_map(|event| if let BuildEvent::Step { state, .. } = event { Some(state) } else { None })
            .collect()
    }

    #[test]
    fn repeated_reports_are_one_step() {
        let mut progress = Progress::default();
        let name = "[stage-0 2/3] RUN x";
        assert_eq!(states(progress.feed(vertex(name, false, None, false, ""))), []);
        assert_eq!(states(progress.feed(vertex(name, true, None, false, ""))), [StepState::Started]);
        assert_eq!(states(progress.feed(vertex(name, true, None, false, ""))), []);
        let done = StepState::Done { seconds: 0.5 };
        assert_eq!(states(progress.feed(vertex(name, true, Some(500_000_000), false, ""))), [done]);
        assert_eq!(states(progress.feed(vertex(name, true, Some(500_000_000), false, ""))), []);
        assert_eq!(states(progress.feed(vertex("[3/3] RUN y", true, Some(0), true, ""))), [StepState::Cached]);
        assert_eq!(progress.counts(), (2, 1));
    }

    #[test]
    fn names_and_numbers_part() {
        assert_eq!(numbered("[2/3] RUN a"), ("RUN a", Some(2), Some(3)));
        assert_eq!(numbered("[stage-0 2/3] RUN a"), ("RUN a", Some(2), Some(3)));
        assert_eq!(numbered("[venv 1/2] FROM b"), ("[venv 1/2] FROM b", Some(1), Some(2)));
        assert_eq!(numbered("[internal] load build context"), ("[internal] load build context", None, None));
    }

    #[test]
    fn failures_tell_the_step_and_the_code() {
        let mut progress = Progress::default();
        progress.feed(vertex("[2/2] RUN false", true, Some(0), false, "executor failed running [x]: exit code: 7"));
        let Err::<(), _>(DockerError::BuildFailed { step, exit_code, .. }) = Err(progress.error("whatever")) else {
            panic!("a step failed")
        };
        assert_eq!((step.as_str(), exit_code), ("RUN false", Some(7)));
        let mut progress = Progress::default();
        progress.feed(vertex("[internal] load metadata for docker.io/a/b:1", true, Some(0), false, "a/b:1: not found"));
        assert!(progress.error("x").is_not_found());
        let text =
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: unknown instruction: FROMM";
        assert!(
            matches!(Progress::default().error(text), DockerError::BadDockerfile { message } if message == "unknown instruction: FROMM")
        );
    }
}
