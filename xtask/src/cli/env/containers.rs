//! `env ps`, `env stop`, `env gc`: the containers that are kept for environments. Knows nothing of what ran in them.

use serde_json::{Value, json};

use super::args::{GcArgs, PsArgs, StopArgs};
use super::engine;
use crate::environment::pool::Listed;
use crate::environment::{Use, now};
use crate::model::{Diagnostic, Diagnostics, StopToken, words};
use crate::report::paint::Tone;
use crate::report::table::{Cell, Table};
use crate::taskfile::read::parse_duration;
use crate::world::World;

pub(super) fn ps(args: &PsArgs, world: &World) -> Result<u8, Diagnostics> {
    let opened = engine::open(&args.file, args.host.as_deref(), world, &StopToken::new())?;
    let listed = opened.pool()?.list()?;
    if args.json {
        let items: Vec<Value> = listed.iter().map(as_json).collect();
        world.out.line(&Value::from(items).to_string());
        return Ok(0);
    }
    let mut table = Table::with_head(&["container", "environment", "state", "since"]);
    for one in &listed {
        let (state, since) = state(one);
        let cells: [Cell; 4] = [
            one.id.get(..12).unwrap_or(&one.id).into(),
            one.name.as_str().into(),
            Cell::toned(if state == "left over" { Tone::Bad } else { Tone::Good }, state),
            since.map_or_else(String::new, |since| format!("{} s", now().saturating_sub(since))).into(),
        ];
        table.row(cells);
    }
    let (columns, paint) = crate::cli::out_style(&args.file.color, world);
    world.out.line(table.render(columns, paint).trim_end_matches('\n'));
    Ok(0)
}

fn state(one: &Listed) -> (&'static str, Option<u64>) {
    match one.used {
        _ if one.is_left_over() => ("left over", None),
        Use::Busy { since, .. } => ("running", Some(since)),
        Use::Idle { since } => ("idle", Some(since)),
        Use::Unknown => ("in use", None),
    }
}

fn as_json(one: &Listed) -> Value {
    let (state, since) = state(one);
    let run = match &one.used {
        Use::Busy { what, .. } => Some(what),
        _ => None,
    };
    json!({ "id": one.id, "environment": one.name, "image": one.image, "state": state, "since": since, "run": run })
}

pub(super) fn stop(args: &StopArgs, world: &World) -> Result<u8, Diagnostics> {
    let opened = engine::open(&args.file, args.host.as_deref(), world, &StopToken::new())?;
    let pool = opened.pool()?;
    let is_named = |one: &Listed| {
        args.names.is_empty()
            || args.names.iter().any(|name| one.name == *name || (name.len() >= 4 && one.id.starts_with(name.as_str())))
    };
    let busy = pool.list()?.into_iter().filter(|one| is_named(one) && one.is_taken).count();
    let gone = pool.clear(&is_named, args.force)?;
    world.out.line(&format!("removed {}", words::count(gone.len(), "container")));
    if busy > 0 && !args.force {
        let message = format!("`{busy}` of them {} in use and kept", if busy == 1 { "is" } else { "are" });
        crate::cli::show(world, &Diagnostic::warning(message).help("cargo xtask env stop --force").into());
    }
    Ok(0)
}

pub(super) fn gc(args: &GcArgs, world: &World) -> Result<u8, Diagnostics> {
    let limit = parse_duration(&args.idle).ok_or_else(|| {
        Diagnostic::error(format!("`--idle` is `{}`, expected seconds or a duration such as `1h`", args.idle))
    })?;
    let opened = engine::open(&args.file, args.host.as_deref(), world, &StopToken::new())?;
    let old = |one: &Listed| match one.used {
        Use::Idle { since } => now().saturating_sub(since) >= limit.as_secs(),
        _ => false,
    };
    let gone = opened.pool()?.clear(&|one| one.is_left_over() || old(one), false)?;
    let left = gone.iter().filter(|one| one.is_left_over()).count();
    world.out.line(&format!("removed {}, {left} of them left over", words::count(gone.len(), "container")));
    Ok(0)
}
