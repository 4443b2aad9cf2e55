//! A registry in this process that misbehaves on demand and remembers every request. Knows nothing of the client.

use std::collections::HashMap;
use std::io::{BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::content::Content;
use super::http::{Head, Reply};
use super::login::{Login, Tokens};
use crate::model::Digest;
use crate::registry::{Clock, SystemClock};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Ping,
    Token,
    ManifestHead,
    ManifestGet,
    ManifestPut,
    ManifestDelete,
    TagList,
    BlobHead,
    BlobGet,
    UploadPost,
    UploadStatus,
    UploadPatch,
    UploadPut,
    UploadDelete,
    Other,
}

/// How a request goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this and does nothing.
    Status { status: u16, retry_after: Option<String>, body: String },
    /// Closes the connection after so many bytes of the request's body; does nothing.
    CutRequest(usize),
    /// Does what was asked, then closes the connection after so many bytes of the answer.
    CutResponse(usize),
    /// Does nothing and says nothing for this long, then closes.
    Stall(Duration),
}

impl Fault {
    /// An error without further explanation.
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None, body: String::new() }
    }

    /// 429 with a `Retry-After` header.
    pub fn limited(retry_after: &str) -> Self {
        Self::Status { status: 429, retry_after: Some(retry_after.to_owned()), body: String::new() }
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub endpoint: Endpoint,
    pub method: String,
    pub path: String,
    /// By the fake's clock.
    pub at: Duration,
    /// The whole header, secrets included.
    pub authorization: Option<String>,
    /// What was answered; 0 for a cut or a stall.
    pub status: u16,
}

struct Rule {
    endpoint: Endpoint,
    /// Only for paths that contain this.
    path: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

#[derive(Default)]
struct State {
    content: Content,
    tokens: Tokens,
    rules: Vec<Rule>,
    log: Vec<Seen>,
}

struct Shared {
    host: String,
    login: Login,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    ended: AtomicBool,
}

/// Listens on a free loopback port until it is dropped.
pub struct FakeRegistry(Arc<Shared>);

impl FakeRegistry {
    /// Open to everyone, on the machine's clock.
    pub fn start() -> Result<Self> {
        Self::with(Login::Open, Arc::new(SystemClock::new()))
    }

    pub fn with(login: Login, clock: Arc<dyn Clock>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let host = listener.local_addr()?.to_string();
        let shared = Shared { host, login, clock, state: Mutex::default(), ended: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.ended.load(Ordering::SeqCst) {
                    return;
                }
                let server = Arc::clone(&server);
                // A connection that breaks is the client's business.
                std::thread::spawn(move || stream.and_then(|stream| server.serve(stream)));
            }
        });
        Ok(Self(shared))
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The next `times` requests of this kind go wrong.
    pub fn fail(&self, endpoint: Endpoint, times: usize, fault: Fault) {
        self.fail_at(endpoint, "", 0, times, fault);
    }

    /// Requests of this kind whose path contains `path` go wrong, after the first `skip` of them, `times` times.
    pub fn fail_at(&self, endpoint: Endpoint, path: &str, skip: usize, times: usize, fault: Fault) {
        self.0.state().rules.push(Rule { endpoint, path: path.to_owned(), skip, times, fault });
    }

    /// No more faults.
    pub fn behave(&self) {
        self.0.state().rules.clear();
    }

    /// Every request so far, in the order in which they came.
    pub fn log(&self) -> Vec<Seen> {
        self.0.state().log.clone()
    }

    pub fn clear_log(&self) {
        self.0.state().log.clear();
    }

