//! The filters of every template: paths, JSON, defaults, and the way out of quoting. Knows nothing of what is rendered.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

/// Adds them, and takes away those that speak of HTML or let a value pass unseen under another name.
pub(super) fn add(environment: &mut Environment<'_>) {
    for name in ["safe", "escape", "e", "urlencode"] {
        environment.remove_filter(name);
    }
    environment.add_filter("raw", |value: Value| Value::from_safe_string(text(&value)));
    environment.add_filter("json", json);
    environment.add_filter("tojson", json);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("basename", |path: &str| split(path).1.to_owned());
    environment.add_filter("dirname", |path: &str| split(path).0.to_owned());
    environment.add_filter("stem", |path: &str| extension(split(path).1).0.to_owned());
    environment.add_filter("extension", |path: &str| extension(split(path).1).1.to_owned());
}

/// The text of a value as it is: a list is its items with blanks between them.
fn text(value: &Value) -> String {
    match (value.kind(), value.try_iter()) {
        (ValueKind::Seq | ValueKind::Iterable, Ok(items)) => {
            items.map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
        }
        _ => value.to_string(),
    }
}

fn json(value: Value) -> Result<String, Error> {
    match super::values::to_json(&value) {
        Some(json) => Ok(json.to_string()),
        None => Err(Error::new(
            ErrorKind::BadSerialization,
            format!("cannot write a value of the kind {} as JSON", value.kind()),
        )),
    }
}

/// `x | default(y)`: y where x is undefined or none; `default(y, true)` also where x is empty or false.
fn default(value: Value, other: Option<Value>, boolean: Option<bool>, named: Kwargs) -> Result<Value, Error> {
    let boolean = match boolean {
        Some(boolean) => boolean,
        None => named.get::<Option<bool>>("boolean")?.unwrap_or(false),
    };
    named.assert_all_used()?;
    let absent = value.is_undefined() || value.is_none() || (boolean && !value.is_true());
    Ok(if absent { other.unwrap_or_else(|| Value::from("")) } else { value })
}

fn split(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    path.rsplit_once('/').unwrap_or((".", path))
}

fn extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    }
}
