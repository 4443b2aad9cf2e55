//! From a folder to a project: finds tasks.yaml, reads it, makes the graph, opens the state.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::args::FileArgs;
use super::quick::{Notes, Origin, SharedAsked};
use crate::action::ActionSet;
use crate::action::image::{KnownHosts, Services};
use crate::engine::narrow::Narrow;
use crate::engine::{self, Expander, Project, plan};
use crate::graph;
use crate::model::task::Taskfile;
use crate::model::{Diagnostic, Diagnostics, RepoPath, Secret};
use crate::render::task_text;
use crate::store::{Files, STATE_DIR, StateDb};
use crate::taskfile::{self, ActionForm, Expand, ImageInfo, LoadWorld, Quote};
use crate::world::World;

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The state may be changed; otherwise nothing is written at all.
    pub writes: bool,
    /// `name=value` of the command line.
    pub globals: BTreeMap<String, String>,
}

/// Where things are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub root: PathBuf,
    /// The name of the taskfile, relative to the root.
    pub file: String,
    /// The caller's folder, relative to the root.
    pub cwd: RepoPath,
}

/// Finds the root: the folder that holds the taskfile, here or above.
///
/// # Errors
/// There is none.
pub(super) fn find(args: &FileArgs, world: &World) -> Result<Place, Diagnostics> {
    let start = args.dir.as_ref().map_or_else(|| world.cwd.clone(), |dir| world.cwd.join(dir));
    let name = args.file.clone().unwrap_or_else(|| "tasks.yaml".to_owned());
    let mut at = Some(start.as_path());
    while let Some(dir) = at {
        let file = dir.join(&name);
        if file.is_file() {
            let root = file.parent().unwrap_or(dir).to_owned();
            let root = root.canonicalize().unwrap_or(root);
            let start = start.canonicalize().unwrap_or(start.clone());
            let below = start.strip_prefix(&root).map(|rest| rest.as_os_str().to_owned()).unwrap_or_default();
            let cwd = RepoPath::from_root(std::os::unix::ffi::OsStrExt::as_bytes(below.as_os_str()));
            let file = Path::new(&name).file_name().map_or(name.clone(), |name| name.to_string_lossy().into_owned());
            return Ok(Place { root, file, cwd: cwd.unwrap_or_else(RepoPath::root) });
        }
        at = dir.parent().filter(|_| !args.no_seek || args.seek_file);
    }
    Err(Diagnostic::error(format!("`{name}` was found neither in `{}` nor above", start.display()))
        .help("make a first one: cargo xtask init")
        .into())
}

/// What the files say.
pub(super) struct Read {
    pub tasks: Taskfile,
    pub warnings: Vec<Diagnostic>,
    pub actions: ActionSet,
    /// What knows the images and their engines.
    pub images: Arc<crate::action::image::Services>,
    /// What knows the environments and their engine.
    pub environments: Arc<crate::action::image::Services>,
    /// Files that say which tasks there are, relative to the root: tasks.yaml, what it includes, the spec, the metadata
    /// of environments.
    pub sources: Vec<String>,
    pub origin: Origin,
}

/// Only the tasks, without any state: to know the params before the command line is understood.
pub(super) fn read(place: &Place, world: &World, options: &LoadOptions) -> Result<Read, Diagnostics> {
    let mut built_in = crate::action::built_in(&place.root, world);
    built_in.actions.extend(&world.extra);
    let outside = Outside::new(&place.root, world, options.globals.clone());
    let loaded = outside.with(&built_in.actions, |load_world| taskfile::load(&place.file, load_world))?;
    tell_actions(&built_in, &loaded.taskfile)?;
    let crate::action::BuiltIn { actions, services: images, environments, .. } = built_in;
    let common = without_tasks(&loaded.taskfile);
    let origin = Origin { sources: loaded.sources.clone(), asked: outside.asked, common };
    let mut sources: Vec<String> = loaded.sources.into_iter().map(|(name, _)| name).collect();
    sources.extend(loaded.taskfile.stack.as_ref().map(|spec| spec.value.to_string()));
    sources.extend(crate::environment::catalog::files(&place.root));
    let (tasks, warnings) = (loaded.taskfile, loaded.warnings);
    Ok(Read { tasks, warnings, actions, images, environments, sources, origin })
}

