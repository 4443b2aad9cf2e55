//! Laws over random files: row U14 (the same meaning in other words is the same task, another meaning is another) and
//! no input makes the reader panic or dawdle. Knows only `load` and `yaml::parse`.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::testing::World;
use super::yaml;

/// Random choices of spelling, used up one after another and then again from the start.
struct Spelling<'a> {
    choices: &'a [u8],
    next: usize,
}

impl Spelling<'_> {
    fn pick(&mut self, below: usize) -> usize {
        let choice = self.choices.get(self.next % self.choices.len().max(1)).copied().unwrap_or_default();
        self.next += 1;
        choice as usize % below
    }

    /// A value in one of its many spellings; `indent` is that of the parent.
    fn value(&mut self, value: &Json, indent: usize, flow: bool) -> String {
        match value {
            Json::String(text) => self.text(text),
            Json::Array(items) if items.is_empty() => "[]".to_owned(),
            Json::Object(fields) if fields.is_empty() => "{}".to_owned(),
            Json::Array(items) if flow || self.pick(2) == 0 => {
                let items: Vec<String> = items.iter().map(|item| self.value(item, indent, true)).collect();
                format!("[{}]", items.join(if self.pick(2) == 0 { ", " } else { " , " }))
            }
            Json::Object(fields) if flow || self.pick(3) == 0 => {
                let order = self.order(fields);
                let fields: Vec<String> =
                    order.iter().map(|key| format!("{key}: {}", self.value(&fields[key], indent, true))).collect();
                format!("{{{}}}", fields.join(", "))
            }
            Json::Array(items) => items.iter().fold(String::new(), |text, item| {
                let lead = self.line(indent);
                text + &lead + "- " + &self.value(item, indent + 2, true)
            }),
            Json::Object(fields) => self.order(fields).iter().fold(String::new(), |text, key| {
                let lead = self.line(indent);
                let gap = if self.pick(4) == 0 { "   " } else { " " };
                let deeper = indent + 1 + self.pick(3);
                text + &lead + key + ":" + gap + &self.value(&fields[key], deeper, false)
            }),
            other => other.to_string(),
        }
    }

    /// A new line, perhaps with a comment or empty lines in front.
    fn line(&mut self, indent: usize) -> String {
        let noise = ["", "", "", "\n", " # a comment: {x}", "\n   # - another"][self.pick(6)];
        format!("{noise}\n{}", " ".repeat(indent))
    }

    fn order(&mut self, fields: &Map<String, Json>) -> Vec<String> {
        let mut keys: Vec<String> = fields.keys().cloned().collect();
        for index in (1..keys.len()).rev() {
            keys.swap(index, self.pick(index + 1));
        }
        keys
    }

    fn text(&mut self, text: &str) -> String {
        let bare = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
            && !matches!(text, "true" | "false" | "null");
        match self.pick(3) {
            0 if bare => text.to_owned(),
            1 => format!("'{}'", text.replace('\'', "''")),
            _ => json!(text).to_string(),
        }
    }
}

/// A whole file in one of its spellings.
fn spelled(task: &Json, choices: &[u8]) -> String {
    let mut spelling = Spelling { choices, next: 0 };
    let file = json!({"version": 1, "pools": {"p": 1, "q": 2}, "tasks": {"other": {"actions": ["echo"]}, "t": task}});
    spelling.value(&file, 0, false) + "\n"
}

