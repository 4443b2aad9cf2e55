//! A BuildKit session: a connection that the engine turns around, to ask us for files, credentials and secrets. Knows
//! nothing of the build that it serves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use bollard_buildkit_proto::health::health_server::HealthServer;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSyncServer;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
use bytes::Bytes;
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::BuildRequest;
use super::filesync::{FileSyncService, MESSAGE_LIMIT};
use super::services::{AuthService, HealthService, SecretService, SshService};
use crate::docker::DockerError;
use crate::docker::answer;
use crate::docker::dial::Dialer;
use crate::docker::error::chain;
use crate::docker::runtime::{self, Owned};

/// An open session. It ends when this goes.
pub struct Session {
    pub id: String,
    _serving: Owned<()>,
}

/// Letters and digits only (the engine splits at others), never the same twice.
fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("x{:x}x{now:x}x{:x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn methods(request: &BuildRequest) -> Vec<&'static str> {
    let mut methods = vec![
        "/grpc.health.v1.Health/Check",
        "/moby.filesync.v1.FileSync/DiffCopy",
        "/moby.filesync.v1.Auth/Credentials",
        "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    ];
    if request.ssh_agent.is_some() {
        methods.extend(["/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"]);
    }
    methods
}

impl Session {
    /// Opens a session and serves it in the background.
    pub async fn open(
        dialer: &Arc<Dialer>,
        request: &BuildRequest,
        files: FileSyncService,
    ) -> Result<Self, DockerError> {
        let id = fresh_id();
        let mut head = Request::post("/session")
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", &id)
            .header("X-Docker-Expose-Session-Name", "xtask")
            .header("X-Docker-Expose-Session-Sharedkey", &request.shared_key);
        for method in methods(request) {
            head = head.header("X-Docker-Expose-Session-Grpc-Method", method);
        }
        let bug = |error: hyper::http::Error| DockerError::Bug { what: error.to_string() };
        let (response, alive) = dialer.send(head.body(Full::new(Bytes::new())).map_err(bug)?).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(answer::refusal("the session of the build", response).await);
        }
        let lost = |error: hyper::Error| DockerError::Lost {
            what: "the session of the build".to_owned(),
            message: chain(&error).join(": "),
        };
        let wire = Wire(TokioIo::new(hyper::upgrade::on(response).await.map_err(lost)?));
        let server = Server::builder()
            .initial_connection_window_size(4 << 20)
            .initial_stream_window_size(2 << 20)
            .add_service(HealthServer::new(HealthService))
            .add_service(AuthServer::new(AuthService(request.credentials.clone())))
            .add_service(SecretsServer::new(SecretService(request.secrets.iter().cloned().collect())))
            .add_service(SshServer::new(SshService(request.ssh_agent.clone())))
            .add_service(FileSyncServer::new(files).max_decoding_message_size(MESSAGE_LIMIT))
            .serve_with_incoming(tokio_stream::once(Ok::<_, std::io::Error>(wire)));
        let serving = runtime::spawn(async move {
            let _alive = alive;
            // How it ended is seen by the build, which has its own connection.
            let _ = server.await;
        });
        Ok(Self { id, _serving: serving })
    }
}

/// The turned connection, as the server wants to see it.
struct Wire(TokioIo<Upgraded>);

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
