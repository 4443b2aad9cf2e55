//! YAML as a tree in which every value knows its place. Knows nothing of what the values mean.

use std::sync::Arc;

use crate::model::Place;

/// One value of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub value: Value,
    pub place: Place,
    /// First byte and the byte after the last, in the file.
    pub range: (u32, u32),
}

/// What a node holds. Keys of a map are always scalars, without duplicates, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Text exactly as written (after YAML's quoting), so that `2021.10` stays `2021.10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    pub text: Arc<str>,
    pub style: Style,
}

/// Only a plain scalar can mean `true`, `null` or a number; a quoted or block scalar is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
}

impl Node {
    /// A quoted text, for values that no file holds.
    pub fn quoted(text: &str, place: Place) -> Self {
        let scalar = Scalar { text: text.into(), style: Style::Quoted };
        Self { value: Value::Scalar(scalar), place, range: (0, 0) }
    }

    /// Whether nothing is given: empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar(Scalar { text, style: Style::Plain }) => {
                matches!(&**text, "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&Arc<str>> {
        match &self.value {
            Value::Scalar(scalar) if !self.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    /// The text of a plain scalar that is not null.
    pub fn plain(&self) -> Option<&Arc<str>> {
        match &self.value {
            Value::Scalar(Scalar { text, style: Style::Plain }) if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The text of a key. A key that is no scalar does not come out of the parser.
    pub fn key(&self) -> &str {
        match &self.value {
            Value::Scalar(scalar) => &scalar.text,
            _ => "",
        }
    }

    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn map(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under `key` of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.iter().find(|(name, _)| name.key() == key).map(|(_, value)| value)
    }

    /// `true` or `false`, strictly.
    pub fn boolean(&self) -> Option<bool> {
        match &**self.plain()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// What it is, for messages that say what was found.
    pub fn found(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Scalar(_) if self.is_null() => "empty".to_owned(),
            Value::Scalar(scalar) if scalar.text.trim().is_empty() => "empty text".to_owned(),
            Value::Scalar(scalar) => format!("`{}`", shorten(&scalar.text)),
        }
    }

    /// As JSON: plain `true`, `false` and `null` keep their type, every other scalar is text.
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Scalar(_) if self.is_null() => Json::Null,
            Value::Scalar(scalar) => match self.boolean() {
                Some(truth) => Json::Bool(truth),
                None => Json::String(scalar.text.to_string()),
            },
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.key().to_owned(), value.json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// The first line of a text, at most 40 characters of it.
pub(super) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().filter(|c| !c.is_control()).take(40).collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short
}
