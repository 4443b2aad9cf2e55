//! What the Tab key offers: commands, tasks of the current file, params and their choices, paths. Asked by the scripts
//! of `completions`; says nothing rather than something wrong, and never writes.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};

use super::{args, project, run, task_command, words};
use crate::model::Task;
use crate::model::task::Taskfile;
use crate::world::World;

/// The variable in which the scripts name their shell.
pub(super) const VARIABLE: &str = "XTASK_COMPLETE";

/// The variable in which a script tells how many words there are: some shells drop an empty one at the end.
const WORDS: &str = "XTASK_COMPLETE_WORDS";

/// Commands whose words are names of tasks.
const TAKE_TASKS: &[&str] = &["list", "explain", "clean", "forget", "ignore", "accept", "graph"];

/// Answers a script: the words of the line up to the cursor, the last of them unfinished.
pub(super) fn answer(shell: &str, line: &[String], world: &World) {
    let mut line: Vec<String> = line.iter().skip_while(|word| *word == "--").cloned().collect();
    let told = world.var(WORDS).and_then(|number| number.parse::<usize>().ok());
    if told.is_some_and(|told| told == line.len() + 1) {
        line.push(String::new());
    }
    let Some((_, typed)) = line.split_first() else { return };
    let none = [String::new()];
    let typed = if typed.is_empty() { &none } else { typed };
    let mut text = String::new();
    for candidate in candidates(typed, world) {
        let value = candidate.get_value().to_string_lossy().into_owned();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default();
        let _ = match shell {
            "zsh" if help.is_empty() => writeln!(text, "{}", value.replace('\\', "\\\\").replace(':', "\\:")),
            "zsh" => {
                let value = value.replace('\\', "\\\\").replace(':', "\\:");
                writeln!(text, "{value}:{}", help.replace('\\', "\\\\"))
            }
            "fish" | "powershell" if !help.is_empty() => writeln!(text, "{value}\t{help}"),
            _ => writeln!(text, "{value}"),
        };
    }
    world.out.line(text.trim_end_matches('\n'));
}

fn candidates(typed: &[String], world: &World) -> Vec<CompletionCandidate> {
    let before = &typed[..typed.len() - 1];
    let taskfile = taskfile(before, world);
    let (mut command, rest) = command(before, typed, &taskfile);
    let mut line: Vec<OsString> = vec!["xtask".into()];
    line.extend(rest.iter().map(OsString::from));
    let last = line.len() - 1;
    let found = complete(&mut command, line, last, Some(&world.cwd)).unwrap_or_default();
    // Options are offered where somebody begins one, and where there is nothing else.
    let begun = typed.last().is_some_and(|word| word.starts_with('-'));
    let is_option = |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().starts_with(b"-");
    let mixed = !begun && found.iter().any(|candidate| !is_option(candidate));
    found.into_iter().filter(|candidate| !(mixed && is_option(candidate))).collect()
}

/// The tasks of the current file; none if it cannot be read.
fn taskfile(before: &[String], world: &World) -> Taskfile {
    let read = project::find(&run::file_args(before, world), world)
        .and_then(|place| project::read(&place, world, &project::LoadOptions::default()));
    read.map(|read| read.tasks).unwrap_or_default()
}

/// The command that the unfinished word belongs to, and the words behind the command's name.
fn command<'w>(before: &[String], typed: &'w [String], taskfile: &Taskfile) -> (Command, &'w [String]) {
    let known: HashSet<&str> = taskfile.tasks.iter().map(|task| &*task.name).collect();
    let last_task = before.iter().rposition(|word| known.contains(word.as_str()));
    match words::command(before, &|name| known.contains(name)) {
        words::Command::BuiltIn => {
            let mut command = task_command::all_commands();
            for name in TAKE_TASKS {
                let id = if *name == "explain" { "task" } else { "tasks" };
                let completer = names(taskfile, false);
                command = command.mut_subcommand(name, |sub| sub.mut_arg(id, |arg| arg.add(completer)));
            }
            (command, typed)
        }
        words::Command::Task | words::Command::Watch => match last_task {
            Some(at) => {
                let task = taskfile.tasks.iter().find(|task| *task.name == *before[at]);
                (behind_a_task(task, taskfile), &typed[at + 1..])
            }
            None => match before.iter().position(|word| word == "run" || word == "watch") {
                Some(at) => (behind_a_task(None, taskfile), &typed[at + 1..]),
                None => (first(taskfile), typed),
            },
        },
    }
}

