//! A build by the classic builder: a tar stream up, lines of text down. Knows nothing of BuildKit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use hyper::Request;
use hyper::body::Frame;
use hyper::header::HeaderValue;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::tree::{Fault, Tree};
use super::{BuildEvent, BuildRequest, BuildResult, StepState, query, tarball};
use crate::docker::answer::{Lines, Tail, number_after};
use crate::docker::dial::Dialer;
use crate::docker::error::{from_text, of_engine, without_image};
use crate::docker::{Credentials, DockerError};
use crate::model::Stream;

/// The name of the Dockerfile in the stream: one that no context has.
pub const DOCKERFILE: &str = ".xtask-dockerfile";
pub const IGNORE: &str = ".dockerignore";

/// The builder removes its Dockerfile from the context if the ignore file says so, and that file as well if it names
/// itself. One that `COPY` shall see stays, with one more line, which is what the docker command line does too.
pub fn hide_dockerfile(context: &Tree) -> Result<Vec<u8>, DockerError> {
    let mut text = Vec::new();
    match context.find(IGNORE.as_bytes()) {
        Some(entry) => {
            context.read(entry, |chunk| {
                text.extend_from_slice(&chunk);
                true
            })?;
            text.push(b'\n');
        }
        None => text.extend_from_slice(b".dockerignore\n"),
    }
    text.extend_from_slice(DOCKERFILE.as_bytes());
    text.push(b'\n');
    Ok(text)
}

/// Builds; dropping the future ends the build on the engine.
pub async fn build(
    dialer: Arc<Dialer>,
    request: BuildRequest,
    events: mpsc::Sender<BuildEvent>,
) -> Result<BuildResult, DockerError> {
    let fault = Fault::default();
    let sent = Arc::new(AtomicU64::new(0));
    let context = Tree::new(Arc::clone(&request.context))?;
    let ignore = Tree::lone_file(IGNORE, &hide_dockerfile(&context)?);
    let trees = [Tree::lone_file(DOCKERFILE, &request.dockerfile), context, ignore].map(Arc::new).to_vec();
    let chunks = ReceiverStream::new(tarball::stream(trees, fault.clone()));
    let counter = Arc::clone(&sent);
    let frames = chunks.map_ok(Frame::data).inspect(move |chunk| {
        if let Ok(bytes) = chunk.as_ref().map(|frame| frame.data_ref().map_or(0, Bytes::len)) {
            counter.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    });
    let outcome = converse(&dialer, &request, StreamBody::new(frames), &events).await;
    match outcome {
        Ok((image, steps)) => {
            Ok(BuildResult { image, steps: steps.count, cached: steps.cached, sent: sent.load(Ordering::Relaxed) })
        }
        Err(error) => Err(match fault.take() {
            // What the engine said of a stream that it did not want to the end matters more than that it stopped.
            Some(DockerError::Infra { .. } | DockerError::Lost { .. }) | None => error,
            Some(fault) => fault,
        }),
    }
}

async fn converse<B>(
    dialer: &Dialer,
    request: &BuildRequest,
    body: B,
    events: &mpsc::Sender<BuildEvent>,
) -> Result<(String, Steps), DockerError>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut pairs = query::common(request);
    pairs.retain(|(name, _)| *name != "dockerfile");
    let more = [("version", "1"), ("dockerfile", DOCKERFILE), ("rm", "1"), ("forcerm", "1")];
    pairs.extend(more.map(|(name, value)| (name, value.to_owned())));
    let bug = |error: hyper::http::Error| DockerError::Bug { what: error.to_string() };
    let mut head =
        Request::post(format!("/build?{}", query::encode(pairs))).header("Content-Type", "application/x-tar");
    if let Some(value) = registry_config(request).await {
        head = head.header("X-Registry-Config", value);
    }
    let (response, _alive) = dialer.send(head.body(body).map_err(bug)?).await?;
    let mut lines = match Lines::of("the build", response).await {
        Ok(lines) => lines,
        Err(DockerError::Infra { message, .. }) if is_about_text(&message) => {
            return Err(DockerError::BadDockerfile { message });
        }
        Err(error) => return Err(error),
    };
    let mut steps = Steps::default();
    let mut image = None;
    while let Some(line) = lines.next().await? {
        if let Some(message) = line["error"].as_str() {
            let (event, error) = steps.fail(message);
            if let Some(event) = event {
                let _ = events.send(event).await;
            }
            return Err(error);
        }
        if let Some(id) = line["aux"]["ID"].as_str() {
            image = Some(id.to_owned());
        }
        for event in steps.feed(&line) {
            let _ = events.send(event).await;
        }
    }
    if let Some(event) = steps.end() {
        let _ = events.send(event).await;
    }
    image.map(|image| (image, steps)).ok_or_else(without_image)
}

