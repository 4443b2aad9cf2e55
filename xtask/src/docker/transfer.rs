//! Push and pull through the engine. Knows nothing of which images belong together.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HeaderValue;
use serde_json::Value;
use tokio::sync::mpsc;

use super::answer::Lines;
use super::build::encode;
use super::error::from_registry;
use super::{Credentials, Docker, DockerError, dial, runtime};
use crate::model::{ImageRef, StopToken};

/// Attempts in all, the first one included.
const ATTEMPTS: u32 = 5;
/// After it there is no further attempt: the engine repeats uploads by itself, with long pauses.
const PATIENCE: Duration = Duration::from_secs(45);

/// What happens while an image travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferEvent {
    /// A layer came into another state, e.g. `Pushing`, `Layer already exists`, `Download complete`; bytes where the
    /// engine counts them.
    Layer { id: String, status: String, done: u64, total: Option<u64> },
    /// The registry had a passing problem; after `wait` it is asked again.
    Retry { attempt: u32, wait: Duration, problem: String },
}

impl Docker {
    /// Pushes what bears this name to the registry of the name. Returns the manifest's digest, `sha256:…`. Passing
    /// problems (429, 5xx, a cut connection) are tried again, five times in all and for 45 seconds at most; layers that
    /// arrived are not sent again.
    pub fn push(
        &self,
        name: &ImageRef,
        credentials: Option<&Credentials>,
        events: &mut dyn FnMut(TransferEvent),
        stop: &StopToken,
    ) -> Result<String, DockerError> {
        let tag = name.tag.clone().unwrap_or_else(|| "latest".to_owned());
        let path = format!("/images/{}/push?{}", name.name, encode([("tag", tag)]));
        let name = name.to_string();
        let outcome = self.transfer(&name, path, credentials, events, stop)?;
        outcome.digest.ok_or_else(|| DockerError::Infra { what: name, message: "the digest was not told".to_owned() })
    }

    /// Pulls an image by digest or tag. One pulled by digest has no tag. Returns its id.
    pub fn pull(
        &self,
        name: &ImageRef,
        platform: Option<&str>,
        credentials: Option<&Credentials>,
        events: &mut dyn FnMut(TransferEvent),
        stop: &StopToken,
    ) -> Result<String, DockerError> {
        // Without a tag the engine would pull them all.
        let tag = name.digest.clone().or_else(|| name.tag.clone()).unwrap_or_else(|| "latest".to_owned());
        let mut pairs = vec![("fromImage", name.name.clone()), ("tag", tag.clone())];
        pairs.extend(platform.map(|platform| ("platform", platform.to_owned())));
        let path = format!("/images/create?{}", encode(pairs));
        self.transfer(&name.to_string(), path, credentials, events, stop)?;
        let separator = if name.digest.is_some() { '@' } else { ':' };
        Ok(self.image(&format!("{}{separator}{tag}", name.name))?.id)
    }

    fn transfer(
        &self,
        what: &str,
        path: String,
        credentials: Option<&Credentials>,
        events: &mut dyn FnMut(TransferEvent),
        stop: &StopToken,
    ) -> Result<Outcome, DockerError> {
        let (dialer, what, login) = (Arc::clone(&self.dialer), what.to_owned(), login(&what_host(what), credentials)?);
        let work = move |events: mpsc::Sender<TransferEvent>| async move {
            let start = Instant::now();
            for attempt in 1.. {
                match once(&dialer, &what, &path, &login, &events).await {
                    Err(error @ DockerError::Registry { .. }) if attempt < ATTEMPTS && start.elapsed() < PATIENCE => {
                        let wait = pause(attempt);
                        let problem = error.to_string();
                        // Without a listener this is about to be dropped.
                        let _ = events.send(TransferEvent::Retry { attempt, wait, problem }).await;
                        tokio::time::sleep(wait).await;
                    }
                    outcome => return outcome,
                }
            }
            Err(DockerError::Bug { what: "attempts never end".to_owned() })
        };
        runtime::drive(work, events, stop)
    }
}

