//! Splits the words of `cargo xtask [run] TASK …` into options of the run and words of the tasks.
//!
//! Tasks are subcommands, and options of a run may stand before or behind them; where a task has an option of the same
//! name, behind that task it is the task's. Knows nothing of what an option does.

use std::collections::HashMap;

use crate::model::Diagnostic;

/// Which parser gets the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `run`, a task, or nothing at all.
    Task,
    /// `watch`, which takes the same words as `run`.
    Watch,
    /// Everything else that is built in, and `--help`.
    BuiltIn,
}

/// Built-in commands that give way to a task of the same name: as names of tasks these words are too common to be
/// taken from everybody. `run NAME` always means the task.
pub(super) const YIELDING: &[&str] =
    &["ci-plan", "hooks", "import", "init", "man", "report", "soak", "spec", "tags", "trace"];

/// Finds the command: the first word that is neither an option nor an option's value. `is_task` is asked only about
/// the names that give way.
pub(super) fn command(words: &[String], is_task: &dyn Fn(&str) -> bool) -> Command {
    let options = RunOptions::new();
    let mut index = 0;
    while let Some(word) = words.get(index) {
        if matches!(word.as_str(), "--help" | "-h" | "--version" | "-V" | "help") {
            return Command::BuiltIn;
        }
        match options.of(word) {
            Some(option) if option.takes_value && !RunOption::is_joined(word) => index += 2,
            Some(_) => index += 1,
            None if word.starts_with('-') => index += 1,
            None if word == "watch" => return Command::Watch,
            None => {
                let built_in = super::args::built_in_names().iter().any(|name| name == word)
                    && !(YIELDING.contains(&word.as_str()) && is_task(word));
                return if built_in { Command::BuiltIn } else { Command::Task };
            }
        }
    }
    Command::Task
}

/// An option of a run.
#[derive(Clone, Copy, Debug)]
struct RunOption {
    takes_value: bool,
}

impl RunOption {
    /// Whether the word holds its value already: `--jobs=4`, `-n4`.
    fn is_joined(word: &str) -> bool {
        match word.strip_prefix("--") {
            Some(long) => long.contains('='),
            None => word.chars().count() > 2,
        }
    }
}

struct RunOptions {
    long: HashMap<String, RunOption>,
    short: HashMap<char, RunOption>,
}

impl RunOptions {
    fn new() -> Self {
        use clap::CommandFactory;
        let command = super::args::RunCli::command();
        let (mut long, mut short) = (HashMap::new(), HashMap::new());
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            // What needs `=` never takes the next word.
            let takes_value = arg.get_action().takes_values() && !arg.is_require_equals_set();
            let option = RunOption { takes_value };
            for name in arg.get_long_and_visible_aliases().into_iter().flatten() {
                long.insert(name.to_owned(), option);
            }
            for name in arg.get_all_aliases().into_iter().flatten() {
                long.insert(name.to_owned(), option);
            }
            for name in arg.get_short_and_visible_aliases().into_iter().flatten() {
                short.insert(name, option);
            }
        }
        Self { long, short }
    }

    fn of(&self, word: &str) -> Option<RunOption> {
        if let Some(long) = word.strip_prefix("--") {
            let name = long.split('=').next().unwrap_or(long);
            return self.long.get(name).copied();
        }
        let mut letters = word.strip_prefix('-')?.chars();
        let first = self.short.get(&letters.next()?).copied()?;
        // `-as` is two options; `-n4` one with its value.
        let rest_is_fine = first.takes_value || letters.all(|letter| self.short.contains_key(&letter));
        rest_is_fine.then_some(first)
    }
}

/// The two kinds of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// For the parser of run options, `run` itself left out.
    pub run: Vec<String>,
    /// Names of tasks with their options, and `name=value`.
    pub tasks: Vec<String>,
}

/// What a task makes of a word behind its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// An option of the task without a value, or with it joined.
    Flag,
    /// An option of the task; the next word is its value.
    WithValue,
    /// This and everything behind it belongs to the task.
    Rest,
    /// Not the task's.
    Other,
}

