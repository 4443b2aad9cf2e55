//! Typed values out of nodes, with messages that say what was found and what is expected. Knows nothing of tasks.
//!
//! Every reader gives `None` where the value is wrong, after it has told the collector why.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::{Errors, Node};
use crate::model::Diagnostic;
use crate::model::words;

/// What a message is about: `` `timeout` of task `build` ``.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub field: &'a str,
    /// The thing that has the field, e.g. ``task `build` ``; empty where there is none.
    pub of: &'a str,
}

impl<'a> Subject<'a> {
    pub fn new(field: &'a str, of: &'a str) -> Self {
        Self { field, of }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            "" => write!(f, "`{}`", self.field),
            of => write!(f, "`{}` of {of}", self.field),
        }
    }
}

/// Says that `node` is not what was expected: ``` `x` of task `y` is a list, expected … ```.
pub fn wrong(node: &Node, subject: Subject<'_>, expected: &str, errors: &mut Errors) {
    let message = format!("{subject} is {}, expected {expected}", node.found());
    errors.push(Diagnostic::error(message).at(node.place.clone()));
}

fn told<T>(value: Option<T>, node: &Node, subject: Subject<'_>, expected: &str, errors: &mut Errors) -> Option<T> {
    if value.is_none() {
        wrong(node, subject, expected, errors);
    }
    value
}

/// Any scalar as text.
pub fn text(node: &Node, subject: Subject<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    told(node.text().cloned(), node, subject, "text", errors)
}

/// Text that is not empty.
pub fn word(node: &Node, subject: Subject<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    told(node.text().filter(|text| !text.trim().is_empty()).cloned(), node, subject, "text that is not empty", errors)
}

/// `true` or `false`, and nothing that looks like them.
pub fn boolean(node: &Node, subject: Subject<'_>, errors: &mut Errors) -> Option<bool> {
    told(node.boolean(), node, subject, "`true` or `false`", errors)
}

/// A whole number within `range`.
pub fn int(node: &Node, subject: Subject<'_>, range: RangeInclusive<u64>, errors: &mut Errors) -> Option<u64> {
    let value = node.plain().and_then(|text| whole(text)).filter(|number| range.contains(number));
    let expected = match (*range.start(), *range.end()) {
        (0, u64::MAX) => "a whole number".to_owned(),
        (from, u64::MAX) => format!("a whole number of at least {from}"),
        (from, to) => format!("a whole number from {from} to {to}"),
    };
    told(value, node, subject, &expected, errors)
}

/// Digits only: neither a sign nor `1_000`, nor the octal-looking `012`.
fn whole(text: &str) -> Option<u64> {
    let fine = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if fine { text.parse().ok() } else { None }
}

/// A finite number.
pub fn float(node: &Node, subject: Subject<'_>, errors: &mut Errors) -> Option<f64> {
    let value = node.plain().and_then(|text| text.parse().ok()).filter(|number: &f64| number.is_finite());
    told(value, node, subject, "a number", errors)
}

/// Seconds, or a duration such as `1h30m`.
pub fn duration(node: &Node, subject: Subject<'_>, errors: &mut Errors) -> Option<Duration> {
    let value = node.text().and_then(|text| parse_duration(text));
    told(value, node, subject, "seconds or a duration such as `90s` or `1h30m`", errors)
}

/// Reads `90`, `1.5`, `500ms`, `1h30m`, `2d`. `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        return if plain { Duration::try_from_secs_f64(seconds).ok() } else { None };
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit = &after[..after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len())];
        total = total.checked_add(unit_of(number, unit)?)?;
        rest = after[unit.len()..].trim_start();
    }
    (!text.is_empty()).then_some(total)
}

fn unit_of(number: u64, unit: &str) -> Option<Duration> {
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" | "min" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        _ => None,
    }
}

/// The items of a list. `expected` says what it is a list of, e.g. `a list of paths`.
pub fn list<'a>(node: &'a Node, subject: Subject<'_>, expected: &str, errors: &mut Errors) -> &'a [Node] {
    if let Some(items) = node.list() {
        return items;
    }
    let message = format!("{subject} is {}, expected {expected}", node.found());
    errors.push(Diagnostic::error(message).at(node.place.clone()).maybe_help(in_brackets(
        node,
        subject.field,
        expected,
    )));
    &[]
}

/// How a single text is written as a list of one, if such a list is what was expected.
fn in_brackets(node: &Node, field: &str, expected: &str) -> Option<String> {
    let text = node.text().filter(|text| text.len() <= 60 && !text.contains(['\n', '\\', '"']))?;
    if expected.starts_with("a list of maps") || node.boolean().is_some() {
        return None;
    }
    let is_plain = text.chars().all(|one| one.is_alphanumeric() || "-_./".contains(one));
    let item = if is_plain { text.to_string() } else { format!("\"{text}\"") };
    Some(format!("write it as a list of one: `{field}: [{item}]`"))
}

/// A list of texts that are not empty.
pub fn words(node: &Node, subject: Subject<'_>, expected: &str, errors: &mut Errors) -> Vec<Arc<str>> {
    list(node, subject, expected, errors).iter().filter_map(|item| word(item, subject, errors)).collect()
}

