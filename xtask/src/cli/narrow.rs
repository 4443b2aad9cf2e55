//! Prepares a run of only those tasks that something happened to, when the others are known to be up to date. Whenever in
//! doubt, tasks.yaml is read.

use super::project;
use super::quick::Known;
use super::run::Prepared;
use super::run_params;
use crate::engine::narrow;
use crate::model::Diagnostics;
use crate::world::World;

/// A project with the part of the graph that this takes. `None` if a whole one is needed; then `known` is as before.
///
/// # Errors
/// The state cannot be opened, or values of params are missing or wrong: as after a full reading.
pub(super) fn prepare(known: &mut Known, world: &World) -> Result<Option<Prepared>, Diagnostics> {
    let Some(seen) = known.seen.clone().filter(|_| !known.plan.is_empty()) else { return Ok(None) };
    let Some((place, args)) = &known.args else { return Ok(None) };
    let Some(narrow) = narrow::narrow(seen, &known.plan, &known.unchanged, &place.root) else { return Ok(None) };
    let (place, mut args) = (place.clone(), args.clone());
    let (selection, config) = (narrow.selection.clone(), narrow.common.config.clone());
    let (mut project, warnings, engines) = project::open_part(&place, narrow, world)?;
    for services in &engines {
        services.choose_hosts(&args.host)?;
    }
    args.reporter = args.reporter.or_else(|| config.reporter.as_deref().map(str::to_owned));
    run_params::hand_out_params(&mut project, &[], &selection, args.single, world)?;
    Ok(Some(Prepared {
        args,
        place,
        project,
        selection,
        later: Vec::new(),
        warnings,
        sources: Vec::new(),
        lock: known.lock.take(),
        origin: None,
        seen: None,
        engines,
    }))
}
