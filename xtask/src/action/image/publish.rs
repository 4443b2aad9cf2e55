//! What `image_push` and `stack_push` share: what shall be in the registry, and how it gets there.
//!
//! Content first, then version tags, which never move, then moving tags. Nothing that was not tested is pushed. Each
//! push keeps a journal until it is done, so that what was cut short can be finished. Knows nothing of the graph.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::services::{Services, whole};
use super::{build, indexes};
use crate::action::{Call, Failure};
use crate::docker::{Docker, TransferEvent};
use crate::model::{Diagnostic, Diagnostics, Digest, ImageRef, Reason, Stream};
use crate::registry::publish::{self, Identity, Journal, Plan, Step, Unfinished, Wanted, WantedIndex, WantedTag};
use crate::stack::{self, Image, Stack, tags};
use crate::store::STATE_DIR;

/// The arguments that both actions take.
pub(super) const ARGUMENTS: [&str; 4] = ["registry", "version", "message", "commits"];

pub(super) fn version(call: &Call<'_>) -> Result<Option<semver::Version>, Failure> {
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
    match &plan.foreign {
        Some(foreign) if stack.plans.len() == 1 => format!("{} ({})", image.key, foreign.platform),
        Some(foreign) => format!("{} ({}, {})", image.key, foreign.plan, foreign.platform),
        None if stack.plans.len() == 1 => image.key.to_string(),
        None => format!("{} ({})", image.key, plan.name),
    }
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

/// The plan for what is wanted, against what the registry has now.
pub(super) fn plan(services: &Services, wanted: &[Wanted], indexes: &[WantedIndex]) -> Result<Plan, Failure> {
    let seen =
        publish::observe(wanted, &services.registries()).map_err(|error| Failure::failed(error.to_diagnostic()))?;
    let plan = publish::plan_push(wanted, &seen).map_err(|problems| Failure::failed(whole(Diagnostics(problems))))?;
    indexes::refuse_taken(services, indexes)?;
    Ok(Plan { indexes: indexes.to_vec(), ..plan })
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
    let mut after = self::plan(services, &plan.wanted, &[])?;
    if let Some(step) = after.open().next() {
        return Err(Failure::failed(
            Diagnostic::error(format!("`{}` is not what was pushed", step.reference()))
                .note("the registry took it and shows something else")
                .help(RESUME),
        ));
    }
    if !plan.indexes.is_empty() {
        // The steps are done, and the push is not: a new journal says what is left.
        let rest = Journal::create(&path, plan);
        rest.map_err(|error| {
            Failure::error(Diagnostic::error("the journal of the push cannot be written").cause(error))
        })?;
        after.indexes.clone_from(&plan.indexes);
        join(services, call, &mut after)?;
    }
    // Done: what is left of it is in the registry.
    let _ = std::fs::remove_file(&path);
    Ok(after)
}

/// Makes the indexes of a plan whose images are there; they are done steps of it then.
fn join(services: &Services, call: &Call<'_>, plan: &mut Plan) -> Result<(), Failure> {
    let helped = |failure: Failure| Failure { diagnostic: failure.diagnostic.help(RESUME), ..failure };
    let found = indexes::look(services, &plan.indexes).map_err(helped)?;
    let tell = &mut |line: &str| call.out.line(Stream::Stdout, format!("joined {line}").as_bytes());
    indexes::put(&found, tell).map_err(helped)?;
    plan.steps.extend(indexes::done(&found));
    let (stack, _) = services.stack().map_err(whole)?;
    for (image, of) in stack.pairs() {
        let name = label(&stack, image, of);
        let own: Vec<String> = plan.indexes.iter().filter(|index| index.image == name).flat_map(joined_names).collect();
        services.ledger.note(&image.key, &of.name, |facts| facts.pushed.extend(own));
    }
    Ok(())
}

/// What of the indexes of a plan is not so yet; what is so becomes a done step of it.
pub(super) fn note_joined(services: &Services, plan: &mut Plan) -> Result<Vec<Reason>, Failure> {
    let found = indexes::look(services, &plan.indexes)?;
    let reasons = indexes::reasons(&found);
    if reasons.is_empty() {
        plan.steps.extend(indexes::done(&found));
    }
    Ok(reasons)
}

fn joined_names(index: &WantedIndex) -> Vec<String> {
    index.tags.iter().map(|tag| format!("{}:{}", index.name, tag.tag)).collect()
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
        let joined = plan.indexes.iter().filter(|index| index.image == wanted.image).flat_map(joined_names);
        services.ledger.note_found(&image.key, &of.name, references(wanted).into_iter().chain(joined).collect());
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
