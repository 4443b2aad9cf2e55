//! What a push shall bring about: of each image, plan and platform the content with its tags, and the indexes over images
//! of several platforms. What another platform lacks is told, not an error. Nothing that was not tested is wished for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::indexes;
use super::publish::{given, label, names, version};
use super::services::{Services, whole};
use crate::action::{Call, Failure};
use crate::model::{Diagnostic, Digest, Stream};
use crate::registry::publish::{Identity, Wanted, WantedIndex, WantedTag};
use crate::stack::git::Git;
use crate::stack::{self, Image, Stack, taggers, tags};

/// What shall be in the registry.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// One entry per image, plan and platform.
    pub wanted: Vec<Wanted>,
    /// What the images of several platforms become. None if one of them is missing: nobody pulls half of a version.
    pub indexes: Vec<WantedIndex>,
    /// What this run has not made or tested, a line each.
    pub missing: Vec<String>,
}

impl Wish {
    /// Of all these images, parents first.
    pub(super) fn of(services: &Services, call: &Call<'_>, stack: &Stack, images: &[&Image]) -> Result<Self, Failure> {
        let mut wish = Self::default();
        for image in images {
            for plan in stack.plans_of(image) {
                match one(services, call, stack, (image, plan))? {
                    Ok(wanted) => wish.wanted.push(wanted),
                    Err(why) => wish.missing.push(format!("{}: {why}", label(stack, image, plan))),
                }
            }
            let plans = || stack.plans.iter().filter(|plan| image.is_in(&plan.name));
            // A run for one platform has no plans of others: then others push those.
            let is_one = image.platforms.len() > 1 && stack.plans_of(image).count() == plans().count();
            if is_one {
                let [own, others @ ..] = &image.platforms[..] else { continue };
                let why = format!("this run is for {own} only");
                wish.missing.push(format!("{} ({}): {why}", image.key, others.join(", ")));
            }
            for plan in plans() {
                if let Some(mut index) = indexes::wanted(services, call, stack, (image, plan))? {
                    indexes::add_made(call, stack, (image, plan), &mut index);
                    wish.indexes.push(index);
                }
            }
        }
        if !wish.missing.is_empty() {
            wish.indexes.clear();
        }
        Ok(wish)
    }

    /// Says what is not there, and what is to be done then.
    pub(super) fn tell_missing(&self, call: &Call<'_>) {
        for line in &self.missing {
            call.out.line(Stream::Stderr, format!("missing: {line}").as_bytes());
        }
        if !self.missing.is_empty() {
            let text = "note: the platforms that are there are pushed under tags of their own, and no plain tag moves; \
                        when machines of the others have pushed: cargo xtask join";
            call.out.line(Stream::Stderr, text.as_bytes());
        }
    }
}

/// What shall be in the registry of one image in one plan; for another platform, why there can be nothing.
fn one(
    services: &Services,
    call: &Call<'_>,
    stack: &Stack,
    (image, plan): (&Image, &stack::Plan),
) -> Result<Result<Wanted, String>, Failure> {
    let version = version(call)?;
    let built = call.resources.get(&*format!("image:{}", image.key)).cloned().unwrap_or_default();
    let values = &built["plans"][&*plan.name];
    let (Some(id), Some(key)) = (values["id"].as_str().and_then(Digest::parse), values["key"].as_str()) else {
        if plan.foreign.is_some() {
            let why = built["left_out"][&*plan.name]["why"].as_str().unwrap_or("it was not built");
            return Ok(Err(why.to_owned()));
        }
        return Err(Failure::error(
            Diagnostic::error(format!("image `{}` was not built for plan `{}`", image.key, plan.name))
                .help(format!("cargo xtask test:{}", image.key)),
        ));
    };
    if let Err(failure) = refuse_untested(call, image, key) {
        if plan.foreign.is_some() {
            return Ok(Err("it was not tested, because no engine here runs programs of that platform".to_owned()));
        }
        return Err(failure);
    }
    let labels = description(services, call, image, version.as_ref())?;
    let of_spec = stack.plan(plan.spec_name()).unwrap_or(plan);
    let mut tags = names(services, call, stack, (image, of_spec))?;
    add_found(services, call, stack, (image, plan), &mut tags)?;
    if let (Some(platform), true) = (plan.platform(image), image.platforms.len() > 1) {
        // An image of several platforms gets its plain tags when all of them are joined: nobody pulls half of it.
        for name in &mut tags {
            name.tag = tags::checked(tags::platform_tag(&name.tag, platform))?;
        }
    }
    Ok(Ok(Wanted {
        image: label(stack, image, plan),
        name: tags::full_name(call.args["registry"].as_str(), image),
        identity: Identity::Local(id),
        anchor: Digest::parse(key).map(|key| tags::key_tag(&key)).unwrap_or_default(),
        labels,
        tested: Some(key.to_owned()),
        tags,
    }))
}

