//! What an image is by its inputs: rendered Dockerfile, visible files, build args, parents. Computes its content key.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::origin;
use super::services::Services;
use crate::action::Failure;
use crate::context::ignore::ignore_file;
use crate::context::{Ignore, Joined, Tree, VisibleError, visible};
use crate::model::{Context, Diagnostic, Diagnostics, Digest, Place, RepoPath};
use crate::render::brought;
use crate::render::dockerfile::{BuildOptions, Dockerfile};
use crate::render::template::{self, Rendered, Values};
use crate::stack::graph::Source;
use crate::stack::key::{ContentKey, KeyParts, content_key};
use crate::stack::{Args, Graph, Image, Plan, Stack};
use crate::store::STATE_DIR;

/// Where the rendered Dockerfile of an image lies.
pub(super) fn rendered_path(image: &Image) -> RepoPath {
    // Keys are names of folders, so the path is within the root.
    RepoPath::from_root(format!("{STATE_DIR}/render/{}/Dockerfile", image.key)).unwrap_or_else(RepoPath::root)
}

/// The template of an image, or its plain Dockerfile: relative to the root.
pub(super) fn source_path(root: &Path, image: &Image) -> RepoPath {
    let plain = RepoPath::new(&image.dir, &image.dockerfile).unwrap_or_else(|| image.dir.clone());
    let template = RepoPath::new(&image.dir, format!("{}.j2", image.dockerfile)).unwrap_or_else(|| image.dir.clone());
    if root.join(template.as_path()).exists() { template } else { plain }
}

/// Renders the Dockerfile of an image: the name under which errors place it, and its text.
pub(super) fn render(services: &Services, stack: &Stack, image: &Image) -> Result<(String, String), Diagnostics> {
    render_whole(services, stack, image).map(|(file, rendered)| (file, rendered.text))
}

/// The same with what was read and what is brought into the context.
pub(super) fn render_whole(
    services: &Services,
    stack: &Stack,
    image: &Image,
) -> Result<(String, Rendered), Diagnostics> {
    let root = &*services.root;
    let source = source_path(root, image);
    if !source.as_bytes().ends_with(b".j2") {
        let text = std::fs::read_to_string(root.join(source.as_path())).map_err(|error| {
            Diagnostic::error(format!("`{source}` of image `{}` cannot be read", image.key))
                .at(image.place.clone())
                .cause(error)
                .help(format!("write `{source}` or `{source}.j2`"))
        })?;
        let files_read = vec![source.as_path().to_owned()];
        let rendered = Rendered { text, files_read, brought: Vec::new(), shipped: false };
        return Ok((source.lossy(), rendered));
    }
    let search = [PathBuf::from(stack.dir.as_path())];
    let rendered = template::render(root, source.as_path(), &search, template_values(services, stack, image))?;
    Ok((rendered_path(image).lossy(), rendered))
}

/// What the template of an image may use.
pub(super) fn template_values(services: &Services, stack: &Stack, image: &Image) -> Values {
    let shared = services.template_values(|| values(stack));
    shared.with("image", &describe(image)).with("build_args", &json!(image.build_args))
}

fn describe(image: &Image) -> Value {
    json!({ "name": &*image.key, "key": &*image.key, "image_name": image.image_name })
}

/// What every template of the stack may use.
fn values(stack: &Stack) -> Values {
    let images: serde_json::Map<String, Value> =
        stack.images.iter().map(|image| (image.key.to_string(), describe(image))).collect();
    let plans: Vec<&str> = stack.plans.iter().map(|plan| &*plan.name).collect();
    Values::default().with("images", &Value::Object(images)).with("plans", &json!(plans))
}

/// Reads a rendered Dockerfile for one plan: its name in messages, and its text.
pub(super) fn read(
    services: &Services,
    text: (&str, &str),
    stack: &Stack,
    image: &Image,
    plan: &Plan,
) -> Result<Arc<Dockerfile>, Diagnostics> {
    let options = BuildOptions {
        args: stack.build_args(image, plan, &Args::new()),
        target: image.target.clone(),
        platform: plan.platform(image).map(str::to_owned),
        ..BuildOptions::default()
    };
    services.dockerfiles.read(text, options, (image, plan))
}

