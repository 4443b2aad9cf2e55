//! The action `environment_live`: the smallest action that brings changed files of an environment into its containers.
//! Nothing, a copy (then a command or a new start), or a build. Makes no image up to date: a copy is no build.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value, json};

use super::build::{self, ImageBuild};
use super::environment::{ForEnvironment, Request, find};
use super::identity::{self, Identity, key_reference};
use super::services::{Services, whole};
use super::{KEY_LABEL, text};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed};
use crate::context::live::{Act, Landing, Map, Snapshot};
use crate::docker::{ContainerState, Docker};
use crate::environment::live::{self, After, File, Gone, LiveError, Notes};
use crate::environment::pool::{Listed, Pool};
use crate::environment::{Folders, project_word};
use crate::graph::Links;
use crate::model::context::ContextKind;
use crate::model::{Diagnostic, Digest, Reason, Stream, words};
use crate::store::STATE_DIR;

pub(super) struct EnvironmentLive(pub(super) Arc<Services>);

/// The environment as its files are now.
struct Now {
    identity: Identity,
    /// `None` where it can be compared with nothing.
    snapshot: Option<Snapshot>,
    /// The engine holds its image.
    is_built: bool,
}

/// A container that runs, and what it needs.
struct Standing {
    container: Listed,
    act: Act,
}

impl Standing {
    /// Whether anything can be done: a container in use keeps its old image.
    fn needs_something(&self, now: &Now) -> bool {
        match &self.act {
            Act::Nothing => false,
            Act::Copy(_) => true,
            Act::Build(_) => !now.is_built || !self.container.is_taken,
        }
    }
}

/// What was done.
#[derive(Default)]
struct Sum {
    copied: usize,
    /// Containers that a copy cannot help, with the reason.
    behind: Vec<(String, String)>,
}

impl ActionType for EnvironmentLive {
    fn name(&self) -> &'static str {
        "environment_live"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["environment"], optional: &["exec", "restart"], short: Some("environment") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let build = ForEnvironment { name: "environment_live", inner: ImageBuild(self.0.clone()) };
        let mut links = build.links(args)?;
        // It makes nothing that others could use.
        links.provides.clear();
        Ok(links)
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let name = text(self.name(), call.args, "environment").map_err(Failure::error)?;
        let docker = self.0.docker().map_err(Failure::error)?;
        let now = self.now(name, call, &docker)?;
        let mut observed = Observed { parts: build::parts(name, &now.identity), ..Observed::default() };
        let noted = self.notes().read(&image_note(&now.identity.key.digest)).is_some();
        let standings = self.with_pool(&docker, |pool| self.standings(&docker, pool, name, &now))?;
        let needy = standings.iter().find(|standing| standing.needs_something(&now));
        if let Some(standing) = needy {
            let item = format!("container {}: {}", standing.container.short(), standing.act.tell());
            observed.forced.push(Reason::UptodateFalse { item });
        }
        observed.satisfied = needy.is_none() && noted;
        Ok(observed)
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let name = text(self.name(), call.args, "environment").map_err(Failure::error)?;
        let after = After {
            exec: call.args["exec"].as_str().map(str::to_owned),
            restart: call.args["restart"].as_bool().unwrap_or(false),
        };
        let docker = self.0.docker().map_err(Failure::error)?;
        let now = self.now(name, call, &docker)?;
        self.note(&image_note(&now.identity.key.digest), now.snapshot.as_ref())?;
        let say = |line: &str| call.out.line(Stream::Stdout, line.as_bytes());
        let standings = self.with_pool(&docker, |pool| self.standings(&docker, pool, name, &now))?;
        if standings.is_empty() {
            say(&format!("no container of {name} runs"));
        }
        let mut sum = Sum::default();
        for standing in &standings {
            say(&format!("container {}: {}", standing.container.short(), standing.act.tell()));
            self.apply(call, &docker, &now, standing, &after, &mut sum)?;
        }
        let replaced = self.replace(call, &docker, name, &now, &sum)?;
        let remark = match (sum.copied, sum.behind.len()) {
            (0, 0) => "nothing to copy".to_owned(),
            (copied, 0) => format!("copied into {}", words::count(copied, "container")),
            (_, _) => format!("built; {} removed", words::count(replaced, "container")),
        };
        let values = json!({ "copied": sum.copied, "behind": sum.behind.len(), "replaced": replaced });
        let values: JsonMap<String, Value> = values.as_object().cloned().unwrap_or_default();
        Ok(Done { result: Some(now.identity.key.digest), values, remark: Some(remark) })
    }
}

