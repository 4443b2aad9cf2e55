//! Tasks as clap sees commands: for `--help` of a task, for completion and for manual pages. Never used to read a
//! command line, whose words are split in `words.rs`.

use std::ffi::OsStr;

use clap::{Arg, ArgAction, Command, CommandFactory, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::model::Task;
use crate::model::task::{Param, ParamKind, Taskfile};

/// The params of a task; a group has those of its members.
pub(super) fn params<'a>(taskfile: &'a Taskfile, task: &'a Task) -> Vec<&'a Param> {
    let first = task.members.first().and_then(|name| taskfile.tasks.iter().find(|known| known.name == *name));
    let mut found: Vec<&Param> = task.params.iter().collect();
    for param in first.into_iter().flat_map(|member| &member.params) {
        if !found.iter().any(|known| known.name == param.name) {
            found.push(param);
        }
    }
    found
}

/// The options that params are, in their order.
pub(super) fn arguments(taskfile: &Taskfile, task: &Task) -> Vec<Arg> {
    let group = format!("{}:", task.name);
    let members: Vec<String> =
        taskfile.tasks.iter().filter_map(|known| known.name.strip_prefix(&group)).map(str::to_owned).collect();
    params(taskfile, task).into_iter().flat_map(|param| argument(param, &members)).collect()
}

fn argument(param: &Param, members: &[String]) -> Vec<Arg> {
    let mut arg = Arg::new(format!("param {}", param.name)).long(param.long.to_string()).help(help(param));
    arg = match param.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    arg = match param.kind {
        ParamKind::Bool => arg.action(ArgAction::SetTrue),
        ParamKind::List => arg.action(ArgAction::Append).value_name("VALUE"),
        kind => arg.value_name(value_name(kind)),
    };
    if !param.choices.is_empty() {
        let choices: Vec<String> = param.choices.iter().map(ToString::to_string).collect();
        arg = arg.value_parser(clap::builder::PossibleValuesParser::new(choices));
    }
    if param.member {
        let names = members.to_vec();
        arg = arg.add(ArgValueCompleter::new(move |current: &OsStr| {
            let current = current.to_string_lossy();
            names.iter().filter(|name| name.starts_with(&*current)).map(CompletionCandidate::new).collect()
        }));
    }
    if param.kind == ParamKind::Path {
        arg = arg.value_hint(ValueHint::AnyPath);
    }
    let mut found = vec![arg];
    if let Some(inverse) = &param.inverse {
        let long = inverse.trim_start_matches("--").to_owned();
        let help = format!("The opposite of --{}", param.long);
        found.push(Arg::new(format!("inverse {}", param.name)).long(long).action(ArgAction::SetTrue).help(help));
    }
    found
}

fn value_name(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Int => "N",
        ParamKind::Float => "NUMBER",
        ParamKind::Path => "PATH",
        ParamKind::Semver => "X.Y.Z",
        ParamKind::String | ParamKind::Bool | ParamKind::Enum | ParamKind::List => "VALUE",
    }
}

/// What a param is for, and where its value comes from if it is not given.
fn help(param: &Param) -> String {
    let mut notes = Vec::new();
    if param.required {
        notes.push("required".to_owned());
    }
    if let Some(default) = param.default.as_ref().filter(|_| !param.secret && param.kind != ParamKind::Bool) {
        notes.push(format!("default: {default}"));
    }
    if let Some(env) = &param.env {
        notes.push(format!("env: {env}"));
    }
    let notes = if notes.is_empty() { String::new() } else { format!("[{}]", notes.join(", ")) };
    [param.help.trim(), &notes].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// `run` and `watch` as clap sees them, which have no place among the other commands.
pub(super) fn run_command(name: &'static str) -> Command {
    let about = if name == "watch" {
        "Run tasks again whenever files that they need change"
    } else {
        "Run tasks with everything they need"
    };
    super::args::RunCli::command().name(name).bin_name(format!("cargo xtask {name}")).about(about)
}

/// Every command, with `run` and `watch` in front.
pub(super) fn all_commands() -> Command {
    super::args::Cli::command()
        .subcommand(run_command("run").display_order(0))
        .subcommand(run_command("watch").display_order(0))
}
