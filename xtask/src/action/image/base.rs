//! The action `base_image`: the image that the stack begins with. Pulled where a registry is in reach, else made here.
//!
//! A pulled base is pinned by the digest in the lock file beside the spec; one that was made here is known by its id,
//! and by a label that says what it was made from.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::BASE_LABEL;
use super::drift::{self, Due};
use super::identity::Basis;
use super::services::{Services, whole};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed, text};
use crate::exec::{self, CommandSpec};
use crate::graph::Links;
use crate::model::digest::Hasher;
use crate::model::{Diagnostic, Digest, ImageRef, Reason, RepoPath, Stream};
use crate::stack::lock::{self, Lock};
use crate::store::STATE_DIR;

pub(super) struct BaseImage(pub(super) Arc<Services>);

/// Where a base can be neither pulled nor made.
const NO_REGISTRY: &str = "name a script that makes it, as `bootstrap` under `bases` of the spec";

/// Where images that were made here are kept: no registry has this name.
const LOCAL: &str = "xtask.local";

/// The local name of a base that was made here from `recipe`.
fn local_name(reference: &str, recipe: &Digest) -> String {
    let name = ImageRef::parse(reference).map_or_else(|| reference.to_owned(), |image| image.repository().to_owned());
    format!("{LOCAL}/{name}:{}", crate::stack::tags::key_tag(recipe))
}

/// What a base is made from: the script and the name.
fn recipe(root: &Path, reference: &str, script: &str) -> Result<Digest, Failure> {
    let text = std::fs::read(root.join(script)).map_err(|error| {
        Failure::error(
            Diagnostic::error(format!("bootstrap `{script}` of base `{reference}` cannot be read")).cause(error),
        )
    })?;
    let mut hasher = Hasher::new();
    hasher.field(reference).field(text);
    Ok(hasher.finish())
}

/// What a root file system is: its one layer, or all of them where somebody added to it.
fn content_of(layers: &[String]) -> Option<Digest> {
    match layers {
        [] => None,
        [one] => Digest::parse(one),
        many => {
            let mut hasher = Hasher::new();
            for layer in many {
                hasher.field(layer);
            }
            Some(hasher.finish())
        }
    }
}

fn bootstrap_of(services: &Services, reference: &str) -> Result<Option<String>, Failure> {
    let (stack, _) = services.stack().map_err(|problems| Failure::error(whole(problems)))?;
    Ok(stack.bases.iter().find(|base| base.reference == reference).and_then(|base| base.bootstrap.clone()))
}

/// Finds a base in the engine: by the digest of the lock, else one that was made here, else, if nothing is locked, whatever
/// bears the name.
pub(super) fn find(services: &Services, reference: &str) -> Result<Option<Basis>, Failure> {
    let docker = services.docker().map_err(Failure::error)?;
    let look = |name: &str| docker.find_image(name).map_err(|error| Failure::error(error.into()));
    let repository = ImageRef::parse(reference).map(|image| image.name).unwrap_or_default();
    let locked = locked(services, reference)?;
    if let Some(locked) = locked {
        let pin = format!("{repository}@{locked}");
        if let Some(image) = look(&pin)? {
            return Ok(Some(Basis { digest: locked, id: Some(image.id), pin, image: None, published: None }));
        }
    }
    if let Some(script) = bootstrap_of(services, reference)? {
        let pin = local_name(reference, &recipe(&services.root, reference, &script)?);
        // An import makes a new id each time; the layer is what counts.
        if let Some(image) = look(&pin)?
            && let Some(digest) = content_of(&image.layers)
        {
            return Ok(Some(Basis { digest, id: Some(image.id), pin, image: None, published: None }));
        }
    }
    let Some(image) = look(reference)? else { return Ok(None) };
    let digest = image.digest_in(&repository).and_then(Digest::parse).or_else(|| Digest::parse(&image.id));
    // What bears the name may be another one than the one that is locked.
    let digest = digest.filter(|digest| locked.is_none_or(|locked| locked == *digest));
    Ok(digest.map(|digest| Basis {
        digest,
        id: Some(image.id),
        pin: reference.to_owned(),
        image: None,
        published: None,
    }))
}

/// The digest that the lock file beside the spec has for a base.
fn locked(services: &Services, reference: &str) -> Result<Option<Digest>, Failure> {
    let (stack, _) = services.stack().map_err(|problems| Failure::error(whole(problems)))?;
    let lock =
        Lock::load(&services.root, &lock::lock_file(&stack)).map_err(|problems| Failure::error(whole(problems)))?;
    Ok(lock.entries.get(reference).map(|entry| entry.digest))
}

impl BaseImage {
    fn values(basis: &Basis) -> Map<String, Value> {
        let mut values = Map::new();
        values.insert("digest".into(), basis.digest.to_string().into());
        values.insert("pin".into(), basis.pin.clone().into());
        values.insert("id".into(), json!(basis.id));
        values
    }

