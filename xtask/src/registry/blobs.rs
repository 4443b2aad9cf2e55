//! Blobs of one repository: asked for, read, mounted. Knows nothing of uploads' pieces and of manifests.

use std::io::{self, Read, Seek};

use super::error::{ErrorKind, RegistryError, Stage};
use super::repository::Repository;
use super::wire::kind_of_io;
use crate::model::Digest;

/// Bytes that can be read again from any offset, since an upload may have to be repeated.
pub trait BlobSource: Sync {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>>;
}

/// Bytes in memory.
impl BlobSource for &[u8] {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let start = (offset as usize).min(self.len());
        Ok(Box::new(&self[start..]))
    }
}

/// A file, opened anew each time.
impl BlobSource for std::path::PathBuf {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut file = std::fs::File::open(self)?;
        file.seek(io::SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

/// A blob of one repository as the source of an upload elsewhere.
pub struct RemoteBlob<'a> {
    pub repository: &'a Repository,
    pub digest: Digest,
}

impl BlobSource for RemoteBlob<'_> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let reader = self.repository.blob_reader(self.digest, offset);
        Ok(reader.map_err(|error| io::Error::other(Carried(error.kind)))?)
    }
}

/// Carries what a registry answered through an `io::Error`, where bytes flow from one registry to another.
#[derive(Debug)]
struct Carried(ErrorKind);

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Carried {}

/// Why a source could not be read: the other registry's trouble, or ours.
pub fn source_failure(error: &io::Error) -> ErrorKind {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Carried>()) {
        Some(carried) => carried.0.clone(),
        None => ErrorKind::Source { detail: error.to_string() },
    }
}

struct Remote(Box<dyn Read + Send>);

impl Read for Remote {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| io::Error::other(Carried(kind_of_io(&error))))
    }
}

impl Repository {
    /// Whether the repository has a blob; `false` only if the registry definitely says so.
    pub fn has_blob(&self, digest: Digest) -> Result<bool, RegistryError> {
        let about = self.check(Stage::BlobHead, &digest.to_string())?;
        let mut call = self.call(Stage::BlobHead, &about, "HEAD", &format!("blobs/{digest}"));
        call.fine = &[200, 404];
        let found = self.client.send(&call)?.status == 200;
        if !found {
            self.client.confirm()?;
        }
        Ok(found)
    }

    /// A small blob (a config) in memory, checked against its digest.
    pub fn blob(&self, digest: Digest) -> Result<Vec<u8>, RegistryError> {
        let about = self.check(Stage::BlobGet, &digest.to_string())?;
        let call = self.call(Stage::BlobGet, &about, "GET", &format!("blobs/{digest}"));
        let bytes = self.client.send(&call)?.bytes;
        let got = Digest::of(&bytes);
        if got != digest {
            return Err(self.fail(Stage::BlobGet, &about, ErrorKind::wrong_digest(digest, got)));
        }
        Ok(bytes)
    }

    /// A blob as a stream from an offset. The reader of the bytes checks the digest.
    pub fn blob_reader(&self, digest: Digest, offset: u64) -> Result<Box<dyn Read + Send>, RegistryError> {
        let about = self.check(Stage::BlobGet, &digest.to_string())?;
        let mut call = self.call(Stage::BlobGet, &about, "GET", &format!("blobs/{digest}"));
        call.stream = true;
        call.fine = &[200, 206];
        if offset > 0 {
            call.headers.push(("range", format!("bytes={offset}-")));
        }
        let answer = self.client.send(&call)?;
        let Some(reader) = answer.reader else {
            let detail = "there is no body".to_owned();
            return Err(self.fail(Stage::BlobGet, &about, ErrorKind::Malformed { detail }));
        };
        let mut reader = Remote(reader);
        if answer.status == 200 && offset > 0 {
            // It ignored the range: what is known already is read past.
            let skipped = io::copy(&mut reader.by_ref().take(offset), &mut io::sink());
            skipped.map_err(|error| self.fail(Stage::BlobGet, &about, source_failure(&error)))?;
        }
        Ok(Box::new(reader))
    }

    /// Makes a blob of another repository of the same registry ours, without moving bytes. `false` if it will not.
    pub fn mount(&self, digest: Digest, from: &str) -> Result<bool, RegistryError> {
        let about = self.check(Stage::UploadStart, &digest.to_string())?;
        let path = format!("blobs/uploads/?mount={digest}&from={}", super::auth::percent(from));
        let mut call = self.call(Stage::UploadStart, &about, "POST", &path);
        call.payload = super::wire::Payload::Bytes(&[]);
        call.scopes.push(super::auth::Scope { repository: from.to_owned(), actions: "pull" });
        call.fine = &[201, 202];
        let answer = self.client.send(&call)?;
        if answer.status == 202 {
            // It opened an upload instead: closed again, so that none is left lying about.
            self.cancel_upload(&about, answer.header("location"));
        }
        Ok(answer.status == 201)
    }
}
