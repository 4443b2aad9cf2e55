//! The action `stack_join`: images of several platforms, each pushed by a machine of its own, become one index.
//!
//! Done in the registry: nothing is pulled. A declared platform that is missing, untested or of another kind than it
//! says stops everything before a tag is written. Knows nothing of builds.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::publish::{self, label};
use super::services::{Services, whole};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::graph::Links;
use crate::model::{Diagnostic, Diagnostics, Digest, ImageRef, Stream, words};
use crate::registry::publish::{WantedTag, put_tag};
use crate::registry::{Manifest, Repository, has_record, join_index, platform_manifests, put_record};
use crate::stack::{Image, Plan, Stack, tags};

pub(super) struct StackJoin(pub(super) Arc<Services>);

/// One index that shall be in the registry.
struct Index {
    image: String,
    repository: Repository,
    manifest: Manifest,
    /// The content key of its first image, under which passed tests are recorded.
    key: String,
    tags: Vec<(WantedTag, Option<Digest>)>,
}

impl StackJoin {
    /// Everything is looked at before anything is written.
    fn indexes(&self, call: &Call<'_>) -> Result<Vec<Index>, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for (image, plan) in stack.pairs().filter(|(image, _)| image.platforms.len() > 1) {
            match self.index(call, &stack, (image, plan)) {
                Ok(index) => found.push(index),
                Err(failure) => problems.extend(failure),
            }
        }
        if problems.is_empty() { Ok(found) } else { Err(Failure::failed(whole(Diagnostics(problems)))) }
    }

    fn index(&self, call: &Call<'_>, stack: &Stack, (image, plan): (&Image, &Plan)) -> Result<Index, Vec<Diagnostic>> {
        let one = |problem: Diagnostic| vec![problem];
        let names = publish::names(&self.0, call, stack, (image, plan)).map_err(|failure| vec![failure.diagnostic])?;
        let name = tags::full_name(call.args["registry"].as_str(), image);
        let reference = ImageRef { name, tag: None, digest: None };
        let repository = self.0.registries().open(&reference).map_err(|error| one(error.into()))?;
        let lead = names.first().map(|name| name.tag.clone()).unwrap_or_default();
        // The order of the spec is that of one machine; an index is the same wherever it is joined.
        let mut declared: Vec<&str> = image.platforms.iter().map(String::as_str).collect();
        declared.sort_unstable();
        let (mut parts, mut keys) = (Vec::new(), Vec::new());
        for platform in &declared {
            let tag = tags::platform_tag(&lead, platform);
            if repository.digest(&tag).map_err(|error| one(error.into()))?.is_none() {
                continue;
            }
            parts.extend(platform_manifests(&repository, &tag).map_err(|error| one(error.into()))?);
            keys.push(tested(&repository, &tag).map_err(one)?);
        }
        let manifest = join_index(&repository.full(&lead), &declared, &parts)
            .map_err(|problems| problems.into_iter().map(|problem| problem.help(HOW)).collect::<Vec<_>>())?;
        let mut wanted = Vec::new();
        for name in names {
            let old = repository.digest(&name.tag).map_err(|error| one(error.into()))?;
            match old.filter(|old| name.immutable && *old != manifest.digest) {
                None => wanted.push((name, old)),
                Some(old) => {
                    let full = repository.full(&name.tag);
                    let problem =
                        Diagnostic::error(format!("`{full}` exists with other content, and a version never moves"));
                    return Err(one(problem
                        .note(format!("in the registry is {old}"))
                        .help("push under a new version")));
                }
            }
        }
        let key = keys.into_iter().next().unwrap_or_default();
        Ok(Index { image: label(stack, image, plan), repository, manifest, key, tags: wanted })
    }
}

const HOW: &str = "push it from such a machine, or with XTASK_PLATFORM=PLATFORM where the engine can build for it";

/// The content key of what was pushed for one platform, if its tests passed.
fn tested(repository: &Repository, tag: &str) -> Result<String, Diagnostic> {
    let found = repository.image(tag, None)?;
    let key = found.labels.get(super::KEY_LABEL).cloned().unwrap_or_default();
    if key.is_empty() || !has_record(repository, found.digest, &key)? {
        let problem = Diagnostic::error(format!("`{}` is untested", repository.full(tag)));
        return Err(problem.note("the registry has no record that its tests passed; `push` writes one"));
    }
    Ok(key)
}

impl ActionType for StackJoin {
    fn name(&self) -> &'static str {
        "stack_join"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &[], optional: &["registry", "version"], short: Some("registry") }
    }

    fn links(&self, _: &Value) -> Result<Links, Diagnostic> {
        Ok(Links { provides: vec!["joined".into()], ..Links::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let indexes = self.indexes(call)?;
        let failed = |error: crate::registry::RegistryError| Failure::failed(error.to_diagnostic());
        // Content first, then what never moves, then what moves: parents first each time.
        for index in &indexes {
            let digest = index.manifest.digest;
            if index.repository.digest(&digest.to_string()).map_err(failed)?.is_none() {
                index.repository.put_manifest(&digest.to_string(), &index.manifest).map_err(failed)?;
            }
            if !has_record(&index.repository, digest, &index.key).map_err(failed)? {
                put_record(&index.repository, digest, &index.key).map_err(failed)?;
            }
        }
        let (mut joined, mut moved) = (Map::new(), 0);
        for immutable in [true, false] {
            for index in &indexes {
                for (name, old) in index.tags.iter().filter(|(name, _)| name.immutable == immutable) {
                    let digest = index.manifest.digest;
                    let full = index.repository.full(&name.tag);
                    moved += usize::from(put_tag(&index.repository, &name.tag, immutable, *old, digest)?);
                    call.out.line(Stream::Stdout, format!("{}: {full} = {digest}", index.image).as_bytes());
                    joined.insert(full, json!(digest.to_string()));
                }
            }
        }
        let remark = match (indexes.len(), moved) {
            (0, _) => "no image has several platforms".to_owned(),
            (_, 0) => "already joined".to_owned(),
            (count, _) => format!("{} joined", words::count(count, "index")),
        };
        Ok(Done { result: None, values: Map::from_iter([("joined".to_owned(), joined.into())]), remark: Some(remark) })
    }
}
