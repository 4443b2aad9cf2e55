//! The image of an environment, ready to be used: found by its content key, else built once however many ask, and
//! written down. Knows nothing of containers.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;

use super::engine::Opened;
use crate::action::image::Held;
use crate::environment::evict;
use crate::environment::records::{DEFAULT_LIMIT, Record, Records, Status};
use crate::environment::{Environment, now};
use crate::model::{Diagnostic, Diagnostics, Digest, StopToken};
use crate::stack::tags;
use crate::store::lock::{self, Owner, Patience};
use crate::world::{Stream, World};

/// How many images are kept on an engine.
const LIMIT_VARIABLE: &str = "XTASK_ENV_CACHE_LIMIT";

/// What came of it.
pub(super) enum Prepared {
    Ready(Held),
    /// The build failed or was stopped, and said why; the exit code.
    Failed(u8),
}

/// Finds or builds the image. Who comes while another one builds it waits for that.
pub(super) fn prepare(
    opened: &Opened,
    environment: &Environment,
    world: &World,
    stop: &StopToken,
) -> Result<Prepared, Diagnostics> {
    let book = Book { opened, environment, records: Records::open(&opened.folders.records())? };
    // What is wrong with it is told by the build.
    if let Ok((_, Some(held))) = opened.services().environment(&environment.name) {
        book.used(&held)?;
        return Ok(Prepared::Ready(held));
    }
    let word = opened.folders.keyed(format!("{}\0{}", opened.scope, environment.name).as_bytes()).short();
    let dir = opened.folders.below(&format!("prepare/{word}"))?;
    let owner = Owner::this(&format!("cargo xtask env run {}", environment.name));
    let mut waiting = |owner: Option<&Owner>| {
        let who = owner.map_or_else(|| "another process".to_owned(), Owner::describe);
        world.err.line(&format!("waiting for {who}, which prepares {}", environment.name));
    };
    let _lock = match lock::acquire(&dir, &owner, Patience::Endless, stop, &mut waiting) {
        Ok(lock) => lock,
        Err(lock::LockError::Stopped { .. }) => return Ok(Prepared::Failed(130)),
        Err(error) => return Err(error.diagnostic().into()),
    };
    let found = opened.services().environment(&environment.name).ok();
    if let Some((_, Some(held))) = found {
        book.used(&held)?;
        return Ok(Prepared::Ready(held));
    }
    build(&book, found.map(|(key, _)| key), world, stop)
}

fn build(book: &Book<'_>, key: Option<Digest>, world: &World, stop: &StopToken) -> Result<Prepared, Diagnostics> {
    let Book { opened, environment, records } = book;
    let limit = limit(world)?;
    let begun = book.draft(key)?;
    records.put(&begun)?;
    let start = Instant::now();
    let tail = Tail::new(&opened.world.err);
    let printing = opened.world.printing_to(&Stream::new(tail.clone()));
    let names = [environment.name.to_string()];
    let exit = super::build::build_all(&opened.place, &opened.read, &names, &printing, stop);
    let problem = match exit {
        Ok(0) => None,
        Ok(exit) => Some((tail.error(), Ok(Prepared::Failed(exit)))),
        Err(problems) => Some((problems.to_string(), Err(problems))),
    };
    if let Some((error, result)) = problem {
        records.put(&Record { status: Status::Failed { error }, last_used: now(), ..begun })?;
        return result;
    }
    let found = opened.services().environment(&environment.name).map_err(|failure| failure.diagnostic)?;
    let (_, Some(held)) = found else {
        let error = format!("files of environment `{}` changed while it was built", environment.name);
        records.put(&Record { status: Status::Failed { error: error.clone() }, ..begun })?;
        return Err(Diagnostic::error(error).help("run the same command again").into());
    };
    // Before it was built, its key may not have been known.
    records.forget(&begun)?;
    let seconds = start.elapsed().as_secs_f64();
    records.put(&Record { built_at: Some(now()), build_seconds: Some(seconds), uses: 1, ..book.available(&held)? })?;
    evict::evict(&opened.docker, records, &opened.scope, limit)?;
    Ok(Prepared::Ready(held))
}

fn limit(world: &World) -> Result<usize, Diagnostic> {
    let Some(text) = world.var(LIMIT_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(DEFAULT_LIMIT) };
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| {
        Diagnostic::error(format!("`{LIMIT_VARIABLE}` is `{text}`, expected a number of images, at least 1"))
            .help(format!("export {LIMIT_VARIABLE}={DEFAULT_LIMIT}"))
    })
}

/// What is written down of an environment's image.
struct Book<'a> {
    opened: &'a Opened,
    environment: &'a Environment,
    records: Records,
}

impl Book<'_> {
    /// Notes a use; an image that somebody else built is written down first.
    fn used(&self, held: &Held) -> Result<(), Diagnostic> {
        if !self.records.used(&self.opened.scope, &held.key.hex(), &held.id, now())? {
            self.records.put(&Record { uses: 1, ..self.available(held)? })?;
        }
        Ok(())
    }

    /// The record of an image that is about to be built.
    fn draft(&self, key: Option<Digest>) -> Result<Record, Diagnostic> {
        let meta = &self.environment.metadata;
        let repository = self
            .opened
            .services()
            .environment_repository(&self.environment.name)
            .map_err(|failure| failure.diagnostic)?;
        let config = json!({
            "dockerfile": format!("{}/{}", self.environment.folder, self.environment.dockerfile()),
            "build_args": self.environment.build_args, "version": meta.version.to_string(), "key": meta.key.value,
            "plan": meta.plan.as_ref().map(|plan| &plan.value),
        });
        Ok(Record {
            scope: self.opened.scope.clone(),
            name: repository,
            tag: key.as_ref().map_or_else(|| "unknown".to_owned(), tags::key_tag),
            environment: self.environment.name.to_string(),
            content_key: key.map(|key| key.hex()).unwrap_or_default(),
            image_id: None,
            digest: None,
            size: None,
            created_at: now(),
            built_at: None,
            last_used: now(),
            uses: 0,
            build_seconds: None,
            build_config: config.to_string(),
            status: Status::Building { pid: std::process::id() },
        })
    }

    fn available(&self, held: &Held) -> Result<Record, Diagnostic> {
        let image = self.opened.docker.image(&held.id).map_err(Diagnostic::from)?;
        let draft = self.draft(Some(held.key))?;
        let digest = image.digest_in(&draft.name).map(str::to_owned);
        let (size, image_id) = (Some(image.size), Some(held.id.clone()));
        Ok(Record { image_id, digest, size, status: Status::Available, ..draft })
    }
}

/// Passes on what a build prints, and keeps the end of it.
#[derive(Clone)]
struct Tail {
    to: Stream,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Tail {
    const MOST: usize = 8192;

    fn new(to: &Stream) -> Self {
        Self { to: to.clone(), kept: Arc::default() }
    }

    /// The last error in it.
    fn error(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        let from = text.rfind("error: ").unwrap_or(0);
        text[from..].trim().chars().take(2000).collect()
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&bytes[..written]);
        let more = kept.len().saturating_sub(Self::MOST);
        kept.drain(..more);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
