//! What `image_push` and `stack_push` share: what shall be in the registry, and how it gets there.
//!
//! Content first, then version tags, which never move, then moving tags. Nothing that was not tested is pushed. Each
//! push keeps a journal until it is done, so that what was cut short can be finished. Knows nothing of the graph.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::build;
use super::services::{Services, whole};
use crate::action::{Call, Failure};
use crate::docker::{Docker, TransferEvent};
use crate::model::{Diagnostic, Diagnostics, Digest, ImageRef, Reason, Stream};
use crate::registry::publish::{self, Identity, Journal, Plan, Step, Unfinished, Wanted, WantedTag};
use crate::stack::git::Git;
use crate::stack::{self, Image, Stack, taggers, tags};
use crate::store::STATE_DIR;

/// The arguments that both actions take.
pub(super) const ARGUMENTS: [&str; 4] = ["registry", "version", "message", "commits"];

/// What shall be in the registry of one image: one entry per plan.
pub(super) fn wanted(
    services: &Services,
    call: &Call<'_>,
    stack: &Stack,
    image: &Image,
) -> Result<Vec<Wanted>, Failure> {
    let registry = call.args["registry"].as_str();
    let version = version(call)?;
    let built = call.resources.get(&*format!("image:{}", image.key)).cloned().unwrap_or_default();
    let mut wanted = Vec::new();
    for plan in stack.plans.iter().filter(|plan| image.is_in(&plan.name)) {
        let values = &built["plans"][&*plan.name];
        let (Some(id), Some(key)) = (values["id"].as_str().and_then(Digest::parse), values["key"].as_str()) else {
            return Err(Failure::error(
                Diagnostic::error(format!("image `{}` was not built for plan `{}`", image.key, plan.name))
                    .help(format!("cargo xtask test:{}", image.key)),
            ));
        };
        refuse_untested(call, image, key)?;
        let labels = description(services, call, image, version.as_ref())?;
        let mut tags = names(services, call, stack, (image, plan))?;
        if let [platform, _, ..] = &image.platforms[..] {
            // An image of several platforms gets its plain tags when all of them are joined: nobody pulls half of it.
            for name in &mut tags {
                name.tag = tags::checked(tags::platform_tag(&name.tag, platform))?;
            }
        } else {
            add_found(services, call, stack, (image, plan), &mut tags)?;
        }
        wanted.push(Wanted {
            image: label(stack, image, plan),
            name: tags::full_name(registry, image),
            identity: Identity::Local(id),
            anchor: Digest::parse(key).map(|key| tags::key_tag(&key)).unwrap_or_default(),
            labels,
            tested: Some(key.to_owned()),
            tags,
        });
    }
    Ok(wanted)
}

fn version(call: &Call<'_>) -> Result<Option<semver::Version>, Failure> {
    let Some(text) = given(call, "version") else { return Ok(None) };
    semver::Version::parse(text).map(Some).map_err(|error| {
        Failure::error(Diagnostic::error(format!("`{text}` is no version such as 1.4.0")).cause(error))
    })
}

/// An argument as text; an empty one counts as absent.
pub(super) fn given<'a>(call: &'a Call<'_>, name: &str) -> Option<&'a str> {
    call.args[name].as_str().filter(|text| !text.is_empty())
}

/// An argument as truth: also as text, since templates make text.
pub(super) fn truth(call: &Call<'_>, name: &str) -> bool {
    call.args[name].as_bool().unwrap_or(call.args[name].as_str() == Some("true"))
}

/// An image in a plan, as people call it.
pub(super) fn label(stack: &Stack, image: &Image, plan: &stack::Plan) -> String {
    if stack.plans.len() == 1 { image.key.to_string() } else { format!("{} ({})", image.key, plan.name) }
}

