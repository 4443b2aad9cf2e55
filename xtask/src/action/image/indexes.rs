//! What is pushed for several platforms becomes one index for each image and plan, in the registry: nothing is pulled. A
//! declared platform that is missing, untested or of another kind than it says stops everything before a tag is written.
//! Knows nothing of builds.

use serde_json::{Map, Value, json};

use super::publish::{self, label};
use super::services::{Services, whole};
use crate::action::{Call, Failure};
use crate::model::{Diagnostic, Diagnostics, Digest, ImageRef, Reason};
use crate::registry::publish::{Step, WantedIndex, WantedTag, put_tag};
use crate::registry::{Manifest, Repository, has_record, join_index, platform_manifests, put_record};
use crate::stack::{Image, Plan, Stack, taggers, tags};

/// An index as the registry can have it now.
pub(super) struct Index {
    wanted: WantedIndex,
    repository: Repository,
    manifest: Manifest,
    /// The content key of its first image, under which passed tests are recorded.
    key: String,
    /// With where they point now.
    tags: Vec<(WantedTag, Option<Digest>)>,
}

/// What was done with some.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Digests by reference.
    pub references: Map<String, Value>,
    /// How many tags were written.
    pub moved: usize,
}

/// The index of an image in a plan of the spec, if it declares several platforms.
pub(super) fn wanted(
    services: &Services,
    call: &Call<'_>,
    stack: &Stack,
    (image, plan): (&Image, &Plan),
) -> Result<Option<WantedIndex>, Failure> {
    if image.platforms.len() < 2 {
        return Ok(None);
    }
    let tags = publish::names(services, call, stack, (image, plan))?;
    // The order of the spec is that of one machine; an index is the same wherever it is joined.
    let mut platforms = image.platforms.clone();
    platforms.sort_unstable();
    Ok(Some(WantedIndex {
        image: label(stack, image, plan),
        name: tags::full_name(call.args["registry"].as_str(), image),
        lead: tags.first().map(|name| name.tag.clone()).unwrap_or_default(),
        platforms,
        tags,
    }))
}

/// Adds the tags that taggers made: those that every platform has been pushed under.
pub(super) fn add_found(
    services: &Services,
    stack: &Stack,
    (image, plan): (&Image, &Plan),
    index: &mut WantedIndex,
) -> Result<(), Failure> {
    let (_, graph) = services.stack().map_err(whole)?;
    let taggers = taggers::of(stack, &graph, image);
    let [first, ..] = &index.platforms[..] else { return Ok(()) };
    if taggers.is_empty() {
        return Ok(());
    }
    // What stands before the first group: all tags of a tagger begin with it, and no version shall be taken for one.
    let begins = taggers.iter().flat_map(|given| &given.tagger.tags);
    let begins = begins.filter_map(|tag| tag.split('$').next().filter(|text| !text.is_empty()).map(str::to_owned));
    let begins = tags::in_plan_of(stack, image, plan, &begins.collect::<Vec<_>>()).unwrap_or_default();
    let failed = |error: crate::registry::RegistryError| Failure::failed(error.to_diagnostic());
    let repository = open(services, index)?;
    let ending = tags::platform_tag("", first);
    for tag in repository.tags().map_err(failed)? {
        let Some(tag) = tag.strip_suffix(&ending) else { continue };
        if index.tags.iter().any(|known| known.tag == tag) || !begins.iter().any(|begin| tag.starts_with(begin)) {
            continue;
        }
        let is_of_all = index.platforms.iter().map(|platform| {
            let of = |tag: &str| repository.digest(&tags::platform_tag(tag, platform));
            Ok(of(&index.lead)?.is_some_and(|lead| of(tag).is_ok_and(|found| found == Some(lead))))
        });
        if is_of_all.collect::<Result<Vec<bool>, _>>().map_err(failed)?.into_iter().all(|is_so| is_so) {
            index.tags.push(WantedTag { tag: tag.to_owned(), immutable: false });
        }
    }
    Ok(())
}

/// Adds the tags that taggers made in this run: those that were found on every platform.
pub(super) fn add_made(call: &Call<'_>, stack: &Stack, (image, plan): (&Image, &Plan), index: &mut WantedIndex) {
    let Some(manifest) = call.resources.get(&*super::wish::manifest_of(image)) else { return };
    let of = |plan: &Plan| manifest["tags"][&*plan.name].as_array().into_iter().flatten().filter_map(Value::as_str);
    let is_same = |other: &&Plan| other.foreign.as_ref().is_some_and(|foreign| foreign.plan == plan.name);
    let others: Vec<&Plan> = stack.plans_of(image).filter(is_same).collect();
    for tag in of(plan).filter(|tag| others.iter().all(|other| of(other).any(|one| one == *tag))) {
        if index.tags.iter().all(|known| known.tag != tag) {
            index.tags.push(WantedTag { tag: tag.to_owned(), immutable: false });
        }
    }
}

fn open(services: &Services, index: &WantedIndex) -> Result<Repository, Failure> {
    let reference = ImageRef { name: index.name.clone(), tag: None, digest: None };
    services.registries().open(&reference).map_err(|error| Failure::failed(error.into()))
}

