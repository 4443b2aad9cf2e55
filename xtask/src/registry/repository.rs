//! Manifests and tags of one repository. Knows nothing of how requests are sent, nor of versions and promotion.

use super::auth::Scope;
use super::client::{Call, Client};
use super::error::{ErrorKind, RegistryError, Stage};
use super::manifest::{ImageConfig, Kind, Manifest, media};
use super::side_by_side::side_by_side;
use super::wire::{Answer, Payload};
use crate::model::{Digest, image::is_tag};

/// One repository of a registry. References are tags or digests (`sha256:…`).
#[derive(Clone)]
pub struct Repository {
    pub(super) client: Client,
    pub(super) name: String,
}

/// Everything in a repository that a digest hangs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointedBy {
    /// Tags of the digest itself.
    pub tags: Vec<String>,
    /// Tags of indexes that list the digest.
    pub indexes: Vec<String>,
}

impl PointedBy {
    /// All of them, sorted.
    pub fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = self.tags.iter().chain(&self.indexes).cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Tags per page; registries may give fewer.
const PAGE: usize = 1000;

/// A registry whose pages never end is not believed.
const MOST_PAGES: usize = 10_000;

impl Repository {
    pub(super) fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    /// Without the host.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// As people write it: `host/name:tag` or `host/name@sha256:…`.
    pub fn full(&self, reference: &str) -> String {
        let joint = if reference.contains(':') { '@' } else { ':' };
        format!("{}/{}{joint}{reference}", self.client.host(), self.name)
    }

    pub(super) fn scopes(&self, actions: &'static str) -> Vec<Scope> {
        vec![Scope { repository: self.name.clone(), actions }]
    }

    pub(super) fn call<'a>(&self, stage: Stage, about: &'a str, method: &'static str, path: &str) -> Call<'a> {
        let actions = match method {
            "GET" | "HEAD" => "pull",
            "DELETE" => "pull,push,delete",
            _ => "pull,push",
        };
        Call {
            stage,
            about,
            method,
            target: format!("/v2/{}/{path}", self.name),
            scopes: self.scopes(actions),
            headers: Vec::new(),
            payload: Payload::Nothing,
            fine: &[200],
            stream: false,
        }
    }

    pub(super) fn fail(&self, stage: Stage, about: &str, kind: ErrorKind) -> RegistryError {
        self.client.error(stage, about, 1, kind)
    }

    /// Refuses names that would make another URL than the one meant.
    pub(super) fn check(&self, stage: Stage, reference: &str) -> Result<String, RegistryError> {
        let full = self.full(reference);
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        };
        let detail = if !self.name.split('/').all(part) {
            format!("`{}` is not the name of a repository (lower-case letters, digits, `.`, `_`, `-`)", self.name)
        } else if is_tag(reference) || (reference.starts_with("sha256:") && Digest::parse(reference).is_some()) {
            return Ok(full);
        } else {
            format!("`{reference}` is neither a tag nor a digest")
        };
        Err(self.client.error(stage, &full, 0, ErrorKind::BadName { detail }))
    }

    /// What the reference points to; `None` only if the registry definitely does not have it.
    pub fn digest(&self, reference: &str) -> Result<Option<Digest>, RegistryError> {
        Ok(self.head(reference)?.map(|(digest, _)| digest))
    }

    /// Digest and media type, without the bytes (which would count as a pull).
    pub fn head(&self, reference: &str) -> Result<Option<(Digest, String)>, RegistryError> {
        let about = self.check(Stage::ManifestHead, reference)?;
        let mut call = self.call(Stage::ManifestHead, &about, "HEAD", &format!("manifests/{reference}"));
        call.headers.push(("accept", media::ACCEPT.to_owned()));
        call.fine = &[200, 404];
        let answer = self.client.send(&call)?;
        if answer.status == 404 {
            self.client.confirm()?;
            return Ok(None);
        }
        let media_type = content_type(&answer);
        match answer.header("docker-content-digest").and_then(Digest::parse) {
            Some(digest) => Ok(Some((digest, media_type))),
            None => {
                let manifest = self.manifest(reference)?;
                Ok(Some((manifest.digest, manifest.media_type)))
            }
        }
    }

