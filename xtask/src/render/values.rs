//! Values between JSON and templates. Knows nothing of what they mean.

use std::collections::BTreeMap;

use minijinja::Value;
use minijinja::value::ValueKind;

/// The values that a template may use, by name; cheap to copy whatever is in them.
#[derive(Clone, Debug, Default)]
pub struct Values(BTreeMap<String, Value>);

impl Values {
    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: &str, value: &serde_json::Value) -> Self {
        self.0.insert(name.to_owned(), from_json(value));
        self
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    pub(super) fn as_value(&self) -> Value {
        Value::from_pairs(self.0.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }
}

impl From<&serde_json::Value> for Values {
    /// The fields of an object; anything else has no values.
    fn from(json: &serde_json::Value) -> Self {
        let fields = json.as_object().into_iter().flatten();
        Self(fields.map(|(name, value)| (name.clone(), from_json(value))).collect())
    }
}

/// A JSON value as templates see it.
pub(super) fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Value::from(value),
            (_, Some(value), _) => Value::from(value),
            (.., value) => Value::from(value.unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(from_json).collect(),
        serde_json::Value::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), from_json(value))))
        }
    }
}

/// A value of a template as JSON; `None` for what JSON cannot say.
pub(super) fn to_json(value: &Value) -> Option<serde_json::Value> {
    Some(match value.kind() {
        ValueKind::None => serde_json::Value::Null,
        ValueKind::Bool => value.is_true().into(),
        ValueKind::Number => serde_json::from_str(&value.to_string()).ok()?,
        ValueKind::String => value.to_string().into(),
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter().ok()?.map(|item| to_json(&item)).collect::<Option<Vec<_>>>()?.into()
        }
        ValueKind::Map => {
            let keys = value.try_iter().ok()?;
            let pairs = keys.map(|key| Some((key.to_string(), to_json(&value.get_item(&key).ok()?)?)));
            serde_json::Value::Object(pairs.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
