//! Words of a command line to selected tasks with their options: `t3 --message x t1`. Knows nothing of the graph:
//! which tasks a word means (a group, a wildcard, a path) is seen there.

use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;

use super::params::{self, Given, Values};
use crate::model::task::{Param, ParamKind, Task, Taskfile};
use crate::model::{Diagnostic, Diagnostics, words};

/// One word that names tasks, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    pub word: String,
    /// Values of all params if the word is the name of a task; else empty.
    pub params: Values,
    /// What was given on the command line, for the members of a group.
    pub given: Given,
    /// The words after the task's options, if it has `pos_arg`.
    pub pos: Vec<String>,
}

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub selected: Vec<Selected>,
    /// `name=value` words. A taskfile that was loaded with others must be loaded again with these.
    pub globals: BTreeMap<String, String>,
}

/// The `name=value` words, before it is known what the tasks take: a guess for the first load, which is right unless
/// the value of an option looks like one.
pub fn globals(words: &[String]) -> BTreeMap<String, String> {
    words.iter().take_while(|word| *word != "--").filter_map(|word| global(word)).collect()
}

fn global(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let mut chars = name.chars();
    let fine =
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_');
    fine.then(|| (name.to_owned(), value.to_owned()))
}

/// Takes the words after the command's own options apart. Every wrong word and value is told.
pub fn select(
    words: &[String],
    taskfile: &Taskfile,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Selection, Diagnostics> {
    let tasks = taskfile.tasks.iter().map(|task| (&*task.name, task)).collect();
    let mut reader = Reader { tasks, selection: Selection::default(), errors: Vec::new() };
    let mut rest = words.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        reader.word(word, &mut rest);
    }
    reader.errors.extend(super::unknown_globals(&reader.selection.globals, &taskfile.vars));
    for selected in &mut reader.selection.selected {
        // A group hands what was given to its members; only they say what is missing.
        let Some(task) = reader.tasks.get(selected.word.as_str()).filter(|task| task.members.is_empty()) else {
            continue;
        };
        match params::values(task, &taskfile.config, env, &selected.given) {
            Ok(values) => selected.params = values,
            Err(errors) => reader.errors.extend(errors),
        }
    }
    reader.twice();
    if reader.errors.is_empty() { Ok(reader.selection) } else { Err(Diagnostics(reader.errors)) }
}

/// Where a group has an option that names one of its members, and it was given: that member in place of the group.
pub fn choose_members(selected: &mut [Selected], taskfile: &Taskfile) -> Result<(), Diagnostics> {
    let mut errors = Vec::new();
    for word in selected {
        let Some(group) = taskfile.tasks.iter().find(|task| *task.name == *word.word) else { continue };
        let Some(param) = group.params.iter().find(|param| param.member) else { continue };
        let Some(value) = word.given.remove(&param.name).and_then(|texts| texts.last().cloned()) else { continue };
        let member = format!("{}:{value}", group.name);
        if group.members.iter().any(|known| **known == *member) {
            word.word = member;
            continue;
        }
        let known: Vec<&str> = group.members.iter().filter_map(|member| Some(member.split_once(':')?.1)).collect();
        let message =
            format!("option `--{}` of task `{}` is `{value}`, which is no member of it", param.long, group.name);
        errors.push(Diagnostic::error(message).maybe_help(words::suggest("member", &value, &known)));
    }
    if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
}