    /// The manifest exactly as the registry holds it; its bytes are checked against the digest asked for or promised.
    pub fn manifest(&self, reference: &str) -> Result<Manifest, RegistryError> {
        let about = self.check(Stage::ManifestGet, reference)?;
        let mut call = self.call(Stage::ManifestGet, &about, "GET", &format!("manifests/{reference}"));
        call.headers.push(("accept", media::ACCEPT.to_owned()));
        let answer = self.client.send(&call)?;
        let fail = |kind| self.fail(Stage::ManifestGet, &about, kind);
        let promised = answer.header("docker-content-digest").and_then(Digest::parse);
        let mut media_type = content_type(&answer);
        if Kind::of(&media_type).is_none() {
            media_type = inner_media_type(&answer.bytes).unwrap_or(media_type);
        }
        let manifest = Manifest::new(answer.bytes, media_type);
        manifest.kind().map_err(|detail| fail(ErrorKind::Malformed { detail }))?;
        if let Some(expected) = Digest::parse(reference).or(promised).filter(|expected| *expected != manifest.digest) {
            return Err(fail(ErrorKind::wrong_digest(expected, manifest.digest)));
        }
        Ok(manifest)
    }

    /// Puts a manifest under a tag (or its digest), byte for byte; the registry must report the digest of the bytes.
    pub fn put_manifest(&self, reference: &str, manifest: &Manifest) -> Result<Digest, RegistryError> {
        let about = self.check(Stage::ManifestPut, reference)?;
        let mut call = self.call(Stage::ManifestPut, &about, "PUT", &format!("manifests/{reference}"));
        call.headers.push(("content-type", manifest.media_type.clone()));
        call.payload = Payload::Bytes(&manifest.bytes);
        call.fine = &[200, 201, 202];
        let answer = self.client.send(&call)?;
        let got = match answer.header("docker-content-digest").and_then(Digest::parse) {
            Some(got) => Some(got),
            None => self.digest(reference)?,
        };
        match got {
            Some(got) if got == manifest.digest => Ok(got),
            Some(got) => {
                let kind = ErrorKind::wrong_digest(manifest.digest, got);
                Err(self.fail(Stage::ManifestPut, &about, kind))
            }
            None => {
                let said = "it took the manifest and does not have it".to_owned();
                Err(self.fail(Stage::ManifestPut, &about, ErrorKind::NotFound { said }))
            }
        }
    }

    /// Labels and identity of an image. Of an index: of the image for `platform`, or of its first one.
    pub fn image(&self, reference: &str, platform: Option<&str>) -> Result<ImageConfig, RegistryError> {
        let outer = self.manifest(reference)?;
        let about = self.full(reference);
        let bad = |detail| self.fail(Stage::ManifestGet, &about, ErrorKind::Malformed { detail });
        let image = match outer.kind().map_err(bad)? {
            Kind::Image => outer.clone(),
            Kind::Index => {
                let listed = outer.manifests().map_err(bad)?;
                // Attestations are listed with the platform `unknown/unknown`.
                let fits = |of: &str| platform.map_or(!of.starts_with("unknown"), |wanted| of == wanted);
                let chosen = listed.iter().find(|one| one.platform.as_deref().is_none_or(fits));
                let Some(chosen) = chosen else {
                    return Err(bad(format!("the index has no image for `{}`", platform.unwrap_or("any platform"))));
                };
                self.manifest(&chosen.digest.to_string())?
            }
        };
        let config = image.config().map_err(bad)?;
        let bytes = self.blob(config.digest)?;
        ImageConfig::parse(outer.digest, config.digest, &bytes).map_err(bad)
    }

