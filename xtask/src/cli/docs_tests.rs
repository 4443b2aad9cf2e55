//! Keeps `docs/tasks.md` true: its examples load, and it names everything that can be written.

use std::path::{Path, PathBuf};

use crate::action::ActionSet;
use crate::cli::project::{self, LoadOptions, Place, Read};
use crate::model::RepoPath;
use crate::taskfile::{self, ActionForm};
use crate::world::World;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page() -> String {
    std::fs::read_to_string(repository().join("docs/tasks.md")).unwrap()
}

/// The blocks marked as YAML, each with the number of its first line.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match &mut open {
            None if line == "```yaml" => open = Some((number + 2, String::new())),
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    found
}

/// Loads a taskfile beside the stack of this repository, and makes its graph.
fn load(text: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository().join("images"), dir.path().join("images")).unwrap();
    std::fs::write(dir.path().join("tasks.yaml"), text).unwrap();
    let (world, _) = World::captured(dir.path().to_owned(), crate::exec::environment::Variables::new());
    let place = Place { root: dir.path().to_owned(), file: "tasks.yaml".into(), cwd: RepoPath::root() };
    let options = LoadOptions::default();
    let told = |problems: crate::model::Diagnostics| problems.to_string();
    let Read { tasks, actions, .. } = project::read(&place, &world, &options).map_err(told)?;
    project::open(&place, tasks, actions, &world, &options).map(drop).map_err(told)
}

#[test]
fn every_example_loads() {
    let page = page();
    let whole: Vec<_> =
        blocks(&page).into_iter().filter(|(_, text)| text.lines().any(|line| line.starts_with("tasks:"))).collect();
    assert!(whole.len() >= 10, "only {} examples were found", whole.len());
    let wrong: Vec<String> = whole
        .iter()
        .filter_map(|(line, text)| load(text).err().map(|problem| format!("docs/tasks.md:{line}\n{problem}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_example_that_is_wrong_is_noticed() {
    let problem = load("version: 1\ntasks:\n  a: { actoins: [\"true\"] }\n").unwrap_err();
    assert!(problem.contains("actoins"), "{problem}");
}

/// The properties of a part of the schema.
fn names(schema: &serde_json::Value, pointer: &str) -> Vec<String> {
    let properties = schema.pointer(pointer).and_then(serde_json::Value::as_object);
    properties.unwrap_or_else(|| panic!("no {pointer}")).keys().cloned().collect()
}

#[test]
fn everything_that_can_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (world, _) = World::captured(dir.path().to_owned(), crate::exec::environment::Variables::new());
    let actions: ActionSet = crate::action::built_in(dir.path(), &world).actions;
    let forms: Vec<ActionForm<'_>> = actions
        .iter()
        .map(|action| {
            let form = action.arguments();
            ActionForm { name: action.name(), required: form.required, optional: form.optional, short: form.short }
        })
        .collect();
    let schema = taskfile::schema(&forms, &actions.check_names());
    let mut wanted = Vec::new();
    for pointer in [
        "/properties",
        "/properties/config/properties",
        "/properties/hosts/additionalProperties/properties",
        "/properties/tasks/additionalProperties/properties",
        "/definitions/check/anyOf/1/properties",
        "/definitions/param/properties",
        "/definitions/action/anyOf/2/properties",
    ] {
        wanted.extend(names(&schema, pointer));
    }
    wanted
        .extend(forms.iter().flat_map(|form| form.required.iter().chain(form.optional)).map(|name| (*name).to_owned()));
    wanted.extend(crate::report::Kind::NAMES.iter().map(|(name, _)| (*name).to_owned()));
    wanted.extend(taskfile::RUN_TIME_NAMES.iter().map(|name| (*name).to_owned()));
    let page = page();
    let absent: Vec<&String> = wanted.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(absent.is_empty(), "docs/tasks.md does not name {absent:?}");
}
