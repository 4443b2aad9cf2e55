//! Macros as data, as a task has them: a list of texts and of named blocks to a Dockerfile. A block is written by the
//! macro of its name that templates have, too. Knows nothing of tasks and of where the text goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::brought::{self, Brought};
use super::template::{self, Rendered, Values};
use crate::model::Diagnostic;
use crate::model::words::suggest;

/// One field of a block.
struct Field {
    name: &'static str,
    form: Form,
    /// What it is where it is not said; `None`: it must be said.
    default: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    /// Of texts; a single one may stand for it.
    List,
}

/// One kind of block.
struct Kind {
    name: &'static str,
    fields: &'static [Field],
    /// How a template calls the macro with the fields in `m`.
    call: &'static str,
}

const fn text(name: &'static str, default: Option<&'static str>) -> Field {
    Field { name, form: Form::Text, default }
}

const fn list(name: &'static str, default: Option<&'static str>) -> Field {
    Field { name, form: Form::List, default }
}

const KINDS: &[Kind] = &[
    Kind { name: "apt", fields: &[list("packages", None)], call: "x.apt(m.packages)" },
    Kind { name: "pip", fields: &[list("args", None)], call: "x.pip(m.args)" },
    Kind { name: "uv", fields: &[list("args", None)], call: "x.uv(m.args)" },
    Kind {
        name: "copy",
        fields: &[
            text("from", None),
            text("to", None),
            list("exclude", Some("")),
            list("only", Some("")),
            text("chown", Some("")),
        ],
        call: "x.copy(m.from, m.to, exclude=m.exclude, only=m.only, chown=m.chown)",
    },
    Kind {
        name: "script",
        fields: &[list("lines", None), text("at", None), text("mode", Some("755"))],
        call: "x.script(m.lines, m.at, mode=m.mode)",
    },
    Kind {
        name: "entrypoint",
        fields: &[list("lines", None), text("at", Some("/usr/local/bin/entrypoint"))],
        call: "x.entrypoint(m.lines, at=m.at)",
    },
    Kind {
        name: "install",
        fields: &[text("dir", None), text("at", None), text("kind", Some("auto")), list("exclude", Some(""))],
        call: "x.install(m.dir, m.at, kind=m.kind, exclude=m.exclude)",
    },
];

/// One entry of the list, checked.
pub struct Macro {
    /// For messages: `macro 2 (copy)`.
    name: String,
    /// The template that writes it, and what that is given as `m`.
    template: String,
    value: Value,
}

impl Macro {
    /// What it brings into the context: a file or folder of the repository.
    pub fn source(&self) -> Option<&str> {
        self.value.get("from").or_else(|| self.value.get("dir"))?.as_str()
    }
}

/// Reads the list; a list in it counts as its entries.
///
/// # Errors
/// The first entry that is none.
pub fn read(items: &Value) -> Result<Vec<Macro>, Diagnostic> {
    let mut found = Vec::new();
    read_into(items, &mut found)?;
    Ok(found)
}

fn read_into(items: &Value, found: &mut Vec<Macro>) -> Result<(), Diagnostic> {
    let Some(items) = items.as_array() else {
        return Err(Diagnostic::error(format!("`macros` is {}, expected a list", form(items)))
            .help("macros: [{ apt: [git] }, \"WORKDIR /work\"]"));
    };
    for item in items {
        let number = found.len() + 1;
        match item {
            Value::Array(_) => read_into(item, found)?,
            Value::Object(map) => found.push(block(number, map)?),
            Value::String(lines) => found.push(Macro {
                name: format!("macro {number}"),
                template: "{{ m | raw }}".to_owned(),
                value: json!(lines),
            }),
            other => {
                let message = format!("macro {number} is {}, expected a text or a block such as `apt`", form(other));
                return Err(Diagnostic::error(message));
            }
        }
    }
    Ok(())
}

