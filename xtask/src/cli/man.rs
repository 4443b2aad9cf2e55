//! `man`: a manual page for each command, from the same words as `--help`. Knows no task.

use super::args::ManArgs;
use super::task_command;
use crate::model::{Diagnostic, Diagnostics};
use crate::world::World;

pub(super) fn man(args: &ManArgs, world: &World) -> Result<u8, Diagnostics> {
    let dir = world.cwd.join(&args.dir);
    let failed = |error| Diagnostic::error(format!("manual pages cannot be written to `{}`", args.dir)).cause(error);
    std::fs::create_dir_all(&dir).map_err(failed)?;
    clap_mangen::generate_to(task_command::all_commands().name("cargo-xtask"), &dir).map_err(failed)?;
    world.err.line(&format!("read them: man -l {}/cargo-xtask.1", args.dir.trim_end_matches('/')));
    Ok(0)
}
