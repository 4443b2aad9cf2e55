//! Images as archives: save, load, make one of a root file system. Knows nothing of what is
//! in them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::Request;
use hyper::body::Body;
use tokio::sync::mpsc;

use super::answer::Lines;
use super::build::encode;
use super::error::{from_bollard, from_text};
use super::{Docker, DockerError, body, dial, runtime};
use crate::model::{ImageRef, StopToken};

impl Docker {
    /// Writes these images (with the names given, and all their layers) as one tar archive. Returns its bytes.
    pub fn save(&self, images: &[&str], to: &mut dyn Write, stop: &StopToken) -> Result<u64, DockerError> {
        let what = what(images);
        let stream = self.api.export_images(images);
        let failed = what.clone();
        let work = move |chunks: mpsc::Sender<Bytes>| async move {
            let mut stream = std::pin::pin!(stream);
            let mut size = 0;
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|error| from_bollard(&what, error))?;
                size += chunk.len() as u64;
                // The reader went away because it failed, and its error is the outcome.
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

    /// Takes in the images of an archive that `save` made. Returns their names, or ids where they have none.
    pub fn load(&self, from: Box<dyn Read + Send>, stop: &StopToken) -> Result<Vec<String>, DockerError> {
        let dialer = Arc::clone(&self.dialer);
        let work = move |_: mpsc::Sender<()>| async move { load(&dialer, body::of_reader(from)).await };
        runtime::drive(work, &mut |()| {}, stop)
    }

    /// Makes an image of one layer from a tar file of a root file system. `changes` are lines of a Dockerfile (`CMD`,
    /// `ENV`, `LABEL`, …). Returns the image's id.
    pub fn import(
        &self,
        rootfs: &Path,
        name: Option<&ImageRef>,
        changes: &[String],
        stop: &StopToken,
    ) -> Result<String, DockerError> {
        let file = File::open(rootfs)
            .map_err(|error| DockerError::Unreadable { path: rootfs.to_owned(), message: error.to_string() })?;
        let mut pairs = vec![("fromSrc", "-".to_owned())];
        if let Some(name) = name {
            pairs.push(("repo", name.name.clone()));
            pairs.push(("tag", name.tag.clone().unwrap_or_else(|| "latest".to_owned())));
        }
        pairs.extend(changes.iter().map(|change| ("changes", change.clone())));
        let path = format!("/images/create?{}", encode(pairs));
        let dialer = Arc::clone(&self.dialer);
        let work = move |_: mpsc::Sender<()>| async move {
            let mut lines = post(&dialer, "the import", &path, body::of_reader(Box::new(file))).await?;
            let mut last = String::new();
            while let Some(line) = lines.next().await? {
                if let Some(message) = line["error"].as_str() {
                    return Err(from_text("the import", message));
                }
                if let Some(status) = line["status"].as_str() {
                    status.clone_into(&mut last);
                }
            }
            if last.starts_with("sha256:") {
                Ok(last)
            } else {
                Err(from_text("the import", "the answer ended without an image"))
            }
        };
        runtime::drive(work, &mut |()| {}, stop)
    }
}

pub(super) fn what(images: &[&str]) -> String {
    crate::model::words::list(images)
}

async fn post<B>(dialer: &dial::Dialer, what: &str, path: &str, body: B) -> Result<Lines, DockerError>
where
    B: Body<Data = Bytes, Error = std::io::Error> + Send + 'static,
{
    let bug = |error: hyper::http::Error| DockerError::Bug { what: error.to_string() };
    let request = Request::post(path).header("Content-Type", "application/x-tar").body(body).map_err(bug)?;
    let (response, alive) = dialer.send(request).await?;
    Lines::of(what, response).await.map(|lines| lines.keeping(alive))
}

pub(super) async fn load<B>(dialer: &dial::Dialer, body: B) -> Result<Vec<String>, DockerError>
where
    B: Body<Data = Bytes, Error = std::io::Error> + Send + 'static,
{
    let mut lines = post(dialer, "the archive", "/images/load?quiet=1", body).await?;
    let mut names = Vec::new();
    while let Some(line) = lines.next().await? {
        if let Some(message) = line["error"].as_str() {
            return Err(from_text("the archive", message));
        }
        let text = line["stream"].as_str().unwrap_or_default();
        names.extend(text.lines().filter_map(|line| {
            let name = line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "))?;
            Some(name.trim().to_owned())
        }));
    }
    if names.is_empty() { Err(from_text("the archive", "it holds no image")) } else { Ok(names) }
}
