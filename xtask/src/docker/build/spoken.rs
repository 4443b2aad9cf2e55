//! What the docker command line prints while it builds, as events: the lines of BuildKit (`--progress=plain`) or of the
//! classic builder. Knows nothing of how the lines came here.

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};

use super::classic::Steps;
use super::progress::Progress;
use super::{BuildEvent, BuildResult, Builder};
use crate::docker::DockerError;
use crate::docker::error::without_image;
use crate::model::Stream;

/// Reads the lines of one build.
pub struct Spoken {
    kind: Kind,
    /// The last line on stderr that says something of its own: an error, where the build ends with one.
    last: String,
}

enum Kind {
    BuildKit(Progress),
    Classic(Steps),
}

impl Spoken {
    /// `builder` is the one that was asked for; anything but the classic one speaks as BuildKit does.
    pub fn new(builder: Builder) -> Self {
        let kind = match builder {
            Builder::Classic => Kind::Classic(Steps::default()),
            Builder::Auto | Builder::BuildKit => Kind::BuildKit(Progress::default()),
        };
        Self { kind, last: String::new() }
    }

    /// What a line tells. Lines come with their ends.
    pub fn line(&mut self, stream: Stream, line: &[u8]) -> Vec<BuildEvent> {
        let text = String::from_utf8_lossy(line);
        let plain = text.trim_end();
        if stream == Stream::Stderr && !plain.is_empty() && !plain.starts_with('#') {
            plain.trim_start_matches("ERROR: ").clone_into(&mut self.last);
        }
        match &mut self.kind {
            Kind::BuildKit(progress) => match report(plain) {
                Some(report) => progress.feed(report),
                None => warning(plain).into_iter().collect(),
            },
            // The colour of a line ends at the start of the next.
            Kind::Classic(steps) if stream == Stream::Stdout => {
                let text = text.strip_prefix("\u{1b}[0m").unwrap_or(&text);
                steps.feed(&serde_json::json!({ "stream": text }))
            }
            Kind::Classic(_) => Vec::new(),
        }
    }

    /// What came of it: `code` is the exit code of the command line, `image` what it wrote into its file of the id.
    ///
    /// # Errors
    /// The build failed. Its last step is among the events then.
    pub fn end(
        mut self,
        code: i32,
        image: &str,
        events: &mut dyn FnMut(BuildEvent),
    ) -> Result<BuildResult, DockerError> {
        if code != 0 {
            return Err(match &mut self.kind {
                Kind::BuildKit(progress) => progress.error(&self.last),
                Kind::Classic(steps) => {
                    let (event, error) = steps.fail(&self.last);
                    event.into_iter().for_each(events);
                    error
                }
            });
        }
        let (steps, cached) = match &mut self.kind {
            Kind::BuildKit(progress) => progress.counts(),
            Kind::Classic(steps) => {
                steps.end().into_iter().for_each(events);
                steps.counts()
            }
        };
        let image = image.trim().to_owned();
        if image.is_empty() { Err(without_image()) } else { Ok(BuildResult { image, steps, cached, sent: 0 }) }
    }
}

/// `#5 [2/3] RUN x`, `#5 0.123 output`, `#5 DONE 0.1s`, `#5 CACHED`, `#5 ERROR: why`. Lines about bytes are passed over.
fn report(line: &str) -> Option<StatusResponse> {
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    let at = |seconds: f64| Timestamp { seconds: seconds as i64, nanos: (seconds.fract() * 1e9) as i32 };
    let vertex = |name: &str, end: Option<f64>, cached: bool, error: &str| {
        let (digest, name, error) = (number.to_string(), name.to_owned(), error.to_owned());
        let vertex = Vertex {
            digest,
            name,
            started: Some(at(0.0)),
            completed: end.map(at),
            cached,
            error,
            ..Default::default()
        };
        StatusResponse { vertexes: vec![vertex], ..Default::default() }
    };
    if let Some(time) = rest.strip_prefix("DONE ") {
        return Some(vertex("", Some(time.trim_end_matches('s').parse().unwrap_or(0.0)), false, ""));
    }
    if rest == "CACHED" {
        return Some(vertex("", Some(0.0), true, ""));
    }
    if let Some(error) = rest.strip_prefix("ERROR: ").or_else(|| (rest == "CANCELED").then_some("context canceled")) {
        return Some(vertex("", Some(0.0), false, error));
    }
    let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
    if first.contains('.') && first.parse::<f64>().is_ok() {
        let msg = format!("{text}\n").into_bytes();
        let log = VertexLog { vertex: number.to_string(), stream: 1, msg, ..Default::default() };
        return Some(StatusResponse { logs: vec![log], ..Default::default() });
    }
    // A step is named with its place, or is a chore of the builder; all else that follows a number counts bytes.
    let is_name = rest.starts_with('[')
        || ["exporting to ", "importing cache ", "resolve image "].iter().any(|start| rest.starts_with(start));
    is_name.then(|| vertex(rest, None, false, ""))
}

