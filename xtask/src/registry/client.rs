//! One registry: address, login, time limits and repetition around every request. Knows nothing of manifests.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::Agent;

use super::auth::{Auth, Scope, Step, TokenRequest};
use super::credentials::CredentialsSource;
use super::error::{ErrorKind, RegistryError, Stage, is_loopback};
use super::options::Options;
use super::repository::Repository;
use super::retry::{LIMITED_PACE, retry_after};
use super::scrub::Scrubber;
use super::tls;
use super::wire::{Answer, Payload, Request, exchange};

/// A connection to one registry. Cheap to clone; clones share connections, logins and the pace of requests.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    host: String,
    /// `http://host` or `https://host`.
    base: String,
    agent: Agent,
    auth: Auth,
    scrubber: Scrubber,
    options: Options,
    gate: Mutex<Gate>,
    /// Set once `/v2/` answered as a registry does.
    confirmed: OnceLock<()>,
}

/// The pace that a registry forced upon us.
#[derive(Default)]
struct Gate {
    limited: bool,
    /// Nobody sends before this.
    next: Duration,
}

/// One verb on the wire.
pub struct Call<'a> {
    pub stage: Stage,
    /// For messages: what it is about.
    pub about: &'a str,
    pub method: &'static str,
    /// From `/v2/` on, or a whole URL that the registry told us.
    pub target: String,
    pub scopes: Vec<Scope>,
    pub headers: Vec<(&'static str, String)>,
    pub payload: Payload<'a>,
    /// Statuses that are an answer; all others are errors.
    pub fine: &'static [u16],
    /// Hand the body over as a reader.
    pub stream: bool,
}

/// Why a try failed, and how long the registry asked us to wait.
pub struct Failure {
    pub stage: Stage,
    pub kind: ErrorKind,
    pub floor: Option<Duration>,
}