/// Adds the tags that taggers made of what the image holds, to those that move.
fn add_found(
    services: &Services,
    call: &Call<'_>,
    stack: &Stack,
    (image, plan): (&Image, &stack::Plan),
    names: &mut Vec<WantedTag>,
) -> Result<(), Failure> {
    let (_, graph) = services.stack().map_err(whole)?;
    if taggers::of(stack, &graph, image).is_empty() {
        return Ok(());
    }
    let manifest = call.resources.get(&*manifest_of(image));
    // On another platform nothing may have looked into it: then the tag stays where it is.
    if plan.foreign.is_some() && manifest.is_none_or(|manifest| manifest["tags"].get(&*plan.name).is_none()) {
        return Ok(());
    }
    let Some(manifest) = manifest else {
        let problem = Diagnostic::error(format!("image `{}` has taggers, and nothing says what they found", image.key));
        return Err(Failure::failed(problem.help("give a task the action `image_manifest` for each image")));
    };
    for tag in manifest["tags"][&*plan.name].as_array().into_iter().flatten().filter_map(Value::as_str) {
        match names.iter().find(|name| name.tag == tag) {
            None => names.push(WantedTag { tag: tag.to_owned(), immutable: false }),
            Some(name) if name.immutable => {
                let label = label(stack, image, plan);
                return Err(Failure::failed(
                    Diagnostic::error(format!(
                        "a tagger of image `{label}` makes `{tag}`, which is the tag of a version"
                    ))
                    .help("give the tags of the tagger a prefix, such as `python-$1`"),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What a push needs to know of an image with taggers.
pub(super) fn manifest_of(image: &Image) -> String {
    format!("manifest:{}", image.key)
}

/// The label that says what a release is: its version, the commits of named repositories, a message. Only where a
/// message is given; the image itself is what was tested, and no Dockerfile is touched.
fn description(
    services: &Services,
    call: &Call<'_>,
    image: &Image,
    version: Option<&semver::Version>,
) -> Result<BTreeMap<String, String>, Failure> {
    let Some(message) = given(call, "message") else { return Ok(BTreeMap::new()) };
    let mut parts = vec![match version {
        Some(version) => format!("{}:{version}.", image.key),
        None => format!("{}.", image.key),
    }];
    for (name, folder) in call.args["commits"].as_object().into_iter().flatten() {
        let folder = folder.as_str().unwrap_or_default();
        let commit = commit(services, folder).map_err(|why| {
            Failure::error(Diagnostic::error(format!("commit of `{name}` cannot be read in `{folder}`")).cause(why))
        })?;
        parts.push(format!("{name}: {commit}"));
    }
    parts.push(format!("Message: {message}"));
    Ok(BTreeMap::from([("org.opencontainers.image.description".to_owned(), parts.join(" | "))]))
}

/// The last commit of a repository on one line: hash, time, message.
fn commit(services: &Services, folder: &str) -> Result<String, String> {
    let git = Git::open(&services.root.join(folder), &services.env).map_err(|error| error.message)?;
    let git = git.ok_or("there is no git repository")?;
    let head = git.head().map_err(|error| error.message)?.ok_or("it has no commit")?;
    let time = jiff::Timestamp::from_second(head.time).map(|time| time.to_string()).unwrap_or_default();
    let lines: Vec<&str> = head.message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Ok(format!("{}, {time}, {}", head.hash, lines.join(", ")))
}

/// Nothing untested is pushed.
fn refuse_untested(call: &Call<'_>, image: &Image, key: &str) -> Result<(), Failure> {
    let message = match call.resources.get(&*format!("tested:{}", image.key)) {
        None => format!("image `{}` is untested, and nothing untested is pushed", image.key),
        Some(tested) if tested["tested"].get(key).is_none() => {
            format!("image `{}` was tested with other content", image.key)
        }
        Some(_) => return Ok(()),
    };
    Err(Failure::failed(Diagnostic::error(message).help(format!("cargo xtask test:{}", image.key))))
}
