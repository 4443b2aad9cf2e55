//! `list` and `explain`: what there is, and why it would run.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::args::{ExplainArgs, ListArgs};
use super::project;
use super::run::{self, Prepared};
use super::run_params;
use crate::action::image::missed::{self, Told};
use crate::engine::{self, Options, Status};
use crate::graph::{self, Selection, TaskId};
use crate::model::task::ActionKind;
use crate::model::{Diagnostic, Diagnostics, Reason, StopToken, Task};
use crate::report::layout;
use crate::report::paint::Tone;
use crate::world::World;

pub(super) fn list(args: &ListArgs, world: &World) -> Result<u8, Diagnostics> {
    let (place, mut project) = project::look(&args.file, world)?;
    let graph = project.graph.clone();
    let chosen: Vec<TaskId> = if args.tasks.is_empty() {
        graph.ids().collect()
    } else {
        with_members(&graph, &graph::select(&graph, &args.tasks, &place.cwd, false)?.tasks)
    };
    let named = !args.tasks.is_empty();
    let shown = |id: &TaskId| {
        let task = graph.task(*id);
        (args.private || !task.is_private()) && (args.all || named || task.group.is_none())
    };
    let mut ids: Vec<TaskId> = chosen.into_iter().filter(shown).collect();
    if args.sort == "name" {
        ids.sort_by(|a, b| graph.name(*a).cmp(graph.name(*b)));
    }
    let status: HashMap<TaskId, Status> = if args.status {
        run_params::assume(&mut project, world);
        let selection = Selection { tasks: ids.clone() };
        engine::predict(&mut project, &selection, &Options::default()).into_iter().map(|p| (p.id, p.status)).collect()
    } else {
        HashMap::new()
    };
    if args.json {
        let items: Vec<Value> = ids.iter().map(|id| as_json(&graph, *id, status.get(id))).collect();
        world.out.line(&Value::from(items).to_string());
        return Ok(0);
    }
    let width = ids.iter().map(|id| graph.name(*id).chars().count()).max().unwrap_or(0);
    let (columns, paint) = super::out_style(&args.file.color, world);
    for id in ids {
        let task = graph.task(id);
        let letter = letter(status.get(&id));
        if let Some(template) = &args.template {
            let line =
                template.replace("{name}", &task.name).replace("{doc}", first_line(task)).replace("{status}", letter);
            world.out.line(&line);
            continue;
        }
        let mark = if args.status { format!("{letter} ") } else { String::new() };
        let doc = if args.quiet { "" } else { first_line(task) };
        // On a terminal a task has a line, and no more.
        let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(mark.len() + width + 3).max(8));
        let name = paint.tone(Tone::Strong, &layout::pad(&task.name, width));
        world.out.line(format!("{mark}{name}   {}", layout::cut(doc, room)).trim_end());
        if args.deps {
            for edge in &graph.node(id).needs {
                world.out.line(&format!("{}- {}", " ".repeat(mark.len()), graph.name(edge.to)));
            }
        }
    }
    Ok(0)
}

/// A bare call without default tasks: what there is.
pub(super) fn overview(world: &World) -> Result<u8, Diagnostics> {
    let args = ListArgs {
        file: super::args::FileArgs { file: None, dir: None, seek_file: false, no_seek: false, color: "auto".into() },
        all: false,
        private: false,
        quiet: false,
        status: false,
        deps: false,
        sort: "definition".into(),
        template: None,
        json: false,
        tasks: Vec::new(),
    };
    let exit = list(&args, world)?;
    world.err.line("note: `config.default_tasks` is empty, so nothing was run; run one: cargo xtask NAME");
    Ok(exit)
}

fn with_members(graph: &graph::Graph, tasks: &[TaskId]) -> Vec<TaskId> {
    let members = |id: &TaskId| graph.task(*id).members.iter().filter_map(|name| graph.find(name)).collect::<Vec<_>>();
    tasks.iter().flat_map(|id| std::iter::once(*id).chain(members(id))).collect()
}

