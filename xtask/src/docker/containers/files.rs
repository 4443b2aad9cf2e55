//! Files in and out of a container, as tar archives. Knows nothing of what is in them.

use std::io::{Read, Write};
use std::sync::Arc;

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::Request;
use tokio::sync::mpsc;

use super::subject;
use crate::docker::build::encode;
use crate::docker::error::from_bollard;
use crate::docker::{Docker, DockerError, answer, body, runtime};
use crate::model::StopToken;

impl Docker {
    /// Unpacks a tar archive in a folder of the container, running or not. `NotFound` if there is no such folder.
    pub fn upload(
        &self,
        container: &str,
        folder: &str,
        archive: Box<dyn Read + Send>,
        stop: &StopToken,
    ) -> Result<(), DockerError> {
        let what = subject(container);
        let path = format!("/containers/{container}/archive?{}", encode([("path", folder.to_owned())]));
        let dialer = Arc::clone(&self.dialer);
        let work = move |_: mpsc::Sender<()>| async move {
            let bug = |error: hyper::http::Error| DockerError::Bug { what: error.to_string() };
            let request = Request::put(path).header("Content-Type", "application/x-tar");
            let request = request.body(body::of_reader(archive)).map_err(bug)?;
            let (response, _alive) = dialer.send(request).await?;
            if response.status().is_success() { Ok(()) } else { Err(answer::refusal(&what, response).await) }
        };
        runtime::drive(work, &mut |()| {}, stop)
    }

    /// Writes a file or folder of the container as a tar archive. Returns its bytes.
    pub fn download(
        &self,
        container: &str,
        path: &str,
        to: &mut dyn Write,
        stop: &StopToken,
    ) -> Result<u64, DockerError> {
        let what = format!("`{path}` in {}", subject(container));
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut stream = Box::pin(self.api.download_from_container(container, Some(options)));
        let failed = what.clone();
        let work = move |chunks: mpsc::Sender<Bytes>| async move {
            let mut size = 0;
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|error| from_bollard(&what, error))?;
                size += chunk.len() as u64;
                // The listener went away because it failed, and its error is the outcome.
                let _ = chunks.send(chunk).await;
            }
            Ok(size)
        };
        let mut write = |chunk: Bytes| {
            to.write_all(&chunk)
                .map_err(|error| DockerError::Infra { what: failed.clone(), message: format!("the archive: {error}") })
        };
        runtime::drive_checked(work, &mut write, stop)
    }
}
