//! What the actions of images share: the stack, the engine, registries, git. Each is opened when it is first needed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::context_files::ContextFiles;
use super::exchange::Turns;
use super::fleet::{Fleet, Known, LeftOut, LostHome};
use super::identity;
use super::ledger::Ledger;
use super::mentions::{self, Dockerfiles};
use super::origin;
use super::published::Silent;
use super::shelf::{self, Shelf};
use crate::docker::{Docker, auth};
use crate::environment;
use crate::exec::environment::Variables;
use crate::model::context::ContextKind;
use crate::model::{Diagnostic, Diagnostics, ImageRef, Place, RepoPath};
use crate::registry::{CredentialsSource, Options, Policy, Registries};
use crate::render::template::Values;
use crate::stack::git::{Commit, Git};
use crate::stack::{self, Image, Plan, Stack};

/// The stack with its edges.
pub type Resolved = (Arc<Stack>, Arc<stack::Graph>);

/// Shared by all actions of one project.
pub struct Services {
    pub(super) root: PathBuf,
    pub(super) env: Variables,
    spec: OnceLock<RepoPath>,
    /// The environments stand beside the images of the stack, built for one plan each.
    environments: bool,
    stack: OnceLock<Result<Resolved, Diagnostics>>,
    /// Engines, connected when they are first needed.
    fleet: Mutex<Option<Arc<Fleet>>>,
    /// What tasks.yaml says of hosts; without it there is only the engine of the docker command line.
    hosts: OnceLock<Known>,
    /// Hosts that the command line names.
    flag: OnceLock<Vec<String>>,
    registries: OnceLock<Registries>,
    /// For questions that are worth no waiting.
    quick: OnceLock<Registries>,
    pub(super) silent: Silent,
    pub(super) shelf: Shelf,
    /// Set once the containers of dead runs were looked for.
    pub(super) swept: OnceLock<()>,
    /// Held while the lock file is read and written: tasks of two bases may do that at once.
    pub(super) locking: Mutex<()>,
    pub(super) files: ContextFiles,
    pub(super) dockerfiles: Dockerfiles,
    /// What the Dockerfiles were rendered from, by image; known when the stack is.
    sources: Mutex<BTreeMap<Arc<str>, Sources>>,
    pub(super) ledger: Ledger,
    /// What every template may use: the same for all, and as long as the stack is large.
    template_values: OnceLock<Values>,
    /// Templates beside the images, listed once: their folder has an entry for each image, too.
    common_templates: OnceLock<Vec<RepoPath>>,
    /// Whose turn it is to hand an image on.
    pub(super) turns: Turns,
    /// Facts of git that go into labels and tags; read once per run.
    git: OnceLock<GitFacts>,
}

/// What a template uses beside its image's own folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// The template, what it includes, and files that answered its questions.
    pub read: Vec<RepoPath>,
    /// Whether macros of this program are in it.
    pub shipped: bool,
    /// Files and folders that are brought into the context.
    pub brought: Vec<RepoPath>,
}

/// What git says of the working tree.
#[derive(Clone, Debug, Default)]
pub(super) struct GitFacts {
    pub head: Option<Commit>,
    pub remote: Option<String>,
    pub branch: Option<String>,
}

impl Services {
    pub fn new(root: &Path, env: &Variables) -> Arc<Self> {
        Arc::new(Self::make(root, env, false))
    }

    /// The same for environments: they are images, too, built on those of the stack or on others.
    pub fn with_environments(root: &Path, env: &Variables) -> Arc<Self> {
        Arc::new(Self::make(root, env, true))
    }