/// Splits the words. `meaning(task, word)` says what a task makes of a word.
///
/// # Errors
/// An option without its value.
pub(super) fn split(words: &[String], meaning: &dyn Fn(&str, &str) -> Meaning) -> Result<Split, Diagnostic> {
    let options = RunOptions::new();
    let mut split = Split::default();
    let mut task: Option<&str> = None;
    let mut index = 0;
    let mut after_run = false;
    while let Some(word) = words.get(index) {
        index += 1;
        if word == "run" && task.is_none() && !after_run {
            after_run = true;
            continue;
        }
        let value = |index: &mut usize| -> Result<String, Diagnostic> {
            *index += 1;
            words.get(*index - 1).cloned().ok_or_else(|| Diagnostic::error(format!("option `{word}` needs a value")))
        };
        match task.map_or(Meaning::Other, |task| meaning(task, word)) {
            Meaning::Flag => {
                split.tasks.push(word.clone());
                continue;
            }
            Meaning::WithValue => {
                split.tasks.push(word.clone());
                split.tasks.push(value(&mut index)?);
                continue;
            }
            Meaning::Rest => {
                split.tasks.push(word.clone());
                split.tasks.extend_from_slice(&words[index..]);
                return Ok(split);
            }
            Meaning::Other => {}
        }
        if word == "-v" || word == "--verbosity" {
            // doit's takes a number; without one it means "show everything".
            let level = words.get(index).filter(|next| matches!(next.as_str(), "0" | "1" | "2"));
            index += usize::from(level.is_some());
            split.run.push(format!("--verbosity={}", level.map_or("2", String::as_str)));
            continue;
        }
        match options.of(word) {
            Some(option) => {
                split.run.push(word.clone());
                if option.takes_value && !RunOption::is_joined(word) {
                    split.run.push(value(&mut index)?);
                }
            }
            None => {
                if !word.starts_with('-') && !word.contains('=') {
                    task = Some(word);
                }
                split.tasks.push(word.clone());
            }
        }
    }
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn parts(text: &str) -> (String, String) {
        let meaning = |task: &str, word: &str| match (task, word) {
            ("push", "--version") => Meaning::WithValue,
            ("push", "-a") => Meaning::Flag,
            ("all", _) => Meaning::Rest,
            _ => Meaning::Other,
        };
        let split = split(&words(text), &meaning).unwrap();
        (split.run.join(" "), split.tasks.join(" "))
    }

    #[test]
    fn options_of_the_run_may_stand_anywhere() {
        assert_eq!(parts("-n 4 build -c x=1 test"), ("-n 4 -c".into(), "build x=1 test".into()));
        assert_eq!(parts("run push --version 1.2.3 -s"), ("-s".into(), "push --version 1.2.3".into()));
        assert_eq!(parts("-a push -a"), ("-a".into(), "push -a".into()));
        assert_eq!(parts("all -a b"), (String::new(), "all -a b".into()));
        assert_eq!(parts("-v 0 t -v"), ("--verbosity=0 --verbosity=2".into(), "t".into()));
        assert_eq!(parts("--timings t --shuffle u"), ("--timings --shuffle".into(), "t u".into()));
        assert_eq!(parts("t --timings=out.html u"), ("--timings=out.html".into(), "t u".into()));
        assert_eq!(parts("t --reporter=json -o out"), ("--reporter=json -o out".into(), "t".into()));
    }

    #[test]
    fn the_command_is_the_first_plain_word() {
        let command = |words: &[String]| command(words, &|name| name == "report");
        assert_eq!(command(&words("report")), Command::Task);
        assert_eq!(command(&words("init dir")), Command::BuiltIn);
        assert_eq!(command(&words("list --all")), Command::BuiltIn);
        assert_eq!(command(&words("-n 2 build")), Command::Task);
        assert_eq!(command(&words("--reporter json run build")), Command::Task);
        assert_eq!(command(&words("")), Command::Task);
        assert_eq!(command(&words("--help")), Command::BuiltIn);
    }
}