/// The first line of the doc that is not blank.
fn first_line(task: &Task) -> &str {
    task.doc.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

fn letter(status: Option<&Status>) -> &'static str {
    match status {
        Some(Status::UpToDate | Status::Skipped) => "U",
        Some(Status::WillRun(_) | Status::MayRun { .. }) => "R",
        Some(Status::Error(_)) => "E",
        Some(Status::Ignored) => "I",
        Some(Status::Group) | None => " ",
    }
}

fn as_json(graph: &graph::Graph, id: TaskId, status: Option<&Status>) -> Value {
    let task = graph.task(id);
    let mut object = json!({
        "name": &*task.name,
        "doc": first_line(task),
        "place": task.place.to_string(),
        "group": task.group.as_deref(),
        "members": task.members.iter().map(|name| &**name).collect::<Vec<_>>(),
        "needs": graph.node(id).needs.iter().map(|edge| &**graph.name(edge.to)).collect::<Vec<_>>(),
        "targets": task.targets.iter().map(|target| target.path.lossy()).collect::<Vec<_>>(),
        "params": task.params.iter().map(|param| &*param.name).collect::<Vec<_>>(),
        "tags": task.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(),
        "private": task.is_private(),
    });
    if let (Some(status), Some(map)) = (status, object.as_object_mut()) {
        map.insert("status".into(), status_json(status));
    }
    object
}

fn status_json(status: &Status) -> Value {
    let reasons = |reasons: &[Reason]| reasons.iter().map(Reason::to_json).collect::<Vec<_>>();
    match status {
        Status::UpToDate => json!({ "verdict": "up-to-date", "reasons": [] }),
        Status::WillRun(found) => json!({ "verdict": "run", "reasons": reasons(found) }),
        Status::MayRun { after, reasons: found } => {
            json!({ "verdict": "may-run", "after": after.iter().map(|name| &**name).collect::<Vec<_>>(), "reasons": reasons(found) })
        }
        Status::Error(problem) => json!({ "verdict": "error", "message": problem.message }),
        Status::Ignored => json!({ "verdict": "ignored" }),
        Status::Skipped => json!({ "verdict": "skipped" }),
        Status::Group => json!({ "verdict": "group" }),
    }
}

pub(super) fn explain(args: &ExplainArgs, world: &World) -> Result<u8, Diagnostics> {
    let mut words = vec!["--dry-run".to_owned()];
    if let Some(file) = &args.file.file {
        words.push(format!("--file={file}"));
    }
    if let Some(dir) = &args.file.dir {
        words.push(format!("--dir={dir}"));
    }
    words.extend(args.task.iter().filter(|word| !matches!(word.as_str(), "--json" | "--last")).cloned());
    let has = |flag: &str| args.task.iter().any(|word| word == flag);
    let (as_data, last) = (args.json || has("--json"), args.last || has("--last"));
    let Some(mut prepared) = run::prepare(&words, world, &StopToken::new(), None)? else {
        return Err(Diagnostic::error("`explain` needs the name of a task").into());
    };
    if last {
        return explain_last(&prepared, as_data, world);
    }
    let options = Options { single: prepared.args.single, ..Options::default() };
    let predictions = engine::predict(&mut prepared.project, &prepared.selection, &options);
    let graph = prepared.project.graph.clone();
    let wanted = with_members(&graph, &prepared.selection.tasks);
    let mut would_run = false;
    let mut items = Vec::new();
    for prediction in predictions.iter().filter(|prediction| wanted.contains(&prediction.id)) {
        would_run |= !matches!(prediction.status, Status::UpToDate | Status::Group | Status::Skipped | Status::Ignored);
        let builds = last_builds(&prepared.project, prediction.id);
        if as_data {
            let mut object = status_json(&prediction.status);
            if let Some(map) = object.as_object_mut() {
                map.insert("task".into(), Value::from(&*prediction.name));
                if !builds.is_empty() {
                    let builds = builds.iter().map(|(plan, told)| (plan.clone(), told.to_json()));
                    map.insert("last_build".into(), Value::Object(builds.collect()));
                }
            }
            items.push(object);
        } else if prediction.status != Status::Group || wanted.len() == 1 {
            world.out.line(text(&prediction.name, &prediction.status).trim_end());
            tell_builds(&builds, world);
        }
    }
    if as_data {
        let one = items.len() == 1;
        let whole = if one { items.remove(0) } else { Value::from(items) };
        world.out.line(&whole.to_string());
    }
    Ok(u8::from(would_run))
}