/// The entries of a map.
pub fn map<'a>(node: &'a Node, subject: Subject<'_>, expected: &str, errors: &mut Errors) -> &'a [(Node, Node)] {
    told(node.map(), node, subject, expected, errors).unwrap_or_default()
}

/// One of a few words.
pub fn choice<T: Copy>(node: &Node, subject: Subject<'_>, choices: &[(&str, T)], errors: &mut Errors) -> Option<T> {
    let value = node.text().and_then(|text| choices.iter().find(|(name, _)| *name == &**text).map(|(_, value)| *value));
    if value.is_none() {
        wrong(node, subject, &format!("one of {}", words::list(choices.iter().map(|(name, _)| *name))), errors);
    }
    value
}

/// The entries of a map whose keys are known.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    entries: &'a [(Node, Node)],
}

impl<'a> Fields<'a> {
    /// The value of a field, even if it is empty.
    pub fn get(&self, field: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(key, _)| key.key() == field).map(|(_, value)| value)
    }

    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }
}

/// Takes a map apart, whose keys must be among `known`; a known name that ends with `*` stands for all that start
/// like it. `of` is what the map is, e.g. ``task `build` ``. All unknown keys are told, each with a suggestion.
///
/// `None` if it is no map.
pub fn fields<'a>(node: &'a Node, of: &str, known: &[&str], errors: &mut Errors) -> Option<Fields<'a>> {
    let Some(entries) = node.map() else {
        let message = format!("{of} is {}, expected a map", node.found());
        errors.push(Diagnostic::error(message).at(node.place.clone()));
        return None;
    };
    for (key, _) in entries {
        if !known.iter().any(|name| matches(name, key.key())) {
            unknown_field(key, of, known, errors);
        }
    }
    Some(Fields { entries })
}

fn matches(name: &str, key: &str) -> bool {
    name.strip_suffix('*').map_or(name == key, |start| key.starts_with(start))
}

/// Says that `of` has a field that nobody reads.
pub fn unknown_field(key: &Node, of: &str, known: &[&str], errors: &mut Errors) {
    let message = format!("{of} has unknown field `{}`", super::node::shorten(key.key()));
    let plain: Vec<&str> = known.iter().copied().filter(|name| !name.ends_with('*')).collect();
    let help = words::suggest("field", key.key(), &plain);
    errors.push(Diagnostic::error(message).at(key.place.clone()).maybe_help(help));
}

/// The field that must be there; says so if it is not.
pub fn required<'a>(fields: Fields<'a>, node: &Node, field: &str, of: &str, errors: &mut Errors) -> Option<&'a Node> {
    let found = fields.get(field);
    if found.is_none() {
        errors.push(Diagnostic::error(format!("{of} has no `{field}`")).at(node.place.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn told_by(text: &str, read: impl Fn(&Node, &mut Errors)) -> String {
        let node = yaml::parse("f.yaml", text.as_bytes()).unwrap();
        let mut errors = Errors::new();
        read(&node, &mut errors);
        errors.finish().err().unwrap_or_default().to_string()
    }

    #[test]
    fn durations_have_units_or_are_seconds() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("90"), Some(90.0));
        assert_eq!(seconds("1.5"), Some(1.5));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1d 2h"), Some(93_600.0));
        assert_eq!(seconds("250ms"), Some(0.25));
        for wrong in ["", "-1", "1x", "h", "1e3", "inf", "1h-3m", "99999999999999999999d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn booleans_are_strict() {
        let subject = Subject::new("watch_only", "task `x`");
        assert_eq!(told_by("true", |node, errors| assert_eq!(boolean(node, subject, errors), Some(true))), "");
        assert_eq!(
            told_by("yes", |node, errors| assert_eq!(boolean(node, subject, errors), None)),
            "error: `watch_only` of task `x` is `yes`, expected `true` or `false`\n  --> f.yaml:1:1"
        );
        assert!(
            told_by("'true'", |node, errors| assert_eq!(boolean(node, subject, errors), None)).contains("expected")
        );
    }

    #[test]
    fn numbers_are_written_plainly() {
        let subject = Subject::new("jobs", "`config`");
        let number = |text: &str| {
            let node = yaml::parse("f.yaml", text.as_bytes()).unwrap();
            int(&node, subject, 1..=64, &mut Errors::new())
        };
        assert_eq!(number("12"), Some(12));
        for wrong in ["012", "1_0", "0", "65", "-1", "1.0", "'12'", "[1]"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn unknown_fields_are_all_told() {
        let text = told_by("jbos: 1\nfoo: 2\n", |node, errors| {
            fields(node, "`config`", &["jobs", "verbosity"], errors);
        });
        assert_eq!(
            text,
            "error: `config` has unknown field `jbos`\n  --> f.yaml:1:1\n  help: a field with a similar name exists: `jobs`\n\
             error: `config` has unknown field `foo`\n  --> f.yaml:2:1\n  help: known fields: `jobs` and `verbosity`"
        );
    }
}