/// An image in one plan, by its inputs.
pub(super) struct Identity {
    pub dockerfile: Arc<Dockerfile>,
    pub context: Arc<Context>,
    pub args: Args,
    pub key: ContentKey,
    /// What each needed image is, by its resolved reference.
    pub bases: BTreeMap<String, Basis>,
}

/// An image that another one is built from.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    /// Its content key, or for a base from outside its digest.
    pub digest: Digest,
    /// The id in the engine, if it is known to be there.
    pub id: Option<String>,
    /// What the FROM line is replaced by.
    pub pin: String,
    /// Its key in the stack; `None` for a base from outside.
    pub image: Option<Arc<str>>,
    /// Where a registry has it, if it was not built here.
    pub published: Option<String>,
}

impl Basis {
    /// The same base for a plan: which of the images behind its digest is meant for another platform, the builder finds.
    fn on(self, plan: &Plan) -> Self {
        if plan.foreign.is_some() { Self { id: None, ..self } } else { self }
    }
}

/// What is known of images that were built or found before, by resource.
pub(super) type Known = BTreeMap<Arc<str>, Value>;

/// Computes who an image is in one plan. Parents come from `known` (what this run built), else from their own inputs.
pub(super) fn identify(
    services: &Services,
    (stack, graph): (&Stack, &Graph),
    image: &Image,
    plan: &Plan,
    known: &Known,
) -> Result<Identity, Failure> {
    let mut memo = HashMap::new();
    identify_with(services, (stack, graph), image, plan, known, &mut memo)
        .map_err(|failure| origin::failure(services, stack, failure))
}

fn identify_with(
    services: &Services,
    (stack, graph): (&Stack, &Graph),
    image: &Image,
    plan: &Plan,
    known: &Known,
    memo: &mut HashMap<(Arc<str>, Arc<str>), Digest>,
) -> Result<Identity, Failure> {
    let wrong = |problems: Diagnostics| Failure::error(first(problems));
    let (file, text) = rendered(services, stack, image).map_err(wrong)?;
    let dockerfile = read(services, (&file, &text), stack, image, plan).map_err(wrong)?;
    let context = context(services, image, &dockerfile)?;
    let mut bases = BTreeMap::new();
    let image_at = stack.images.iter().position(|one| one.key == image.key).unwrap_or_default();
    let plan_at = stack.all_plans().position(|one| one.name == plan.name).unwrap_or_default();
    for used in graph.uses(image_at, plan_at) {
        let basis = match used.source {
            Source::Image(parent) => {
                let parent = &stack.images[parent];
                parent_basis(services, (stack, graph), parent, stack.plan_of_parent(parent, plan), known, memo)?
            }
            Source::Outside => outside_basis(services, &used.reference, known)?.on(plan),
        };
        bases.insert(used.reference.clone(), basis);
    }
    let args = stack.build_args(image, plan, &Args::new());
    let key = key((image, plan), &dockerfile, &context, &args, &bases);
    Ok(Identity { dockerfile, context, args, key, bases })
}

fn key(
    (image, plan): (&Image, &Plan),
    dockerfile: &Dockerfile,
    context: &Context,
    args: &Args,
    bases: &BTreeMap<String, Basis>,
) -> ContentKey {
    let digests: BTreeMap<String, Digest> = bases.iter().map(|(name, basis)| (name.clone(), basis.digest)).collect();
    let options: BTreeMap<String, String> =
        image.network.iter().map(|network| ("network".to_owned(), network.clone())).collect();
    content_key(&KeyParts {
        dockerfile,
        context,
        args,
        platform: plan.platform(image),
        options: &options,
        bases: &digests,
    })
}

