//! `env list`: the environments and whether the engine holds each as its files are now. Builds nothing.

use serde_json::{Value, json};

use super::args::ListArgs;
use crate::cli::project;
use crate::environment::{Environment, catalog};
use crate::model::Diagnostics;
use crate::report::paint::Tone;
use crate::report::table::{Cell, Table};
use crate::world::World;

pub(super) fn list(args: &ListArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(&args.file, world)?;
    let read = project::read(&place, world, &project::LoadOptions::default())?;
    let all = catalog::load(&place.root)?;
    let states: Vec<State> = all.iter().map(|one| State::of(&read.environments, one)).collect();
    if args.json {
        let items: Vec<Value> = all.iter().zip(&states).map(|(one, state)| as_json(one, state)).collect();
        world.out.line(&Value::from(items).to_string());
        return Ok(0);
    }
    let mut table = Table::with_head(&["environment", "key", "version", "image", "description"]);
    for (one, state) in all.iter().zip(&states) {
        let cells: [Cell; 5] = [
            (&*one.name).into(),
            one.metadata.key.value.as_str().into(),
            one.metadata.version.to_string().into(),
            state.cell(),
            one.metadata.short_description.as_str().into(),
        ];
        table.row(cells);
    }
    if table.is_empty() {
        world.err.line("note: there is no environment; make one: a folder environments/NAME_environment with metadata.yml and a Dockerfile_NAME_environment");
        return Ok(0);
    }
    let (columns, paint) = crate::cli::out_style(&args.file.color, world);
    world.out.line(table.render(columns, paint).trim_end_matches('\n'));
    Ok(0)
}

/// Whether an environment can be used at once.
enum State {
    /// The engine holds it; its content key.
    Built(String),
    /// It has to be built first; its content key.
    Absent(String),
    /// It cannot be told: no engine, or a base is missing.
    Unknown(String),
}

impl State {
    fn of(services: &crate::action::image::Services, one: &Environment) -> Self {
        match services.environment(&one.name) {
            Ok((_, Some(held))) => Self::Built(held.key.hex()),
            Ok((key, None)) => Self::Absent(key.hex()),
            Err(failure) => Self::Unknown(failure.diagnostic.message),
        }
    }

    fn cell(&self) -> Cell {
        match self {
            Self::Built(_) => Cell::toned(Tone::Good, "built"),
            Self::Absent(_) => Cell::from("not built"),
            Self::Unknown(_) => Cell::from("not known"),
        }
    }
}

fn as_json(one: &Environment, state: &State) -> Value {
    let meta = &one.metadata;
    let mut object = json!({
        "name": &*one.name, "key": meta.key.value, "version": meta.version.to_string(), "dir": one.folder.lossy(),
        "short_description": meta.short_description, "creator": meta.creator, "editor_list": meta.editors,
        "creation_date": meta.creation_date, "external_references": meta.external_references,
        "tag_list": meta.tags, "notes": meta.notes, "variant": one.variant, "build_args": one.build_args,
    });
    match state {
        State::Built(key) => {
            object["built"] = json!(true);
            object["content_key"] = json!(key);
        }
        State::Absent(key) => {
            object["built"] = json!(false);
            object["content_key"] = json!(key);
        }
        State::Unknown(why) => object["problem"] = json!(why),
    }
    object
}
