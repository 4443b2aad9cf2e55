//! `report`: the stack as a page or as data, from the state, the engine and the files of past runs. Changes nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::ReportArgs;
use super::project::{self, LoadOptions};
use crate::action::image::Services;
use crate::docker::{Docker, endpoint};
use crate::engine::{self, Options, Project, Status};
use crate::graph::{Selection, TaskId};
use crate::model::task::ActionKind;
use crate::model::{Diagnostic, Diagnostics, RepoPath};
use crate::report::stack_page::{self, Promotion, StackImage, StackView};
use crate::stack::{Graph, Image, Plan, Stack};
use crate::world::World;

pub(super) fn report(args: &ReportArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(&args.file, world)?;
    let load = LoadOptions::default();
    let read = project::read(&place, world, &load)?;
    let spec = read.tasks.stack.as_ref().and_then(|spec| RepoPath::from_root(&*spec.value));
    let Some(spec) = spec else {
        return Err(Diagnostic::error(format!("`{}` has no stack that could be reported", place.file))
            .help("name its spec: stack: images/spec.yml")
            .into());
    };
    let (mut project, _) = project::open(&place, read.tasks, read.actions, world, &load)?;
    let services = Services::new(&place.root, &world.env);
    services.use_spec(spec);
    let (stack, graph) = services.resolved()?;
    let engine = connect(world);
    if engine.is_none() {
        super::show(
            world,
            &Diagnostics(vec![Diagnostic::warning("the engine does not answer: sizes and digests are left out")]),
        );
    }
    let view = view(&mut project, &stack, &graph, engine.as_ref());
    let text = if args.format == "json" { as_json(&view).to_string() } else { stack_page::html(&view) };
    // A page of HTML is nothing to look at in a terminal.
    let beside = (world.out_is_tty && args.format != "json")
        .then(|| place.root.join(crate::store::STATE_DIR).join("report.html").display().to_string());
    match args.output.as_ref().or(beside.as_ref()) {
        None => world.out.line(text.trim_end()),
        Some(file) => {
            let failed = |error| Diagnostic::error(format!("`{file}` cannot be written")).cause(error);
            std::fs::write(world.cwd.join(file), text).map_err(failed)?;
            world.err.line(&format!("wrote {file}"));
        }
    }
    Ok(0)
}

/// The engine, if one answers.
fn connect(world: &World) -> Option<Docker> {
    let home = world.var_os("HOME").map(std::path::PathBuf::from);
    let endpoint = endpoint::resolve(&|name| world.var_os(name), home.as_deref()).ok()?;
    let docker = Docker::connect(&endpoint).ok()?;
    docker.engine().ok().map(|_| docker)
}

fn view(project: &mut Project, stack: &Arc<Stack>, graph: &Graph, engine: Option<&Docker>) -> StackView {
    let status = status(project);
    let promotions = promotions(&project.root.join("artifacts/promotions.jsonl"));
    let mut images = Vec::new();
    for (at, image) in stack.images.iter().enumerate() {
        let parent = graph.parents(at).first().map(|parent| stack.images[*parent].key.to_string());
        let parent = parent
            .or_else(|| stack.bases.first().filter(|_| stack.bases.len() == 1).map(|base| base.reference.clone()));
        for plan in stack.plans.iter().filter(|plan| image.is_in(&plan.name)) {
            let shown_plan = if stack.plans.len() == 1 { String::new() } else { plan.name.to_string() };
            let mut shown = StackImage {
                name: image.key.to_string(),
                plan: shown_plan,
                parent: parent.clone().unwrap_or_default(),
                up_to_date: status.get(&*image.key).copied(),
                ..StackImage::default()
            };
            built(&mut shown, project, image, plan, engine);
            // Plans may share an image, which is then tested once.
            let same = |one: &&StackImage| !shown.key.is_empty() && one.name == shown.name && one.key == shown.key;
            match images.iter().find(same).map(|one: &StackImage| (one.tests_passed, one.tests_failed)) {
                Some((passed, failed)) => (shown.tests_passed, shown.tests_failed) = (passed, failed),
                None => tests(&mut shown, &project.root, image, plan),
            }
            shown.manifest = page(project, image, plan);
            images.push(shown);
        }
    }
    let name = project.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    StackView { title: format!("The stack of {name}"), images, promotions }
}

/// The task with this action for this image.
fn task_of(project: &Project, action: &str, image: &str) -> Option<TaskId> {
    project.graph.ids().find(|id| {
        project.graph.task(*id).actions.iter().any(|one| match &one.kind {
            ActionKind::BuiltIn { name, args } => &**name == action && args.value()["image"].as_str() == Some(image),
            _ => false,
        })
    })
}