/// What an image is apart from the files of its context.
pub(super) fn frame(identity: &Identity, image: &Image, plan: &Plan) -> Digest {
    key((image, plan), &identity.dockerfile, &Context::default(), &identity.args, &identity.bases).digest
}

/// The Dockerfile as the task `render` left it, which comes before whoever asks; rendered here where it never ran.
fn rendered(services: &Services, stack: &Stack, image: &Image) -> Result<(String, String), Diagnostics> {
    let path = rendered_path(image);
    match std::fs::read_to_string(services.root.join(path.as_path())) {
        Ok(text) => Ok((path.lossy(), text)),
        Err(_) => render(services, stack, image),
    }
}

/// The context of an image in a plan, by the Dockerfile that the task `render` left.
pub(super) fn context_as_rendered(
    services: &Services,
    stack: &Stack,
    image: &Image,
    plan: &Plan,
) -> Result<Arc<Context>, Failure> {
    context_by(rendered(services, stack, image), services, (stack, image, plan))
}

/// The context by a Dockerfile: its name and text, or what is wrong with its template.
fn context_by(
    dockerfile: Result<(String, String), Diagnostics>,
    services: &Services,
    (stack, image, plan): (&Stack, &Image, &Plan),
) -> Result<Arc<Context>, Failure> {
    let wrong = |problems| Failure::error(first(problems));
    let context = dockerfile.map_err(wrong).and_then(|(file, text)| {
        let dockerfile = read(services, (&file, &text), stack, image, plan).map_err(wrong)?;
        context(services, image, &dockerfile)
    });
    context.map_err(|failure| origin::failure(services, stack, failure))
}

fn first(problems: Diagnostics) -> Diagnostic {
    problems.0.into_iter().next().unwrap_or_else(|| Diagnostic::error("the Dockerfile cannot be read"))
}

/// The files that the Dockerfile can see, with their digests.
fn context(services: &Services, image: &Image, dockerfile: &Dockerfile) -> Result<Arc<Context>, Failure> {
    let taken = dockerfile.context.iter().map(|one| (one.pattern.clone(), one.glob, one.deep)).collect();
    // What is brought from elsewhere is told by the text, which is not compared.
    let is_own = brought::parse(&dockerfile.text).is_empty();
    let may_keep = || is_own && services.shelf.is_still();
    if let Some(context) = services.files.recent(&image.key, &taken).filter(|_| may_keep()) {
        return Ok(context);
    }
    let begun = Instant::now();
    let dir = services.root.join(image.dir.as_path());
    let name = format!("image `{}`", image.key);
    let context = Arc::new(listed(services, &name, (&dir, &dir.join(&image.dockerfile)), dockerfile)?);
    if may_keep() {
        services.files.keep(&image.key, begun, taken, &context);
    }
    Ok(context)
}

/// The same for a folder and the file beside which its rules of ignoring may lie; `what` is for messages.
pub(super) fn listed(
    services: &Services,
    what: &str,
    (dir, plain): (&Path, &Path),
    dockerfile: &Dockerfile,
) -> Result<Context, Failure> {
    let ignore = match ignore_file(dir, plain) {
        None => Ignore::nothing(),
        Some(path) => {
            let bytes = std::fs::read(&path).map_err(|error| {
                Failure::error(Diagnostic::error(format!("`{}` cannot be read", path.display())).cause(error))
            })?;
            let name = path.strip_prefix(&services.root).unwrap_or(&path).to_string_lossy().into_owned();
            Ignore::parse(&name, &bytes).map_err(|problems| Failure::error(first(problems)))?
        }
    };
    let joined = joined(services, dockerfile)?;
    let tree = Tree { dir, ignore: &ignore, joined: &joined };
    for attempt in 0..3 {
        services.files.next_epoch();
        let context = visible::list(dockerfile, tree).and_then(|found| {
            let real = |path: &[u8]| services.in_root(&tree.real(path));
            let paths: Vec<RepoPath> = found.iter().filter_map(|(path, _)| real(path)).collect();
            services.files.prefetch(&paths);
            visible::with_facts(found, tree, |path| services.files.facts(path))
        });
        match context {
            Ok(context) => return Ok(context),
            Err(VisibleError::Wrong(problems)) => return Err(Failure::error(first(problems))),
            Err(VisibleError::Changed(path)) if attempt == 2 => {
                let name = path.strip_prefix(&services.root).unwrap_or(&path).display().to_string();
                return Err(Failure::error(Diagnostic::error(format!("`{name}` keeps changing while it is read"))));
            }
            Err(VisibleError::Changed(_)) => {}
        }
    }
    Err(Failure::error(Diagnostic::error(format!("the context of {what} keeps changing"))))
}

