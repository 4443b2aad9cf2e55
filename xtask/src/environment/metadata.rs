//! The fields of an environment's `metadata.yml`, checked. Knows nothing of folders and Dockerfiles.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Diagnostic;
use crate::model::task::At;
use crate::taskfile::read::{self, Fields, Subject};
use crate::taskfile::{Errors, Node};

/// Everything that `metadata.yml` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// Five capital letters or digits, unique among all environments.
    pub key: At<String>,
    pub predecessor_key: Option<String>,
    pub name: String,
    pub short_description: String,
    pub version: semver::Version,
    pub creator: String,
    pub editors: Vec<String>,
    /// `YYYY-MM-DD`, perhaps with a time.
    pub creation_date: String,
    pub external_references: Vec<String>,
    pub tags: Vec<String>,
    pub notes: Option<String>,
    /// What `-c TEXT` and a script without another sign are written in.
    pub language: Language,
    /// Repository without tag.
    pub image_name: Option<String>,
    /// The plan of the stack that it is built for; the first if absent.
    pub plan: Option<At<String>>,
    pub build_args: BTreeMap<String, String>,
    /// Build arg to its values: an environment for each combination.
    pub matrix: BTreeMap<String, Vec<String>>,
    /// A shell command that succeeds once a container can be used.
    pub ready: Option<String>,
    /// How long `ready` may take.
    pub ready_timeout: Duration,
}

/// What a script is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    Sh,
    Bash,
    Python,
}

impl Language {
    pub const CHOICES: [(&str, Self); 3] = [("sh", Self::Sh), ("bash", Self::Bash), ("python", Self::Python)];
}

const REQUIRED: [&str; 11] = [
    "key",
    "type",
    "name",
    "short_description",
    "version",
    "creator",
    "editor_list",
    "creation_date",
    "external_references",
    "tag_list",
    "notes",
];
const OPTIONAL: [&str; 8] =
    ["predecessor_key", "language", "image_name", "plan", "build_args", "matrix", "ready", "ready_timeout"];
const KIND: &str = "environment_specification";
const READY: Duration = Duration::from_mins(1);

/// Reads the metadata of the environment in `folder`; `None` where anything is wrong, which is told.
pub fn read(node: &Node, folder: &str, errors: &mut Errors) -> Option<Metadata> {
    let of = format!("environment `{folder}`");
    let before = errors.len();
    let known: Vec<&str> = REQUIRED.iter().chain(&OPTIONAL).copied().collect();
    let fields = read::fields(node, &of, &known, errors)?;
    for name in REQUIRED {
        read::required(fields, node, name, &of, errors);
    }
    let mut reader = Reader { fields, of: &of, errors };
    let kind = |text: &str| text == KIND;
    reader.checked("type", kind, &format!("`{KIND}`"));
    let is_key = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let key = reader.checked("key", is_key, "five capital letters or digits");
    let name = reader.checked("name", |text| text == folder, &format!("`{folder}`, the name of its folder"));
    let version =
        reader.checked("version", |text| semver::Version::parse(text).is_ok(), "three numbers such as `1.4.0`");
    let creation_date = reader.checked("creation_date", is_date, "a date such as `2026-11-21`");
    let short_description = reader.word("short_description");
    let creator = reader.word("creator");
    let metadata = Metadata {
        predecessor_key: reader
            .optional("predecessor_key", is_key, "five capital letters or digits")
            .map(|at| at.value),
        key: key.unwrap_or_else(|| At { value: String::new(), place: node.place.clone() }),
        name: name.map(|at| at.value).unwrap_or_default(),
        short_description: short_description.unwrap_or_default(),
        version: version
            .and_then(|at| semver::Version::parse(&at.value).ok())
            .unwrap_or_else(|| semver::Version::new(0, 0, 0)),
        creator: creator.unwrap_or_default(),
        editors: reader.list("editor_list"),
        creation_date: creation_date.map(|at| at.value).unwrap_or_default(),
        external_references: reader.list("external_references"),
        tags: reader.list("tag_list"),
        notes: reader.optional("notes", |_| true, "text").map(|at| at.value),
        language: reader.choice("language", &Language::CHOICES).unwrap_or_default(),
        image_name: reader.optional("image_name", is_repository, "a repository without a tag").map(|at| at.value),
        plan: reader.optional("plan", |text| !text.trim().is_empty(), "the name of a plan"),
        build_args: reader.args("build_args"),
        matrix: reader.matrix(),
        ready: reader.optional("ready", |text| !text.trim().is_empty(), "a shell command").map(|at| at.value),
        ready_timeout: reader.duration("ready_timeout").unwrap_or(READY),
    };
    (errors.len() == before).then_some(metadata)
}