/// Makes the indexes of what the registry has. Everything is looked at before anything is written.
pub(super) fn look(services: &Services, wanted: &[WantedIndex]) -> Result<Vec<Index>, Failure> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for wanted in wanted {
        match index(services, wanted) {
            Ok(index) => found.push(index),
            Err(failure) => problems.extend(failure),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Failure::failed(whole(Diagnostics(problems)))) }
}

fn index(services: &Services, wanted: &WantedIndex) -> Result<Index, Vec<Diagnostic>> {
    let one = |problem: Diagnostic| vec![problem];
    let repository = open(services, wanted).map_err(|failure| one(failure.diagnostic))?;
    let declared: Vec<&str> = wanted.platforms.iter().map(String::as_str).collect();
    let (mut parts, mut keys) = (Vec::new(), Vec::new());
    for platform in &declared {
        let tag = tags::platform_tag(&wanted.lead, platform);
        if repository.digest(&tag).map_err(|error| one(error.into()))?.is_none() {
            continue;
        }
        parts.extend(platform_manifests(&repository, &tag).map_err(|error| one(error.into()))?);
        keys.push(tested(&repository, &tag).map_err(one)?);
    }
    let manifest = join_index(&repository.full(&wanted.lead), &declared, &parts)
        .map_err(|problems| problems.into_iter().map(|problem| problem.help(HOW)).collect::<Vec<_>>())?;
    let mut tags = Vec::new();
    for name in &wanted.tags {
        let old = repository.digest(&name.tag).map_err(|error| one(error.into()))?;
        match old.filter(|old| name.immutable && *old != manifest.digest) {
            None => tags.push((name.clone(), old)),
            Some(old) => return Err(one(taken(&repository.full(&name.tag), old))),
        }
    }
    let key = keys.into_iter().next().unwrap_or_default();
    Ok(Index { wanted: wanted.clone(), repository, manifest, key, tags })
}

const HOW: &str = "push it from such a machine, or with XTASK_PLATFORM=PLATFORM where the engine can build for it";

fn taken(full: &str, old: Digest) -> Diagnostic {
    Diagnostic::error(format!("`{full}` exists with other content, and a version never moves"))
        .note(format!("in the registry is {old}"))
        .help("push under a new version")
}

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

/// A version that exists and was not joined of these platforms refuses a push before anything is sent.
pub(super) fn refuse_taken(services: &Services, wanted: &[WantedIndex]) -> Result<(), Failure> {
    let failed = |error: crate::registry::RegistryError| Failure::failed(error.to_diagnostic());
    let mut problems = Vec::new();
    for wanted in wanted {
        let repository = open(services, wanted)?;
        for name in wanted.tags.iter().filter(|name| name.immutable) {
            let Some(old) = repository.digest(&name.tag).map_err(failed)? else { continue };
            let parts = wanted.platforms.iter().map(|platform| {
                repository.digest(&tags::platform_tag(&name.tag, platform)).map(|digest| digest.is_some())
            });
            if !parts.collect::<Result<Vec<bool>, _>>().map_err(failed)?.into_iter().all(|is_there| is_there) {
                problems.push(taken(&repository.full(&name.tag), old));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::failed(whole(Diagnostics(problems)))) }
}

/// Every tag of them as a step that is done.
pub(super) fn done(indexes: &[Index]) -> impl Iterator<Item = Step> {
    indexes.iter().flat_map(|index| {
        index.tags.iter().map(|(name, _)| Step::Done {
            image: index.wanted.image.clone(),
            reference: index.repository.full(&name.tag),
            digest: index.manifest.digest,
        })
    })
}

/// Which tags are not what they shall be.
pub(super) fn reasons(indexes: &[Index]) -> Vec<Reason> {
    let open = |index: &Index| {
        let digest = index.manifest.digest;
        let wrong = index.tags.iter().filter(move |(_, old)| *old != Some(digest));
        let reason = |(name, old): &(WantedTag, Option<Digest>)| Reason::RemoteDiffers {
            reference: index.repository.full(&name.tag),
            old: old.map_or_else(|| "absent".into(), |old| old.short()),
            new: digest.short(),
        };
        wrong.map(reason).collect::<Vec<_>>()
    };
    indexes.iter().flat_map(open).collect()
}

/// Writes them: content first, then what never moves, then what moves, in their order each time.
pub(super) fn put(indexes: &[Index], tell: &mut dyn FnMut(&str)) -> Result<Joined, Failure> {
    let failed = |error: crate::registry::RegistryError| Failure::failed(error.to_diagnostic());
    for index in indexes {
        let digest = index.manifest.digest;
        if index.repository.digest(&digest.to_string()).map_err(failed)?.is_none() {
            index.repository.put_manifest(&digest.to_string(), &index.manifest).map_err(failed)?;
        }
        if !has_record(&index.repository, digest, &index.key).map_err(failed)? {
            put_record(&index.repository, digest, &index.key).map_err(failed)?;
        }
    }
    let mut joined = Joined::default();
    for immutable in [true, false] {
        for index in indexes {
            for (name, old) in index.tags.iter().filter(|(name, _)| name.immutable == immutable) {
                let digest = index.manifest.digest;
                let full = index.repository.full(&name.tag);
                joined.moved += usize::from(put_tag(&index.repository, &name.tag, immutable, *old, digest)?);
                tell(&format!("{}: {full} = {digest}", index.wanted.image));
                joined.references.insert(full, json!(digest.to_string()));
            }
        }
    }
    Ok(joined)
}