impl EnvironmentLive {
    fn now(&self, name: &str, call: &Call<'_>, docker: &Docker) -> Result<Now, Failure> {
        let (stack, graph) = self.0.stack().map_err(|problems| Failure::error(whole(problems)))?;
        let (image, plan) = find(&stack, name)?;
        let identity = identity::identify(&self.0, (&stack, &graph), image, plan, call.resources)?;
        self.0.files.save();
        let frame = identity::frame(&identity, image, plan);
        let snapshot = Snapshot::new(&frame, &identity.context);
        let key = identity.key.digest;
        let found = docker.find_image(&key_reference(image, &key)).map_err(build::infra)?;
        let is_built = found.is_some_and(|found| found.labels.get(KEY_LABEL).is_some_and(|label| *label == key.hex()));
        Ok(Now { identity, snapshot, is_built })
    }

    fn notes(&self) -> Notes {
        Notes::new(self.0.root.join(STATE_DIR).join("live"))
    }

    fn note(&self, name: &str, snapshot: Option<&Snapshot>) -> Result<(), Failure> {
        let Some(snapshot) = snapshot else { return Ok(()) };
        let text = serde_json::to_string(snapshot).unwrap_or_default();
        self.notes().write(name, &text).map_err(|error| {
            Failure::error(Diagnostic::error(format!("`{STATE_DIR}/live` cannot be written")).cause(error))
        })
    }

    fn read_note(&self, name: &str) -> Option<Snapshot> {
        serde_json::from_str(&self.notes().read(name)?).ok()
    }