fn is_date(text: &str) -> bool {
    let (day, time) = text.split_at_checked(10).unwrap_or((text, ""));
    let time = time.trim_start_matches([' ', 'T']);
    day.parse::<jiff::civil::Date>().is_ok() && (time.is_empty() || time.parse::<jiff::civil::Time>().is_ok())
}

fn is_repository(text: &str) -> bool {
    crate::model::ImageRef::parse(text).is_some_and(|image| image.tag.is_none() && image.digest.is_none())
}

/// Takes fields; what is wrong goes to the errors.
struct Reader<'r> {
    fields: Fields<'r>,
    of: &'r str,
    errors: &'r mut Errors,
}

impl<'r> Reader<'r> {
    /// A field that is given and not empty.
    fn given(&self, field: &str) -> Option<&'r Node> {
        self.fields.get(field).filter(|node| !node.is_null())
    }

    fn word(&mut self, field: &str) -> Option<String> {
        let node = self.fields.get(field)?;
        read::word(node, Subject::new(field, self.of), self.errors).map(|text| text.to_string())
    }

    fn checked(&mut self, field: &str, fine: impl Fn(&str) -> bool, expected: &str) -> Option<At<String>> {
        let node = self.fields.get(field)?;
        let value = node.text().filter(|text| fine(text));
        if value.is_none() {
            read::wrong(node, Subject::new(field, self.of), expected, self.errors);
        }
        value.map(|text| At { value: text.to_string(), place: node.place.clone() })
    }

    fn optional(&mut self, field: &str, fine: impl Fn(&str) -> bool, expected: &str) -> Option<At<String>> {
        self.given(field)?;
        self.checked(field, fine, expected)
    }

    fn list(&mut self, field: &str) -> Vec<String> {
        let Some(node) = self.given(field) else { return Vec::new() };
        let items = read::words(node, Subject::new(field, self.of), "a list of texts", self.errors);
        items.iter().map(ToString::to_string).collect()
    }

    fn choice(&mut self, field: &str, choices: &[(&str, Language)]) -> Option<Language> {
        let node = self.given(field)?;
        read::choice(node, Subject::new(field, self.of), choices, self.errors)
    }

    fn duration(&mut self, field: &str) -> Option<Duration> {
        let node = self.given(field)?;
        read::duration(node, Subject::new(field, self.of), self.errors)
    }

    fn args(&mut self, field: &str) -> BTreeMap<String, String> {
        let Some(node) = self.given(field) else { return BTreeMap::new() };
        let subject = Subject::new(field, self.of);
        let entries = read::map(node, subject, "a map of names to texts", self.errors);
        let one = |(key, value): &(Node, Node)| {
            Some((key.key().to_owned(), read::text(value, subject, self.errors)?.to_string()))
        };
        entries.iter().filter_map(one).collect()
    }

    fn matrix(&mut self) -> BTreeMap<String, Vec<String>> {
        let Some(node) = self.given("matrix") else { return BTreeMap::new() };
        let subject = Subject::new("matrix", self.of);
        let mut found = BTreeMap::new();
        for (axis, values) in read::map(node, subject, "a map of build args to lists", self.errors) {
            let values = read::words(values, Subject::new(axis.key(), self.of), "a list of texts", self.errors);
            let mut row = Vec::new();
            for value in values {
                let fine = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
                if !value.chars().all(fine) || row.contains(&value.to_string()) {
                    let message = format!(
                        "`matrix` of {} has the value `{value}` for `{}`, expected different words of letters, digits, `.` and `-`",
                        self.of,
                        axis.key()
                    );
                    self.errors.push(Diagnostic::error(message).at(axis.place.clone()));
                } else {
                    row.push(value.to_string());
                }
            }
            found.insert(axis.key().to_owned(), row);
        }
        found
    }
}