struct Reader<'a> {
    tasks: HashMap<&'a str, &'a Task>,
    selection: Selection,
    errors: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    /// A word where a task, an option of the task before, or a global may stand.
    fn word<'w>(&mut self, word: &'w str, rest: &mut Peekable<impl Iterator<Item = &'w str>>) {
        if word == "--" {
            // Only words after it, even if they look like options.
            let names: Vec<&str> = rest.by_ref().collect();
            match self.pos_task() {
                Some(_) => self.positional(names),
                None => names.into_iter().for_each(|name| self.name(name)),
            }
        } else if word.starts_with('-') && word.len() > 1 {
            self.option(word, rest);
        } else if self.pos_task().is_some() {
            self.positional(std::iter::once(word).chain(rest));
        } else if let Some((name, value)) = global(word) {
            self.selection.globals.insert(name, value);
        } else {
            self.name(word);
        }
    }

    fn name(&mut self, word: &str) {
        let selected = Selected { word: word.to_owned(), params: Values::new(), given: Given::new(), pos: Vec::new() };
        self.selection.selected.push(selected);
    }

    /// The task that was named last.
    fn task(&self) -> Option<&'a Task> {
        self.tasks.get(self.selection.selected.last()?.word.as_str()).copied()
    }

    /// The same, if it takes words.
    fn pos_task(&self) -> Option<&'a Task> {
        self.task().filter(|task| task.pos_arg.is_some())
    }

    fn positional<'w>(&mut self, words: impl IntoIterator<Item = &'w str>) {
        if let Some(selected) = self.selection.selected.last_mut() {
            selected.pos.extend(words.into_iter().map(str::to_owned));
        }
    }

    fn option<'w>(&mut self, word: &'w str, rest: &mut Peekable<impl Iterator<Item = &'w str>>) {
        let Some(task) = self.task() else {
            let (shown, _) = word.split_once('=').unwrap_or((word, ""));
            let error = match self.selection.selected.last() {
                None => Diagnostic::error(format!("option `{shown}` stands before any task"))
                    .help("put the options of a task after its name"),
                Some(selected) => Diagnostic::error(format!(
                    "option `{shown}` follows `{}`, which is not the name of one task",
                    selected.word
                )),
            };
            self.errors.push(error);
            return;
        };
        match word.strip_prefix("--") {
            Some(long) => self.long(task, long, rest),
            None => self.short(task, &word[1..], rest),
        }
    }

    fn long<'w>(&mut self, task: &'a Task, word: &'w str, rest: &mut Peekable<impl Iterator<Item = &'w str>>) {
        let (name, inline) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        if let Some(param) = task.params.iter().find(|param| param.inverse.as_deref() == Some(name)) {
            match inline {
                None => self.give(param, "false"),
                Some(_) => self
                    .errors
                    .push(Diagnostic::error(format!("option `--{name}` of task `{}` takes no value", task.name))),
            }
            return;
        }
        let Some(param) = task.params.iter().find(|param| *param.long == *name) else {
            return self.unknown(task, &format!("--{name}"));
        };
        match (inline, param.kind) {
            (Some(value), _) => self.give(param, value),
            (None, ParamKind::Bool) => self.give(param, "true"),
            (None, _) => self.next_value(task, param, &format!("--{name}"), rest),
        }
    }

    /// `-o value`, `-ovalue`, and truth values in a row: `-ab`.
    fn short<'w>(&mut self, task: &'a Task, letters: &'w str, rest: &mut Peekable<impl Iterator<Item = &'w str>>) {
        for (at, letter) in letters.char_indices() {
            let Some(param) = task.params.iter().find(|param| param.short == Some(letter)) else {
                return self.unknown(task, &format!("-{letter}"));
            };
            let after = &letters[at + letter.len_utf8()..];
            if param.kind == ParamKind::Bool {
                self.give(param, "true");
            } else if after.is_empty() {
                return self.next_value(task, param, &format!("-{letter}"), rest);
            } else {
                return self.give(param, after.strip_prefix('=').unwrap_or(after));
            }
        }
    }

    /// The value in the next word. One that looks like an option must be given with `=`.
    fn next_value<'w>(
        &mut self,
        task: &Task,
        param: &Param,
        option: &str,
        rest: &mut Peekable<impl Iterator<Item = &'w str>>,
    ) {
        let negative =
            |word: &str| matches!(param.kind, ParamKind::Int | ParamKind::Float) && word.parse::<f64>().is_ok();
        match rest.next_if(|word| !word.starts_with('-') || *word == "-" || negative(word)) {
            Some(value) => self.give(param, value),
            None => {
                let message = format!("option `{option}` of task `{}` has no value", task.name);
                self.errors.push(Diagnostic::error(message).help(format!("give it as `--{}=VALUE`", param.long)));
            }
        }
    }

    fn give(&mut self, param: &Param, value: &str) {
        if let Some(selected) = self.selection.selected.last_mut() {
            selected.given.entry(param.name.clone()).or_default().push(value.to_owned());
        }
    }

    fn unknown(&mut self, task: &Task, option: &str) {
        let inverses = task.params.iter().filter_map(|param| param.inverse.as_ref());
        let known: Vec<String> =
            task.params.iter().map(|param| &param.long).chain(inverses).map(|long| format!("--{long}")).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let error = Diagnostic::error(format!("task `{}` has no option `{option}`", task.name));
        let error = if known.is_empty() { error.note("it has no options") } else { error };
        self.errors.push(error.maybe_help(words::suggest("option", option, &known)));
    }

    /// A task runs once, so it cannot be asked for twice in different ways.
    fn twice(&mut self) {
        for (index, second) in self.selection.selected.iter().enumerate() {
            let differs = |first: &&Selected| {
                first.word == second.word && (&first.given, &first.pos) != (&second.given, &second.pos)
            };
            if self.selection.selected[..index].iter().any(|first| differs(&first)) {
                self.errors
                    .push(Diagnostic::error(format!("task `{}` is named twice with different options", second.word)));
            }
        }
    }
}