/// The tags of an image in a plan: its version, `latest`, and that of the commit or branch.
pub(super) fn names(
    services: &Services,
    call: &Call<'_>,
    stack: &Stack,
    (image, plan): (&Image, &stack::Plan),
) -> Result<Vec<WantedTag>, Failure> {
    let version = version(call)?;
    let mut names = Vec::new();
    if let Some(version) = &version {
        let tag = tags::checked(tags::version_tag(stack, image, plan, version))?;
        names.push(WantedTag { tag, immutable: true });
        names.push(WantedTag { tag: tags::checked(tags::latest_tag(stack, image, plan))?, immutable: false });
    }
    let tag = build::published_tag(services, stack, image, plan)?;
    if names.iter().all(|name| name.tag != tag) {
        names.push(WantedTag { tag, immutable: false });
    }
    Ok(names)
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
    let Some(manifest) = call.resources.get(&*manifest_of(image)) else {
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

/// The plan for what is wanted, against what the registry has now.
pub(super) fn plan(services: &Services, wanted: &[Wanted]) -> Result<Plan, Failure> {
    let seen =
        publish::observe(wanted, &services.registries()).map_err(|error| Failure::failed(error.to_diagnostic()))?;
    publish::plan_push(wanted, &seen).map_err(|problems| Failure::failed(whole(Diagnostics(problems))))
}

/// What of a plan is not so yet, as reasons.
pub(super) fn reasons(plan: &Plan) -> Vec<Reason> {
    let reason = |step: &Step| {
        let (old, new) = match step {
            Step::Tag { old, new, .. } => (old.map(|digest| digest.short()), new.map(|digest| digest.short())),
            _ => (None, None),
        };
        Reason::RemoteDiffers {
            reference: step.reference(),
            old: old.unwrap_or_else(|| "absent".into()),
            new: new.unwrap_or_else(|| "the image".into()),
        }
    };
    plan.open().map(reason).collect()
}

/// Digests by reference, as values of the task.
pub(super) fn published(plan: &Plan) -> Map<String, Value> {
    let references: Map<String, Value> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Done { reference, digest, .. } => Some((reference.clone(), json!(digest.to_string()))),
            _ => None,
        })
        .collect();
    Map::from_iter([("pushed".to_owned(), Value::Object(references))])
}

/// Does what a plan says, and shows that the registry has it. Until then its journal stays.
pub(super) fn carry_out(services: &Services, call: &Call<'_>, plan: &Plan) -> Result<Plan, Failure> {
    let path = journal_path(call.root, plan);
    let mut journal = Journal::create(&path, plan)
        .map_err(|error| Failure::error(Diagnostic::error("the journal of the push cannot be written").cause(error)))?;
    let total = plan.steps.len() as u64;
    let (mut done, mut docker, mut log) = (0, None, Vec::new());
    let mut upload = |step: &Step| upload(services, call, &mut docker, step);
    let mut progress = |step: &Step, applied: &publish::Applied| {
        done += 1;
        let word = if applied.changed { "" } else { "  (was there)" };
        let line = format!("{step}{word}");
        call.out.line(Stream::Stdout, line.as_bytes());
        log.push(line);
        call.out.progress(done, total, &step.reference());
    };
    let applied = publish::apply(plan, &services.registries(), &mut upload, &mut journal, &mut progress);
    note(services, plan, &log, applied.is_ok())?;
    applied.map_err(|problem| {
        Failure::failed(problem.note("what was published so far is whole; the rest is known").help(RESUME))
    })?;
    let after = self::plan(services, &plan.wanted)?;
    if let Some(step) = after.open().next() {
        return Err(Failure::failed(
            Diagnostic::error(format!("`{}` is not what was pushed", step.reference()))
                .note("the registry took it and shows something else")
                .help(RESUME),
        ));
    }
    // Done: what is left of it is in the registry.
    let _ = std::fs::remove_file(&path);
    Ok(after)
}

/// Keeps what was pushed of each image, for what the run leaves behind.
fn note(services: &Services, plan: &Plan, log: &[String], is_whole: bool) -> Result<(), Failure> {
    of_each(services, plan, |image, of, wanted| {
        let own = format!("{}:", wanted.name);
        let lines = log.iter().filter(|line| line.contains(&own)).cloned().collect();
        let tags = if is_whole { references(wanted) } else { Vec::new() };
        services.ledger.note(&image.key, &of.name, |facts| (facts.push_log, facts.pushed) = (Some(lines), tags));
    })
}

/// Keeps what the registry has of each image of a plan that is done: others tell of it, too.
pub(super) fn note_found(services: &Services, plan: &Plan) -> Result<(), Failure> {
    of_each(services, plan, |image, of, wanted| {
        services.ledger.note_found(&image.key, &of.name, references(wanted));
    })
}

fn references(wanted: &Wanted) -> Vec<String> {
    wanted.tags.iter().map(|tag| format!("{}:{}", wanted.name, tag.tag)).collect()
}

fn of_each(
    services: &Services,
    plan: &Plan,
    mut keep: impl FnMut(&Image, &stack::Plan, &Wanted),
) -> Result<(), Failure> {
    let (stack, _) = services.stack().map_err(whole)?;
    for (image, of) in stack.pairs() {
        let name = label(&stack, image, of);
        if let Some(wanted) = plan.wanted.iter().find(|wanted| wanted.image == name) {
            keep(image, of, wanted);
        }
    }
    Ok(())
}

