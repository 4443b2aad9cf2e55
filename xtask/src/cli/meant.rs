//! "Did you mean": names of commands and of options of a run, where a word was taken for a task or a task's option.
//! Knows nothing of how words are understood.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::model::{Diagnostic, Diagnostics, words};

/// A word that is no task may be meant as a command.
pub(super) fn command(problem: Diagnostic, named: &[String]) -> Diagnostic {
    let Some(word) = named.iter().find(|word| problem.message.starts_with(&format!("`{word}` is neither"))) else {
        return problem;
    };
    let mut known = super::args::built_in_names();
    known.extend(["run", "watch"].map(str::to_owned));
    match words::closest(word, known.iter().map(String::as_str)) {
        Some(name) => first_help(problem, format!("a command with a similar name exists: `{name}`")),
        None => problem,
    }
}

/// An option that the task does not have may be meant for the run.
pub(super) fn options(mut problems: Diagnostics) -> Diagnostics {
    let command = super::args::RunCli::command();
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|arg| arg.get_long_and_visible_aliases())
        .flatten()
        .map(|long| format!("--{long}"))
        .collect();
    for problem in &mut problems.0 {
        let own = problem.message.split("has no option `").nth(1).and_then(|rest| rest.strip_suffix('`'));
        let first =
            problem.message.strip_prefix("option `").and_then(|rest| rest.strip_suffix("` stands before any task"));
        let option = own.or(first);
        let name = option.and_then(|option| words::closest(option, known.iter().map(String::as_str)));
        if let Some(name) = name {
            *problem = first_help(problem.clone(), format!("a run has an option with a similar name: `{name}`"));
        }
    }
    problems
}

/// What clap says, in the words of this program: subject first, then what was found and what was expected, a name that
/// may be meant, and where the rest stands. `line` is what was typed.
pub(super) fn usage(error: &clap::Error, line: &[String]) -> Diagnostic {
    let command = command_of(error, line);
    let option = text(error, ContextKind::InvalidArg);
    // `--jobs <N>` is `--jobs` to people.
    let option = option.map(|arg| arg.split(' ').next().unwrap_or_default().to_owned());
    let said = match error.kind() {
        ErrorKind::UnknownArgument => unknown(error, option.as_deref().unwrap_or_default(), &command),
        ErrorKind::InvalidSubcommand => {
            let word = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            Diagnostic::error(format!("`{command}` has no command `{word}`"))
                .maybe_help(similar("a command", texts(error, ContextKind::SuggestedSubcommand)))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = words::list(texts(error, ContextKind::InvalidArg));
            Diagnostic::error(format!("`{command}` needs {missing}"))
        }
        _ => wrong_value(error, option.as_deref()),
    };
    said.help(format!("see the options: {command} --help"))
}

fn unknown(error: &clap::Error, option: &str, command: &str) -> Diagnostic {
    if option.starts_with('-') {
        Diagnostic::error(format!("`{command}` has no option `{option}`"))
            .maybe_help(similar("an option", texts(error, ContextKind::SuggestedArg)))
    } else {
        Diagnostic::error(format!("`{command}` takes no further word, and was given `{option}`"))
    }
}

fn wrong_value(error: &clap::Error, option: Option<&str>) -> Diagnostic {
    let valid = texts(error, ContextKind::ValidValue);
    let choices = if valid.is_empty() { String::new() } else { format!("one of {}", words::list(&valid)) };
    let cause = std::error::Error::source(error).map(ToString::to_string);
    // `[OF]` is a word without a name.
    let what = match option {
        Some(option) if option.starts_with('-') => format!("option `{option}`"),
        Some(word) => format!("`{}`", word.trim_matches(['[', ']', '<', '>', '.']).to_lowercase()),
        None => String::new(),
    };
    match (option, text(error, ContextKind::InvalidValue)) {
        (Some(_), Some(value)) if value.is_empty() => {
            let choices = if choices.is_empty() { choices } else { format!(": {choices}") };
            Diagnostic::error(format!("{what} needs a value{choices}"))
        }
        (Some(_), Some(value)) if !choices.is_empty() => {
            Diagnostic::error(format!("{what} is `{value}`, expected {choices}"))
                .maybe_help(similar("a value", texts(error, ContextKind::SuggestedValue)))
        }
        (Some(_), Some(value)) => match cause.as_deref() {
            Some(cause) if cause.contains("digit") || cause.contains("number") => {
                Diagnostic::error(format!("{what} is `{value}`, expected a number"))
            }
            cause => Diagnostic::error(format!("{what} cannot be `{value}`")).maybe_cause(cause.map(str::to_owned)),
        },
        _ => {
            let text = error.to_string();
            Diagnostic::error(text.lines().next().unwrap_or_default().trim_start_matches("error: "))
        }
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(all)) => all.clone(),
        Some(ContextValue::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

fn similar(kind: &str, names: Vec<String>) -> Option<String> {
    let last = names.last()?;
    Some(format!("{kind} with a similar name exists: `{last}`"))
}

/// `cargo xtask list`, as the line about its usage begins, or as it was typed where clap says nothing of the usage.
fn command_of(error: &clap::Error, line: &[String]) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    };
    let words = usage.split_whitespace().skip_while(|word| *word != "cargo");
    let name: Vec<&str> = words.take_while(|word| !word.starts_with(['-', '[', '<'])).collect();
    if name.is_empty() { typed(line) } else { name.join(" ") }
}

fn typed(line: &[String]) -> String {
    let all = super::task_command::all_commands();
    let (mut command, mut name) = (&all, "cargo xtask".to_owned());
    for word in line {
        let Some(sub) = command.find_subcommand(word) else { break };
        command = sub;
        name.extend([" ", sub.get_name()]);
    }
    name
}

fn first_help(mut problem: Diagnostic, help: String) -> Diagnostic {
    problem.helps.insert(0, help);
    problem
}