    /// Works with this person's containers on the engine.
    fn with_pool<T>(
        &self,
        docker: &Docker,
        work: impl FnOnce(&Pool<'_>) -> Result<T, Diagnostic>,
    ) -> Result<T, Failure> {
        let lookup = |name: &str| self.0.env.get(OsStr::new(name)).cloned();
        let all = || {
            let folders = Folders::open(&lookup)?;
            let (scope, is_here) = self.0.fleet()?.whereabouts(&self.0.env)?;
            work(&Pool::new(docker, &folders, &scope, is_here)?)
        };
        all().map_err(Failure::error)
    }

    /// The containers of the environment that run, each with what it needs.
    fn standings(&self, docker: &Docker, pool: &Pool<'_>, name: &str, now: &Now) -> Result<Vec<Standing>, Diagnostic> {
        let project = project_word(&self.0.root);
        let mut found = Vec::new();
        for container in pool.list()? {
            let is_ours = container.name == name && container.project == project;
            if is_ours && container.state == ContainerState::Running {
                let act = self.act(docker, &container, now)?;
                found.push(Standing { container, act });
            }
        }
        Ok(found)
    }

    fn act(&self, docker: &Docker, container: &Listed, now: &Now) -> Result<Act, Diagnostic> {
        let unknown = || Act::Build("what it has is not known".to_owned());
        let image = match docker.image(&container.image) {
            Ok(image) => image,
            Err(error) if error.is_not_found() => return Ok(unknown()),
            Err(error) => return Err(error.into()),
        };
        let key = image.labels.get(KEY_LABEL).and_then(|label| Digest::parse(label));
        if !container.is_live() && key == Some(now.identity.key.digest) {
            return Ok(Act::Nothing);
        }
        let built_of = key.and_then(|key| self.read_note(&image_note(&key)));
        let old = if container.is_live() { self.read_note(&container_note(container)) } else { built_of.clone() };
        let (Some(old), Some(new)) = (old, &now.snapshot) else { return Ok(unknown()) };
        let act = Map::new(&now.identity.dockerfile, &image.workdir).act(&old, new, built_of.as_ref());
        let Act::Copy(mut moves) = act else { return Ok(act) };
        // What stands behind a mount nobody sees, and a copy would land in the mount.
        let mounts = match docker.container(&container.id) {
            Ok(full) => full.mounts,
            Err(error) if error.is_not_found() => return Ok(Act::Nothing),
            Err(error) => return Err(error.into()),
        };
        moves.retain(|one: &Landing| !mounts.iter().any(|mount| PathBuf::from(&one.to).starts_with(&mount.target)));
        if !moves.remove.is_empty() {
            let added = match docker.added(&container.id) {
                Ok(added) => added,
                Err(error) if error.is_not_found() => return Ok(Act::Nothing),
                Err(error) => return Err(error.into()),
            };
            if let Some(kept) = moves.remove.iter().find(|one| !added.contains(&one.to)) {
                return Ok(Act::Build(format!(
                    "`{}` is gone, and the image has a `{}` of its own",
                    kept.path, kept.to
                )));
            }
        }
        Ok(if moves.is_empty() { Act::Nothing } else { Act::Copy(moves) })
    }

    fn apply(
        &self,
        call: &Call<'_>,
        docker: &Docker,
        now: &Now,
        standing: &Standing,
        after: &After,
        sum: &mut Sum,
    ) -> Result<(), Failure> {
        let container = &standing.container;
        let moves = match &standing.act {
            Act::Nothing => return Ok(()),
            Act::Build(why) => {
                sum.behind.push((container.id.clone(), why.clone()));
                return Ok(());
            }
            Act::Copy(moves) => moves,
        };
        let files = files(now, &moves.put)?;
        let gone: Vec<Gone> = moves.remove.iter().map(|one| Gone { path: one.to.clone(), owner: one.owner }).collect();
        let note = container_note(container);
        // Until all is done it is not known what the container has.
        self.notes().forget(&note);
        let mut say = |stream: Stream, bytes: &[u8]| {
            bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .for_each(|line| call.out.line(stream, line));
        };
        let done = live::copy(docker, container, &files, &gone, call.stop)
            .and_then(|()| live::after(docker, container, after, &mut say, call.stop));
        match done {
            Ok(()) => {
                sum.copied += 1;
                self.note(&note, now.snapshot.as_ref())
            }
            Err(LiveError::Gone) => Ok(()),
            Err(LiveError::ReadOnly) => {
                sum.behind.push((container.id.clone(), "its files cannot be written".to_owned()));
                Ok(())
            }
            Err(LiveError::Told(problem)) if call.stop.is_requested() => {
                Err(Failure { interrupted: true, ..Failure::failed(problem) })
            }
            Err(LiveError::Told(problem)) => Err(Failure::failed(problem)),
        }
    }

    /// Builds the image where a copy is not enough, and removes the containers of the old one that nobody uses: the
    /// next run gets a new one. Says how many.
    fn replace(&self, call: &Call<'_>, docker: &Docker, name: &str, now: &Now, sum: &Sum) -> Result<usize, Failure> {
        if sum.behind.is_empty() {
            return Ok(0);
        }
        if !now.is_built {
            let request = Request { root: call.root, name, env: call.env, stop: call.stop, out: call.out };
            self.0.build_environment(&request)?;
        }
        let is_behind = |one: &Listed| sum.behind.iter().any(|(id, _)| *id == one.id);
        let gone = self.with_pool(docker, |pool| pool.clear(&is_behind, false))?;
        let left = sum.behind.len() - gone.len();
        if left > 0 {
            let line = format!("{} in use: what runs there has the old files", words::count(left, "container"));
            call.out.line(Stream::Stdout, line.as_bytes());
        }
        Ok(gone.len())
    }
}

fn image_note(key: &Digest) -> String {
    format!("image-{}", key.hex())
}

fn container_note(container: &Listed) -> String {
    format!("container-{}", container.token)
}

/// The files to be written, as they were when they were compared.
fn files(now: &Now, landings: &[Landing]) -> Result<Vec<File>, Failure> {
    let entries: BTreeMap<&[u8], _> =
        now.identity.context.entries.iter().map(|entry| (&entry.path[..], entry)).collect();
    let mut files = Vec::new();
    for landing in landings {
        let Some(entry) = entries.get(landing.path.as_bytes()) else { continue };
        let content = match &entry.kind {
            ContextKind::File { source, digest, .. } => {
                let bytes = std::fs::read(source).unwrap_or_default();
                if Digest::of(&bytes) != *digest {
                    let problem = Diagnostic::error(format!("`{}` changed while it was copied", landing.path));
                    return Err(Failure::failed(problem.help("run the task again")));
                }
                Some(bytes)
            }
            ContextKind::Directory => None,
            ContextKind::Symlink { .. } => continue,
        };
        files.push(File {
            to: landing.to.clone(),
            name_in_folder: landing.name_in_folder.clone(),
            content,
            mode: landing.mode.unwrap_or_else(|| entry.mode()),
            owner: landing.owner,
        });
    }
    Ok(files)
}