/// What a taskfile says of hosts.
pub(super) fn known_hosts(tasks: &Taskfile) -> KnownHosts {
    KnownHosts {
        hosts: tasks.hosts.clone(),
        chosen: tasks.config.host.clone(),
        transfer: tasks.config.transfer.clone(),
    }
}

/// Tells actions what the file says beside the tasks.
fn tell_actions(built_in: &crate::action::BuiltIn, common: &Taskfile) -> Result<(), Diagnostics> {
    // Only the first reading of a set of actions tells them.
    let _ = built_in.hosts.set(common.hosts.clone());
    for services in [&built_in.services, &built_in.environments] {
        services.use_hosts(known_hosts(common));
    }
    let Some(spec) = &common.stack else { return Ok(()) };
    let outside = || Diagnostic::error(format!("stack `{}` lies outside the root", spec.value)).at(spec.place.clone());
    let spec = RepoPath::from_root(&*spec.value).ok_or_else(outside)?;
    built_in.services.use_spec(spec.clone());
    built_in.environments.use_spec(spec);
    Ok(())
}

fn without_tasks(taskfile: &Taskfile) -> Taskfile {
    Taskfile {
        tasks: Vec::new(),
        config: taskfile.config.clone(),
        vars: taskfile.vars.clone(),
        pools: taskfile.pools.clone(),
        stack: taskfile.stack.clone(),
        hosts: taskfile.hosts.clone(),
        storage: taskfile.storage.clone(),
        env_read: taskfile.env_read.clone(),
    }
}

/// A project that was opened, with warnings and with what knows the engines.
pub(super) type Opened = (Project, Vec<Diagnostic>, [Arc<Services>; 2]);

/// Everything for running a part of the graph that was compiled before.
///
/// # Errors
/// The state cannot be opened.
pub(super) fn open_part(place: &Place, narrow: Narrow, world: &World) -> Result<Opened, Diagnostics> {
    let mut built_in = crate::action::built_in(&place.root, world);
    built_in.actions.extend(&world.extra);
    tell_actions(&built_in, &narrow.common)?;
    let (db, warnings) = StateDb::open(&place.root)?;
    let names: Vec<&str> = narrow.graph.names();
    let records = db.records_of(&names)?;
    let files = Files::open_for_few(&place.root).map_err(|error| no_root(place, &error))?;
    let Narrow { graph, common, unchanged, whole, .. } = narrow;
    let Taskfile { config, pools, .. } = common;
    let parts = Parts { graph, config, pools, actions: built_in.actions, db, files, records, expand: None };
    let project = project(place, parts, world, true);
    let engines = [built_in.services, built_in.environments];
    Ok((Project { unchanged, whole: Some(Arc::new(whole)), ..project }, warnings, engines))
}

/// What a project is made of.
struct Parts {
    graph: graph::Graph,
    config: crate::model::task::Config,
    pools: BTreeMap<Arc<str>, usize>,
    actions: ActionSet,
    db: StateDb,
    files: Files,
    records: std::collections::HashMap<String, crate::store::Record>,
    expand: Option<Arc<engine::ExpandTasks>>,
}

fn project(place: &Place, parts: Parts, world: &World, writes: bool) -> Project {
    let token = world.env.get(OsStr::new("XTASK_TOKEN")).map_or_else(new_token, |t| t.to_string_lossy().into_owned());
    Project {
        root: place.root.clone(),
        graph: Arc::new(parts.graph),
        config: parts.config,
        pools: parts.pools,
        actions: parts.actions,
        expander: Arc::new(Templates),
        db: parts.db,
        files: parts.files,
        records: parts.records,
        env: world.env.clone(),
        key: key(&place.root, writes),
        params: std::collections::HashMap::new(),
        positional: std::collections::HashMap::new(),
        expand: parts.expand,
        late_params: None,
        token,
        unchanged: Vec::new(),
        whole: None,
        sightings: std::collections::HashMap::new(),
    }
}

