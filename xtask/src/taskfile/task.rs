//! One task: its attributes, each in every form. Knows nothing of other tasks, files or members.

use std::sync::Arc;

use super::action::{self, actions};
use super::cx::{Cx, undefined};
use super::world::{Quote, RUN_TIME_NAMES};
use super::{Node, Value, options, paths, read, uptodate};
use crate::model::task::serde_json_text::Json;
use crate::model::task::{At, CalcDep, Clean, GetArg, Retry, RunMode, Target, Task};
use crate::model::{Diagnostic, Place};

/// Every attribute, for suggestions.
pub(super) const ATTRIBUTES: &[&str] = &[
    "actions",
    "file_dep",
    "targets",
    "task_dep",
    "result_dep",
    "uptodate",
    "calc_dep",
    "getargs",
    "setup",
    "teardown",
    "clean",
    "params",
    "pos_arg",
    "doc",
    "title",
    "verbosity",
    "watch",
    "watch_only",
    "env",
    "pass_env",
    "cwd",
    "shell",
    "timeout",
    "retry",
    "pool",
    "mutex",
    "for_each",
    "matrix",
    "if",
    "require",
    "interactive",
    "delete_on_error",
    "in_out",
    "track_definition",
    "restart",
    "run",
    "tags",
    "meta",
    "expand_after",
];

/// What `defaults` may set for every task of a file.
pub(super) const DEFAULTS: &[&str] = &[
    "clean",
    "cwd",
    "delete_on_error",
    "env",
    "if",
    "interactive",
    "meta",
    "mutex",
    "pass_env",
    "pool",
    "require",
    "restart",
    "retry",
    "run",
    "shell",
    "tags",
    "timeout",
    "track_definition",
    "verbosity",
];

/// A task without any attribute.
pub(super) fn empty(name: Arc<str>, place: Place) -> Task {
    Task {
        name,
        place,
        group: None,
        members: Vec::new(),
        doc: String::new(),
        title: None,
        actions: Vec::new(),
        file_dep: Vec::new(),
        targets: Vec::new(),
        task_dep: Vec::new(),
        result_dep: Vec::new(),
        setup: Vec::new(),
        calc_dep: Vec::new(),
        getargs: Vec::new(),
        uptodate: Vec::new(),
        teardown: Vec::new(),
        teardown_best_effort: false,
        clean: Clean::Targets,
        params: Vec::new(),
        pos_arg: None,
        verbosity: None,
        watch: Vec::new(),
        watch_only: false,
        env: std::collections::BTreeMap::new(),
        pass_env: Vec::new(),
        cwd: None,
        shell: None,
        timeout: None,
        retry: None,
        pool: None,
        mutex: None,
        condition: None,
        require: Vec::new(),
        interactive: false,
        delete_on_error: false,
        in_out: false,
        track_definition: true,
        restart: false,
        run: RunMode::OnChange,
        expand_after: None,
        tags: Vec::new(),
        meta: Json::default(),
    }
}

/// Fills a task from the file's `defaults` and its own map.
pub(super) fn fill(task: &mut Task, defaults: &[(Node, Node)], entries: &[(Node, Node)], cx: &mut Cx<'_>) {
    let own_cwd = |entries: &[(Node, Node)]| entries.iter().any(|(key, _)| key.key() == "cwd");
    if !cx.dir.as_bytes().is_empty() && !own_cwd(defaults) && !own_cwd(entries) {
        task.cwd = Some(cx.dir.lossy().into());
    }
    for (key, value) in defaults.iter().chain(entries) {
        if !attribute(task, key.key(), value, cx) {
            read::unknown_field(key, &cx.of, ATTRIBUTES, cx.errors);
        }
    }
    check(task, entries, cx);
    check_names(task, cx);
}

/// Reads one attribute. False if there is none of this name.
fn attribute(task: &mut Task, name: &str, node: &Node, cx: &mut Cx<'_>) -> bool {
    dependency(task, name, node, cx) || effect(task, name, node, cx) || manner(task, name, node, cx)
}

/// What it depends on.
fn dependency(task: &mut Task, name: &str, node: &Node, cx: &mut Cx<'_>) -> bool {
    const TASKS: &str = "a list of task names";
    match name {
        "file_dep" => task.file_dep = paths::file_deps(node, name, cx),
        "targets" => task.targets = paths::targets(node, cx),
        "task_dep" => task.task_dep = cx.at_list(node, name, TASKS),
        "result_dep" => task.result_dep = cx.at_list(node, name, TASKS),
        "setup" => task.setup = cx.at_list(node, name, TASKS),
        "calc_dep" => task.calc_dep = calc_dep(node, cx),
        "getargs" => task.getargs = getargs(node, cx),
        "uptodate" => task.uptodate = uptodate::checks(node, cx),
        "watch" => task.watch = paths::file_deps(node, name, cx),
        "watch_only" => set(&mut task.watch_only, cx.boolean(node, name)),
        "expand_after" => task.expand_after = cx.at(node, name),
        "if" => task.condition = uptodate::condition(node, cx),
        "require" => task.require = uptodate::requirements(node, cx),
        _ => return false,
    }
    true
}