    /// All tags, sorted; none if the repository does not exist.
    pub fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let about = self.check(Stage::TagList, "latest")?;
        let about = about.trim_end_matches(":latest");
        let bad = |detail: String| self.fail(Stage::TagList, about, ErrorKind::Malformed { detail });
        let mut tags: Vec<String> = Vec::new();
        let mut path = format!("tags/list?n={PAGE}");
        for _ in 0..MOST_PAGES {
            let mut call = self.call(Stage::TagList, about, "GET", &path);
            call.fine = &[200, 404];
            let answer = self.client.send(&call)?;
            if answer.status == 404 {
                self.client.confirm()?;
                return Ok(Vec::new());
            }
            tags.extend(parse_tags(&answer.bytes).map_err(bad)?);
            let Some(query) = answer.header("link").and_then(next_query) else {
                tags.sort();
                tags.dedup();
                return Ok(tags);
            };
            path = format!("tags/list?{query}");
        }
        Err(bad("the list of tags does not end".to_owned()))
    }

    /// The digest of every tag, sorted by tag. A tag that vanishes meanwhile is left out.
    pub fn tag_digests(&self) -> Result<Vec<(String, Digest)>, RegistryError> {
        Ok(self.tag_heads()?.into_iter().map(|(tag, digest, _)| (tag, digest)).collect())
    }

    /// Tag, digest and media type of every tag, sorted by tag.
    pub(super) fn tag_heads(&self) -> Result<Vec<(String, Digest, String)>, RegistryError> {
        let tags = self.tags()?;
        let look = |tag: &String| {
            let head = self.head(tag)?;
            Ok(head.map(|(digest, media_type)| (tag.clone(), digest, media_type)))
        };
        side_by_side(&tags, look).into_iter().filter_map(Result::transpose).collect()
    }

    /// Who else points to a digest: tags of it, and tags of indexes that list it.
    pub fn pointed_by(&self, digest: Digest) -> Result<PointedBy, RegistryError> {
        self.pointers(&self.tag_heads()?, digest)
    }

    /// The same, where the tags are known.
    pub(super) fn pointers(
        &self,
        heads: &[(String, Digest, String)],
        digest: Digest,
    ) -> Result<PointedBy, RegistryError> {
        let mut pointed = PointedBy::default();
        for (tag, of, media_type) in heads {
            if *of == digest {
                pointed.tags.push(tag.clone());
            } else if Kind::of(media_type) == Some(Kind::Index) {
                let about = self.full(tag);
                let listed = self.manifest(&of.to_string())?.manifests();
                let bad = |detail| self.fail(Stage::ManifestGet, &about, ErrorKind::Malformed { detail });
                if listed.map_err(bad)?.iter().any(|one| one.digest == digest) {
                    pointed.indexes.push(tag.clone());
                }
            }
        }
        Ok(pointed)
    }

    /// Deletes a manifest and with it every tag of it, which must all be among `may_lose`. Gives the tags that went.
    pub fn delete(&self, digest: Digest, may_lose: &[&str]) -> Result<Vec<String>, RegistryError> {
        let reference = digest.to_string();
        let about = self.check(Stage::ManifestDelete, &reference)?;
        if self.digest(&reference)?.is_none() {
            let said = String::new();
            return Err(self.fail(Stage::ManifestDelete, &about, ErrorKind::NotFound { said }));
        }
        let pointed = self.pointed_by(digest)?;
        let mut tags = pointed.all();
        tags.retain(|tag| pointed.indexes.contains(tag) || !may_lose.contains(&tag.as_str()));
        if !tags.is_empty() {
            return Err(self.fail(
                Stage::ManifestDelete,
                &about,
                ErrorKind::Shared { digest: reference.clone(), tags },
            ));
        }
        let mut call = self.call(Stage::ManifestDelete, &about, "DELETE", &format!("manifests/{reference}"));
        // It was there a moment ago: "not found" means that the answer to an earlier try was lost.
        call.fine = &[200, 202, 204, 404];
        self.client.send(&call)?;
        Ok(pointed.tags)
    }

    /// Removes one tag and leaves its digest. `false` if the registry cannot do that (many cannot).
    pub fn delete_tag(&self, tag: &str) -> Result<bool, RegistryError> {
        let about = self.check(Stage::ManifestDelete, tag)?;
        let mut call = self.call(Stage::ManifestDelete, &about, "DELETE", &format!("manifests/{tag}"));
        call.fine = &[200, 202, 204, 400, 404, 405];
        let answer = self.client.send(&call)?;
        match answer.status {
            400 | 405 => Ok(false),
            404 => Ok(self.digest(tag)?.is_none()),
            _ => Ok(true),
        }
    }
}

fn content_type(answer: &Answer) -> String {
    answer.header("content-type").unwrap_or_default().to_owned()
}

/// For registries that say no more than `application/json`.
fn inner_media_type(bytes: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    Some(json.get("mediaType")?.as_str()?.to_owned())
}

fn parse_tags(bytes: &[u8]) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct List {
        // A repository whose tags were all deleted says null.
        tags: Option<Vec<String>>,
    }
    let list: List =
        serde_json::from_slice(bytes).map_err(|error| format!("the list of tags is not valid: {error}"))?;
    Ok(list.tags.unwrap_or_default())
}

/// The query of `<…?query>; rel="next"`. Only the query is used: the page is asked of the same repository.
fn next_query(link: &str) -> Option<String> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters.replace([' ', '"'], "").to_ascii_lowercase().contains("rel=next");
    let (_, query) = url.split_once('?')?;
    next.then(|| query.to_owned())
}