/// What the builder did for the image of a task when it was built last, by plan: the second level of an explanation.
fn last_builds(project: &engine::Project, id: TaskId) -> Vec<(String, Told)> {
    let image = project.graph.task(id).actions.iter().find_map(|action| match &action.kind {
        ActionKind::BuiltIn { name, args } if &**name == "image_build" => {
            args.value()["image"].as_str().map(str::to_owned)
        }
        _ => None,
    });
    image.map_or_else(Vec::new, |image| missed::last(&project.root, &image))
}

fn tell_builds(builds: &[(String, Told)], world: &World) {
    for (plan, told) in builds {
        let of = if builds.len() == 1 { String::new() } else { format!("{plan}: ") };
        world.out.line(&format!("  {of}{}", told.line()));
    }
}

fn text(name: &str, status: &Status) -> String {
    let lines = |reasons: &[Reason]| reasons.iter().map(|reason| format!("  {}\n", full(reason))).collect::<String>();
    match status {
        Status::UpToDate => format!("`{name}` is up to date\n"),
        Status::WillRun(reasons) => format!("`{name}` would run:\n{}", lines(reasons)),
        Status::MayRun { after, reasons } => {
            let after = crate::model::words::list(after.iter());
            format!("`{name}` may run, after {after}\n{}", lines(reasons))
        }
        Status::Error(problem) => format!("`{name}` cannot run:\n{problem}\n"),
        Status::Ignored => format!("`{name}` is ignored; take it back: cargo xtask forget {name}\n"),
        Status::Skipped => format!("`{name}` is skipped: its `if` is false\n"),
        Status::Group => format!("`{name}` is a group: ask for one of its members\n"),
    }
}

/// The words of a reason, with old and new content where the words alone do not show them.
fn full(reason: &Reason) -> String {
    match reason {
        Reason::FileDepChanged { old, new, .. } | Reason::ContextChanged { old, new, .. } => {
            format!("{reason}: {old} → {new}")
        }
        plain => plain.to_string(),
    }
}

/// Why it ran the last time, from the history.
fn explain_last(prepared: &Prepared, as_data: bool, world: &World) -> Result<u8, Diagnostics> {
    let graph = &prepared.project.graph;
    let names: Vec<&str> = prepared.selection.tasks.iter().map(|id| &**graph.name(*id)).collect();
    for run in prepared.project.db.runs(200)? {
        for row in prepared.project.db.run_tasks(run.id)? {
            if !names.contains(&row.task.as_str()) {
                continue;
            }
            let reasons: Vec<Value> = serde_json::from_str(&row.reasons).unwrap_or_default();
            if as_data {
                let object =
                    json!({ "task": row.task, "run": run.id, "outcome": row.outcome.name(), "reasons": reasons });
                world.out.line(&object.to_string());
            } else {
                world.out.line(&format!("`{}` {} in run {} because:", row.task, row.outcome.name(), run.id));
                for reason in reasons {
                    world.out.line(&format!("  {}", super::history::in_words(&reason)));
                }
                let id = prepared.selection.tasks.iter().find(|id| **graph.name(**id) == *row.task);
                tell_builds(&id.map_or_else(Vec::new, |id| last_builds(&prepared.project, *id)), world);
            }
            return Ok(0);
        }
    }
    Err(Diagnostic::error(format!("no past run of {} is remembered", crate::model::words::list(names))).into())
}