fn no_root(place: &Place, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error(format!("the root `{}` cannot be opened", place.root.display())).cause(error)
}

/// What the reading of tasks may ask for, kept for the tasks that other tasks print.
#[derive(Clone)]
struct Outside {
    root: PathBuf,
    env: crate::exec::environment::Variables,
    globals: BTreeMap<String, String>,
    asked: SharedAsked,
}

impl Outside {
    fn new(root: &Path, world: &World, globals: BTreeMap<String, String>) -> Self {
        Self { root: root.to_owned(), env: world.env.clone(), globals, asked: SharedAsked::default() }
    }

    fn with<T>(&self, actions: &ActionSet, f: impl FnOnce(&LoadWorld<'_>) -> T) -> T {
        let forms: Vec<ActionForm<'_>> = actions
            .iter()
            .map(|action| {
                let form = action.arguments();
                ActionForm { name: action.name(), required: form.required, optional: form.optional, short: form.short }
            })
            .collect();
        let key = key(&self.root, false);
        let notes = Notes { asked: &self.asked, key: &key };
        f(&LoadWorld {
            read: &|name| std::fs::read(self.root.join(name)),
            images: &|spec| {
                notes.outside();
                images(&self.root, spec)
            },
            environments: &|| {
                notes.outside();
                environments(&self.root)
            },
            env: &|name| {
                notes.env(name, self.env.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned()))
            },
            expand: &Templates,
            glob: &|pattern| notes.glob(&self.root, pattern),
            actions: &forms,
            checks: &actions.check_names(),
            commands: taskfile::COMMANDS,
            globals: &self.globals,
        })
    }
}

/// The JSON Schema of tasks.yaml with all actions and checks of this program.
pub(super) fn schema(world: &World) -> serde_json::Value {
    let mut actions = crate::action::built_in(&world.cwd, world).actions;
    actions.extend(&world.extra);
    let outside = Outside::new(&world.cwd, world, BTreeMap::new());
    outside.with(&actions, |load_world| taskfile::schema(load_world.actions, load_world.checks))
}

pub(super) fn glob(root: &Path, pattern: &str) -> Vec<RepoPath> {
    let dep = crate::model::task::FileDep {
        pattern: pattern.into(),
        negated: false,
        place: crate::model::Place::file("tasks.yaml"),
    };
    crate::store::glob::expand(root, &[dep]).paths
}

/// The images of the spec, for `for_each: image`.
fn images(root: &Path, spec: &str) -> Result<Vec<ImageInfo>, Diagnostics> {
    let path =
        RepoPath::from_root(spec).ok_or_else(|| Diagnostic::error(format!("stack `{spec}` lies outside the root")))?;
    let stack = crate::stack::spec::load(root, &path)?;
    Ok(stack
        .images
        .iter()
        .map(|image| ImageInfo {
            name: image.key.to_string(),
            fields: serde_json::json!({ "image_name": image.image_name, "dir": image.dir.lossy(), "depend_on": image.depend_on.iter().map(|d| d.value.clone()).collect::<Vec<_>>() }),
        })
        .collect())
}

/// The environments, for `for_each: environment`.
fn environments(root: &Path) -> Result<Vec<ImageInfo>, Diagnostics> {
    let found = crate::environment::catalog::load(root)?;
    let info = |one: crate::environment::Environment| ImageInfo {
        name: one.name.to_string(),
        fields: serde_json::json!({
            "dir": one.folder.lossy(), "key": one.metadata.key.value, "version": one.metadata.version.to_string(),
            "short_description": one.metadata.short_description, "variant": one.variant, "tags": one.metadata.tags,
        }),
    };
    Ok(found.into_iter().map(info).collect())
}

/// The project for looking at it: with the members that earlier runs brought to light, and its warnings told.
pub(super) fn look(args: &FileArgs, world: &World) -> Result<(Place, Project), Diagnostics> {
    let place = find(args, world)?;
    let load = LoadOptions::default();
    let Read { tasks, warnings, actions, .. } = read(&place, world, &load)?;
    let (mut project, _) = open(&place, tasks, actions, world, &load)?;
    crate::engine::expand_recorded(&mut project);
    super::show(world, &Diagnostics(warnings));
    Ok((place, project))
}

