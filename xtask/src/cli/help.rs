//! `TASK --help`, `run --help` and `help TASK`: what a task takes on the command line. Knows nothing of running.

use clap::CommandFactory;

use super::project::{self, LoadOptions};
use super::{args, run, words};
use crate::model::task::{Param, ParamKind, Taskfile};
use crate::model::{Diagnostic, Diagnostics, Task, words as text};
use crate::report::paint::{Paint, Tone};
use crate::world::World;

const WATCH: &str = "\nOptions of the watch:
      --on-success <CMD>  Run this in a shell after each round that went well
      --on-failure <CMD>  Run this in a shell after each other round
      --bell              Ring the terminal's bell after each round
      --poll              Look at the files again and again instead of asking the system";

/// The commands by what they are for, in the order in which people meet them. Each is in one group (a test).
const GROUPS: &[(&str, &[&str])] = &[
    ("Run tasks", &["run", "watch", "list", "explain", "trace", "graph", "history"]),
    ("Change what is remembered", &["accept", "forget", "ignore", "clean"]),
    ("The stack and its images", &["spec", "affected", "report", "tags", "ci-plan"]),
    ("Environments and hosts", &["env", "hosts", "sync"]),
    ("Begin, and fit in", &["init", "import", "hooks", "schema", "completions", "man", "doctor"]),
    ("This project", &["ci", "soak"]),
];

/// What `cargo xtask --help` says: all commands in their groups.
pub(super) fn overview(paint: Paint) -> String {
    let commands = super::task_command::all_commands();
    let about = |name: &str| {
        let found = commands.get_subcommands().find(|command| command.get_name() == name);
        found.and_then(clap::Command::get_about).map(ToString::to_string).unwrap_or_default()
    };
    let head = |text: &str| paint.tone(Tone::Good, text);
    let mut page = commands.get_about().map(ToString::to_string).unwrap_or_default();
    page += &format!("\n\n{} cargo xtask [TASK | COMMAND] [OPTIONS]\n", head("Usage:"));
    let width = GROUPS.iter().flat_map(|(_, names)| names.iter()).map(|name| name.len()).max().unwrap_or(0);
    for (title, names) in GROUPS {
        page += &format!("\n{}\n", head(&format!("{title}:")));
        for name in *names {
            page += &format!("  {}  {}\n", paint.tone(Tone::Busy, &format!("{name:width$}")), about(name));
        }
    }
    page += &format!("\n{}\n", head("Options:"));
    for (name, about) in
        [("-h, --help", "Print help; also behind a command or a task"), ("-V, --version", "Print version")]
    {
        page += &format!("  {}  {about}\n", paint.tone(Tone::Busy, &format!("{name:13}")));
    }
    let after = commands.get_after_help().map(ToString::to_string).unwrap_or_default();
    format!("{page}\n{after}")
}

/// The words that help is asked for: `run`, `watch` or names of tasks. `None`: it is not, or clap knows the answer.
pub(super) fn asked(line: &[String], is_task: &dyn Fn(&str) -> bool) -> Option<Vec<String>> {
    let is_ask = |word: &String| matches!(word.as_str(), "--help" | "-h" | "help");
    if matches!(line, [only] if is_ask(only)) {
        return Some(Vec::new());
    }
    if let [first, second, rest @ ..] = line
        && first == "help"
    {
        let is_ours = !args::built_in_names().contains(second);
        return is_ours.then(|| std::iter::once(second).chain(rest).cloned().collect());
    }
    let is_help = |word: &String| word == "--help" || word == "-h";
    let own = line.iter().take_while(|word| *word != "--");
    if !own.clone().any(is_help) || words::command(line, is_task) == words::Command::BuiltIn {
        return None;
    }
    Some(own.filter(|word| !is_help(word)).cloned().collect())
}

