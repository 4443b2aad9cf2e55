//! Which platforms an engine can run programs of: its own, and those that its kernel has an emulator for. Knows nothing of
//! what is built.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bollard_buildkit_proto::moby::buildkit::v1::ListWorkersRequest;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bytes::Bytes;
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode, Uri};
use tonic::codegen::Service;
use tonic::transport::Endpoint;

use crate::docker::error::chain;
use crate::docker::{Docker, DockerError, SHORT, answer, runtime};

impl Docker {
    /// The platforms that BuildKit says it runs steps for, e.g. `linux/amd64`; none where the engine has no BuildKit.
    pub fn build_platforms(&self) -> Result<Vec<String>, DockerError> {
        if !self.has_buildkit()? {
            return Ok(Vec::new());
        }
        runtime::wait(async {
            tokio::time::timeout(SHORT, self.list_workers())
                .await
                .unwrap_or_else(|_| Err(DockerError::Timeout { what: self.endpoint().to_owned(), limit: SHORT }))
        })
    }

    async fn list_workers(&self) -> Result<Vec<String>, DockerError> {
        let what = "the builder of the engine";
        let lost = |error: &(dyn std::error::Error + 'static)| DockerError::Lost {
            what: what.to_owned(),
            message: chain(error).join(": "),
        };
        let head = Request::post("/grpc").header("Connection", "Upgrade").header("Upgrade", "h2c");
        let head = head.body(Full::new(Bytes::new())).map_err(|error| DockerError::Bug { what: error.to_string() })?;
        let (response, _alive) = self.dialer.send(head).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(answer::refusal(what, response).await);
        }
        let wire = Once(Some(hyper::upgrade::on(response).await.map_err(|error| lost(&error))?));
        let channel = Endpoint::from_static("http://docker").connect_with_connector(wire).await;
        let mut client = ControlClient::new(channel.map_err(|error| lost(&error))?);
        let found = client.list_workers(ListWorkersRequest::default()).await.map_err(|error| lost(&error))?;
        let name = |platform: bollard_buildkit_proto::pb::Platform| {
            let parts = [platform.os, platform.architecture, platform.variant];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
        };
        Ok(found.into_inner().record.into_iter().flat_map(|worker| worker.platforms).map(name).collect())
    }
}

/// Gives the one connection that there is.
struct Once(Option<Upgraded>);

impl Service<Uri> for Once {
    type Response = Upgraded;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| std::io::Error::other("the connection was used")))
    }
}
