//! The small services of a session: health, credentials, secrets, ssh agent. Knows nothing of files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::Health;
use bollard_buildkit_proto::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::Secrets;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::Ssh;
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use futures_util::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::CredentialsFor;
use crate::docker::Credentials;
use crate::model::Secret;

/// Says that the session lives; the engine asks now and then.
pub struct HealthService;

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("list"))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

/// Hands out credentials for base images.
pub struct AuthService(pub Option<CredentialsFor>);

#[tonic::async_trait]
impl Auth for AuthService {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        let Some(find) = self.0.clone() else { return Ok(Response::new(CredentialsResponse::default())) };
        let host = request.into_inner().host;
        let found = tokio::task::spawn_blocking(move || find(&host)).await;
        let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        Ok(Response::new(match found.map_err(|died| Status::internal(died.to_string()))? {
            None => CredentialsResponse::default(),
            Some(Credentials::IdentityToken(token)) => {
                CredentialsResponse { username: String::new(), secret: text(&token) }
            }
            Some(Credentials::Password { user, password }) => {
                CredentialsResponse { username: user, secret: text(&password) }
            }
        }))
    }

    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("fetch_token"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("credentials are handed out as they are"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("credentials are handed out as they are"))
    }
}

/// Hands out build secrets by id.
pub struct SecretService(pub HashMap<String, Secret>);

#[tonic::async_trait]
impl Secrets for SecretService {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.get(id) {
            Some(secret) => Ok(Response::new(GetSecretResponse { data: secret.expose().to_vec() })),
            None => Err(Status::not_found(format!("the build was given no secret `{id}`"))),
        }
    }
}

/// Lets `RUN --mount=type=ssh` speak to an agent on this machine.
pub struct SshService(pub Option<PathBuf>);

impl SshService {
    fn socket(&self, id: &str) -> Result<&PathBuf, Status> {
        let known = id.is_empty() || id == "default";
        self.0
            .as_ref()
            .filter(|_| known)
            .ok_or_else(|| Status::not_found(format!("the build was given no ssh agent `{id}`")))
    }
}

#[tonic::async_trait]
impl Ssh for SshService {
    async fn check_agent(&self, request: Request<CheckAgentRequest>) -> Result<Response<CheckAgentResponse>, Status> {
        self.socket(&request.get_ref().id).map(|_| Response::new(CheckAgentResponse {}))
    }

    type ForwardAgentStream = ReceiverStream<Result<BytesMessage, Status>>;

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id =
            request.metadata().get("buildkit.ssh.id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let agent = UnixStream::connect(self.socket(&id)?).await;
        let agent = agent.map_err(|error| Status::unavailable(format!("the ssh agent does not answer: {error}")))?;
        let (mut from_agent, mut to_agent) = agent.into_split();
        let mut questions = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = questions.message().await {
                if to_agent.write_all(&message.data).await.is_err() {
                    return;
                }
            }
        });
        let (sender, answers) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut buffer = vec![0; 32 * 1024];
            while let Ok(length @ 1..) = from_agent.read(&mut buffer).await {
                if sender.send(Ok(BytesMessage { data: buffer[..length].to_vec() })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