/// Shows it. False if a named task has an option `--help` of its own.
pub(super) fn help(line: &[String], world: &World) -> Result<bool, Diagnostics> {
    if line.is_empty() {
        let (_, paint) = super::out_style("auto", world);
        world.out.line(&overview(paint));
        return Ok(true);
    }
    let names: Vec<&String> = line.iter().filter(|word| !word.starts_with('-')).collect();
    let (names, watch) = match names[..] {
        [first, ref rest @ ..] if first == "run" || first == "watch" => (rest, first == "watch"),
        ref all => (all, false),
    };
    if names.is_empty() {
        let mut command = args::RunCli::command();
        if watch {
            command = command.name("cargo xtask watch").about("Run tasks, and run them again when their inputs change");
        }
        let rendered = super::clap_text(&command.render_help(), world);
        world.out.line(&format!("{}{}", rendered.trim_end(), if watch { format!("\n{WATCH}") } else { String::new() }));
        return Ok(true);
    }
    let place = project::find(&run::file_args(line, world), world)?;
    let read = project::read(&place, world, &LoadOptions::default())?;
    let mut pages = Vec::new();
    for name in names {
        let Some(task) = read.tasks.tasks.iter().find(|task| *task.name == **name) else {
            // The value of an option, or no task at all.
            if pages.is_empty() {
                return Err(unknown(name, &read.tasks));
            }
            continue;
        };
        let (params, pos_arg) = takes(task, &read.tasks);
        if params.iter().any(|param| &*param.long == "help" || param.short == Some('h')) {
            return Ok(false);
        }
        pages.push(page(task, params, pos_arg));
    }
    world.out.line(&pages.join("\n\n"));
    Ok(true)
}

fn unknown(name: &str, tasks: &Taskfile) -> Diagnostics {
    let names: Vec<&str> = tasks.tasks.iter().map(|task| &*task.name).collect();
    Diagnostic::error(format!("`{name}` is neither a command nor a task"))
        .maybe_help(text::suggest("task", name, &names))
        .help("see all tasks: cargo xtask list")
        .into()
}

/// The params and the name of the other words: of the task, or of the members of a group.
fn takes<'t>(task: &'t Task, tasks: &'t Taskfile) -> (&'t [Param], Option<&'t str>) {
    let first = task.members.first().and_then(|name| tasks.tasks.iter().find(|member| member.name == *name));
    let source = if task.params.is_empty() && task.pos_arg.is_none() { first.unwrap_or(task) } else { task };
    (&source.params, source.pos_arg.as_deref())
}

fn page(task: &Task, params: &[Param], pos_arg: Option<&str>) -> String {
    let mut page = String::new();
    let doc = task.doc.trim();
    if !doc.is_empty() {
        page.push_str(&format!("{doc}\n\n"));
    }
    page.push_str(&format!("Usage: cargo xtask {}", task.name));
    if !params.is_empty() {
        page.push_str(" [OPTIONS]");
    }
    if let Some(name) = pos_arg {
        page.push_str(&format!(" [{}]…", name.to_uppercase()));
    }
    if !params.is_empty() {
        page.push_str("\n\nOptions:");
        let rows: Vec<(String, String)> = params.iter().map(|param| (left(param), right(param))).collect();
        let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
        for (left, right) in &rows {
            page.push_str(format!("\n  {left:width$}  {right}").trim_end());
        }
    }
    page + "\n\nOptions of every run: cargo xtask run --help"
}

fn left(param: &Param) -> String {
    let short = param.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let inverse = param.inverse.as_ref().map(|name| format!(" / --{}", name.trim_start_matches("--")));
    let value = match param.kind {
        ParamKind::Bool => String::new(),
        kind => format!(" <{}>", format!("{kind:?}").to_uppercase()),
    };
    format!("{short}--{}{value}{}", param.long, inverse.unwrap_or_default())
}

fn right(param: &Param) -> String {
    let mut words = vec![param.help.trim().to_owned()];
    let mut note = |text: String| words.push(format!("[{text}]"));
    if !param.choices.is_empty() {
        note(format!("one of: {}", param.choices.join(", ")));
    }
    match &param.default {
        Some(_) if param.secret => note("default: hidden".into()),
        Some(default) if !default.is_empty() => note(format!("default: {default}")),
        _ if param.required => note("required".into()),
        _ => {}
    }
    if let Some(name) = &param.env {
        note(format!("env: {name}"));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        grouped.sort_unstable();
        let commands = super::super::task_command::all_commands();
        let mut all: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
        all.sort_unstable();
        assert_eq!(grouped, all);
        let page = overview(Paint::default());
        assert!(page.contains("\n  watch        Run tasks again"), "{page}");
    }
}
