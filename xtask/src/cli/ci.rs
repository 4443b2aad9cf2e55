//! `ci`: everything that must pass before a change lands, in one command. Developers' chore; needs the sources.

use xshell::{Cmd, Shell, cmd};

use super::args::CiArgs;
use super::doctor::{self, Need};
use crate::model::{Diagnostic, Diagnostics};
use crate::world::World;

pub(super) fn ci(args: &CiArgs, world: &World) -> Result<u8, Diagnostics> {
    doctor::ensure(Need::Tests, args.yes, world)?;
    let place = super::project::find(&args.file, world)?;
    let shell = Shell::new().map_err(|error| Diagnostic::error("no shell for the chores").cause(error))?;
    shell.change_dir(&place.root);
    // What cargo set for this very program would make the cargo below build everything anew.
    for name in world.env.keys().filter_map(|name| name.to_str()) {
        if name.starts_with("CARGO_PKG")
            || name.starts_with("CARGO_MANIFEST")
            || name == "CARGO"
            || name == "RUSTUP_TOOLCHAIN"
        {
            shell.set_var(name, "");
        }
    }
    let mut failed = Vec::new();
    let mut step = |name: &str, command: Cmd<'_>| {
        world.err.line(&format!("==> {name}: {command}"));
        if command.quiet().run().is_err() {
            failed.push(name.to_owned());
        }
    };
    step("format", cmd!(shell, "cargo fmt --all -- --check"));
    step("lints", cmd!(shell, "cargo clippy --quiet --all-targets --locked -- --deny warnings"));
    if cmd!(shell, "cargo deny --version").quiet().ignore_stdout().ignore_stderr().run().is_ok() {
        step("dependencies", cmd!(shell, "cargo deny --offline check bans licenses sources"));
    }
    let has_nextest = cmd!(shell, "cargo nextest --version").quiet().ignore_stdout().ignore_stderr().run().is_ok();
    if has_nextest {
        step("tests", cmd!(shell, "cargo nextest run --locked --no-fail-fast --status-level fail"));
    } else {
        step("tests", cmd!(shell, "cargo test --locked --no-fail-fast"));
    }
    if !args.fast {
        step("stack", cmd!(shell, "cargo run --quiet --package xtask -- build-stack --yes"));
    }
    if failed.is_empty() {
        world.err.line("==> everything passed");
        return Ok(0);
    }
    world.err.line(&format!("==> failed: {}", failed.join(", ")));
    Ok(1)
}
