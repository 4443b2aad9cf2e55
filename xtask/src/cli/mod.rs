//! The command line: finds the command, parses its words, hands over. One file per command.

mod args;
mod ci;
mod ci_plan;
mod clean;
#[cfg(test)]
mod commands_tests;
mod complete;
mod completions;
#[cfg(test)]
mod docs_tests;
mod doctor;
mod dry;
mod early;
mod env;
mod graph;
mod help;
mod history;
mod hooks;
mod hosts;
mod import;
mod init;
mod list;
mod man;
mod meant;
mod narrow;
mod project;
mod quick;
mod records;
mod reference;
mod run;
mod run_params;
mod schema;
mod soak;
mod stack;
mod stack_report;
mod sync;
mod tags;
mod task_command;
mod timings;
mod trace;
mod trace_log;
mod watch;
mod words;

use std::ffi::OsString;

use clap::Parser;

use crate::exec::interrupt;
use crate::model::{Diagnostic, Diagnostics};
use crate::report;
use crate::world::World;

pub use project::LoadOptions;

/// Nothing was run: usage, taskfile or graph.
const EXIT_USAGE: u8 = 3;

/// Runs one command line; returns the exit code.
pub fn run(words: Vec<OsString>, world: &World) -> u8 {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(shell) = world.var(complete::VARIABLE).filter(|shell| !shell.is_empty()) {
        complete::answer(&shell, &words, world);
        return 0;
    }
    match dispatch(&words, world) {
        Ok(exit) => exit,
        Err(problems) => {
            show_with_source(world, &problems, &words);
            EXIT_USAGE
        }
    }
}

fn dispatch(words: &[String], world: &World) -> Result<u8, Diagnostics> {
    let is_task = |name: &str| is_task(name, words, world);
    if let Some(line) = help::asked(words, &is_task)
        && help::help(&line, world)?
    {
        return Ok(0);
    }
    match words::command(words, &is_task) {
        words::Command::Watch => watch::watch(words, world),
        words::Command::Task => run::run(words, world),
        words::Command::BuiltIn => {
            match args::Cli::try_parse_from(std::iter::once("cargo xtask".to_owned()).chain(words.iter().cloned())) {
                Ok(cli) => built_in(cli, world),
                Err(error) => match broken(words, world) {
                    Some(problems) => Err(problems),
                    None => Ok(usage(&error, words, world)),
                },
            }
        }
    }
}

/// Whether the file has a task of this name. A file that cannot be read has none: who needs it will say so.
fn is_task(name: &str, words: &[String], world: &World) -> bool {
    let read = project::find(&run::file_args(words, world), world)
        .and_then(|place| project::read(&place, world, &LoadOptions::default()));
    read.is_ok_and(|read| read.tasks.tasks.iter().any(|task| &*task.name == name))
}

/// What is wrong with the file where the word may be a task of it rather than the command that it is now taken for.
fn broken(words: &[String], world: &World) -> Option<Diagnostics> {
    words.iter().find(|word| !word.starts_with('-')).filter(|word| words::YIELDING.contains(&word.as_str()))?;
    let place = project::find(&run::file_args(words, world), world).ok()?;
    project::read(&place, world, &LoadOptions::default()).err()
}

