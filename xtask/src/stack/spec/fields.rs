//! Takes the fields out of maps: types, unknown keys, wrong values, all errors at once. Knows no field by name.

use crate::model::task::At;
use crate::model::{Diagnostic, Place, words};
use crate::stack::types::Args;

use crate::taskfile::{Node, Value};

/// Collects what is wrong while a spec is read.
#[derive(Debug, Default)]
pub struct Findings {
    pub errors: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
    /// Unknown keys are warnings: older generations were never checked, and real files hold such keys.
    pub lenient: bool,
}

/// The entries of one map, taken one by one; what is left is unknown.
pub struct Fields<'a> {
    /// For messages: `image `base``, or `the spec`.
    owner: String,
    place: Place,
    entries: Vec<&'a (Node, Node)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of a map; null is an empty map; anything else is an error.
    pub fn of(node: &'a Node, owner: impl Into<String>, findings: &mut Findings) -> Self {
        let owner = owner.into();
        let entries = match node.map() {
            Some(entries) => entries.iter().collect(),
            None if node.is_null() => Vec::new(),
            None => {
                findings.wrong(&owner, node, "a map");
                Vec::new()
            }
        };
        Self { owner, place: node.place.clone(), entries, known: Vec::new() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.key() == name)
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Takes a field that may be null; `None` if it is not there.
    pub fn entry(&mut self, name: &'static str) -> Option<(&'a Node, &'a Node)> {
        self.known.push(name);
        let at = self.entries.iter().position(|(key, _)| key.key() == name)?;
        let (key, node) = self.entries.remove(at);
        Some((key, node))
    }

    /// Takes a field; null is as if it were not there.
    pub fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.entry(name).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    pub fn text(&mut self, name: &'static str, findings: &mut Findings) -> Option<At<String>> {
        let node = self.take(name)?;
        findings.text(&self.what(name), node)
    }

    pub fn boolean(&mut self, name: &'static str, default: bool, findings: &mut Findings) -> bool {
        let what = self.what(name);
        self.take(name).and_then(|node| findings.boolean(&what, node)).unwrap_or(default)
    }

    /// A list of texts; one text is a list of one.
    pub fn texts(&mut self, name: &'static str, findings: &mut Findings) -> Vec<At<String>> {
        let what = self.what(name);
        self.take(name).map(|node| findings.texts(&what, node)).unwrap_or_default()
    }

    /// A map of names to texts.
    pub fn args(&mut self, name: &'static str, findings: &mut Findings) -> Args {
        let what = self.what(name);
        self.take(name).map(|node| findings.args(&what, node)).unwrap_or_default()
    }

    /// `field` of its owner, for messages.
    pub fn what(&self, field: &str) -> String {
        format!("`{field}` of {}", self.owner)
    }

    /// Reports what was not taken.
    pub fn finish(self, findings: &mut Findings) {
        for (key, _) in &self.entries {
            let message = format!("{} has unknown field `{}`", self.owner, key.key());
            let help = words::suggest("field", key.key(), &self.known);
            if findings.lenient {
                findings.warnings.push(Diagnostic::warning(message).at(key.place.clone()).maybe_help(help));
            } else {
                findings.errors.push(Diagnostic::error(message).at(key.place.clone()).maybe_help(help));
            }
        }
    }
}

impl Findings {
    pub fn error(&mut self, diagnostic: Diagnostic) {
        self.errors.push(diagnostic);
    }

    pub fn warn(&mut self, diagnostic: Diagnostic) {
        self.warnings.push(diagnostic);
    }

    /// `what` is not what it should be.
    pub fn wrong(&mut self, what: &str, node: &Node, wanted: &str) {
        let message = format!("{what} is {}, expected {wanted}", node.found());
        self.error(Diagnostic::error(message).at(node.place.clone()));
    }

    pub fn text(&mut self, what: &str, node: &Node) -> Option<At<String>> {
        let text = node.text().map(|text| At { value: text.to_string(), place: node.place.clone() });
        if text.is_none() {
            self.wrong(what, node, "text");
        }
        text
    }

    pub fn boolean(&mut self, what: &str, node: &Node) -> Option<bool> {
        // Older files were read by YAML 1.1, for which these words are booleans.
        let old = node.plain().filter(|_| self.lenient).map(|text| text.to_ascii_lowercase());
        let value = match old.as_deref() {
            Some("true" | "yes" | "on") => Some(true),
            Some("false" | "no" | "off") => Some(false),
            _ => node.boolean(),
        };
        if value.is_none() {
            self.wrong(what, node, "`true` or `false`");
        }
        value
    }

    pub fn texts(&mut self, what: &str, node: &Node) -> Vec<At<String>> {
        match &node.value {
            Value::List(items) => {
                items.iter().filter_map(|item| self.text(&format!("an entry of {what}"), item)).collect()
            }
            Value::Scalar(_) if node.is_null() => Vec::new(),
            Value::Scalar(_) => self.text(what, node).into_iter().collect(),
            Value::Map(_) => {
                self.wrong(what, node, "a list");
                Vec::new()
            }
        }
    }

    pub fn args(&mut self, what: &str, node: &Node) -> Args {
        let entries = match node.map() {
            Some(entries) => entries,
            None if node.is_null() => &[],
            None => {
                self.wrong(what, node, "a map");
                &[]
            }
        };
        let mut args = Args::new();
        for (key, node) in entries {
            let what = format!("`{}` in {what}", key.key());
            if let Some(text) = self.text(&what, node) {
                self.warn_of_number(&what, node, Number::ThatChanges);
                args.insert(key.key().to_owned(), text.value);
            }
        }
        args
    }

    /// Warns of a text that other readers of YAML take for a number.
    pub fn warn_of_number(&mut self, what: &str, node: &Node, which: Number) {
        let Some(text) = node.plain().map(|text| &**text) else { return };
        let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) else { return };
        let read = value.to_string();
        if text == read && (which == Number::ThatChanges || !text.contains('.')) {
            return;
        }
        let seen = if text == read { "a number".to_owned() } else { format!("the number {read}") };
        self.warn(
            Diagnostic::warning(format!("{what} is `{text}` without quotes; it is read as the text \"{text}\" here"))
                .at(node.place.clone())
                .note(format!("other readers of YAML take it for {seen}"))
                .help(format!("write it in quotes: \"{text}\"")),
        );
    }
}

/// Which numbers are worth a warning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Those that come out differently: `3.10`.
    ThatChanges,
    /// Those with a fraction too: `2021.3` is a sibling of `2021.10`.
    WithFraction,
}