fn what_host(what: &str) -> String {
    ImageRef::parse(what).and_then(|name| name.host().map(str::to_owned)).unwrap_or_else(|| "docker.io".to_owned())
}

/// What the last line but the errors tells.
#[derive(Default)]
struct Outcome {
    digest: Option<String>,
}

async fn once(
    dialer: &dial::Dialer,
    what: &str,
    path: &str,
    login: &HeaderValue,
    events: &mpsc::Sender<TransferEvent>,
) -> Result<Outcome, DockerError> {
    let bug = |error: hyper::http::Error| DockerError::Bug { what: error.to_string() };
    let request = Request::post(path).header("X-Registry-Auth", login).body(Full::new(Bytes::new())).map_err(bug)?;
    let (response, _alive) = dialer.send(request).await?;
    let mut lines = match Lines::of(what, response).await {
        Ok(lines) => lines,
        // The engine passes the registry's answer on under a status of its own.
        Err(DockerError::Infra { message, .. } | DockerError::Registry { message, .. }) => {
            return Err(from_registry(what, &message));
        }
        Err(error) => return Err(error),
    };
    let mut outcome = Outcome::default();
    while let Some(line) = lines.next().await? {
        if let Some(message) = line["error"].as_str() {
            return Err(from_registry(what, message));
        }
        if let Some(digest) = line["aux"]["Digest"].as_str() {
            outcome.digest = Some(digest.to_owned());
        }
        if let Some(event) = layer(&line) {
            let _ = events.send(event).await;
        }
    }
    Ok(outcome)
}

fn layer(line: &Value) -> Option<TransferEvent> {
    let (id, status) = (line["id"].as_str()?.to_owned(), line["status"].as_str()?.to_owned());
    let count = |name: &str| line["progressDetail"][name].as_u64();
    Some(TransferEvent::Layer { id, status, done: count("current").unwrap_or(0), total: count("total") })
}

/// The header that every transfer needs, also without credentials.
fn login(host: &str, credentials: Option<&Credentials>) -> Result<HeaderValue, DockerError> {
    let text = |secret: &crate::model::Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let value = match credentials {
        None => serde_json::json!({}),
        Some(Credentials::Password { user, password }) => {
            serde_json::json!({"username": user, "password": text(password), "serveraddress": host})
        }
        Some(Credentials::IdentityToken(token)) => {
            serde_json::json!({"identitytoken": text(token), "serveraddress": host})
        }
    };
    let header = HeaderValue::from_str(&URL_SAFE.encode(value.to_string()));
    let mut header = header.map_err(|error| DockerError::Bug { what: error.to_string() })?;
    header.set_sensitive(true);
    Ok(header)
}

/// Doubled each time, at most ten seconds, and spread by half, so that builders which failed together do not come
/// back together.
fn pause(attempt: u32) -> Duration {
    let base = Duration::from_millis(250).saturating_mul(1 << attempt.min(10)).min(Duration::from_secs(10));
    let noise = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    base.mul_f64(0.75 + f64::from(noise % 1000) / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn pauses_grow_and_end() {
        for attempt in 1..40 {
            let pause = pause(attempt);
            assert!(
                pause >= Duration::from_millis(370) && pause < Duration::from_millis(12_500),
                "{attempt}: {pause:?}"
            );
        }
    }

    #[test]
    fn any_password_survives_the_header() {
        let password = Secret::new(">>>???~~~");
        let header = login("h", Some(&Credentials::Password { user: "u".to_owned(), password })).unwrap();
        let text = header.to_str().unwrap();
        assert!(!text.contains(['+', '/']), "{text}");
        let json: Value = serde_json::from_slice(&URL_SAFE.decode(text).unwrap()).unwrap();
        assert_eq!(json["password"], ">>>???~~~");
        assert!(!format!("{header:?}").contains("Pj4"), "{header:?}");
    }
}
