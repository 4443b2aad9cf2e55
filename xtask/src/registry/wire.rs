//! One HTTP exchange with its time limits. Knows nothing of logins, repetition or registries.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{HeaderMap, Request as HttpRequest};
use ureq::{Agent, SendBody};

use super::blobs::{BlobSource, source_failure};
use super::error::ErrorKind;
use crate::model::StopToken;

/// What goes along with a request.
pub enum Payload<'a> {
    /// No body at all: GET, HEAD, DELETE.
    Nothing,
    /// In memory; may be empty, then `Content-Length: 0` is said.
    Bytes(&'a [u8]),
    /// `length` bytes of a source from `offset` on.
    Stream { source: &'a dyn BlobSource, offset: u64, length: u64 },
}

/// One request.
pub struct Request<'a> {
    pub method: &'static str,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub payload: Payload<'a>,
    /// Hand the body over as a reader instead of reading it.
    pub stream: bool,
    /// How long the other side may be silent.
    pub stall: Duration,
}

/// One answer.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body, unless it is streamed.
    pub bytes: Vec<u8>,
    pub reader: Option<Box<dyn Read + Send>>,
}

impl Answer {
    /// A header as text; `None` if it is missing or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// No manifest, token, tag page or error message is larger; a config with a long history is well below.
const LARGEST_BODY: u64 = 32 << 20;

/// From this size on the registry is asked first whether it wants the body at all, so that a refusal is read instead
/// of a connection cut while sending.
const ASK_FIRST: u64 = 64 << 10;

/// Sends a request and reads the answer.
pub fn exchange(agent: &Agent, request: &Request<'_>, stop: &StopToken) -> Result<Answer, ErrorKind> {
    let mut builder = HttpRequest::builder().method(request.method).uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    let (length, mut reader): (u64, Box<dyn Read + '_>) = match &request.payload {
        Payload::Nothing => return run(agent, builder, SendBody::none(), request),
        Payload::Bytes(bytes) => (bytes.len() as u64, Box::new(*bytes)),
        Payload::Stream { source, offset, length } => {
            let reader = source.open(*offset).map_err(|error| source_failure(&error))?;
            (*length, Box::new(reader.take(*length)))
        }
    };
    builder = builder.header("content-length", length);
    if length >= ASK_FIRST {
        builder = builder.header("expect", "100-continue");
    }
    let mut watched = Watched { inner: &mut reader, left: length, stop, failure: None };
    let result = run(agent, builder, SendBody::from_reader(&mut watched), request);
    match watched.failure {
        Some(kind) => Err(kind),
        None => result,
    }
}

fn run(
    agent: &Agent,
    builder: ureq::http::request::Builder,
    body: SendBody<'_>,
    request: &Request<'_>,
) -> Result<Answer, ErrorKind> {
    let http = builder.body(body).map_err(|error| ErrorKind::BadName { detail: error.to_string() })?;
    let http = agent
        .configure_request(http)
        .timeout_per_read(Some(request.stall))
        .timeout_per_write(Some(request.stall))
        .build();
    let response = agent.run(http).map_err(|error| kind_of(&error))?;
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let mut answer = Answer { status, headers: parts.headers, bytes: Vec::new(), reader: None };
    if request.stream && (200..300).contains(&status) {
        answer.reader = Some(Box::new(body.into_reader()));
    } else if request.method != "HEAD" {
        let mut limited = body.into_reader().take(LARGEST_BODY + 1);
        limited.read_to_end(&mut answer.bytes).map_err(|error| kind_of_io(&error))?;
        if answer.bytes.len() as u64 > LARGEST_BODY {
            return Err(ErrorKind::Malformed { detail: format!("more than {LARGEST_BODY} bytes") });
        }
    }
    Ok(answer)
}

/// Sorts what a broken connection can be.
pub fn kind_of(error: &ureq::Error) -> ErrorKind {
    use ureq::Error as E;
    let detail = error.to_string();
    match error {
        E::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => ErrorKind::Unreachable { detail },
        E::Timeout(_) => ErrorKind::Stalled { detail },
        E::HostNotFound | E::ConnectionFailed | E::ConnectProxyFailed(_) | E::InvalidProxyUrl => {
            ErrorKind::Unreachable { detail }
        }
        E::Tls(_) | E::Pem(_) | E::Rustls(_) | E::TlsRequired => ErrorKind::Tls { detail },
        E::RequireHttpsOnly(url) => ErrorKind::PlainHttp { url: url.clone() },
        E::Io(error) => kind_of_io(error),
        E::Protocol(_) | E::BodyStalled => ErrorKind::Cut { detail },
        _ => ErrorKind::Malformed { detail },
    }
}

/// The same for an error that comes out of a reader.
pub fn kind_of_io(error: &io::Error) -> ErrorKind {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        return kind_of(inner);
    }
    let detail = error.to_string();
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::Stalled { detail },
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => ErrorKind::Unreachable { detail },
        // The TLS library reports a bad certificate as invalid data.
        io::ErrorKind::InvalidData => ErrorKind::Tls { detail },
        _ => ErrorKind::Cut { detail },
    }
}

/// Remembers that reading failed on our side, so that it is not taken for a cut connection; stops when told to.
struct Watched<'a> {
    inner: &'a mut (dyn Read + 'a),
    left: u64,
    stop: &'a StopToken,
    failure: Option<ErrorKind>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_requested() {
            self.failure = Some(ErrorKind::Interrupted);
            return Err(io::Error::other("interrupted"));
        }
        let count = match self.inner.read(buffer) {
            Ok(0) if self.left > 0 => Err(io::Error::other(format!("it ends {} bytes early", self.left))),
            other => other,
        };
        let count = count.inspect_err(|error| self.failure = Some(source_failure(error)))?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
