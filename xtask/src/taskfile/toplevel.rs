//! What a file says beside its tasks: `config`, `pools`, `hosts`, `vars`. Knows nothing of tasks or includes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::cx::Cx;
use super::{Node, Value, read};
use crate::model::task::{Checker, Compress, Config, Host, HostBuild, Storage};
use crate::model::{Diagnostic, ImageRef, words};

pub(super) const CONFIG: &[&str] = &[
    "default_tasks",
    "jobs",
    "verbosity",
    "continue_on_failure",
    "reporter",
    "grace",
    "params",
    "minversion",
    "checker",
    "host",
    "transfer",
];
const REPORTERS: &[(&str, &str)] = &[
    ("auto", "auto"),
    ("fancy", "fancy"),
    ("plain", "plain"),
    ("json", "json"),
    ("junit", "junit"),
    ("github", "github"),
    ("console", "console"),
    ("executed-only", "executed-only"),
    ("zero", "zero"),
    ("error-only", "error-only"),
];
const CHECKERS: &[(&str, Checker)] = &[("content", Checker::Content), ("timestamp", Checker::Timestamp)];

/// `config` of the root.
pub(super) fn config(node: &Node, cx: &mut Cx<'_>) -> Config {
    let mut config = Config::default();
    let Some(fields) = read::fields(node, "`config`", CONFIG, cx.errors) else { return config };
    if let Some(node) = fields.get("default_tasks") {
        config.default_tasks = cx.at_list(node, "default_tasks", "a list of task names");
    }
    config.jobs = fields.get("jobs").and_then(|node| cx.int(node, "jobs", 1..=1024)).map(|jobs| jobs as usize);
    config.verbosity =
        fields.get("verbosity").and_then(|node| cx.int(node, "verbosity", 0..=2)).map(|level| level as u8);
    config.continue_on_failure =
        fields.get("continue_on_failure").and_then(|node| cx.boolean(node, "continue_on_failure")).unwrap_or_default();
    config.reporter = fields.get("reporter").and_then(|node| cx.choice(node, "reporter", REPORTERS)).map(Into::into);
    config.grace = fields.get("grace").and_then(|node| cx.duration(node, "grace"));
    if let Some(node) = fields.get("params") {
        config.params = param_defaults(node, cx);
    }
    config.checker = fields.get("checker").and_then(|node| cx.choice(node, "checker", CHECKERS)).unwrap_or_default();
    config.host = fields.get("host").and_then(|node| cx.fixed(node, "host"));
    config.transfer = fields.get("transfer").and_then(|node| repository(node, cx));
    config.minversion = fields.get("minversion").and_then(|node| minversion(node, cx));
    config
}

/// `config.params`: task to param to value; a list becomes JSON text.
fn param_defaults(node: &Node, cx: &mut Cx<'_>) -> BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>> {
    let mut found = BTreeMap::new();
    for (task, values) in cx.map(node, "params", "a map from tasks to maps of params") {
        let mut params = BTreeMap::new();
        for (name, value) in cx.map(values, "params", "a map from params to values") {
            let text = match &value.value {
                Value::List(_) => Some(json!(cx.fixed_list(value, "params", "a list of texts")).to_string().into()),
                _ => cx.fixed(value, "params"),
            };
            params.extend(text.map(|text| (Arc::from(name.key()), text)));
        }
        found.insert(task.key().into(), params);
    }
    found
}

/// The oldest version of this program that can read the file.
fn minversion(node: &Node, cx: &mut Cx<'_>) -> Option<Arc<str>> {
    let text = cx.fixed(node, "minversion")?;
    let Ok(wanted) = semver::Version::parse(&text) else {
        cx.wrong(node, "minversion", "a version such as `1.4.0`");
        return None;
    };
    let own = env!("CARGO_PKG_VERSION");
    if semver::Version::parse(own).is_ok_and(|own| own < wanted) {
        let message = format!("`{}` needs version {wanted}, but this is version {own}", node.place.file);
        cx.errors.push(
            Diagnostic::error(message).at(node.place.clone()).help("update the `xtask` package, or lower `minversion`"),
        );
    }
    Some(text)
}

