//! Where a value is read: its file, its constants and its owner; typed readers that expand templates. Knows no
//! attribute.

use std::sync::Arc;

use serde_json::Value as Json;

use super::read::{self, Subject};
use super::template::{self, Trouble};
use super::world::{LoadWorld, Quote};
use super::{Errors, Node, Value};
use crate::model::task::{At, Template};
use crate::model::{Diagnostic, Place, RepoPath, words};

/// The surroundings of one thing (a task, `vars`, …) that is read.
pub(super) struct Cx<'a> {
    pub world: &'a LoadWorld<'a>,
    /// The folder of the file: paths are relative to it.
    pub dir: &'a RepoPath,
    /// An object: what may be replaced now.
    pub constants: &'a Json,
    /// E.g. ``task `build` ``.
    pub of: String,
    /// Names that are left for the run, with the place of their use.
    pub used: Vec<(String, Place)>,
    pub errors: &'a mut Errors,
}

impl Cx<'_> {
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.errors.push(Diagnostic::error(message).at(place.clone()));
    }

    /// `node` is not what `field` expects.
    pub(super) fn wrong(&mut self, node: &Node, field: &str, expected: &str) {
        read::wrong(node, Subject::new(field, &self.of), expected, self.errors);
    }

    pub(super) fn boolean(&mut self, node: &Node, field: &str) -> Option<bool> {
        read::boolean(node, Subject::new(field, &self.of), self.errors)
    }

    pub(super) fn int(&mut self, node: &Node, field: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        read::int(node, Subject::new(field, &self.of), range, self.errors)
    }

    pub(super) fn duration(&mut self, node: &Node, field: &str) -> Option<std::time::Duration> {
        read::duration(node, Subject::new(field, &self.of), self.errors)
    }

    pub(super) fn choice<T: Copy>(&mut self, node: &Node, field: &str, choices: &[(&str, T)]) -> Option<T> {
        read::choice(node, Subject::new(field, &self.of), choices, self.errors)
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, field: &str, expected: &str) -> &'n [Node] {
        read::list(node, Subject::new(field, &self.of), expected, self.errors)
    }

    pub(super) fn map<'n>(&mut self, node: &'n Node, field: &str, expected: &str) -> &'n [(Node, Node)] {
        read::map(node, Subject::new(field, &self.of), expected, self.errors)
    }

    /// Text in which everything must be constant.
    pub(super) fn fixed(&mut self, node: &Node, field: &str) -> Option<Arc<str>> {
        let text = read::word(node, Subject::new(field, &self.of), self.errors)?;
        self.expand_fixed(&text, &node.place, field)
    }

    /// Expands text in which everything must be constant.
    pub(super) fn expand_fixed(&mut self, text: &Arc<str>, place: &Place, field: &str) -> Option<Arc<str>> {
        if !template::is_template(text) {
            return Some(text.clone());
        }
        match template::complete(text, self.constants, self.world.expand, Quote::Plain) {
            Ok(text) => Some(text.into()),
            Err(trouble) => {
                self.trouble(trouble, place, field);
                None
            }
        }
    }

    fn trouble(&mut self, trouble: Trouble, place: &Place, field: &str) {
        let subject = Subject::new(field, &self.of);
        let error = match trouble {
            Trouble::Wrong(phrases) => {
                for phrase in phrases {
                    let error = Diagnostic::error(format!("{subject} {}", phrase.text)).at(place.clone());
                    self.errors.push(error.maybe_help(phrase.help));
                }
                return;
            }
            Trouble::NotConstant(names) => {
                let known: Vec<&str> =
                    self.constants.as_object().into_iter().flatten().map(|(name, _)| &**name).collect();
                let error = Diagnostic::error(format!(
                    "{subject} uses {}, which is not known when the file is read",
                    words::list(&names)
                ));
                if known.is_empty() { error } else { error.note(format!("known here: {}", words::list(known))) }
            }
        };
        self.errors.push(error.at(place.clone()));
    }

    /// Text that may refer to what is known only in the run; empty text is allowed.
    pub(super) fn template(&mut self, node: &Node, field: &str, quote: Quote) -> Option<Template> {
        let text = read::text(node, Subject::new(field, &self.of), self.errors)?;
        self.expand_partly(&text, &node.place, field, quote)
    }

    /// Text that is not empty and may refer to what is known only in the run.
    pub(super) fn fixed_or_template(&mut self, node: &Node, field: &str) -> Option<Template> {
        let text = read::word(node, Subject::new(field, &self.of), self.errors)?;
        self.expand_partly(&text, &node.place, field, Quote::Plain)
    }

    /// Replaces the constants in `text` and notes the names that are left.
    pub(super) fn expand_partly(
        &mut self,
        text: &Arc<str>,
        place: &Place,
        field: &str,
        quote: Quote,
    ) -> Option<Template> {
        if !template::is_template(text) {
            return Some(text.clone());
        }
        match template::partial(text, self.constants, self.world.expand, quote) {
            Ok(partial) => {
                self.used.extend(partial.left.into_iter().map(|name| (name, place.clone())));
                Some(partial.text)
            }
            Err(phrases) => {
                self.trouble(Trouble::Wrong(phrases), place, field);
                None
            }
        }
    }

    /// A shell's text, which may not be empty.
    pub(super) fn shell_text(&mut self, node: &Node, field: &str) -> Option<Template> {
        let text = read::word(node, Subject::new(field, &self.of), self.errors)?;
        self.expand_partly(&text, &node.place, field, Quote::Shell)
    }

    /// A list of constant texts.
    pub(super) fn fixed_list(&mut self, node: &Node, field: &str, expected: &str) -> Vec<Arc<str>> {
        let items = self.list(node, field, expected);
        items.iter().filter_map(|item| self.fixed(item, field)).collect()
    }

    /// A list of constant texts with their places.
    pub(super) fn at_list(&mut self, node: &Node, field: &str, expected: &str) -> Vec<At<Arc<str>>> {
        let items = self.list(node, field, expected);
        items.iter().filter_map(|item| self.at(item, field)).collect()
    }

    /// A constant text with its place.
    pub(super) fn at(&mut self, node: &Node, field: &str) -> Option<At<Arc<str>>> {
        Some(At { value: self.fixed(node, field)?, place: node.place.clone() })
    }

    /// Any value as JSON with its texts expanded: partly, or wholly if `fixed`.
    pub(super) fn json(&mut self, node: &Node, field: &str, fixed: bool) -> Json {
        match &node.value {
            Value::List(items) => items.iter().map(|item| self.json(item, field, fixed)).collect(),
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.key().to_owned(), self.json(value, field, fixed)));
                Json::Object(entries.collect())
            }
            Value::Scalar(scalar) if template::is_template(&scalar.text) => {
                let text = if fixed {
                    self.expand_fixed(&scalar.text, &node.place, field)
                } else {
                    self.expand_partly(&scalar.text, &node.place, field, Quote::Plain)
                };
                text.map_or(Json::Null, |text| Json::String(text.to_string()))
            }
            Value::Scalar(_) => node.json(),
        }
    }

    /// A path or pattern relative to the root, from one relative to the file's folder.
    pub(super) fn path_text(&mut self, text: &Arc<str>, place: &Place, field: &str) -> Option<Arc<str>> {
        if self.dir.as_bytes().is_empty() && is_normal(text) {
            return Some(text.clone());
        }
        let Some(path) = RepoPath::new(self.dir, text.as_bytes()) else {
            let subject = Subject::new(field, &self.of);
            let why = if text.starts_with('/') { "is absolute" } else { "leaves the root" };
            let message = format!("{subject} has path `{text}`, which {why}, expected a path below the root");
            self.error(place, message);
            return None;
        };
        Some(path.lossy().into())
    }

    /// A constant path relative to the root.
    pub(super) fn path(&mut self, node: &Node, field: &str) -> Option<RepoPath> {
        let text = self.fixed(node, field)?;
        let text = self.path_text(&text, &node.place, field)?;
        RepoPath::from_root(&*text)
    }
}

/// Whether the path is written as it would be normalised.
fn is_normal(text: &str) -> bool {
    !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Reads a thing for which there is no unknown name of the run: says so of each that was used. `vars` are those of the
/// file, whose prefix is easily forgotten.
pub(super) fn undefined(used: &[(String, Place)], known: &[&str], vars: &Json, of: &str, errors: &mut Errors) {
    for (name, place) in used {
        if known.contains(&&**name) {
            continue;
        }
        let help = (vars.get(name).map(|_| format!("it is one of `vars`: write `vars.{name}`")))
            .or_else(|| words::closest(name, known.iter().copied()).map(similar))
            .or_else(|| (known.len() < 16).then(|| format!("defined here: {}", words::list(known))));
        let message = format!("{of} uses undefined name `{name}`");
        errors.push(Diagnostic::error(message).at(place.clone()).maybe_help(help));
    }
}

fn similar(name: &str) -> String {
    format!("a name that is defined here is similar: `{name}`")
}