impl Client {
    /// `host` as people write it: `hub.example.org`, `127.0.0.1:5000`, `docker.io`. Sends nothing yet.
    pub fn new(host: &str, credentials: CredentialsSource, options: Options) -> Result<Self, RegistryError> {
        let fail = |kind| RegistryError {
            stage: Stage::Ping,
            registry: host.to_owned(),
            reference: host.to_owned(),
            tries: 0,
            kind,
        };
        let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
        if host.is_empty() || !plain {
            return Err(fail(ErrorKind::BadName { detail: format!("`{host}` is not the name of a host") }));
        }
        let insecure = is_loopback(host) || options.insecure.iter().any(|name| name == host);
        let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(!insecure)
            .allow_non_standard_methods(true)
            .user_agent(concat!("xtask/", env!("CARGO_PKG_VERSION")))
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(options.connect));
        if insecure {
            config = config.proxy(None);
        } else {
            let tls = tls::config(host, options.ca_bundle.as_deref());
            config = config.tls_config(tls.map_err(|detail| fail(ErrorKind::Tls { detail }))?);
        }
        Ok(Self(Arc::new(Inner {
            host: host.to_owned(),
            base: format!("{}://{address}", if insecure { "http" } else { "https" }),
            agent: config.build().new_agent(),
            auth: Auth::new(host, credentials),
            scrubber: Scrubber::default(),
            options,
            gate: Mutex::default(),
            confirmed: OnceLock::new(),
        })))
    }

    /// The host as people write it.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// One of its repositories, by its name without the host.
    pub fn repository(&self, name: &str) -> Repository {
        Repository::new(self.clone(), name)
    }

    /// Whether the registry answers and takes our login.
    pub fn ping(&self) -> Result<(), RegistryError> {
        let host = self.host().to_owned();
        let call = Call {
            stage: Stage::Ping,
            about: &host,
            method: "GET",
            target: "/v2/".to_owned(),
            scopes: Vec::new(),
            headers: Vec::new(),
            payload: Payload::Nothing,
            fine: &[200, 404],
            stream: false,
        };
        let answer = self.send(&call)?;
        if answer.status == 404 {
            return Err(self.error(Stage::Ping, &host, 1, ErrorKind::NotARegistry { status: 404 }));
        }
        let _ = self.0.confirmed.set(());
        Ok(())
    }

    /// A "not found" counts only from something that is a registry: asked once, when the first one comes.
    pub(super) fn confirm(&self) -> Result<(), RegistryError> {
        if self.0.confirmed.get().is_some() { Ok(()) } else { self.ping() }
    }

    pub(super) fn chunk(&self) -> Option<u64> {
        self.0.options.chunk.filter(|size| *size > 0)
    }

    /// Whether both speak to the same registry.
    pub(super) fn same_registry(&self, other: &Self) -> bool {
        self.0.base == other.0.base
    }

    pub(super) fn error(&self, stage: Stage, about: &str, tries: u32, kind: ErrorKind) -> RegistryError {
        RegistryError { stage, registry: self.0.host.clone(), reference: about.to_owned(), tries, kind }
    }

    /// Sends until there is an answer, the registry refuses, or patience ends.
    pub(super) fn send(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        self.repeat(call.stage, call.about, || self.attempt(call))
    }

    /// Does something until it succeeds, the registry refuses, or patience ends.
    pub(super) fn repeat<T>(
        &self,
        stage: Stage,
        about: &str,
        mut once: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, RegistryError> {
        let options = &self.0.options;
        let mut tries = 0;
        loop {
            if options.stop.is_requested() {
                return Err(self.error(stage, about, tries, ErrorKind::Interrupted));
            }
            tries += 1;
            let failure = match once() {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let fail = |kind| Err(self.error(failure.stage, about, tries, kind));
            let Some(floor) = self.floor(&failure) else { return fail(failure.kind) };
            if tries >= options.policy.tries || floor > options.policy.patience {
                return fail(failure.kind);
            }
            let wait = options.policy.wait(tries, floor, options.clock.random());
            if !options.clock.sleep(wait, &options.stop) {
                return fail(ErrorKind::Interrupted);
            }
        }
    }

    /// The least to wait before another try; `None` if another try is pointless.
    fn floor(&self, failure: &Failure) -> Option<Duration> {
        match &failure.kind {
            ErrorKind::RateLimited { .. } => Some(failure.floor.unwrap_or_default().max(LIMITED_PACE)),
            ErrorKind::Server { .. } | ErrorKind::Cut { .. } | ErrorKind::Stalled { .. } => {
                Some(failure.floor.unwrap_or_default())
            }
            // Nothing listens on this machine: waiting would only delay the message.
            ErrorKind::Unreachable { .. } if !is_loopback(&self.0.host) => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// One try, with the login that it needs.
    pub(super) fn attempt(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let answer = self.authorized(call)?;
        if answer.status != 401 {
            return self.sort(call, answer);
        }
        // A challenge: the first request ever, or a token that ended early. Answered once.
        let learned = self.0.auth.learn(answer.header("www-authenticate"));
        self.0.auth.forget(&call.scopes);
        let sent = learned && self.can_answer(call.stage)?;
        if !sent {
            return self.sort(call, answer);
        }
        let answer = self.authorized(call)?;
        self.sort(call, answer)
    }

    fn can_answer(&self, stage: Stage) -> Result<bool, Failure> {
        self.0.auth.can_answer(&self.0.scrubber).map_err(|detail| self.credentials_failure(stage, &detail))
    }

    fn credentials_failure(&self, stage: Stage, detail: &str) -> Failure {
        let detail = self.0.scrubber.clean(detail);
        Failure { stage, kind: ErrorKind::Credentials { detail }, floor: None }
    }

    /// Sends once, with whatever proof is at hand.
    fn authorized(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let inner = &*self.0;
        let own = call.target.starts_with('/') || call.target.starts_with(&format!("{}/", inner.base));
        let mut headers = call.headers.clone();
        if own {
            let prepare = || {
                inner
                    .auth
                    .prepare(&call.scopes, inner.options.clock.now(), &inner.scrubber)
                    .map_err(|detail| self.credentials_failure(call.stage, &detail))
            };
            let mut step = prepare()?;
            if let Step::Fetch(request) = step {
                self.fetch_token(&call.scopes, request)?;
                step = prepare()?;
            }
            if let Step::Send(Some(authorization)) = step {
                headers.push(("authorization", authorization));
            }
        }
        let commits = matches!(call.stage, Stage::UploadFinish | Stage::ManifestPut);
        let request = Request {
            method: call.method,
            url: if call.target.starts_with('/') {
                format!("{}{}", inner.base, call.target)
            } else {
                call.target.clone()
            },
            headers,
            payload: match call.payload {
                Payload::Nothing => Payload::Nothing,
                Payload::Bytes(bytes) => Payload::Bytes(bytes),
                Payload::Stream { source, offset, length } => Payload::Stream { source, offset, length },
            },
            stream: call.stream,
            stall: if commits { inner.options.commit } else { inner.options.stall },
        };
        self.exchange(call.stage, &request)
    }

    fn exchange(&self, stage: Stage, request: &Request<'_>) -> Result<Answer, Failure> {
        let fail = |kind| Failure { stage, kind, floor: None };
        if !self.wait_turn() {
            return Err(fail(ErrorKind::Interrupted));
        }
        let answer =
            exchange(&self.0.agent, request, &self.0.options.stop).map_err(|kind| fail(self.scrubbed(kind)))?;
        let mut gate = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.limited = answer.status == 429;
        if gate.limited {
            let floor = self.asked_wait(&answer).unwrap_or_default().max(LIMITED_PACE);
            gate.next = gate.next.max(self.0.options.clock.now() + floor);
        }
        Ok(answer)
    }

    fn asked_wait(&self, answer: &Answer) -> Option<Duration> {
        retry_after(answer.header("retry-after")?, self.0.options.clock.wall())
    }

    fn fetch_token(&self, scopes: &[Scope], wanted: TokenRequest) -> Result<(), Failure> {
        let inner = &*self.0;
        let mut headers = vec![("accept", "application/json".to_owned())];
        headers.extend(wanted.authorization.map(|value| ("authorization", value)));
        let form = wanted.form.unwrap_or_default();
        let posts = !form.is_empty();
        if posts {
            headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
        }
        let request = Request {
            method: if posts { "POST" } else { "GET" },
            url: wanted.url,
            headers,
            payload: if posts { Payload::Bytes(form.as_bytes()) } else { Payload::Nothing },
            stream: false,
            stall: inner.options.stall,
        };
        let answer = self.exchange(Stage::Token, &request)?;
        if answer.status != 200 {
            return Err(self.refusal(Stage::Token, &answer));
        }
        inner.auth.keep(scopes, &answer.bytes, inner.options.clock.now(), &inner.scrubber).map_err(|detail| Failure {
            stage: Stage::Token,
            kind: ErrorKind::Malformed { detail },
            floor: None,
        })
    }

    fn sort(&self, call: &Call<'_>, answer: Answer) -> Result<Answer, Failure> {
        if call.fine.contains(&answer.status) { Ok(answer) } else { Err(self.refusal(call.stage, &answer)) }
    }

    fn refusal(&self, stage: Stage, answer: &Answer) -> Failure {
        let said = self.0.scrubber.clean(&message(&answer.bytes));
        let floor = self.asked_wait(answer);
        let kind = match answer.status {
            401 => ErrorKind::Unauthorized { said },
            403 => ErrorKind::Denied { said },
            404 => ErrorKind::NotFound { said },
            429 => ErrorKind::RateLimited { said, asked: floor },
            408 => ErrorKind::Stalled { detail: said },
            status @ 500.. => ErrorKind::Server { status, said },
            status => ErrorKind::Rejected { status, said },
        };
        Failure { stage, kind, floor }
    }

    /// Connection errors may quote a URL or a header.
    fn scrubbed(&self, kind: ErrorKind) -> ErrorKind {
        let clean = |detail: String| self.0.scrubber.clean(&detail);
        match kind {
            ErrorKind::Cut { detail } => ErrorKind::Cut { detail: clean(detail) },
            ErrorKind::Stalled { detail } => ErrorKind::Stalled { detail: clean(detail) },
            ErrorKind::Unreachable { detail } => ErrorKind::Unreachable { detail: clean(detail) },
            ErrorKind::Malformed { detail } => ErrorKind::Malformed { detail: clean(detail) },
            ErrorKind::BadName { detail } => ErrorKind::BadName { detail: clean(detail) },
            other => other,
        }
    }

    /// Waits until a limited registry may be asked again; one request per second then. `false` if told to stop.
    fn wait_turn(&self) -> bool {
        let options = &self.0.options;
        let wait = {
            let mut gate = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
            if !gate.limited {
                return !options.stop.is_requested();
            }
            let now = options.clock.now();
            let turn = gate.next.max(now);
            gate.next = turn + LIMITED_PACE;
            turn.saturating_sub(now)
        };
        options.clock.sleep(wait, &options.stop)
    }
}

/// The registry's own words: `CODE: message` of each of its errors, else the start of the text.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(body) => {
            let errors: Vec<String> = body.errors.iter().map(|one| format!("{}: {}", one.code, one.message)).collect();
            errors.join("; ")
        }
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned(),
    }
}