/// A repository of a registry, without a tag.
fn repository(node: &Node, cx: &mut Cx<'_>) -> Option<Arc<str>> {
    let text = cx.fixed(node, "transfer")?;
    let name = ImageRef::parse(&text);
    if !name.is_some_and(|name| name.host().is_some() && name.tag.is_none() && name.digest.is_none()) {
        cx.errors.push(
            Diagnostic::error(format!("`{text}` is no repository of a registry"))
                .at(node.place.clone())
                .help("name host and path, without a tag: transfer: registry.example:5000/team/transfer"),
        );
        return None;
    }
    Some(text)
}

/// `pools`: name to the number of tasks at once.
pub(super) fn pools(node: &Node, into: &mut BTreeMap<Arc<str>, usize>, cx: &mut Cx<'_>) {
    for (key, value) in cx.map(node, "pools", "a map from names to numbers") {
        if let Some(size) = cx.int(value, key.key(), 1..=1024) {
            into.insert(key.key().into(), size as usize);
        }
    }
}

const HOST: &[&str] = &["ssh", "context", "docker", "root", "slots", "port", "identity", "compress", "build"];

const COMPRESS: &[(&str, Compress)] =
    &[("auto", Compress::Auto), ("true", Compress::Always), ("false", Compress::Never)];

const BUILDS: &[(&str, HostBuild)] = &[("engine", HostBuild::Engine), ("staged", HostBuild::Staged)];

/// `hosts`: name to how it is reached.
pub(super) fn hosts(node: &Node, into: &mut BTreeMap<Arc<str>, Host>, cx: &mut Cx<'_>) {
    for (key, value) in cx.map(node, "hosts", "a map from names to hosts") {
        cx.of = format!("host `{}`", key.key());
        let of = cx.of.clone();
        let Some(fields) = read::fields(value, &of, HOST, cx.errors) else { continue };
        let text = |field: &str, cx: &mut Cx<'_>| fields.get(field).and_then(|node| cx.fixed(node, field));
        let host = Host {
            place: key.place.clone(),
            ssh: text("ssh", cx),
            context: text("context", cx),
            docker: text("docker", cx),
            root: text("root", cx),
            slots: fields.get("slots").and_then(|node| cx.int(node, "slots", 1..=1024)).map(|slots| slots as usize),
            port: fields.get("port").and_then(|node| cx.int(node, "port", 1..=65535)).map(|port| port as u16),
            identity: text("identity", cx),
            compress: fields.get("compress").and_then(|node| cx.choice(node, "compress", COMPRESS)).unwrap_or_default(),
            build: fields.get("build").and_then(|node| cx.choice(node, "build", BUILDS)).unwrap_or_default(),
        };
        let by_ssh = host.ssh.is_some() || host.docker.as_deref().is_some_and(|url| url.starts_with("ssh://"));
        if host.build == HostBuild::Staged && !by_ssh {
            let place = fields.get("build").map_or(&key.place, |node| &node.place);
            cx.errors.push(
                Diagnostic::error(format!("{of} has `build: staged`, and no ssh to copy a context through"))
                    .at(place.clone())
                    .help("add `ssh: user@host`, or remove `build`"),
            );
        }
        if host.ssh.is_none() && host.context.is_none() && host.docker.is_none() {
            cx.error(&key.place, format!("{of} has none of `ssh`, `context` and `docker`"));
        }
        if let Some(fault) = super::names::fault(key.key()) {
            cx.error(&key.place, format!("host name `{}` {fault}", key.key()));
        }
        into.insert(key.key().into(), host);
    }
}

/// `storage`: ids of folders, and folders whose sub-folders have ids.
pub(super) fn storage(node: &Node, cx: &mut Cx<'_>) -> Storage {
    let mut storage = Storage::default();
    let Some(fields) = read::fields(node, "`storage`", &["ids", "folders"], cx.errors) else { return storage };
    if let Some(node) = fields.get("ids") {
        for (key, value) in cx.map(node, "ids", "a map from ids to paths") {
            if let Some(path) = cx.fixed(value, key.key()) {
                storage.ids.insert(key.key().into(), path);
            }
        }
    }
    if let Some(node) = fields.get("folders") {
        storage.folders = cx.fixed_list(node, "folders", "a list of paths");
    }
    storage
}