    /// How many requests of a kind came.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.0.state().log.iter().filter(|seen| seen.endpoint == endpoint).count()
    }

    /// The tags of one repository, as they are now.
    pub fn tags(&self, repository: &str) -> HashMap<String, Digest> {
        let state = self.0.state();
        let of = state.content.tags.iter().filter(|((name, _), _)| name == repository);
        of.map(|((_, tag), digest)| (tag.clone(), *digest)).collect()
    }

    /// Moves a tag behind the client's back.
    pub fn set_tag(&self, repository: &str, tag: &str, digest: Digest) {
        self.0.state().content.tags.insert((repository.to_owned(), tag.to_owned()), digest);
    }

    /// From now on single tags can be deleted.
    pub fn delete_tags(&self) {
        self.0.state().content.deletes_tags = true;
    }

    /// Bytes of a manifest.
    pub fn manifest(&self, repository: &str, digest: Digest) -> Option<Vec<u8>> {
        self.0.state().content.manifests.get(&(repository.to_owned(), digest)).map(|(_, bytes)| bytes.clone())
    }

    /// Uploads that nobody finished or cancelled.
    pub fn open_uploads(&self) -> usize {
        self.0.state().content.open_uploads()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(&self.0.host);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(head) = Head::read(&mut stream)? {
            if !self.handle(&head, &mut stream)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `false` if the connection ends here.
    fn handle(&self, head: &Head, stream: &mut BufReader<TcpStream>) -> Result<bool> {
        let (endpoint, repository, rest) = place(head);
        let fault = self.next_fault(endpoint, &head.path);
        let seen = Seen {
            endpoint,
            method: head.method.clone(),
            path: head.path.clone(),
            at: self.clock.now(),
            authorization: head.header("authorization").map(str::to_owned),
            status: 0,
        };
        let at = {
            let mut state = self.state();
            state.log.push(seen);
            state.log.len() - 1
        };
        let is_head = head.method == "HEAD";
        let refuse = |reply: &Reply, stream: &mut BufReader<TcpStream>| -> Result<bool> {
            // A refusal reaches a client that asks first without its body; the others send it in any case.
            if !head.asks_first() {
                head.body(stream, usize::MAX)?;
            }
            self.state().log[at].status = reply.status;
            stream.get_mut().write_all(&reply.bytes(is_head, head.asks_first()))?;
            Ok(!head.asks_first())
        };
        match &fault {
            Some(Fault::Status { status, retry_after, body }) => {
                let reply = Reply::new(*status).body(body.as_bytes());
                let reply = match retry_after {
                    Some(wait) => reply.header("retry-after", wait),
                    None => reply,
                };
                return refuse(&reply, stream);
            }
            Some(Fault::CutRequest(most)) => {
                head.body(stream, *most)?;
                return Ok(false);
            }
            Some(Fault::Stall(time)) => {
                let end = Instant::now() + *time;
                while Instant::now() < end && !self.ended.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return Ok(false);
            }
            Some(Fault::CutResponse(_)) | None => {}
        }
        if endpoint != Endpoint::Token {
            let action = match head.method.as_str() {
                "GET" | "HEAD" => "pull",
                "DELETE" if endpoint == Endpoint::ManifestDelete => "delete",
                _ => "push",
            };
            let now = self.clock.now();
            let refused = self.login.check(head, &repository, action, &self.host, &self.state().tokens, now);
            if let Some(reply) = refused {
                return refuse(&reply, stream);
            }
        }
        let body = head.body(stream, usize::MAX)?;
        let reply = {
            let mut state = self.state();
            let reply = if endpoint == Endpoint::Token {
                self.login.token(head, &body, &mut state.tokens, self.clock.now())
            } else {
                state.content.answer(endpoint, head, &repository, &rest, body)
            };
            state.log[at].status = reply.status;
            reply
        };
        let mut bytes = reply.bytes(is_head, false);
        if let Some(Fault::CutResponse(most)) = fault {
            bytes.truncate(most);
            stream.get_mut().write_all(&bytes)?;
            return Ok(false);
        }
        stream.get_mut().write_all(&bytes)?;
        Ok(true)
    }

    fn next_fault(&self, endpoint: Endpoint, path: &str) -> Option<Fault> {
        let mut state = self.state();
        let fits = |rule: &&mut Rule| rule.endpoint == endpoint && path.contains(&rule.path) && rule.times > 0;
        let rule = state.rules.iter_mut().find(fits)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}

/// What a request is for, of which repository, and the rest of its path.
fn place(head: &Head) -> (Endpoint, String, String) {
    let method = head.method.as_str();
    let Some(path) = head.path.strip_prefix("/v2/") else {
        let endpoint = if head.path == "/token" { Endpoint::Token } else { Endpoint::Other };
        return (endpoint, String::new(), String::new());
    };
    let split = |mark: &str| path.split_once(mark).map(|(name, rest)| (name.to_owned(), rest.to_owned()));
    let (endpoint, (repository, rest)) = if path.is_empty() {
        (Endpoint::Ping, (String::new(), String::new()))
    } else if let Some(parts) = split("/blobs/uploads/") {
        let endpoint = match method {
            "POST" => Endpoint::UploadPost,
            "PATCH" => Endpoint::UploadPatch,
            "PUT" => Endpoint::UploadPut,
            "DELETE" => Endpoint::UploadDelete,
            _ => Endpoint::UploadStatus,
        };
        (endpoint, parts)
    } else if let Some(parts) = split("/blobs/") {
        (if method == "HEAD" { Endpoint::BlobHead } else { Endpoint::BlobGet }, parts)
    } else if let Some(parts) = split("/manifests/") {
        let endpoint = match method {
            "HEAD" => Endpoint::ManifestHead,
            "PUT" => Endpoint::ManifestPut,
            "DELETE" => Endpoint::ManifestDelete,
            _ => Endpoint::ManifestGet,
        };
        (endpoint, parts)
    } else if let Some(parts) = split("/tags/list") {
        (Endpoint::TagList, parts)
    } else {
        (Endpoint::Other, (String::new(), String::new()))
    };
    (endpoint, repository, rest)
}
