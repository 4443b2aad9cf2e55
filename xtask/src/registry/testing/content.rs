//! What the fake registry holds, and how it answers when it behaves. Knows nothing of faults and logins.

use std::collections::{BTreeMap, HashMap};

use super::fake::Endpoint;
use super::http::{Head, Reply};
use crate::model::Digest;

/// Manifests, tags, blobs and open uploads, per repository.
#[derive(Default)]
pub struct Content {
    /// (repository, digest) → media type and bytes.
    pub manifests: HashMap<(String, Digest), (String, Vec<u8>)>,
    pub tags: BTreeMap<(String, String), Digest>,
    pub blobs: HashMap<(String, Digest), Vec<u8>>,
    /// Single tags can be deleted; many registries cannot do that.
    pub deletes_tags: bool,
    uploads: HashMap<String, Vec<u8>>,
    opened: usize,
}

/// Tags per page, so that pagination is always at work.
const PAGE: usize = 3;

impl Content {
    /// Does what the request asks and answers it. `rest` is what follows the repository in the path.
    pub fn answer(&mut self, endpoint: Endpoint, head: &Head, repository: &str, rest: &str, body: Vec<u8>) -> Reply {
        let name = rest.rsplit('/').next().unwrap_or_default();
        match endpoint {
            Endpoint::Ping => Reply::new(200).body("{}"),
            Endpoint::ManifestHead | Endpoint::ManifestGet => self.manifest(repository, name),
            Endpoint::ManifestPut => self.put_manifest(head, repository, name, body),
            Endpoint::ManifestDelete => self.delete_manifest(repository, name),
            Endpoint::TagList => self.tag_list(head, repository),
            Endpoint::BlobHead | Endpoint::BlobGet => self.blob(head, repository, name),
            Endpoint::UploadPost => self.open_upload(head, repository),
            Endpoint::UploadStatus => match self.uploads.get(name) {
                Some(bytes) => Self::progress(204, repository, name, bytes.len()),
                None => Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "unknown upload"),
            },
            Endpoint::UploadPatch => self.patch(head, repository, name, body),
            Endpoint::UploadPut => self.finish(head, repository, name, body),
            Endpoint::UploadDelete => Reply::new(if self.uploads.remove(name).is_some() { 204 } else { 404 }),
            Endpoint::Token | Endpoint::Other => Reply::error(404, "NOT_FOUND", "no such endpoint"),
        }
    }

    /// Uploads that were opened and neither finished nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    fn resolve(&self, repository: &str, reference: &str) -> Option<Digest> {
        Digest::parse(reference).or_else(|| self.tags.get(&(repository.to_owned(), reference.to_owned())).copied())
    }

    fn manifest(&self, repository: &str, reference: &str) -> Reply {
        let found = self
            .resolve(repository, reference)
            .and_then(|digest| Some((digest, self.manifests.get(&(repository.to_owned(), digest))?)));
        match found {
            Some((digest, (media_type, bytes))) => Reply::new(200)
                .header("content-type", media_type)
                .header("docker-content-digest", digest)
                .body(bytes.clone()),
            None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    fn put_manifest(&mut self, head: &Head, repository: &str, reference: &str, body: Vec<u8>) -> Reply {
        let digest = Digest::of(&body);
        let media_type = head.header("content-type").unwrap_or_default().to_owned();
        let manifest = crate::registry::Manifest::new(body.clone(), media_type.clone());
        let blobs = manifest.blobs().unwrap_or_default();
        if let Some(missing) = blobs.iter().find(|blob| !self.blobs.contains_key(&(repository.to_owned(), blob.digest)))
        {
            return Reply::error(400, "MANIFEST_BLOB_UNKNOWN", &missing.digest.to_string());
        }
        self.manifests.insert((repository.to_owned(), digest), (media_type, body));
        if Digest::parse(reference).is_none() {
            self.tags.insert((repository.to_owned(), reference.to_owned()), digest);
        }
        Reply::new(201).header("docker-content-digest", digest)
    }

    fn delete_manifest(&mut self, repository: &str, reference: &str) -> Reply {
        let Some(digest) = Digest::parse(reference) else {
            if self.deletes_tags {
                let gone = self.tags.remove(&(repository.to_owned(), reference.to_owned())).is_some();
                return Reply::new(if gone { 202 } else { 404 });
            }
            return Reply::error(400, "UNSUPPORTED", "tags cannot be deleted");
        };
        if self.manifests.remove(&(repository.to_owned(), digest)).is_none() {
            return Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        }
        self.tags.retain(|(of, _), tagged| of != repository || *tagged != digest);
        Reply::new(202)
    }

    fn tag_list(&self, head: &Head, repository: &str) -> Reply {
        let all: Vec<&String> = self.tags.keys().filter(|(of, _)| of == repository).map(|(_, tag)| tag).collect();
        if all.is_empty() {
            return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
        }
        let after = head.param("last").unwrap_or_default();
        let page: Vec<&String> = all.iter().copied().filter(|tag| tag.as_str() > after).take(PAGE).collect();
        let last = page.last().copied().cloned().unwrap_or_default();
        let reply = Reply::new(200).header("content-type", "application/json");
        let more = all.last().is_some_and(|end| **end > last);
        let link = format!("</v2/{repository}/tags/list?last={last}&n={PAGE}>; rel=\"next\"");
        let reply = if more { reply.header("link", link) } else { reply };
        reply.body(serde_json::json!({"name": repository, "tags": page}).to_string())
    }

    fn blob(&self, head: &Head, repository: &str, name: &str) -> Reply {
        let blob = Digest::parse(name).and_then(|digest| self.blobs.get(&(repository.to_owned(), digest)));
        let Some(blob) = blob else { return Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry") };
        let start = head
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match start.filter(|start| *start < blob.len()) {
            Some(start) => Reply::new(206).body(&blob[start..]),
            None => Reply::new(200).body(blob.clone()),
        }
    }

    fn open_upload(&mut self, head: &Head, repository: &str) -> Reply {
        let mounted = head.param("mount").and_then(Digest::parse).zip(head.param("from"));
        let held = mounted.and_then(|(digest, from)| Some((digest, self.blobs.get(&(from.to_owned(), digest))?)));
        if let Some((digest, blob)) = held.map(|(digest, blob)| (digest, blob.clone())) {
            self.blobs.insert((repository.to_owned(), digest), blob);
            return Reply::new(201).header("docker-content-digest", digest);
        }
        self.opened += 1;
        let id = format!("upload-{}", self.opened);
        self.uploads.insert(id.clone(), Vec::new());
        Self::progress(202, repository, &id, 0)
    }

    fn progress(status: u16, repository: &str, id: &str, length: usize) -> Reply {
        Reply::new(status)
            .header("location", format!("/v2/{repository}/blobs/uploads/{id}?state={length}"))
            .header("range", format!("0-{}", length.saturating_sub(1)))
    }

    fn patch(&mut self, head: &Head, repository: &str, id: &str, body: Vec<u8>) -> Reply {
        let Some(upload) = self.uploads.get_mut(id) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "unknown upload");
        };
        let start = head.header("content-range").and_then(|range| range.split('-').next()?.parse::<usize>().ok());
        if start.is_some_and(|start| start != upload.len()) {
            return Self::progress(416, repository, id, upload.len());
        }
        upload.extend(body);
        Self::progress(202, repository, id, upload.len())
    }

    fn finish(&mut self, head: &Head, repository: &str, id: &str, body: Vec<u8>) -> Reply {
        let Some(mut bytes) = self.uploads.remove(id) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "unknown upload");
        };
        bytes.extend(body);
        let digest = Digest::of(&bytes);
        if head.param("digest").and_then(Digest::parse) != Some(digest) {
            return Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        self.blobs.insert((repository.to_owned(), digest), bytes);
        Reply::new(201).header("docker-content-digest", digest)
    }
}