/// Nothing is named yet: commands and tasks.
fn first(taskfile: &Taskfile) -> Command {
    let commands = task_command::all_commands();
    let mut command = Command::new("xtask").disable_help_subcommand(true).args(run_options(&HashSet::new(), taskfile));
    let own: HashSet<&str> = taskfile.tasks.iter().map(|task| &*task.name).collect();
    for sub in commands.get_subcommands().filter(|sub| !own.contains(sub.get_name())) {
        let about = sub.get_about().cloned().unwrap_or_default();
        command = command.subcommand(Command::new(sub.get_name().to_owned()).about(about));
    }
    command.arg(Arg::new("word").num_args(0..).add(names(taskfile, true)))
}

/// Behind a task: its options, those of the run, and more tasks; or words of its own.
fn behind_a_task(task: Option<&Task>, taskfile: &Taskfile) -> Command {
    let own = task.map(|task| task_command::arguments(taskfile, task)).unwrap_or_default();
    let taken: HashSet<String> = own
        .iter()
        .flat_map(|arg| {
            [arg.get_long().map(|long| format!("--{long}")), arg.get_short().map(|short| format!("-{short}"))]
        })
        .flatten()
        .collect();
    let mut command = Command::new("xtask").disable_help_subcommand(true).args(own).args(run_options(&taken, taskfile));
    let takes_words = task.is_some_and(|task| task.pos_arg.is_some());
    let more = Arg::new("word").num_args(0..);
    command = command.arg(if takes_words {
        more.value_hint(clap::ValueHint::AnyPath)
    } else {
        more.add(names(taskfile, true))
    });
    command
}

/// The options of a run, without those that a task has taken.
fn run_options(taken: &HashSet<String>, taskfile: &Taskfile) -> Vec<Arg> {
    let command = <args::RunCli as clap::CommandFactory>::command();
    let options = command.get_arguments().filter(|arg| !arg.is_positional()).cloned();
    let kept = options.filter(|arg| !arg.get_long().is_some_and(|long| taken.contains(&format!("--{long}"))));
    kept.map(|arg| {
        let id = arg.get_id().to_string();
        let arg = match arg.get_short() {
            Some(short) if taken.contains(&format!("-{short}")) => Arg::new(id.clone())
                .long(arg.get_long().unwrap_or_default().to_owned())
                .action(arg.get_action().clone())
                .help(arg.get_help().cloned().unwrap_or_default()),
            _ => arg,
        };
        match id.as_str() {
            "reporter" => {
                let names = crate::report::Kind::NAMES.iter().map(|(name, _)| *name);
                arg.value_parser(clap::builder::PossibleValuesParser::new(names))
            }
            "what_if" => arg.add(inputs(taskfile)),
            _ => arg,
        }
    })
    .collect()
}

/// Paths that tasks name as inputs, and any path.
fn inputs(taskfile: &Taskfile) -> ArgValueCompleter {
    let mut named: Vec<String> =
        taskfile.tasks.iter().flat_map(|task| &task.file_dep).map(|dep| dep.pattern.to_string()).collect();
    named.retain(|path| !path.contains(['*', '?', '[', '{']));
    named.sort();
    named.dedup();
    ArgValueCompleter::new(move |current: &OsStr| {
        let current = current.to_string_lossy();
        named.iter().filter(|path| path.starts_with(&*current)).map(CompletionCandidate::new).collect()
    })
}

/// Names of tasks with their docs, private ones only when begun, members only when there are few or the group is typed;
/// with `vars`, also the variables that can be set.
fn names(taskfile: &Taskfile, with_vars: bool) -> ArgValueCompleter {
    let tasks: Vec<(String, String, bool)> =
        taskfile.tasks.iter().map(|task| (task.name.to_string(), first_line(task), task.is_private())).collect();
    let vars: Vec<(String, String)> = if with_vars {
        taskfile.vars.iter().map(|(name, value)| (format!("{name}="), format!("a variable, now {value}"))).collect()
    } else {
        Vec::new()
    };
    ArgValueCompleter::new(move |current: &OsStr| {
        let current = current.to_string_lossy();
        let wants_private = current.starts_with('_') || current.contains(":_");
        let shown =
            tasks.iter().filter(|(name, _, private)| name.starts_with(&*current) && (wants_private || !private));
        let tasks = shown.map(|(name, doc, _)| (name.clone(), doc.clone()));
        let vars = vars.iter().filter(|(name, _)| !current.is_empty() && name.starts_with(&*current)).cloned();
        tasks
            .chain(vars)
            .map(|(name, help)| CompletionCandidate::new(name).help((!help.is_empty()).then(|| StyledStr::from(help))))
            .collect()
    })
}

fn first_line(task: &Task) -> String {
    task.doc.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
