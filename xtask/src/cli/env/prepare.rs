//! The image of an environment, ready to be used: found by its content key, else built once however many ask. Knows
//! nothing of containers.

use super::engine::Opened;
use crate::action::image::Held;
use crate::environment::Environment;
use crate::model::{Diagnostic, Diagnostics, StopToken};
use crate::store::lock::{self, Owner, Patience};
use crate::world::World;

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
    // What is wrong with it is told by the build.
    if let Ok((_, Some(held))) = opened.services().environment(&environment.name) {
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
    if let Ok((_, Some(held))) = opened.services().environment(&environment.name) {
        return Ok(Prepared::Ready(held));
    }
    let exit =
        super::build::build_all(&opened.place, &opened.read, &[environment.name.to_string()], &opened.world, stop)?;
    if exit != 0 {
        return Ok(Prepared::Failed(exit));
    }
    match opened.services().environment(&environment.name).map_err(|failure| failure.diagnostic)? {
        (_, Some(held)) => Ok(Prepared::Ready(held)),
        (_, None) => {
            Err(Diagnostic::error(format!("files of environment `{}` changed while it was built", environment.name))
                .help("run the same command again")
                .into())
        }
    }
}
