//! Connections to the engine: one HTTP/1 connection per request, for bollard and for our own requests alike. Knows
//! nothing of what is asked.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::BollardRequest;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::error::{DockerError, chain};
use super::runtime::{self, Owned};
use super::{Endpoint, EndpointError, LONG};

/// How long an engine may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(20);

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Makes connections to one endpoint.
pub struct Dialer {
    to: To,
    name: String,
}

enum To {
    Unix(PathBuf),
    Tcp { host: String, port: u16, tls: Option<(TlsConnector, ServerName<'static>)> },
}

impl Dialer {
    /// Certificates are read here, so that a wrong file is known at once.
    pub fn new(endpoint: &Endpoint) -> Result<Self, DockerError> {
        let name = endpoint.to_string();
        let broken = |message| EndpointError::Tls { address: name.clone(), message };
        let to = match endpoint {
            Endpoint::Unix(path) => To::Unix(path.clone()),
            Endpoint::Ssh { url } => return Err(EndpointError::NeedsForward(url.clone()).into()),
            Endpoint::Tcp { host, port, tls: None } => To::Tcp { host: host.clone(), port: *port, tls: None },
            Endpoint::Tcp { host, port, tls: Some(tls) } => {
                let server = ServerName::try_from(host.clone()).map_err(|error| broken(error.to_string()))?;
                let tls = Some((super::tls::connector(tls).map_err(broken)?, server));
                To::Tcp { host: host.clone(), port: *port, tls }
            }
        };
        Ok(Self { to, name })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the engine is surely the one of this machine: another socket may be forwarded from elsewhere.
    pub fn is_local(&self) -> bool {
        matches!(&self.to, To::Unix(path) if ["/var/run/docker.sock", "/run/docker.sock"].map(Path::new).contains(&path.as_path()))
    }

    async fn connect(&self) -> Result<Box<dyn Wire>, DockerError> {
        let dial = async {
            let wire: Box<dyn Wire> = match &self.to {
                To::Unix(path) => Box::new(UnixStream::connect(path).await?),
                To::Tcp { host, port, tls } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    match tls {
                        None => Box::new(stream),
                        Some((connector, server)) => Box::new(connector.connect(server.clone(), stream).await?),
                    }
                }
            };
            Ok(wire)
        };
        match tokio::time::timeout(CONNECT, dial).await {
            Ok(wire) => wire.map_err(|error: std::io::Error| self.unreachable(chain(&error))),
            Err(_) => Err(self.unreachable(vec![format!("no connection within {} s", CONNECT.as_secs())])),
        }
    }

    fn unreachable(&self, causes: Vec<String>) -> DockerError {
        DockerError::Unreachable { endpoint: self.name.clone(), causes }
    }

    /// Sends one request and returns the head of the answer, with the task that keeps the connection going: when that
    /// goes, so does the connection.
    pub async fn send<B>(&self, request: Request<B>) -> Result<(Response<Incoming>, Owned<()>), DockerError>
    where
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let wire = TokioIo::new(self.connect().await?);
        let lost = |error: hyper::Error| {
            let causes = chain(&error);
            // An end that does not like the client's certificate says so only after both have shaken hands.
            if causes.iter().any(|cause| cause.contains("fatal alert")) {
                return self.unreachable(causes);
            }
            DockerError::Lost { what: self.name.clone(), message: causes.join(": ") }
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(wire).await.map_err(lost)?;
        let alive = runtime::spawn(async move {
            // Its end is seen by whoever reads the answer.
            let _ = connection.with_upgrades().await;
        });
        let answer = sender.send_request(plain(request)).await.map_err(lost)?;
        Ok((answer, alive))
    }
}

/// An engine wants the path alone on the request line, and a host header.
fn plain<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
    request
}

/// Registries' credentials travel in these headers. The engine reads URL-safe base64 and takes anything else for
/// "nobody", while bollard writes the standard alphabet.
fn repair(request: &mut BollardRequest) {
    for name in ["x-registry-auth", "x-registry-config"] {
        let Some(value) = request.headers().get(name) else { continue };
        let safe: Vec<u8> = value.as_bytes().iter().map(|byte| url_safe(*byte)).collect();
        if let Ok(mut value) = HeaderValue::from_bytes(&safe) {
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
    }
}

fn url_safe(byte: u8) -> u8 {
    match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Incoming>, bollard::errors::Error>> + Send>>;

/// A client of bollard that connects through `dialer`. It never times out by itself: every verb has its own limit.
pub fn client(dialer: &Arc<Dialer>) -> Result<bollard::Docker, DockerError> {
    let dialer = Arc::clone(dialer);
    let transport = move |mut request: BollardRequest| -> Answer {
        let dialer = Arc::clone(&dialer);
        Box::pin(async move {
            repair(&mut request);
            match dialer.send(request).await {
                Ok((answer, alive)) => {
                    alive.detach();
                    Ok(answer)
                }
                Err(error) => Err(std::io::Error::other(error).into()),
            }
        })
    };
    bollard::Docker::connect_with_custom_transport(
        transport,
        Some("http://docker"),
        LONG.as_secs(),
        bollard::API_DEFAULT_VERSION,
    )
    .map_err(|error| DockerError::Bug { what: error.to_string() })
}