/// How to finish a push.
pub(super) const RESUME: &str = "finish it: cargo xtask push --resume";

/// A push of the same tags replaces an older one, which it would have finished.
fn journal_path(root: &Path, plan: &Plan) -> PathBuf {
    let name = Digest::of(plan.references().join("\n").as_bytes()).short();
    folder(root).join(format!("{name}.jsonl"))
}

fn folder(root: &Path) -> PathBuf {
    root.join(STATE_DIR).join("push")
}

/// Every push that was begun and is not finished, in the order of their journals' names.
pub(super) fn unfinished(root: &Path) -> Result<Vec<(PathBuf, Unfinished)>, Failure> {
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder(root)) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => return Ok(Vec::new()),
    };
    paths.sort();
    let mut found = Vec::new();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "jsonl")) {
        let journal = Journal::resume(&path).map_err(|error| {
            Failure::error(Diagnostic::error(format!("`{}` cannot be read", path.display())).cause(error))
        })?;
        found.extend(journal.map(|journal| (path, journal)));
    }
    Ok(found)
}

/// Says that other pushes wait to be finished.
pub(super) fn remind(call: &Call<'_>, plan: &Plan) -> Result<(), Failure> {
    let own = journal_path(call.root, plan);
    for (_, other) in unfinished(call.root)?.iter().filter(|(path, _)| *path != own) {
        let references = other.plan.references();
        let first = references.first().map_or("nothing", String::as_str);
        let text = format!("note: the push of {first} and {} more is not finished; {RESUME}", references.len() - 1);
        call.out.line(Stream::Stderr, text.as_bytes());
    }
    Ok(())
}

/// Content goes out of the engine under the anchor's name, which is taken away again.
fn upload(
    services: &Services,
    call: &Call<'_>,
    docker: &mut Option<Docker>,
    step: &Step,
) -> Result<Digest, Diagnostic> {
    let Step::Upload { to, identity, .. } = step else {
        return Err(Diagnostic::error("only content is uploaded"));
    };
    let Identity::Local(id) = identity else {
        return Err(Diagnostic::error(format!("`{to}` is not in the engine")));
    };
    let name = ImageRef::parse(to).ok_or_else(|| Diagnostic::error(format!("`{to}` is no image reference")))?;
    let docker = match docker {
        Some(docker) => docker,
        none => none.insert(services.docker()?),
    };
    docker.tag(&id.to_string(), &name)?;
    let pushed = push(services, docker, &name, call);
    // The image keeps its own names.
    let _ = docker.untag(&name);
    let digest = pushed?;
    Digest::parse(&digest)
        .ok_or_else(|| Diagnostic::error(format!("the engine gave `{digest}` for the digest of `{to}`")))
}

/// Sends what bears the name from the engine to its registry; gives the manifest's digest.
pub(super) fn push(
    services: &Services,
    docker: &Docker,
    name: &ImageRef,
    call: &Call<'_>,
) -> Result<String, Diagnostic> {
    let login = services.login(name)?;
    let mut shown = Transfer::new(call, "pushing", name);
    Ok(docker.push(name, login.as_ref(), &mut |event| shown.follow(event), call.stop)?)
}

/// Shows how far a push or pull is.
struct Transfer<'a> {
    call: &'a Call<'a>,
    verb: &'static str,
    name: &'a ImageRef,
    /// What the last attempt failed with.
    problem: String,
}

impl<'a> Transfer<'a> {
    fn new(call: &'a Call<'a>, verb: &'static str, name: &'a ImageRef) -> Self {
        Self { call, verb, name, problem: String::new() }
    }

    fn follow(&mut self, event: TransferEvent) {
        match event {
            TransferEvent::Layer { id, status, done, total } => {
                let text = format!("{} {}: {id} {status}", self.verb, self.name);
                self.call.out.progress(done, total.unwrap_or(0), &text);
            }
            TransferEvent::Retry { attempt, wait, problem } => {
                let why = if problem == self.problem { "the same".to_owned() } else { problem.clone() };
                self.problem = problem;
                let text = format!("attempt {attempt} failed, trying again in {:.0} s: {why}", wait.as_secs_f64());
                self.call.out.line(Stream::Stderr, text.as_bytes());
            }
        }
    }
}

/// Pulls an image into the engine.
pub(super) fn pull(services: &Services, docker: &Docker, name: &ImageRef, call: &Call<'_>) -> Result<(), Failure> {
    let login = services.login(name)?;
    let mut shown = Transfer::new(call, "pulling", name);
    let pulled = docker.pull(name, None, login.as_ref(), &mut |event| shown.follow(event), call.stop);
    pulled.map(drop).map_err(build::infra)
}