fn is_about_text(message: &str) -> bool {
    ["parse error", "unknown instruction", "failed to reach build target", "Dockerfile", "--mount"]
        .iter()
        .any(|text| message.contains(text))
}

/// The classic builder wants all credentials in advance: those of the hosts that the Dockerfile names.
async fn registry_config(request: &BuildRequest) -> Option<HeaderValue> {
    let find = request.credentials.clone()?;
    let text = String::from_utf8_lossy(&request.dockerfile).into_owned();
    let images: Vec<String> =
        text.split_whitespace().map(str::to_owned).chain(request.build_args.values().cloned()).collect();
    let config = tokio::task::spawn_blocking(move || {
        let hosts = images.iter().filter_map(|image| crate::model::ImageRef::parse(image)?.host().map(str::to_owned));
        let mut config = BTreeMap::new();
        for host in hosts {
            if !config.contains_key(&host)
                && let Some(found) = find(&host)
            {
                config.insert(host, login(&found));
            }
        }
        config
    })
    .await
    .unwrap_or_default();
    if config.is_empty() {
        return None;
    }
    let mut value = HeaderValue::from_str(&URL_SAFE.encode(serde_json::json!(config).to_string())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn login(credentials: &Credentials) -> Value {
    let text = |secret: &crate::model::Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    match credentials {
        Credentials::Password { user, password } => serde_json::json!({"username": user, "password": text(password)}),
        Credentials::IdentityToken(token) => serde_json::json!({"identitytoken": text(token)}),
    }
}

/// What is known of the steps from the text.
#[derive(Default)]
pub(super) struct Steps {
    current: Option<Current>,
    count: usize,
    cached: usize,
}

struct Current {
    id: Arc<str>,
    name: Arc<str>,
    index: u32,
    total: u32,
    cached: bool,
    since: std::time::Instant,
    tail: Tail,
}

impl Current {
    fn event(&self, state: StepState) -> BuildEvent {
        BuildEvent::Step {
            id: Arc::clone(&self.id),
            name: Arc::clone(&self.name),
            index: Some(self.index),
            total: Some(self.total),
            state,
        }
    }
}

impl Steps {
    pub(super) fn feed(&mut self, line: &Value) -> Vec<BuildEvent> {
        if let Some(status) = line["status"].as_str() {
            return self.pull(line, status).into_iter().collect();
        }
        let Some(text) = line["stream"].as_str() else { return Vec::new() };
        if let Some((index, total, name)) = step(text) {
            let mut events: Vec<BuildEvent> = self.end().into_iter().collect();
            let current = Current {
                id: index.to_string().into(),
                name: name.into(),
                index,
                total,
                cached: false,
                since: std::time::Instant::now(),
                tail: Tail::default(),
            };
            events.push(current.event(StepState::Started));
            self.current = Some(current);
            return events;
        }
        let Some(current) = &mut self.current else { return Vec::new() };
        match text.trim_end() {
            " ---> Using cache" => {
                current.cached = true;
                Vec::new()
            }
            chore if chore.is_empty() && text.len() == 1 => Vec::new(),
            chore if is_chore(chore) => Vec::new(),
            _ => {
                let (stream, bytes) = uncoloured(text);
                current.tail.push(bytes.as_bytes());
                vec![BuildEvent::Log { step: Arc::clone(&current.id), stream, bytes: bytes.into_bytes() }]
            }
        }
    }

    fn pull(&self, line: &Value, status: &str) -> Option<BuildEvent> {
        let current = self.current.as_ref()?;
        let what = line["id"].as_str().map_or_else(|| status.to_owned(), |id| format!("{status} {id}"));
        let count = |name: &str| line["progressDetail"][name].as_u64();
        let (done, total) = (count("current").unwrap_or(0), count("total"));
        Some(BuildEvent::Transfer { step: Arc::clone(&current.id), what, done, total })
    }

    /// The step is over: the next has begun, or there is none.
    pub(super) fn end(&mut self) -> Option<BuildEvent> {
        let current = self.current.take()?;
        self.count += 1;
        self.cached += usize::from(current.cached);
        let seconds = current.since.elapsed().as_secs_f64();
        Some(current.event(if current.cached { StepState::Cached } else { StepState::Done { seconds } }))
    }

    /// Steps that ended, and how many of those were cached.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.count, self.cached)
    }

    pub(super) fn fail(&mut self, message: &str) -> (Option<BuildEvent>, DockerError) {
        let Some(current) = self.current.take() else { return (None, from_text("the build", message)) };
        let event = current.event(StepState::Failed { message: message.to_owned() });
        let failed = |exit_code| DockerError::BuildFailed {
            step: current.name.to_string(),
            exit_code,
            tail: current.tail.lines(),
            message: message.to_owned(),
        };
        let error = match number_after(message, "non-zero code:") {
            None if current.name.starts_with("FROM ") => base_missing(&current.name[5..], message),
            None => of_engine(&current.name, message).unwrap_or_else(|| failed(None)),
            exit_code => failed(exit_code),
        };
        (Some(event), error)
    }
}

fn base_missing(image: &str, message: &str) -> DockerError {
    let what = format!("base image `{}`", image.split_whitespace().next().unwrap_or(image));
    if ["not found", "manifest unknown", "pull access denied"].iter().any(|text| message.contains(text)) {
        return DockerError::NotFound { what, message: message.to_owned() };
    }
    match from_text(&what, message) {
        DockerError::Infra { what, message } => DockerError::Registry { what, message },
        other => other,
    }
}

/// Lines of the builder itself.
fn is_chore(line: &str) -> bool {
    let id = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    line == " --->"
        || line.strip_prefix(" ---> ").is_some_and(id)
        || line.strip_prefix(" ---> Running in ").is_some_and(id)
        || line.strip_prefix("Removing intermediate container ").is_some_and(id)
        || line.strip_prefix("Successfully built ").is_some_and(id)
        || line.starts_with("Successfully tagged ")
}

/// `Step 2/5 : RUN x`.
fn step(text: &str) -> Option<(u32, u32, String)> {
    let (count, name) = text.strip_prefix("Step ")?.split_once(" : ")?;
    let (index, total) = count.split_once('/')?;
    Some((index.parse().ok()?, total.parse().ok()?, name.trim_end().to_owned()))
}

/// The builder paints what RUN writes to stderr red.
fn uncoloured(text: &str) -> (Stream, String) {
    match text.strip_prefix("\u{1b}[91m") {
        Some(rest) => (Stream::Stderr, rest.replace("\u{1b}[0m", "")),
        None => (Stream::Stdout, text.replace("\u{1b}[0m", "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_steps() {
        let mut steps = Steps::default();
        let mut feed = |text: &str| steps.feed(&serde_json::json!({ "stream": text }));
        assert!(matches!(&feed("Step 1/2 : FROM scratch")[..], [BuildEvent::Step { index: Some(1), .. }]));
        assert_eq!(feed("\n"), []);
        assert_eq!(feed(" ---> Using cache\n"), []);
        let next = feed("Step 2/2 : RUN x");
        assert!(matches!(&next[0], BuildEvent::Step { state: StepState::Cached, .. }), "{next:?}");
        assert_eq!(feed(" ---> Running in 0123456789ab\n"), []);
        let red = feed("\u{1b}[91mbad\n\u{1b}[0m");
        assert!(matches!(&red[0], BuildEvent::Log { stream: Stream::Stderr, bytes, .. } if bytes == b"bad\n"));
        let (_, error) = steps.fail("The command '/bin/sh -c x' returned a non-zero code: 3");
        let DockerError::BuildFailed { exit_code, tail, .. } = error else { panic!("{error}") };
        assert_eq!((exit_code, tail), (Some(3), vec!["bad".to_owned()]));
    }
}
