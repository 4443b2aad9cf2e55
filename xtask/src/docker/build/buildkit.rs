//! A build by BuildKit: opens a session, asks for the build, reads the trace. Knows nothing of the classic builder.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use prost::Message;
use serde_json::Value;
use tokio::sync::mpsc;

use super::filesync::{CONTEXT, DOCKERFILE, FileSyncService};
use super::progress::Progress;
use super::session::Session;
use super::tree::{Fault, Tree};
use super::{BuildEvent, BuildRequest, BuildResult, query};
use crate::docker::DockerError;
use crate::docker::answer::Lines;
use crate::docker::dial::Dialer;
use crate::docker::error::without_image;

/// Builds; dropping the future ends the build on the engine.
pub async fn build(
    dialer: Arc<Dialer>,
    request: BuildRequest,
    events: mpsc::Sender<BuildEvent>,
) -> Result<BuildResult, DockerError> {
    let fault = Fault::default();
    let sent = Arc::new(AtomicU64::new(0));
    let files = FileSyncService {
        trees: HashMap::from([
            (DOCKERFILE, Arc::new(Tree::lone_file("Dockerfile", &request.dockerfile))),
            (CONTEXT, Arc::new(Tree::new(Arc::clone(&request.context))?)),
        ]),
        sent: Arc::clone(&sent),
        fault: fault.clone(),
    };
    let session = Session::open(&dialer, &request, files).await?;
    let outcome = converse(&dialer, &request, &session.id, &events).await;
    match (outcome, fault.take()) {
        // What went wrong on our side explains what the engine saw of it, but for files that it no longer wanted.
        (Err(_), Some(fault)) if !fault.is_lost() => Err(fault),
        (Err(error), _) => Err(error),
        (Ok((image, progress)), _) => {
            let (steps, cached) = progress.counts();
            Ok(BuildResult { image, steps, cached, sent: sent.load(Ordering::Relaxed) })
        }
    }
}

async fn converse(
    dialer: &Dialer,
    request: &BuildRequest,
    session: &str,
    events: &mpsc::Sender<BuildEvent>,
) -> Result<(String, Progress), DockerError> {
    let mut pairs = query::common(request);
    let more =
        [("version", "2"), ("remote", "client-session"), ("session", session), ("buildid", session), ("rm", "1")];
    pairs.extend(more.map(|(name, value)| (name, value.to_owned())));
    let bug = |error: hyper::http::Error| DockerError::Bug { what: error.to_string() };
    let head = Request::post(format!("/build?{}", query::encode(pairs))).header("Content-Type", "text/plain");
    let (response, _alive) = dialer.send(head.body(Full::new(Bytes::new())).map_err(bug)?).await?;
    let mut lines = Lines::of("the build", response).await?;
    let mut progress = Progress::default();
    let mut image = None;
    let mut error = None;
    while let Some(line) = lines.next().await? {
        match line["id"].as_str() {
            Some("moby.buildkit.trace") => {
                for event in progress.feed(trace(&line["aux"])?) {
                    // Nobody listens any more only when the build was given up, and then this is dropped as well.
                    let _ = events.send(event).await;
                }
            }
            Some("moby.image.id") => image = line["aux"]["ID"].as_str().map(str::to_owned),
            _ => error = line["error"].as_str().map(str::to_owned).or(error),
        }
    }
    match (error, image) {
        (Some(message), _) => Err(progress.error(&message)),
        (None, Some(image)) => Ok((image, progress)),
        (None, None) => Err(without_image()),
    }
}

fn trace(aux: &Value) -> Result<StatusResponse, DockerError> {
    let broken = |message: String| DockerError::Infra { what: "the trace of the build".to_owned(), message };
    let raw = STANDARD.decode(aux.as_str().unwrap_or_default()).map_err(|error| broken(error.to_string()))?;
    StatusResponse::decode(&raw[..]).map_err(|error| broken(error.to_string()))
}
