//! "Did you mean": names of commands and of options of a run, where a word was taken for a task or a task's option.
//! Knows nothing of how words are understood.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue};

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
        let option = problem.message.split("has no option `").nth(1).and_then(|rest| rest.strip_suffix('`'));
        let name = option.and_then(|option| words::closest(option, known.iter().map(String::as_str)));
        if let Some(name) = name {
            *problem = first_help(problem.clone(), format!("a run has an option with a similar name: `{name}`"));
        }
    }
    problems
}

/// What clap says, in the words of this program: subject first, then what was found and what was expected.
pub(super) fn usage(error: &clap::Error) -> Diagnostic {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let choices = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(all)) => format!("one of {}", words::list(all)),
        _ => String::new(),
    };
    // `--jobs <N>` is `--jobs` to people.
    let option = of(ContextKind::InvalidArg).map(|arg| arg.split(' ').next().unwrap_or_default().to_owned());
    let cause = std::error::Error::source(error).map(ToString::to_string);
    match (option, of(ContextKind::InvalidValue)) {
        (Some(option), Some(value)) if value.is_empty() => {
            let choices = if choices.is_empty() { choices } else { format!(": {choices}") };
            Diagnostic::error(format!("option `{option}` needs a value{choices}"))
        }
        (Some(option), Some(value)) if !choices.is_empty() => {
            Diagnostic::error(format!("option `{option}` is `{value}`, expected {choices}"))
        }
        (Some(option), Some(value)) => match cause.as_deref() {
            Some(cause) if cause.contains("digit") || cause.contains("number") => {
                Diagnostic::error(format!("option `{option}` is `{value}`, expected a number"))
            }
            cause => Diagnostic::error(format!("option `{option}` cannot be `{value}`"))
                .maybe_cause(cause.map(str::to_owned)),
        },
        _ => {
            let text = error.to_string();
            Diagnostic::error(text.lines().next().unwrap_or_default().trim_start_matches("error: "))
        }
    }
}

fn first_help(mut problem: Diagnostic, help: String) -> Diagnostic {
    problem.helps.insert(0, help);
    problem
}