/// What the template brought from elsewhere in the repository.
fn joined(services: &Services, dockerfile: &Dockerfile) -> Result<Vec<Joined>, Failure> {
    let all = brought::parse(&dockerfile.text).into_iter().map(|one| {
        let ignore = Ignore::parse(&one.from, one.exclude.join("\n").as_bytes())
            .map_err(|problems| Failure::error(first(problems)))?;
        let source = services.root.join(&one.from);
        if source.symlink_metadata().is_err() {
            let problem = Diagnostic::error(format!("`{}`, which is brought into the context, is not there", one.from));
            return Err(Failure::error(problem.at(Place::file(&dockerfile.file))));
        }
        Ok(Joined { at: one.path(), source, name: one.from, ignore })
    });
    all.collect()
}

fn parent_basis(
    services: &Services,
    (stack, graph): (&Stack, &Graph),
    parent: &Image,
    plan: &Plan,
    known: &Known,
    memo: &mut HashMap<(Arc<str>, Arc<str>), Digest>,
) -> Result<Basis, Failure> {
    let built = known.get(&*format!("image:{}", parent.key)).and_then(|values| values["plans"].get(&*plan.name));
    let digest = match built.and_then(|plan| plan["key"].as_str()).and_then(Digest::parse) {
        Some(key) => key,
        None => match memo.get(&(parent.key.clone(), plan.name.clone())) {
            Some(key) => *key,
            None => {
                let found = identify_with(services, (stack, graph), parent, plan, known, memo)?.key.digest;
                memo.insert((parent.key.clone(), plan.name.clone()), found);
                found
            }
        },
    };
    Ok(Basis {
        digest,
        id: built.and_then(|plan| plan["id"].as_str()).map(str::to_owned),
        pin: key_reference(parent, &digest),
        image: Some(parent.key.clone()),
        published: built.and_then(|plan| plan["published"].as_str()).map(str::to_owned),
    })
}

/// The name under which the engine holds exactly the image with this key.
pub(super) fn key_reference(image: &Image, key: &Digest) -> String {
    format!("{}:{}", image.image_name, crate::stack::tags::key_tag(key))
}

fn outside_basis(services: &Services, reference: &str, known: &Known) -> Result<Basis, Failure> {
    if let Some(values) = known.get(&*format!("base:{reference}"))
        && let (Some(digest), Some(pin)) = (values["digest"].as_str().and_then(Digest::parse), values["pin"].as_str())
    {
        let id = values["id"].as_str().map(str::to_owned);
        return Ok(Basis { digest, id, pin: pin.to_owned(), image: None, published: None });
    }
    super::base::find(services, reference)?.ok_or_else(|| {
        Failure::error(
            Diagnostic::error(format!("base `{reference}` is not in the engine"))
                .help(format!("pull it: docker pull {reference}"))
                .help("or name it under `bases` of the spec, with a task that has the action `base_image`"),
        )
    })
}

/// Only the files that the Dockerfile of an image can see in a plan: needs no engine.
pub(super) fn context_of(
    services: &Services,
    stack: &Stack,
    image: &Image,
    plan: &Plan,
) -> Result<Arc<Context>, Failure> {
    context_by(render(services, stack, image), services, (stack, image, plan))
}