fn block(number: usize, map: &Map<String, Value>) -> Result<Macro, Diagnostic> {
    let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let mut names = map.iter();
    let (Some((name, given)), None) = (names.next(), names.next()) else {
        let message = format!("macro {number} has {} names, expected one of: {}", map.len(), known.join(", "));
        return Err(Diagnostic::error(message).help("write each block as an entry of its own"));
    };
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        let near = suggest("macro", name, &known).unwrap_or_else(|| format!("there are: {}", known.join(", ")));
        return Err(Diagnostic::error(format!("macro {number} is `{name}`, which there is not")).help(near));
    };
    let named = format!("macro {number} ({name})");
    let value = fields(&named, kind, given)?;
    let template = format!("{{% import \"xtask.j2\" as x %}}\n{{{{ {} }}}}", kind.call);
    Ok(Macro { name: named, template, value })
}

fn fields(of: &str, kind: &Kind, given: &Value) -> Result<Value, Diagnostic> {
    let mut needed = kind.fields.iter().filter(|field| field.default.is_none());
    let given = match (given, needed.next(), needed.next()) {
        (Value::Object(map), ..) => map.clone(),
        (short, Some(only), None) => Map::from_iter([(only.name.to_owned(), short.clone())]),
        (other, ..) => return Err(Diagnostic::error(format!("`{of}` is {}, expected a map of fields", form(other)))),
    };
    let known: Vec<&str> = kind.fields.iter().map(|field| field.name).collect();
    if let Some(name) = given.keys().find(|name| !known.contains(&name.as_str())) {
        let error = Diagnostic::error(format!("`{of}` has unknown field `{name}`"));
        let near = suggest("field", name, &known).unwrap_or_else(|| format!("there are: {}", known.join(", ")));
        return Err(error.help(near));
    }
    let read = |field: &Field| Ok((field.name.to_owned(), value(of, field, given.get(field.name))?));
    kind.fields.iter().map(read).collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

fn value(of: &str, field: &Field, given: Option<&Value>) -> Result<Value, Diagnostic> {
    let plain = |value: &Value| value.is_string() || value.is_number();
    let wrong = |value: &Value, expected: &str| {
        Err(Diagnostic::error(format!("`{}` of `{of}` is {}, expected {expected}", field.name, form(value))))
    };
    match (given.filter(|value| !value.is_null()), field.default, field.form) {
        (None, None, _) => Err(Diagnostic::error(format!("`{of}` has no `{}`", field.name))),
        (None, Some(default), Form::Text) => Ok(json!(default)),
        (None, Some(_), Form::List) => Ok(json!([])),
        (Some(one), _, Form::Text) if plain(one) => {
            Ok(one.as_str().map_or_else(|| json!(one.to_string()), |s| json!(s)))
        }
        (Some(other), _, Form::Text) => wrong(other, "a text"),
        (Some(Value::Array(many)), _, Form::List) => match many.iter().find(|item| !plain(item)) {
            Some(other) => wrong(other, "a list of texts"),
            None => Ok(json!(many)),
        },
        (Some(one), _, Form::List) if plain(one) => Ok(json!([one])),
        (Some(other), _, Form::List) => wrong(other, "a list of texts"),
    }
}

fn form(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The Dockerfile of these macros, behind a FROM line if there is a `from`.
///
/// # Errors
/// What the macro of the message cannot write.
pub fn render(root: &Path, from: Option<&str>, macros: &[Macro]) -> Result<Rendered, Diagnostic> {
    let head =
        from.map(|from| Macro { name: "from".to_owned(), template: "FROM {{ m }}".to_owned(), value: json!(from) });
    let (mut text, mut read): (String, BTreeSet<PathBuf>) = Default::default();
    let (mut brought, mut shipped) = (BTreeMap::<String, Brought>::new(), false);
    for one in head.iter().chain(macros) {
        let part = template::render_text(root, &one.name, &one.template, Values::default().with("m", &one.value))?;
        text.push_str(brought::without(&part.text));
        read.extend(part.files_read);
        brought.extend(part.brought.into_iter().map(|one| (one.name.clone(), one)));
        shipped |= part.shipped;
    }
    let brought: Vec<Brought> = brought.into_values().collect();
    brought::append(&mut text, &brought);
    Ok(Rendered { text, files_read: read.into_iter().collect(), brought, shipped })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(items: Value) -> String {
        match read(&items) {
            Err(problem) => problem.to_string().trim_end().to_owned(),
            Ok(_) => panic!("{items} is fine"),
        }
    }

    #[test]
    fn m01_a_list_of_macros_writes_what_templates_write() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("libs/a")).unwrap();
        std::fs::write(root.path().join("libs/a/requirements.txt"), "numpy\n").unwrap();
        let items = json!([
            { "apt": ["git", "curl"] },
            ["ENV A=1", ["RUN <<E\n  one\n\n  two\nE\n"]],
            { "copy": { "from": "libs/a", "to": "/a/", "exclude": ["*.log", "!b.log"] } },
            { "install": { "dir": "libs/a", "at": "/app" } },
            { "entrypoint": "export B=\"$A\"" },
            { "uv": ["scipy>=1"] },
        ]);
        let found = render(root.path(), Some("debian:12"), &read(&items).unwrap()).unwrap();
        let template = "{% import \"xtask.j2\" as x %}\nFROM debian:12\n{{ x.apt([\"git\", \"curl\"]) }}\nENV A=1\n\
            RUN <<E\n  one\n\n  two\nE\n{{ x.copy(\"libs/a\", \"/a/\", exclude=[\"*.log\", \"!b.log\"]) }}\n\
            {{ x.install(\"libs/a\", \"/app\") }}\n{{ x.entrypoint(['export B=\"$A\"']) }}\n{{ x.uv([\"scipy>=1\"]) }}\n";
        std::fs::write(root.path().join("Dockerfile.j2"), template).unwrap();
        let same = template::render(root.path(), Path::new("Dockerfile.j2"), &[], Values::default()).unwrap();
        assert_eq!(found.text, same.text);
        assert_eq!(found.brought, same.brought);
        assert!(found.text.contains("uv pip install --system --quiet \\\n        'scipy>=1'\n"), "{}", found.text);
        assert_eq!(found.text, render(root.path(), Some("debian:12"), &read(&items).unwrap()).unwrap().text);
    }

    #[test]
    fn an_entry_that_is_none_is_told_by_its_number() {
        assert_eq!(
            error(json!([{ "atp": [] }])),
            "error: macro 1 is `atp`, which there is not\n  help: a macro with a similar name exists: `apt`"
        );
        assert!(
            error(json!(["A", { "apt": [], "pip": [] }])).contains("macro 2 has 2 names, expected one of: apt, pip")
        );
        assert_eq!(error(json!(["A", { "copy": { "from": "a" } }])), "error: `macro 2 (copy)` has no `to`");
        assert!(
            error(json!([{ "copy": { "from": "a", "to": "b", "exlude": "c" } }])).contains("unknown field `exlude`")
        );
        assert!(error(json!([{ "copy": "a" }])).contains("`macro 1 (copy)` is a text, expected a map of fields"));
        assert!(error(json!([{ "apt": [{}] }])).contains("`packages` of `macro 1 (apt)` is a map, expected a list"));
        assert!(error(json!([3])).contains("macro 1 is a number, expected a text or a block"));
        assert!(error(json!("RUN true")).contains("`macros` is a text, expected a list"));
    }

    #[test]
    fn what_a_macro_cannot_write_is_told_by_its_number() {
        let root = tempfile::tempdir().unwrap();
        let error = |from: &str, items: Value| {
            render(root.path(), Some(from), &read(&items).unwrap()).unwrap_err().to_string().trim_end().to_owned()
        };
        assert_eq!(
            error("a", json!(["ENV A=1", { "copy": { "from": "nowhere", "to": "/" } }])),
            "error: `macro 2 (copy)` brings `nowhere`, which is not there: name a file or folder of the repository"
        );
        assert!(error("a", json!([{ "copy": { "from": "../x", "to": "/" } }])).contains("outside the repository"));
        assert!(error("a\nRUN evil", json!([])).starts_with("error: `from` writes a value with a newline"));
        assert!(error("a", json!([{ "apt": ["a\nRUN evil"] }])).starts_with("error: `macro 1 (apt)` writes a value"));
    }
}
