//! `env cache`: the records of images that environments were built into, and which of them may go.

use serde_json::{Value, json};

use super::args::{CacheArgs, CacheCommand, CacheListArgs, PruneArgs};
use super::engine;
use crate::environment::evict::{self, Gone};
use crate::environment::now;
use crate::environment::options::size;
use crate::environment::records::{Record, Records, Status};
use crate::model::{Diagnostic, Diagnostics, StopToken, words};
use crate::report::paint::Tone;
use crate::report::table::{Cell, Table};
use crate::world::World;

pub(super) fn cache(args: &CacheArgs, world: &World) -> Result<u8, Diagnostics> {
    match &args.command {
        CacheCommand::List(args) => list(args, world),
        CacheCommand::Prune(args) => prune(args, world),
    }
}

fn list(args: &CacheListArgs, world: &World) -> Result<u8, Diagnostics> {
    let folders = crate::environment::Folders::open(&|name| world.var_os(name))?;
    let records = Records::open(&folders.records())?.list(None)?;
    if args.json {
        let items: Vec<Value> = records.iter().map(as_json).collect();
        world.out.line(&Value::from(items).to_string());
        return Ok(0);
    }
    let mut table =
        Table::with_head(&["environment", "image", "engine", "size", "built", "last used", "uses", "status"])
            .right(&[3, 4, 5, 6]);
    for one in &records {
        let ago = |time: u64| format!("{} ago", age(now().saturating_sub(time)));
        let cells: [Cell; 8] = [
            one.environment.as_str().into(),
            one.reference().into(),
            one.scope.as_str().into(),
            one.size.map(size).unwrap_or_default().into(),
            one.built_at.map(ago).unwrap_or_default().into(),
            ago(one.last_used).into(),
            one.uses.to_string().into(),
            status(one),
        ];
        table.row(cells);
    }
    let (columns, paint) = crate::cli::out_style(&args.color, world);
    world.out.line(table.render(columns, paint).trim_end_matches('\n'));
    Ok(0)
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn status(one: &Record) -> Cell {
    match &one.status {
        Status::Available => Cell::toned(Tone::Good, "available"),
        Status::Building { pid } if evict::is_alive(*pid) => Cell::from(format!("building (process {pid})")),
        Status::Building { .. } => Cell::toned(Tone::Bad, "building, but its process is gone"),
        Status::Failed { error } => {
            Cell::toned(Tone::Bad, format!("failed: {}", error.lines().next().unwrap_or_default()))
        }
    }
}

fn as_json(one: &Record) -> Value {
    let (status, error) = match &one.status {
        Status::Available => ("available", None),
        Status::Building { .. } => ("building", None),
        Status::Failed { error } => ("failed", Some(error)),
    };
    json!({
        "environment": one.environment, "name": one.name, "tag": one.tag, "engine": one.scope,
        "content_key": one.content_key, "id": one.image_id, "digest": one.digest, "size": one.size,
        "created_at": one.created_at, "built_at": one.built_at, "last_used": one.last_used, "uses": one.uses,
        "build_seconds": one.build_seconds, "status": status, "error": error,
        "build_config": serde_json::from_str::<Value>(&one.build_config).unwrap_or_default(),
    })
}

fn prune(args: &PruneArgs, world: &World) -> Result<u8, Diagnostics> {
    let opened = engine::open(&args.file, args.host.as_deref(), world, &StopToken::new())?;
    let records = Records::open(&opened.folders.records())?;
    if args.all {
        // Idle containers would hold their images.
        opened.pool()?.clear(&|one| !one.is_taken, false)?;
    }
    let limit = if args.all { 0 } else { args.keep };
    let gone = evict::evict(&opened.docker, &records, &opened.scope, limit)?;
    let count = |which: &dyn Fn(&Gone) -> bool| gone.iter().filter(|one| which(one)).count();
    let removed = count(&|one| matches!(one, Gone::Removed(_)));
    let kept = count(&|one| matches!(one, Gone::Kept(_)));
    world.out.line(&format!("removed {}", words::count(removed, "image")));
    if kept > 0 {
        let message = format!("`{kept}` more {} used by containers and kept", if kept == 1 { "is" } else { "are" });
        crate::cli::show(world, &Diagnostic::warning(message).help("cargo xtask env stop").into());
    }
    Ok(0)
}