    fn make(root: &Path, env: &Variables, environments: bool) -> Self {
        Self {
            root: root.to_owned(),
            env: env.clone(),
            spec: OnceLock::new(),
            environments,
            stack: OnceLock::new(),
            fleet: Mutex::default(),
            hosts: OnceLock::new(),
            flag: OnceLock::new(),
            registries: OnceLock::new(),
            quick: OnceLock::new(),
            silent: Silent::default(),
            shelf: Shelf::default(),
            swept: OnceLock::new(),
            locking: Mutex::default(),
            files: ContextFiles::new(root),
            dockerfiles: Dockerfiles::default(),
            sources: Mutex::default(),
            ledger: Ledger::default(),
            template_values: OnceLock::new(),
            common_templates: OnceLock::new(),
            turns: Turns::default(),
            git: OnceLock::new(),
        }
    }

    /// Says where the spec is; without it, it is `images/spec.yml`.
    pub fn use_spec(&self, path: RepoPath) {
        // A second call for the same project says the same.
        let _ = self.spec.set(path);
    }

    /// Says which hosts there are; without it, variables and flags choose none.
    pub(crate) fn use_hosts(&self, known: Known) {
        // A second call for the same project says the same.
        let _ = self.hosts.set(known);
    }

    /// Says which hosts the command line names, if it names any.
    ///
    /// # Errors
    /// A host is unknown, though nothing may ask for it.
    pub(crate) fn choose_hosts(&self, flag: &[String]) -> Result<(), Diagnostic> {
        if let (false, Some(known)) = (flag.is_empty(), self.hosts.get()) {
            super::fleet::named(known, flag, &self.env)?;
        }
        if !flag.is_empty() {
            let _ = self.flag.set(flag.to_vec());
        }
        Ok(())
    }

    /// Begins to list what the engine holds, beside whatever the caller does: for stacks with so many images that they are
    /// looked up in one listing. A host that was chosen is met later, when it is known to be needed.
    pub(crate) fn list_early(services: &Arc<Self>, images: usize) {
        if services.has_chosen_hosts() || !shelf::is_listed(images) {
            return;
        }
        let services = services.clone();
        std::thread::spawn(move || {
            if let Ok(docker) = services.docker() {
                services.shelf.list(&docker);
            }
        });
    }

    /// Builds at once on all chosen hosts together; `None` where only jobs and pools limit them.
    ///
    /// # Errors
    /// A host is unknown, or none can be reached.
    pub(crate) fn slots(&self) -> Result<Option<usize>, Diagnostic> {
        self.fleet().map(|fleet| fleet.slots())
    }

    /// What processes of tasks must find in their environment to use the engine that holds the images.
    ///
    /// # Errors
    /// A host is unknown, or none can be reached.
    pub(crate) fn engine_variables(&self) -> Result<Vec<(&'static str, std::ffi::OsString)>, Diagnostic> {
        self.fleet().map(|fleet| fleet.variables())
    }

    /// Whether hosts were chosen, by whatever means.
    pub(crate) fn has_chosen_hosts(&self) -> bool {
        let by_variable =
            crate::remote::hosts::CHOICE.iter().any(|name| self.var(name).is_some_and(|value| !value.is_empty()));
        let by_file = || self.hosts.get().is_some_and(|known| known.chosen.is_some());
        self.flag.get().is_some() || (self.hosts.get().is_some() && by_variable) || by_file()
    }