    /// Pulls by the digest that was looked up, else by the locked one, else by name. What was not locked is locked then.
    fn pull(&self, call: &Call<'_>, reference: &str, moved: Option<Digest>) -> Result<Basis, Failure> {
        let docker = self.0.docker().map_err(Failure::error)?;
        let image = ImageRef::parse(reference)
            .ok_or_else(|| Failure::error(Diagnostic::error(format!("base `{reference}` is no image reference"))))?;
        let locked = match moved {
            Some(moved) => Some(moved),
            None => locked(&self.0, reference)?,
        };
        let wanted = match &locked {
            Some(digest) => ImageRef { name: image.name.clone(), tag: None, digest: Some(digest.to_string()) },
            None => image.clone(),
        };
        call.out.line(Stream::Stdout, format!("pulling {wanted}").as_bytes());
        super::publish::pull(&self.0, &docker, &wanted, call)?;
        let found = docker.image(&wanted.to_string()).map_err(|error| Failure::error(error.into()))?;
        let digest = found.digest_in(&image.name).and_then(Digest::parse).or(locked).ok_or_else(|| {
            Failure::error(Diagnostic::error(format!("the engine does not say which digest `{reference}` has")))
        })?;
        if locked.is_none() || moved.is_some() {
            drift::record(&self.0, reference, digest).map_err(drift::failure)?;
            call.out.line(Stream::Stdout, format!("locked {reference} at {digest}").as_bytes());
        }
        Ok(Basis { digest, id: Some(found.id), pin: format!("{}@{digest}", image.name), image: None, published: None })
    }

    /// Runs the bootstrap script and imports its tar.
    fn make(&self, call: &Call<'_>, reference: &str, script: &str) -> Result<Basis, Failure> {
        let docker = self.0.docker().map_err(Failure::error)?;
        let recipe = recipe(&self.0.root, reference, script)?;
        let name = local_name(reference, &recipe);
        let tar = call.root.join(STATE_DIR).join(format!("base-{}.tar", recipe.short()));
        let argv: Vec<OsString> = vec![call.root.join(script).into(), tar.clone().into()];
        let spec = CommandSpec::new(argv, call.root.to_owned(), call.env.to_vec());
        let mut show = |stream: Stream, line: &[u8]| call.out.line(stream, line);
        let result = exec::run(&spec, &mut show, &mut std::io::sink(), call.stop);
        if let Some(problem) = result.exit.diagnostic(&format!("bootstrap `{script}` of base `{reference}`")) {
            return Err(Failure { is_error: true, interrupted: call.stop.is_requested(), diagnostic: problem });
        }
        let named = ImageRef::parse(&name);
        let changes = [format!("LABEL {BASE_LABEL}={}", recipe.hex()), "CMD [\"bash\"]".to_owned()];
        let id = docker.import(&tar, named.as_ref(), &changes, call.stop).map_err(|error| Failure::error(error.into()));
        // Large, and the engine has its content now.
        let _ = std::fs::remove_file(&tar);
        let id = id?;
        let layers = docker.image(&id).map_err(|error| Failure::error(error.into()))?.layers;
        let digest = content_of(&layers).ok_or_else(|| {
            Failure::error(Diagnostic::error(format!("the engine does not say which layer `{name}` has")))
        })?;
        call.out.line(Stream::Stdout, format!("made {name} from Debian's packages").as_bytes());
        Ok(Basis { digest, id: Some(id), pin: name, image: None, published: None })
    }
}

impl ActionType for BaseImage {
    fn name(&self) -> &'static str {
        "base_image"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["name"], optional: &[], short: Some("name") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let reference = text("base_image", args, "name")?;
        let (stack, _) = self.0.stack().map_err(whole)?;
        let mut inputs: Vec<RepoPath> = Vec::new();
        let base = stack.bases.iter().find(|base| base.reference == reference);
        inputs.extend(base.and_then(|base| base.bootstrap.as_deref()).and_then(RepoPath::from_root));
        Ok(Links {
            provides: vec![format!("base:{reference}").into()],
            watch: inputs,
            observes: true,
            ..Links::default()
        })
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let reference = text("base_image", call.args, "name")?;
        let due = drift::due(&self.0, reference).map_err(drift::failure)?;
        let Some(basis) = find(&self.0, reference)? else {
            let reason = Reason::ImageMissing { image: reference.to_owned(), key: Reason::ANY_KEY.into() };
            return Ok(Observed { forced: vec![reason], ..Observed::default() });
        };
        // Another digest is another result, which is part of the keys of what is built on it; were it part of this
        // task's own inputs, the first pull would run twice.
        Ok(Observed {
            parts: Vec::new(),
            satisfied: matches!(due, Due::Nothing),
            result: Some(basis.digest),
            values: Some(Self::values(&basis)),
            forced: due.reason(reference).into_iter().collect(),
        })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let reference = text("base_image", call.args, "name")?;
        let moved = match drift::due(&self.0, reference).map_err(drift::failure)? {
            Due::Moved { new, .. } => Some(new),
            Due::Same(digest) => {
                drift::record(&self.0, reference, digest).map_err(drift::failure)?;
                None
            }
            Due::Unknown(why) => {
                let text = format!("warning: base {reference} cannot be looked up, so the locked digest counts: {why}");
                call.out.line(Stream::Stderr, text.as_bytes());
                None
            }
            Due::Nothing => None,
        };
        let basis = match find(&self.0, reference)?.filter(|basis| moved.is_none_or(|moved| basis.digest == moved)) {
            Some(basis) => basis,
            None => match (self.pull(call, reference, moved), bootstrap_of(&self.0, reference)?) {
                (Ok(basis), _) => basis,
                (Err(failure), _) if failure.interrupted => return Err(failure),
                (Err(mut failure), None) => {
                    failure.diagnostic = failure.diagnostic.help(NO_REGISTRY);
                    return Err(failure);
                }
                (Err(failure), Some(script)) => {
                    let why = failure.diagnostic.causes.first().unwrap_or(&failure.diagnostic.message).clone();
                    call.out.line(Stream::Stdout, format!("cannot pull ({why}); making an equal base").as_bytes());
                    self.make(call, reference, &script)?
                }
            },
        };
        Ok(Done { result: Some(basis.digest), values: Self::values(&basis), remark: None })
    }
}