/// `vars` of a file, evaluated in order: each may use those before it. `known` holds what the file that
/// includes this one has, and wins; so does the command line. Never runs a command.
pub(super) fn vars(
    node: &Node,
    known: &mut serde_json::Map<String, Json>,
    env_read: &mut Vec<Arc<str>>,
    cx: &mut Cx<'_>,
) {
    let mut own = known.clone();
    for (key, value) in cx.map(node, "vars", "a map from names to texts") {
        cx.of = format!("var `{}`", key.key());
        if !key.key().chars().all(|c| c.is_alphanumeric() || c == '_') {
            cx.error(
                &key.place,
                format!("var name `{}` holds characters other than letters, digits and `_`", key.key()),
            );
            continue;
        }
        // What the command line or the includer gives stands for it, so that it need not be right here.
        if own.contains_key(key.key()) {
            continue;
        }
        if let Some(value) = cx.world.globals.get(key.key()) {
            own.insert(key.key().to_owned(), json!(value));
            continue;
        }
        let constants = json!({ "vars": own });
        let mut inner = Cx {
            world: cx.world,
            dir: cx.dir,
            constants: &constants,
            of: cx.of.clone(),
            used: Vec::new(),
            errors: &mut *cx.errors,
        };
        let text = var(value, env_read, &mut inner);
        // A var that could not be read is still defined: its uses are not errors of their own.
        let text = text.unwrap_or_default();
        own.insert(key.key().to_owned(), json!(text));
    }
    *known = own;
}

/// A text, or `{env: NAME, default: text}`.
fn var(node: &Node, env_read: &mut Vec<Arc<str>>, cx: &mut Cx<'_>) -> Option<Arc<str>> {
    match &node.value {
        Value::Scalar(scalar) if !node.is_null() => return cx.expand_fixed(&scalar.text, &node.place, "value"),
        Value::Map(_) => {}
        _ => {
            cx.wrong(node, "value", "text or `{env: NAME, default: TEXT}`");
            return None;
        }
    }
    let of = cx.of.clone();
    if node.get("sh").is_some() || node.get("cmd").is_some() {
        let message = format!("{of} is a command, but no command is run when the file is read");
        cx.errors.push(
            Diagnostic::error(message).at(node.place.clone()).help("make it a task, and take its value with `getargs`"),
        );
        return None;
    }
    let fields = read::fields(node, &of, &["env", "default"], cx.errors)?;
    let name = read::required(fields, node, "env", &of, cx.errors).and_then(|name| cx.fixed(name, "env"))?;
    if !env_read.contains(&name) {
        env_read.push(name.clone());
    }
    if let Some(value) = (cx.world.env)(&name) {
        return Some(value.into());
    }
    let Some(default) = fields.get("default") else {
        let message = format!("{of} has no `default`, and the environment has no `{name}`");
        cx.errors.push(Diagnostic::error(message).at(node.place.clone()).help(format!("set it: export {name}=…")));
        return None;
    };
    match &default.value {
        Value::Scalar(scalar) => cx.expand_fixed(&scalar.text, &default.place, "default"),
        _ => {
            cx.wrong(default, "default", "text");
            None
        }
    }
}

/// Says which of the globals of the command line no file has as a var.
pub fn unknown_globals(globals: &BTreeMap<String, String>, vars: &BTreeMap<Arc<str>, Arc<str>>) -> Vec<Diagnostic> {
    let known: Vec<&str> = vars.keys().map(|name| &**name).collect();
    let unknown = globals.keys().filter(|name| !vars.contains_key(name.as_str()));
    let error = |name: &String| {
        Diagnostic::error(format!("variable `{name}` is not in `vars`"))
            .maybe_help(words::suggest("variable", name, &known))
    };
    unknown.map(error).collect()
}
