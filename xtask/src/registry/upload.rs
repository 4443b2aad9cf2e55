//! Uploading one blob, whole or in pieces, over cuts. Knows nothing of what the bytes are.

use super::blobs::BlobSource;
use super::client::{Call, Failure};
use super::error::{ErrorKind, RegistryError, Stage};
use super::repository::Repository;
use super::wire::{Answer, Payload};
use crate::model::Digest;

/// Where an upload stands.
#[derive(Default)]
struct Upload {
    /// Given by the registry; `None` before the upload is opened.
    location: Option<String>,
    /// So many bytes are stored there.
    stored: u64,
    /// The last try failed, so that what is stored is uncertain.
    doubtful: bool,
    /// Taken up again after a failure, on what the registry said it holds.
    resumed: bool,
}

impl Upload {
    /// The registry may still be busy with what arrived before a cut, and then refuses to go on from where it said it
    /// was. That is no refusal of the content: the upload starts anew.
    fn soften(&mut self, failure: Failure) -> Failure {
        let refused = matches!(failure.kind, ErrorKind::NotFound { .. } | ErrorKind::Rejected { status: 416, .. });
        if !(self.resumed && refused) {
            return failure;
        }
        *self = Self::default();
        Failure { kind: ErrorKind::Cut { detail: "the upload could not be resumed".to_owned() }, ..failure }
    }
}

impl Repository {
    /// Uploads `size` bytes unless the repository has them. `true` if bytes were sent.
    pub fn put_blob(&self, digest: Digest, size: u64, source: &dyn BlobSource) -> Result<bool, RegistryError> {
        if self.has_blob(digest)? {
            return Ok(false);
        }
        let about = self.full(&digest.to_string());
        let mut upload = Upload::default();
        if let Some(chunk) = self.client.chunk().filter(|chunk| *chunk < size) {
            while upload.stored < size {
                self.client.repeat(Stage::UploadChunk, &about, || {
                    self.prepare(&about, &mut upload, Some(size))?;
                    if upload.stored == size {
                        return Ok(());
                    }
                    let length = chunk.min(size - upload.stored);
                    self.send_chunk(&about, &mut upload, source, length)
                })?;
            }
        }
        self.client.repeat(Stage::UploadFinish, &about, || {
            // The answer to a finished upload may have been lost.
            if upload.doubtful && self.present(&about, digest)? {
                return Ok(());
            }
            let resumes = (upload.stored > 0).then_some(size);
            self.prepare(&about, &mut upload, resumes)?;
            self.finish(&about, &mut upload, digest, source, size)
        })?;
        Ok(true)
    }

    /// Uploads bytes in memory and gives their digest.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        self.put_blob(digest, bytes.len() as u64, &bytes)?;
        Ok(digest)
    }

    fn upload_call<'a>(&self, stage: Stage, about: &'a str, method: &'static str, target: String) -> Call<'a> {
        let mut call = self.call(stage, about, method, "");
        call.target = target;
        call.scopes = self.scopes("pull,push");
        call
    }

    fn present(&self, about: &str, digest: Digest) -> Result<bool, Failure> {
        let mut call = self.call(Stage::BlobHead, about, "HEAD", &format!("blobs/{digest}"));
        call.fine = &[200, 404];
        Ok(self.client.attempt(&call)?.status == 200)
    }

    /// Opens the upload, or finds out where it stands after a failure; what cannot be resumed starts anew. Resumed is
    /// only where the blob's size is given.
    fn prepare(&self, about: &str, upload: &mut Upload, resumes: Option<u64>) -> Result<(), Failure> {
        if upload.doubtful {
            upload.doubtful = false;
            let stored = if resumes.is_some() { self.stored(about, upload)? } else { None };
            match stored.filter(|stored| Some(*stored) <= resumes) {
                Some(stored) => {
                    upload.stored = stored;
                    upload.resumed = true;
                }
                None => {
                    self.cancel_upload(about, upload.location.as_deref());
                    *upload = Upload::default();
                }
            }
        }
        if upload.location.is_none() {
            let mut call = self.call(Stage::UploadStart, about, "POST", "blobs/uploads/");
            call.payload = Payload::Bytes(&[]);
            call.fine = &[202];
            let answer = self.client.attempt(&call)?;
            upload.location = Some(Self::location(&answer)?);
        }
        // Until the next answer says otherwise.
        upload.doubtful = true;
        Ok(())
    }

    /// How much of an upload the registry holds; `None` if it is gone or cannot be told.
    fn stored(&self, about: &str, upload: &mut Upload) -> Result<Option<u64>, Failure> {
        let Some(location) = upload.location.clone() else { return Ok(None) };
        let mut call = self.upload_call(Stage::UploadChunk, about, "GET", location);
        call.fine = &[204, 404];
        let answer = self.client.attempt(&call)?;
        if answer.header("location").is_some() {
            upload.location = Some(Self::location(&answer)?);
        }
        let end = answer.header("range").and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
        // `0-0` may mean one byte or none.
        Ok(end.filter(|end| answer.status == 204 && *end > 0).map(|end| end + 1))
    }

    fn send_chunk(
        &self,
        about: &str,
        upload: &mut Upload,
        source: &dyn BlobSource,
        length: u64,
    ) -> Result<(), Failure> {
        let offset = upload.stored;
        let location = upload.location.clone().unwrap_or_default();
        let mut call = self.upload_call(Stage::UploadChunk, about, "PATCH", location);
        call.headers.push(("content-type", "application/octet-stream".to_owned()));
        call.headers.push(("content-range", format!("{offset}-{}", offset + length - 1)));
        call.payload = Payload::Stream { source, offset, length };
        call.fine = &[202, 204];
        let answer = self.client.attempt(&call).map_err(|failure| upload.soften(failure))?;
        upload.location = Some(Self::location(&answer)?);
        upload.stored = offset + length;
        (upload.doubtful, upload.resumed) = (false, false);
        Ok(())
    }

    fn finish(
        &self,
        about: &str,
        upload: &mut Upload,
        digest: Digest,
        source: &dyn BlobSource,
        size: u64,
    ) -> Result<(), Failure> {
        let location = upload.location.clone().unwrap_or_default();
        let joint = if location.contains('?') { '&' } else { '?' };
        let mut call = self.upload_call(Stage::UploadFinish, about, "PUT", format!("{location}{joint}digest={digest}"));
        call.headers.push(("content-type", "application/octet-stream".to_owned()));
        let offset = upload.stored;
        call.payload = match size - offset {
            0 => Payload::Bytes(&[]),
            length => Payload::Stream { source, offset, length },
        };
        call.fine = &[201, 204];
        self.client.attempt(&call).map_err(|failure| upload.soften(failure))?;
        upload.doubtful = false;
        Ok(())
    }

    /// Where the registry wants the next request of an upload.
    fn location(answer: &Answer) -> Result<String, Failure> {
        match answer.header("location") {
            Some(location) if location.starts_with('/') || location.contains("://") => Ok(location.to_owned()),
            other => {
                let detail = format!("an upload at the location `{}`", other.unwrap_or_default());
                Err(Failure { stage: Stage::UploadStart, kind: ErrorKind::Malformed { detail }, floor: None })
            }
        }
    }

    /// Tells the registry that an upload is given up. It would time out by itself, so a failure does not matter.
    pub(super) fn cancel_upload(&self, about: &str, location: Option<&str>) {
        if let Some(location) = location {
            let mut call = self.upload_call(Stage::UploadStart, about, "DELETE", location.to_owned());
            call.fine = &[200, 202, 204, 404];
            let _ = self.client.attempt(&call);
        }
    }
}