/// Everything for running, explaining or changing.
pub(super) fn open(
    place: &Place,
    taskfile: Taskfile,
    actions: ActionSet,
    world: &World,
    options: &LoadOptions,
) -> Result<(Project, Vec<Diagnostic>), Diagnostics> {
    let outside = Outside::new(&place.root, world, options.globals.clone());
    let (known, forms) = (without_tasks(&taskfile), actions.clone());
    let expand: Arc<engine::ExpandTasks> = Arc::new(move |group, output| {
        outside.with(&forms, |load_world| taskfile::members(group, output, &known, load_world))
    });
    let Taskfile { tasks, config, pools, .. } = taskfile;
    let tasks: Vec<Arc<_>> = tasks.into_iter().map(Arc::new).collect();
    let mut problems = Vec::new();
    // Side by side: for an image they look at its folder, and there may be hundreds.
    let links: Vec<_> = tasks.par_iter().with_min_len(32).map(|task| plan::links_of(&actions, task)).collect();
    let links = links
        .into_iter()
        .zip(&tasks)
        .map(|(links, task)| {
            links.unwrap_or_else(|found| {
                // What is wrong with the stack is found again with every task of it.
                for problem in found.0 {
                    let is_known =
                        |known: &Diagnostic| known.message == problem.message && known.causes == problem.causes;
                    if problem.places.is_empty() && !problems.iter().any(is_known) {
                        problems.push(problem.at(task.place.clone()));
                    } else if !problem.places.is_empty() && !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
                graph::Links::default()
            })
        })
        .collect();
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    let graph = graph::build(tasks, links)?;
    let (db, mut warnings) =
        if options.writes { StateDb::open(&place.root)? } else { (StateDb::open_read_only(&place.root)?, Vec::new()) };
    let records = db.records()?;
    let files = Files::open(&place.root).map_err(|error| no_root(place, &error))?;
    warnings.extend(graph::warnings(&graph));
    let parts = Parts { graph, config, pools, actions, db, files, records, expand: Some(expand) };
    Ok((project(place, parts, world, options.writes), warnings))
}

fn new_token() -> String {
    format!(
        "{}-{}",
        std::process::id(),
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos())
    )
}

/// The random key of this workspace, made at the first run; for digests of secrets.
pub(super) fn key(root: &Path, writes: bool) -> Secret {
    let file = root.join(STATE_DIR).join("key");
    if let Ok(bytes) = std::fs::read(&file)
        && bytes.len() == 32
    {
        return Secret::new(bytes);
    }
    let mut bytes = [0_u8; 32];
    let read =
        std::fs::File::open("/dev/urandom").and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    if read.is_ok() && writes && std::fs::write(&file, bytes).is_ok() {
        // Another key next time would only cost work.
        let _ = std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600));
    }
    Secret::new(bytes.to_vec())
}

/// The template language as the rooms `taskfile` and `engine` want it.
struct Templates;

impl Expand for Templates {
    fn expand(&self, text: &str, scope: &serde_json::Value, quote: Quote) -> Result<String, String> {
        task_text::expand_text(text, scope, quote_of(quote == Quote::Shell)).map_err(|error| error.to_string())
    }

    fn names(&self, text: &str) -> Result<Vec<String>, String> {
        task_text::check_syntax(text).map_err(|error| error.to_string())?;
        Ok(task_text::paths_used(text).into_iter().collect())
    }
}

impl Expander for Templates {
    fn text(&self, template: &str, scope: &serde_json::Value, quote: bool) -> Result<String, String> {
        task_text::expand_text(template, scope, quote_of(quote)).map_err(|error| error.to_string())
    }

    fn words(&self, template: &str, scope: &serde_json::Value) -> Result<Vec<String>, String> {
        task_text::expand_words(template, scope).map_err(|error| error.to_string())
    }
}

fn quote_of(shell: bool) -> task_text::Quote {
    if shell { task_text::Quote::Shell } else { task_text::Quote::Plain }
}