/// What it does.
fn effect(task: &mut Task, name: &str, node: &Node, cx: &mut Cx<'_>) -> bool {
    match name {
        "actions" => task.actions = actions(node, name, cx),
        "teardown" => teardown(task, node, cx),
        "clean" => set(&mut task.clean, clean(node, cx)),
        "params" => task.params = options::params(node, cx),
        "pos_arg" => task.pos_arg = options::identifier(node, name, cx),
        "env" => action::env(&mut task.env, node, cx),
        "pass_env" => task.pass_env = cx.fixed_list(node, name, "a list of names of environment variables"),
        "cwd" => task.cwd = action::cwd(node, cx),
        "shell" => task.shell = action::shell(node, cx),
        "delete_on_error" => set(&mut task.delete_on_error, cx.boolean(node, name)),
        "track_definition" => set(&mut task.track_definition, cx.boolean(node, name)),
        "in_out" => set(&mut task.in_out, cx.boolean(node, name)),
        _ => return false,
    }
    true
}

/// How it is run and shown.
fn manner(task: &mut Task, name: &str, node: &Node, cx: &mut Cx<'_>) -> bool {
    const MODES: &[(&str, RunMode)] = &[
        ("on-change", RunMode::OnChange),
        ("always", RunMode::Always),
        ("when-missing", RunMode::WhenMissing),
        ("once", RunMode::Once),
    ];
    match name {
        "doc" => task.doc = cx.fixed(node, name).map(|doc| doc.trim().to_owned()).unwrap_or_default(),
        "title" => task.title = cx.template(node, name, Quote::Plain),
        "verbosity" => task.verbosity = cx.int(node, name, 0..=2).map(|level| level as u8),
        "timeout" => task.timeout = cx.duration(node, name),
        "retry" => task.retry = retry(node, cx),
        "pool" => task.pool = cx.fixed(node, name),
        "mutex" => task.mutex = cx.fixed(node, name),
        "interactive" => set(&mut task.interactive, cx.boolean(node, name)),
        "restart" => set(&mut task.restart, cx.boolean(node, name)),
        "run" => set(&mut task.run, cx.choice(node, name, MODES)),
        "tags" => task.tags.extend(cx.fixed_list(node, name, "a list of words")),
        "meta" => task.meta = Json::new(&cx.json(node, name, true)),
        "for_each" | "matrix" => {}
        _ => return false,
    }
    true
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn calc_dep(node: &Node, cx: &mut Cx<'_>) -> Vec<At<CalcDep>> {
    let mut found = Vec::new();
    for item in cx.list(node, "calc_dep", "a list of task names or of `{depfile: PATH}`") {
        let value = match item.get("depfile") {
            Some(path) if item.map().is_some_and(|map| map.len() == 1) => {
                cx.path(path, "depfile").map(CalcDep::Depfile)
            }
            _ if item.text().is_some() => cx.fixed(item, "calc_dep").map(CalcDep::Task),
            _ => {
                cx.wrong(item, "calc_dep", "a task name or `{depfile: PATH}`");
                None
            }
        };
        found.extend(value.map(|value| At { value, place: item.place.clone() }));
    }
    found
}

/// `name: task.key`, `name: task` or `name: [task, key]`. Whether a dot belongs to the task's name is seen later,
/// when all tasks are known; until then the whole text stands in `task`.
fn getargs(node: &Node, cx: &mut Cx<'_>) -> Vec<GetArg> {
    const EXPECTED: &str = "`TASK.KEY`, `TASK` or `[TASK, KEY]`";
    let mut found = Vec::new();
    for (key, value) in cx.map(node, "getargs", "a map of names to `TASK.KEY`") {
        let (task, part) = match &value.value {
            Value::Scalar(_) => (cx.fixed(value, "getargs"), None),
            Value::List(items) if items.len() == 2 => (cx.fixed(&items[0], "getargs"), cx.fixed(&items[1], "getargs")),
            _ => {
                cx.wrong(value, "getargs", EXPECTED);
                continue;
            }
        };
        found.extend(task.map(|task| GetArg { name: key.key().into(), task, key: part, place: value.place.clone() }));
    }
    found
}

/// A list of actions, or `{actions, best_effort}`.
fn teardown(task: &mut Task, node: &Node, cx: &mut Cx<'_>) {
    if node.map().is_none() {
        task.teardown = actions(node, "teardown", cx);
        return;
    }
    let of = format!("`teardown` of {}", cx.of);
    let Some(fields) = read::fields(node, &of, &["actions", "best_effort"], cx.errors) else { return };
    if let Some(list) = read::required(fields, node, "actions", &of, cx.errors) {
        task.teardown = actions(list, "teardown", cx);
    }
    set(&mut task.teardown_best_effort, fields.get("best_effort").and_then(|node| cx.boolean(node, "best_effort")));
}

fn clean(node: &Node, cx: &mut Cx<'_>) -> Option<Clean> {
    match (node.boolean(), &node.value) {
        (Some(true), _) => Some(Clean::Targets),
        (Some(false), _) => Some(Clean::Nothing),
        (None, Value::List(_)) => Some(Clean::Actions(actions(node, "clean", cx))),
        _ => {
            cx.wrong(node, "clean", "`true` (remove the targets), `false`, or a list of actions");
            None
        }
    }
}

/// A number of attempts, or `{times, delay}`.
fn retry(node: &Node, cx: &mut Cx<'_>) -> Option<Retry> {
    const DELAY: std::time::Duration = std::time::Duration::from_secs(1);
    if node.map().is_none() {
        return cx.int(node, "retry", 0..=100).map(|times| Retry { times: times as u32, delay: DELAY });
    }
    let of = format!("`retry` of {}", cx.of);
    let fields = read::fields(node, &of, &["times", "delay"], cx.errors)?;
    let times =
        read::required(fields, node, "times", &of, cx.errors).and_then(|node| cx.int(node, "times", 0..=100))?;
    let delay = fields.get("delay").map_or(Some(DELAY), |node| cx.duration(node, "delay"))?;
    Some(Retry { times: times as u32, delay })
}

/// What does not fit together within one task.
fn check(task: &Task, entries: &[(Node, Node)], cx: &mut Cx<'_>) {
    let nothing = task.actions.is_empty()
        && task.task_dep.is_empty()
        && task.result_dep.is_empty()
        && task.calc_dep.is_empty()
        && task.setup.is_empty()
        && task.expand_after.is_none();
    // A misspelled or wrong attribute has been told already; what it would have given is unknown.
    let odd = |(key, _): &(Node, Node)| !ATTRIBUTES.contains(&key.key()) || key.key() == "actions";
    if nothing && entries.iter().any(odd) && !cx.errors.is_empty() {
        return;
    }
    if nothing && task.file_dep.is_empty() && task.targets.is_empty() {
        let message = format!("{} has no `actions`, and no `task_dep` that would make it a group", cx.of);
        cx.error(&task.place, message);
    } else if task.actions.is_empty() && !task.targets.is_empty() && task.expand_after.is_none() {
        cx.error(&task.targets[0].place, format!("{} has `targets` but no `actions` that make them", cx.of));
    }
    if let (Some(after), false) = (&task.expand_after, task.actions.is_empty()) {
        let message = format!("{} has `expand_after` and `actions`, but its members come with their own", cx.of);
        cx.error(&after.place, message);
    }
    // A group that is expanded later only says what its members may make.
    let is_glob = |target: &&Target| target.path.as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?'));
    for target in task.targets.iter().filter(is_glob).filter(|_| task.expand_after.is_none()) {
        let message = format!("`targets` of {} is `{}`, expected a path without wildcards", cx.of, target.path);
        cx.error(&target.place, message);
    }
    if task.watch_only && task.watch.is_empty() {
        cx.error(&task.place, format!("{} has `watch_only` but no `watch`", cx.of));
    }
}

/// Every name that is left for the run must be one that the run knows.
fn check_names(task: &Task, cx: &mut Cx<'_>) {
    let mut known: Vec<&str> = RUN_TIME_NAMES.to_vec();
    known.extend(task.params.iter().map(|param| &*param.name));
    known.extend(task.getargs.iter().map(|getarg| &*getarg.name));
    known.extend(task.pos_arg.as_deref());
    let is_taken = |name: &str| RUN_TIME_NAMES.contains(&name) || cx.constants.get(name).is_some();
    for taken in task.params.iter().filter(|param| is_taken(&param.name)) {
        let message = format!("param `{}` of {} has a name that every task has already", taken.name, cx.of);
        cx.errors.push(Diagnostic::error(message).at(taken.place.clone()));
    }
    if !cx.used.is_empty() {
        let constants = cx.constants.as_object().into_iter().flatten().map(|(name, _)| &**name);
        known.extend(constants);
        let used = std::mem::take(&mut cx.used);
        undefined(&used, &known, &cx.constants["vars"], &cx.of, cx.errors);
    }
}
