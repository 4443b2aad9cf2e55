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
    forget_cargo(&shell, world);
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
    install_doit(&shell, &place.root, world);
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

/// The tests play the conformance cases on doit, too. Where it is missing it comes from PyPI into target/; what could
/// not be installed is told by those tests.
fn install_doit(shell: &Shell, root: &std::path::Path, world: &World) {
    let folder = root.join("target/doit");
    if folder.join("bin/doit").exists() || doctor::which("doit", world).is_some() {
        return;
    }
    let pip = folder.join("bin/pip");
    for command in [cmd!(shell, "python3 -m venv {folder}"), cmd!(shell, "{pip} install --quiet doit==0.37.0")] {
        world.err.line(&format!("==> doit: {command}"));
        if let Err(error) = command.quiet().run() {
            world.err.line(&format!("warning: doit could not be installed: {error}"));
            return;
        }
    }
}

/// What cargo set for this very program would make the cargo below build everything anew.
pub(super) fn forget_cargo(shell: &Shell, world: &World) {
    for name in world.env.keys().filter_map(|name| name.to_str()) {
        if name.starts_with("CARGO_PKG")
            || name.starts_with("CARGO_MANIFEST")
            || name == "CARGO"
            || name == "RUSTUP_TOOLCHAIN"
        {
            shell.set_var(name, "");
        }
    }
}