/// The resolved task without the places of its parts.
fn meaning(text: &str) -> Json {
    fn strip(value: &mut Json) {
        match value {
            Json::Object(fields) => {
                fields.remove("place");
                fields.values_mut().for_each(strip);
            }
            Json::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let loaded = World::of(text).load().unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let task = loaded.taskfile.tasks.iter().find(|task| &*task.name == "t").unwrap();
    let mut value = serde_json::to_value(task).unwrap();
    strip(&mut value);
    value
}

/// One attribute with a value; two different pairs never mean the same.
fn attribute() -> impl Strategy<Value = (&'static str, Json)> {
    let path = "[a-z]{1,3}(/[a-z]{1,2})?(\\.[a-z])?";
    let word = "[a-z]{1,4}";
    prop_oneof![
        prop::collection::vec(path, 0..4).prop_map(|paths| ("file_dep", json!(paths))),
        prop::collection::vec(path, 0..3).prop_map(|paths| ("targets", json!(paths))),
        prop::collection::vec(word, 0..3).prop_map(|names| ("task_dep", json!(names))),
        prop::collection::vec("[a-z '\"#:{}\\[\\]|>&*!%@-]{0,8}x", 1..3).prop_map(|texts| {
            (
                "actions",
                texts
                    .into_iter()
                    .filter(|text| !text.contains("{{") && !text.contains("{%") && !text.contains("{#"))
                    .chain(["end".to_owned()])
                    .collect(),
            )
        }),
        (0_u8..3).prop_map(|level| ("verbosity", json!(level))),
        (1_u32..5000).prop_map(|seconds| ("timeout", json!(seconds))),
        (1_u32..9).prop_map(|times| ("retry", json!({"times": times, "delay": "2s"}))),
        prop::collection::btree_map("[A-Z]{1,2}", "[ -~&&[^{]]{0,5}", 0..3).prop_map(|env| ("env", json!(env))),
        prop_oneof!["p", "q"].prop_map(|pool| ("pool", json!(pool))),
        prop_oneof!["always", "once", "when-missing"].prop_map(|mode| ("run", json!(mode))),
        any::<bool>().prop_map(|truth| ("uptodate", json!([truth, {"config_changed": {"b": truth, "a": "1.10"}}]))),
        word.prop_map(|name| ("params", json!([{"name": name, "type": "list", "default": [name]}]))),
        any::<bool>().prop_map(|truth| ("clean", json!(truth))),
        word.prop_map(|text| ("meta", json!({"b": text, "a": [text, {"z": 1.5, "y": null}]}))),
        word.prop_map(|text| ("doc", json!(text))),
        any::<bool>().prop_map(|truth| ("interactive", json!(truth))),
    ]
}

fn task() -> impl Strategy<Value = Json> {
    prop::collection::vec(attribute(), 0..6).prop_map(|attributes| {
        let mut task: Map<String, Json> =
            attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        task.entry("actions").or_insert_with(|| json!(["echo"]));
        Json::Object(task)
    })
}

/// Values that mean the same as leaving the attribute out.
fn is_default(name: &str, value: &Json) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(Map::is_empty)
        || (name, value) == ("interactive", &json!(false))
        || (name, value) == ("clean", &json!(true))
}

/// `PROPTEST_CASES` makes it more: the row asks for 10 000 once in a while.
fn config(cases: u32) -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: wanted.unwrap_or(cases), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn u14_other_words_mean_the_same(task in task(), one in prop::collection::vec(any::<u8>(), 1..40), two in prop::collection::vec(any::<u8>(), 1..40)) {
        let (first, second) = (spelled(&task, &one), spelled(&task, &two));
        prop_assert_eq!(meaning(&first), meaning(&second), "{}\n{}", first, second);
    }

    #[test]
    fn u14_another_meaning_is_another_task(task in task(), (name, value) in attribute(), spelling in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut edited = task.clone();
        let same = match task.get(name) {
            Some(old) => *old == value,
            None => is_default(name, &value),
        };
        edited[name] = value;
        let (first, second) = (spelled(&task, &spelling), spelled(&edited, &spelling));
        prop_assert_eq!(meaning(&first) == meaning(&second), same, "{}\n{}", first, second);
    }
}

/// Pieces of YAML and of templates, to be thrown together.
const PIECES: &[&str] = &[
    "version: 1\n",
    "tasks:\n",
    "  t: ",
    "  - ",
    "- ",
    "\n",
    " ",
    "  ",
    ": ",
    ":",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "a",
    "b",
    "&a ",
    "*a",
    "'",
    "\"",
    "|\n",
    ">\n",
    "# c\n",
    "!x ",
    "<<",
    "? ",
    "---\n",
    "\t",
    "é",
    "\u{0}",
    "actions: [echo]\n",
    "file_dep",
    "for_each: ",
    "image",
    "matrix: ",
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "vars.x",
    "include: [tasks.yaml]\n",
    "params: [{name: x}]",
    "null",
    "true",
    "1h",
    "defaults: ",
    "env: {A: b}\n",
    "uptodate: [",
    "run_once",
    "targets: [o]",
    "getargs: {x: t.y}\n",
    "\u{feff}",
    "🦀",
    "..",
    "/",
    "=",
];

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let start = cpu();
        let found = yaml::parse("f.yaml", &bytes);
        prop_assert!(found.is_ok() || !found.unwrap_err().0.is_empty());
        prop_assert!(cpu() - start < 1.0);
    }

    #[test]
    fn any_pieces_are_loaded_or_refused(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let start = cpu();
        let text = pieces.concat();
        for file in [text.clone(), format!("version: 1\ntasks:\n  t: {{actions: [echo]}}\n  u:\n    {text}")] {
            if let Err(errors) = World::of(&file).load() {
                prop_assert!(!errors.0.is_empty());
                prop_assert!(errors.0.iter().all(|error| !error.message.is_empty()), "{}", errors);
            }
        }
        prop_assert!(cpu() - start < 1.0);
    }
}