    /// Hosts that were left out so far, and why.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let fleet = self.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        fleet.as_ref().map(|fleet| fleet.left_out()).unwrap_or_default()
    }

    /// The host that keeps the images, if it does not answer any more and others of the pool are left.
    pub(crate) fn lost_home(&self) -> Option<LostHome> {
        let fleet = self.fleet.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fleet.and_then(|fleet| fleet.lost_home())
    }

    /// A path below the root, relative to it.
    pub(super) fn in_root(&self, path: &Path) -> Option<RepoPath> {
        RepoPath::from_root(path.strip_prefix(&self.root).ok()?.as_os_str().as_encoded_bytes())
    }

    fn var(&self, name: &str) -> Option<String> {
        self.env.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned())
    }

    /// The stack with its edges, from the spec and the FROM lines of the rendered Dockerfiles.
    pub(super) fn stack(&self) -> Result<Resolved, Diagnostics> {
        self.stack
            .get_or_init(|| {
                let mut stack = self.load()?;
                self.choose_platforms(&mut stack)?;
                let source = stack.clone();
                let registry = self.var("STACK_REGISTRY");
                let mut read = mentions::mentions(self, &source);
                let mentioned = |image: &Image, plan: &Plan| {
                    // Each pair is asked for once.
                    read.remove(&(image.key.clone(), plan.name.clone())).unwrap_or_else(|| Ok(Vec::new()))
                };
                let resolved = stack::graph::resolve(stack, registry.as_deref(), mentioned);
                let (stack, graph) = resolved.map_err(|problems| origin::at_source(self, &source, problems))?;
                Ok((Arc::new(stack), Arc::new(graph)))
            })
            .clone()
    }

    /// The spec, and the environments where they are wanted: those need no spec.
    fn load(&self) -> Result<Stack, Diagnostics> {
        let default = || RepoPath::from_root("images/spec.yml").unwrap_or_else(RepoPath::root);
        let spec = self.spec.get().cloned();
        let spec_is_absent = || spec.is_none() && !self.root.join(default().as_path()).exists();
        if !self.environments {
            return stack::spec::load(&self.root, &spec.unwrap_or_else(default));
        }
        let environments = environment::catalog::load(&self.root)?;
        let mut stack = if spec_is_absent() {
            let file = default();
            let mut stack = stack::spec::empty(&file.lossy(), file.parent().unwrap_or_else(RepoPath::root));
            stack.plans.push(Plan::only(None, Place::file(environment::catalog::FOLDER)));
            stack
        } else {
            stack::spec::load(&self.root, &spec.unwrap_or_else(default))?
        };
        for one in &environments {
            if let Some(plan) = one.metadata.plan.as_ref().filter(|plan| stack.plan(&plan.value).is_none()) {
                let known: Vec<&str> = stack.plans.iter().map(|plan| &*plan.name).collect();
                let message = format!("`plan` of environment `{}` is unknown: `{}`", one.family(), plan.value);
                let help = crate::model::words::suggest("plan", &plan.value, &known);
                return Err(Diagnostic::error(message).at(plan.place.clone()).maybe_help(help).into());
            }
            stack.images.push(one.image(&stack.plans));
        }
        Ok(stack)
    }

    /// Of the platforms of an image, the one that is built here comes first: that of `XTASK_PLATFORM`, else that of this
    /// machine, else the first of the spec. The others get plans of their own, unless the variable asks for one only.
    fn choose_platforms(&self, stack: &mut Stack) -> Result<(), Diagnostics> {
        let told = self.var("XTASK_PLATFORM").filter(|platform| !platform.is_empty());
        let own = match std::env::consts::ARCH {
            "x86_64" => "linux/amd64",
            "aarch64" => "linux/arm64",
            _ => "",
        };
        let mut problems = Vec::new();
        for image in stack.images.iter_mut().filter(|image| image.platforms.len() > 1) {
            let wanted = told.as_deref().unwrap_or(own);
            match image.platforms.iter().position(|platform| platform == wanted) {
                Some(at) => image.platforms.rotate_left(at),
                None if told.is_some() => problems.push(
                    Diagnostic::error(format!("image `{}` does not declare the platform `{wanted}`", image.key))
                        .at(image.place.clone())
                        .note("the environment variable `XTASK_PLATFORM` asks for it"),
                ),
                None => {}
            }
        }
        // Who asks for one platform means just that; an environment is made for the engine that it runs on.
        if told.is_none() && !self.environments {
            stack.add_foreign_plans();
        }
        if problems.is_empty() { Ok(()) } else { Err(Diagnostics(problems)) }
    }

    /// The stack with its edges, for commands.
    ///
    /// # Errors
    /// Everything that is wrong with the spec and the FROM lines.
    pub fn resolved(&self) -> Result<Resolved, Diagnostics> {
        self.stack()
    }

    /// Whether a file can change what an image is; `None` where only its path can tell, e.g. because it is gone.
    pub fn sees(&self, image: &Image, file: &RepoPath) -> Option<bool> {
        let (stack, _) = self.stack().ok()?;
        let templates = [identity::source_path(&self.root, image), identity::rendered_path(image)];
        let sources = self.sources(image);
        let is_inside = file.is_within(&image.dir);
        // The ignore file decides what is seen.
        if templates.contains(file)
            || sources.read.contains(file)
            || (is_inside && file.as_bytes().ends_with(b".dockerignore"))
        {
            return Some(true);
        }
        if !is_inside {
            if !sources.brought.iter().any(|source| file.is_within(source)) {
                return Some(false);
            }
            if !self.root.join(file.as_path()).exists() {
                return Some(true);
            }
        }
        if !self.root.join(file.as_path()).exists() {
            return None;
        }
        let plans = stack.plans.iter().filter(|plan| image.is_in(&plan.name));
        let holds = |context: &crate::model::Context| {
            context.entries.iter().any(|entry| match &entry.kind {
                // Also what is brought from elsewhere.
                ContextKind::File { source, .. } => self.in_root(source).as_ref() == Some(file),
                _ => RepoPath::new(&image.dir, &entry.path).as_ref() == Some(file),
            })
        };
        let contexts: Option<Vec<_>> = plans.map(|plan| identity::context_of(self, &stack, image, plan).ok()).collect();
        Some(contexts?.iter().any(|context| holds(context)))
    }

    /// Keeps what the Dockerfile of an image was rendered from.
    pub(super) fn keep_sources(&self, image: &Image, sources: Sources) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).insert(image.key.clone(), sources);
    }

    /// The values that are the same for the templates of all images; `make` is asked once.
    pub(super) fn template_values(&self, make: impl FnOnce() -> Values) -> Values {
        self.template_values.get_or_init(make).clone()
    }

    /// The templates that every image may use; `list` is asked once.
    pub(super) fn common_templates(&self, list: impl FnOnce() -> Vec<RepoPath>) -> Vec<RepoPath> {
        self.common_templates.get_or_init(list).clone()
    }

    /// What the Dockerfile of an image was rendered from when the stack was read.
    pub(super) fn sources(&self, image: &Image) -> Sources {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).get(&image.key).cloned().unwrap_or_default()
    }

    /// The repository through which the hosts of a pool hand images on, if one is named.
    pub(super) fn transfer(&self) -> Option<ImageRef> {
        ImageRef::parse(self.hosts.get()?.transfer.as_deref()?)
    }

    /// The engine that holds all images.
    pub(super) fn docker(&self) -> Result<Docker, Diagnostic> {
        self.fleet()?.home()
    }

    /// The engines, connected when they are first needed; tried again after a failure.
    pub(super) fn fleet(&self) -> Result<Arc<Fleet>, Diagnostic> {
        let mut fleet = self.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fleet) = &*fleet {
            return Ok(fleet.clone());
        }
        let flag = self.flag.get().map(Vec::as_slice).unwrap_or_default();
        // The platforms that matter are known once the stack is; what asks before that builds nothing of it.
        let stack = self.stack.get().and_then(|stack| stack.as_ref().ok());
        let foreign = stack.iter().flat_map(|(stack, _)| &stack.foreign).filter_map(|plan| plan.foreign.as_ref());
        let foreign: Vec<String> = foreign.map(|foreign| foreign.platform.clone()).collect();
        let connected = Arc::new(Fleet::connect(self.hosts.get(), flag, &self.env, &foreign)?);
        *fleet = Some(connected.clone());
        Ok(connected)
    }

    /// Clients for registries, with the logins of the docker command line.
    pub(crate) fn registries(&self) -> Registries {
        self.registries.get_or_init(|| Registries::new(self.credentials(), self.registry_options())).clone()
    }

    /// The same for questions whose answer only saves work: one try, and not for long.
    pub(super) fn quick_registries(&self) -> Registries {
        self.quick
            .get_or_init(|| {
                let options = Options {
                    policy: Policy { tries: 1, ..Policy::default() },
                    connect: Duration::from_secs(3),
                    stall: Duration::from_secs(10),
                    ..self.registry_options()
                };
                Registries::new(self.credentials(), options)
            })
            .clone()
    }

    fn registry_options(&self) -> Options {
        let list = self.var("XTASK_INSECURE_REGISTRIES").unwrap_or_default();
        let insecure = list.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).collect();
        Options { insecure, ..Options::default() }
    }

    pub(super) fn credentials(&self) -> CredentialsSource {
        let env = self.env.clone();
        CredentialsSource::new(move |host| {
            let home = env.get(OsStr::new("HOME")).map(PathBuf::from);
            let found = auth::lookup(host, &|name| env.get(OsStr::new(name)).cloned(), home.as_deref());
            found.map(|found| found.map(auth::Credentials::into_pair)).map_err(|error| error.to_string())
        })
    }

    /// The login for the registry of a name, as the engine wants it.
    pub(super) fn login(&self, name: &ImageRef) -> Result<Option<auth::Credentials>, Diagnostic> {
        let found = self.credentials().look_up(name.host().unwrap_or("docker.io"));
        let found =
            found.map_err(|why| Diagnostic::error(format!("the login for `{name}` cannot be looked up")).cause(why))?;
        Ok(found.map(|(user, secret)| auth::Credentials::from_pair(user, secret)))
    }

    pub(super) fn git(&self) -> GitFacts {
        self.git
            .get_or_init(|| {
                let Ok(Some(git)) = Git::open(&self.root, &self.env) else { return GitFacts::default() };
                GitFacts {
                    head: git.head().ok().flatten(),
                    remote: git.remote_url().ok().flatten(),
                    branch: git.branch().ok().flatten(),
                }
            })
            .clone()
    }

    /// What stands behind the prefix in the tag of a plan: the commit, or the branch; `dev` outside a repository.
    pub(super) fn suffix(&self, stack: &Stack) -> Result<String, Diagnostic> {
        let git = self.git();
        Ok(match stack.suffix {
            stack::Suffix::Hash => git.head.map_or_else(|| "dev".to_owned(), |head| head.short().to_owned()),
            stack::Suffix::Branch => match git.branch {
                Some(branch) => stack::tags::branch_text(&branch)?,
                None => "dev".to_owned(),
            },
        })
    }

    /// Labels that every image of the stack bears, beside those of its key.
    pub(super) fn labels(&self, image: &Image) -> BTreeMap<String, String> {
        let git = self.git();
        let mut labels = BTreeMap::new();
        let mut oci = |name: &str, value: String| labels.insert(format!("org.opencontainers.image.{name}"), value);
        oci("title", image.title.clone().unwrap_or_else(|| image.key.to_string()));
        if let Some(text) = &image.description {
            oci("description", text.clone());
        }
        if let Some(head) = git.head {
            oci("revision", head.hash.clone());
            let time = jiff::Timestamp::from_second(head.time).map(|time| time.to_string());
            if let Ok(time) = time {
                oci("created", time);
            }
        }
        if let Some(url) = git.remote {
            oci("source", url);
        }
        labels.extend(image.labels.clone());
        labels
    }
}

/// Several errors of a spec or Dockerfile as one: the first, with how many there are.
pub(super) fn whole(problems: Diagnostics) -> Diagnostic {
    let more = problems.0.len().saturating_sub(1);
    let mut problems = problems.0.into_iter();
    let first = problems.next().unwrap_or_else(|| Diagnostic::error("the stack cannot be read"));
    if more == 0 { first } else { problems.fold(first, |all, next| all.note(next.message)) }
}