fn warning(line: &str) -> Option<BuildEvent> {
    let text = line.strip_prefix("WARNING: ").or_else(|| line.strip_prefix("WARN: "))?;
    Some(BuildEvent::Warning { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::StepState;

    fn said(builder: Builder, lines: &[(Stream, &str)]) -> (Spoken, Vec<BuildEvent>) {
        let mut spoken = Spoken::new(builder);
        let events =
            lines.iter().flat_map(|(stream, line)| spoken.line(*stream, format!("{line}\n").as_bytes())).collect();
        (spoken, events)
    }

    fn names(events: &[BuildEvent]) -> Vec<String> {
        let name = |event: &BuildEvent| match event {
            BuildEvent::Step { name, index, state, .. } => format!("{index:?} {name} {state:?}"),
            BuildEvent::Log { bytes, .. } => String::from_utf8_lossy(bytes).trim_end().to_owned(),
            other => format!("{other:?}"),
        };
        events.iter().map(name).collect()
    }

    #[test]
    fn plain_lines_of_buildkit_are_steps_and_their_output() {
        let lines = [
            "#1 [internal] load build definition from Dockerfile",
            "#1 transferring dockerfile: 83B done",
            "#1 DONE 0.5s",
            "#4 [1/2] COPY a /a",
            "#4 CACHED",
            "#5 [stage-0 2/2] RUN x",
            "#5 0.312 one 2.0 three",
            "#5 ERROR: executor failed running [x]: exit code: 7",
            "------",
            " > [2/2] RUN x:",
            "ERROR: failed to solve: executor failed running [x]: exit code: 7",
        ];
        let lines: Vec<_> = lines.iter().map(|line| (Stream::Stderr, *line)).collect();
        let (spoken, events) = said(Builder::BuildKit, &lines);
        let text = names(&events).join("\n");
        assert!(text.contains("Some(1) COPY a /a Cached") && text.contains("Some(2) RUN x Started"), "{text}");
        assert!(text.contains("\none 2.0 three\n") && !text.contains("transferring"), "{text}");
        let error = spoken.end(1, "", &mut |_| {}).unwrap_err();
        let DockerError::BuildFailed { step, exit_code, tail, .. } = error else { panic!("{error}") };
        assert_eq!((step.as_str(), exit_code, tail), ("RUN x", Some(7), vec!["one 2.0 three".to_owned()]));
    }

    #[test]
    fn lines_of_the_classic_builder_are_steps_and_its_error_is_on_stderr() {
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        let lines = [
            (err, "DEPRECATED: The legacy builder is deprecated"),
            (out, "Step 1/2 : FROM scratch"),
            (out, " ---> "),
            (out, "Step 2/2 : RUN x"),
            (out, " ---> Running in 0123456789ab"),
            (out, "\u{1b}[91mbad"),
            (err, "The command 'x' returned a non-zero code: 3"),
        ];
        let (spoken, events) = said(Builder::Classic, &lines);
        assert!(names(&events).contains(&"bad".to_owned()), "{events:?}");
        let mut last = None;
        let error = spoken.end(1, "", &mut |event| last = Some(event)).unwrap_err();
        assert!(matches!(error, DockerError::BuildFailed { exit_code: Some(3), .. }), "{error}");
        assert!(matches!(last, Some(BuildEvent::Step { state: StepState::Failed { .. }, .. })));
    }

    #[test]
    fn a_build_without_an_id_has_no_image() {
        let lines = [(Stream::Stderr, "#5 [1/1] RUN x"), (Stream::Stderr, "#5 DONE 0.2s")];
        let end = |image: &str| said(Builder::Auto, &lines).0.end(0, image, &mut |_| {});
        assert!(end(" ").unwrap_err().is_lost());
        let done = end("sha256:1\n").unwrap();
        assert_eq!((done.image.as_str(), done.steps, done.cached), ("sha256:1", 1, 0));
    }
}