/// What a task left when it last succeeded.
fn values(project: &Project, action: &str, image: &str) -> Value {
    let name = task_of(project, action, image).map(|id| project.graph.name(id).to_string());
    let success = name.and_then(|name| project.records.get(&name)?.success.as_ref());
    success.and_then(|success| serde_json::from_str(&success.values).ok()).unwrap_or_default()
}

/// Whether each image's build has nothing to do.
fn status(project: &mut Project) -> HashMap<String, bool> {
    let builds: Vec<(TaskId, String)> = project
        .graph
        .ids()
        .filter_map(|id| {
            project.graph.task(id).actions.iter().find_map(|one| match &one.kind {
                ActionKind::BuiltIn { name, args } if &**name == "image_build" => {
                    Some((id, args.value()["image"].as_str()?.to_owned()))
                }
                _ => None,
            })
        })
        .collect();
    let selection = Selection { tasks: builds.iter().map(|(id, _)| *id).collect() };
    let predictions = engine::predict(project, &selection, &Options::default());
    let known: HashMap<TaskId, bool> =
        predictions.into_iter().map(|one| (one.id, matches!(one.status, Status::UpToDate))).collect();
    builds.into_iter().filter_map(|(id, image)| Some((image, *known.get(&id)?))).collect()
}

fn built(shown: &mut StackImage, project: &Project, image: &Image, plan: &Plan, engine: Option<&Docker>) {
    let values = values(project, "image_build", &image.key);
    let of_plan = &values["plans"][&*plan.name];
    of_plan["key"].as_str().unwrap_or_default().clone_into(&mut shown.key);
    let Some(id) = of_plan["id"].as_str() else { return };
    id.clone_into(&mut shown.digest);
    let Some(found) = engine.and_then(|docker| docker.find_image(id).ok().flatten()) else { return };
    shown.bytes = Some(found.size);
    // To the minute, as the engine's clock has it.
    shown.built = found.created.chars().take(16).collect::<String>().replace('T', " ");
    // Its name by content key says nothing to people.
    shown.tags =
        found.tags.into_iter().filter(|tag| !tag.rsplit(':').next().unwrap_or_default().starts_with("k-")).collect();
    if let Some(digest) = found.repo_digests.first().and_then(|name| name.split('@').nth(1)) {
        digest.clone_into(&mut shown.digest);
    }
}

/// Counts of the report that pytest wrote.
fn tests(shown: &mut StackImage, root: &Path, image: &Image, plan: &Plan) {
    let file = root.join(format!("artifacts/{}/tests.{}.xml", image.key, plan.name));
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let Some(start) = text.find("<testsuite ") else { return };
    let head = text[start..].split('>').next().unwrap_or_default();
    let count = |name: &str| -> usize {
        let value = head.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    shown.tests_failed = count("failures") + count("errors");
    shown.tests_passed = count("tests").saturating_sub(shown.tests_failed + count("skipped"));
}

/// The page that describes the image.
fn page(project: &Project, image: &Image, plan: &Plan) -> String {
    let values = values(project, "image_manifest", &image.key);
    let path = values["manifests"][&*plan.name].as_str().and_then(RepoPath::from_root);
    path.and_then(|path| std::fs::read_to_string(project.root.join(path.as_path())).ok()).unwrap_or_default()
}

/// What was promoted, the newest first.
fn promotions(log: &Path) -> Vec<Promotion> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let done = lines.filter(|line| line["state"] == "done");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    done.flat_map(|line| {
        let time = text(&line["time"]).split('.').next().unwrap_or_default().replace('T', " ");
        let moves = line["moves"].as_array().cloned().unwrap_or_default();
        moves.into_iter().map(move |one| Promotion {
            time: time.trim_end_matches('Z').to_owned(),
            image: text(&one["image"]),
            tag: text(&one["to"]),
            from: text(&one["old"]),
            to: text(&one["new"]),
        })
    })
    .collect()
}

fn as_json(view: &StackView) -> Value {
    let images: Vec<Value> = view
        .images
        .iter()
        .map(|image| {
            json!({
                "image": image.name, "plan": image.plan, "parent": image.parent, "tags": image.tags,
                "digest": image.digest, "key": image.key, "bytes": image.bytes, "built": image.built,
                "up_to_date": image.up_to_date, "tests_passed": image.tests_passed,
                "tests_failed": image.tests_failed, "manifest": image.manifest,
            })
        })
        .collect();
    let promotions: Vec<Value> = view
        .promotions
        .iter()
        .map(|one| json!({ "time": one.time, "image": one.image, "tag": one.tag, "from": one.from, "to": one.to }))
        .collect();
    json!({ "v": 1, "images": images, "promotions": promotions })
}