fn built_in(cli: args::Cli, world: &World) -> Result<u8, Diagnostics> {
    match cli.command {
        args::Command::List(args) => list::list(&args, world),
        args::Command::Explain(args) => list::explain(&args, world),
        args::Command::Trace(args) => trace::trace(&args, world),
        args::Command::Clean(args) => clean::clean(&args, world),
        args::Command::Forget(args) => records::forget(&args, world),
        args::Command::Ignore(args) => records::ignore(&args, world),
        args::Command::Accept(args) => records::accept(&args, world),
        args::Command::History(args) => history::history(&args, world),
        args::Command::Graph(args) => graph::graph(&args, world),
        args::Command::Hosts(args) => hosts::hosts(&args, world),
        args::Command::Sync(args) => sync::sync(&args, world),
        args::Command::Env(args) => env::env(&args, world),
        args::Command::Doctor(args) => doctor::doctor(&args, world),
        args::Command::Ci(args) => ci::ci(&args, world),
        args::Command::Soak(args) => soak::soak(&args, world),
        args::Command::Affected(args) => stack::affected(&args, world),
        args::Command::Spec(args) => stack::spec(&args, world),
        args::Command::Tags(args) => tags::tags(&args, world),
        args::Command::Schema(args) => schema::schema(&args, world),
        args::Command::CiPlan(args) => ci_plan::ci_plan(&args, world),
        args::Command::Hooks(args) => hooks::hooks(&args, world),
        args::Command::Report(args) => stack_report::report(&args, world),
        args::Command::Man(args) => man::man(&args, world),
        args::Command::Import(args) => import::import(&args, world),
        args::Command::Init(args) => init::init(&args, world),
        args::Command::Completions(args) => completions::completions(&args, world),
    }
}

/// Clears the terminal of live lines whenever it is somebody else's: a shell's after Ctrl-Z, an interactive task's.
fn share_terminal(reporter: &dyn report::Reporter, world: &World) -> Option<interrupt::TenantGuard> {
    let curtain = reporter.curtain().filter(|_| world.owns_process)?;
    Some(interrupt::on_leave(curtain.close, curtain.open))
}

/// What clap says: help and version are data, anything else an error of usage.
fn usage(error: &clap::Error, words: &[String], world: &World) -> u8 {
    let text = error.render();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let on = report::wants_color(report::ColorChoice::Auto, &|name| world.var(name), world.err_is_tty);
        world.err.line(if on { text.ansi().to_string() } else { text.to_string() }.trim_end());
        EXIT_USAGE
    } else if error.use_stderr() {
        show(world, &meant::usage(error, words).into());
        EXIT_USAGE
    } else {
        world.out.line(clap_text(&text, world).trim_end());
        0
    }
}

/// Text of clap for stdout, in its colours where there are any.
fn clap_text(text: &clap::builder::StyledStr, world: &World) -> String {
    let (_, paint) = out_style("auto", world);
    if paint.on { text.ansi().to_string() } else { text.to_string() }
}

/// Shows errors that belong to no run.
fn show(world: &World, problems: &Diagnostics) {
    show_from(world, problems, None);
}

/// The same with the lines of the files that are meant.
fn show_with_source(world: &World, problems: &Diagnostics, words: &[String]) {
    let root = project::find(&run::file_args(words, world), world).map(|place| place.root).ok();
    show_from(world, problems, root);
}

fn show_from(world: &World, problems: &Diagnostics, root: Option<std::path::PathBuf>) {
    let mut options = report::Options::new(Box::new(world.out.clone()), Box::new(world.err.clone()));
    options.color = report::wants_color(report::ColorChoice::Auto, &|name| world.var(name), world.err_is_tty);
    // What is rendered may be newer than the file of that name, which is written by a run.
    options.source = root.map(run::source_below).map(|source| -> report::options::SourceFn {
        std::sync::Arc::new(move |file: &str| if file.starts_with(".xtask/") { None } else { source(file) })
    });
    let mut reporter = report::make(report::Kind::Plain, options);
    reporter.diagnostics(&problems.0);
    reporter.finish();
}

/// How data on stdout is laid out: its columns and colours, if it is a terminal.
fn out_style(color: &str, world: &World) -> (Option<usize>, report::paint::Paint) {
    let choice = match color {
        "always" => report::ColorChoice::Always,
        "never" => report::ColorChoice::Never,
        _ => report::ColorChoice::Auto,
    };
    let on = report::wants_color(choice, &|name| world.var(name), world.out_is_tty);
    (world.out_is_tty.then(report::layout::columns), report::paint::Paint::new(on))
}

impl From<Diagnostic> for u8 {
    fn from(_: Diagnostic) -> Self {
        EXIT_USAGE
    }
}
