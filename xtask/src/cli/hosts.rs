//! `hosts`: every engine that has a name, and what it says of itself. Knows nothing of what is done on one.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::HostsArgs;
use super::project;
use crate::docker::{Docker, Engine};
use crate::exec::environment::Variables;
use crate::model::stop::Stop;
use crate::model::{Diagnostic, Diagnostics, StopToken};
use crate::remote::hosts::{self, HostEntry, Surroundings};
use crate::report::layout;
use crate::report::paint::Tone;
use crate::report::table::{Cell, Table};
use crate::world::World;

/// A host that has not answered by then counts as not reachable.
const LIMIT: Duration = Duration::from_secs(10);
/// For connections to end after they were told to stop.
const GRACE: Duration = Duration::from_secs(1);

/// What was learnt of one host.
struct Known {
    entry: HostEntry,
    address: String,
    /// A run would take it.
    chosen: bool,
    state: Result<Engine, String>,
}

/// Prints a line per host; exit 0 whether or not they can be reached.
pub(super) fn hosts(args: &HostsArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(&args.file, world)?;
    let read = project::read(&place, world, &project::LoadOptions::default())?;
    let lookup = |name: &str| world.var_os(name);
    let home = world.var_os("HOME").map(PathBuf::from);
    let around = Surroundings { env: &lookup, home: home.as_deref() };
    let entries = hosts::known(&read.tasks.hosts, around)?;
    let chosen = hosts::choose_all(&entries, &[], read.tasks.config.host.as_deref(), around);
    let states = ask_all(&entries, &world.env);
    let known: Vec<Known> = entries
        .into_iter()
        .zip(states)
        .map(|(entry, state)| Known {
            address: entry.endpoint(around).map_or_else(|_| String::new(), |endpoint| endpoint.to_string()),
            chosen: chosen.as_ref().is_ok_and(|chosen| chosen.iter().any(|one| one.name == entry.name)),
            entry,
            state,
        })
        .collect();
    if args.json {
        world.out.line(&Value::from(known.iter().map(as_json).collect::<Vec<_>>()).to_string());
    } else {
        let (columns, paint) = super::out_style(&args.file.color, world);
        world.out.line(table(&known).render(columns, paint).trim_end_matches('\n'));
    }
    chosen.map(|_| 0).map_err(|error| error.diagnostic().into())
}

/// Asks all at once; the answers are in the order of the entries.
fn ask_all(entries: &[HostEntry], env: &Variables) -> Vec<Result<Engine, String>> {
    let env = Arc::new(env.clone());
    let stop = StopToken::new();
    let (sender, answers) = channel();
    for (number, entry) in entries.iter().enumerate() {
        let (entry, env, stop, sender) = (entry.clone(), env.clone(), stop.clone(), sender.clone());
        // Not joined: an engine that accepts and never answers must not hold the others' answers back.
        std::thread::spawn(move || {
            // Nobody listens any more only after the time is up.
            let _ = sender.send((number, ask(&entry, &env, &stop)));
        });
    }
    drop(sender);
    let late = || Err(format!("no answer within {} s", LIMIT.as_secs()));
    let mut states: Vec<_> = entries.iter().map(|_| late()).collect();
    let all = collect(&answers, &mut states, Instant::now() + LIMIT);
    stop.request(Stop::Now);
    if !all {
        let mut ignored: Vec<_> = entries.iter().map(|_| late()).collect();
        collect(&answers, &mut ignored, Instant::now() + GRACE);
    }
    states
}

/// Takes answers until all have come or the time is up; whether all have come.
fn collect(
    answers: &Receiver<(usize, Result<Engine, String>)>,
    states: &mut [Result<Engine, String>],
    until: Instant,
) -> bool {
    loop {
        match answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((number, state)) => states[number] = state,
            Err(error) => return error == std::sync::mpsc::RecvTimeoutError::Disconnected,
        }
    }
}

fn ask(entry: &HostEntry, env: &Variables, stop: &StopToken) -> Result<Engine, String> {
    let lookup = |name: &str| env.get(OsStr::new(name)).cloned();
    let home = lookup("HOME").map(PathBuf::from);
    let around = Surroundings { env: &lookup, home: home.as_deref() };
    let programs: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let reached = entry.reach(around, &programs, stop).map_err(|error| error.diagnostic().message)?;
    let engine = Docker::connect(&reached.endpoint).and_then(|docker| docker.engine());
    engine.map_err(|error| Diagnostic::from(error).message)
}

fn table(known: &[Known]) -> Table {
    let head = ["", "host", "from", "address", "slots", "engine", "platform", "processors", "memory", "free disk"];
    let mut table = Table::with_head(&head).right(&[4, 7, 8, 9]);
    for one in known {
        let bytes = |size: Option<u64>| size.map(layout::bytes).unwrap_or_default();
        let start: [Cell; 5] = [
            if one.chosen { "*" } else { "" }.into(),
            (&*one.entry.name).into(),
            one.entry.source.name().into(),
            one.address.as_str().into(),
            one.entry.slots.to_string().into(),
        ];
        let rest: Vec<Cell> = match &one.state {
            Ok(engine) => vec![
                Cell::toned(Tone::Good, &engine.version),
                engine.platform().into(),
                engine.cpus.map(|number| number.to_string()).unwrap_or_default().into(),
                bytes(engine.memory).into(),
                bytes(engine.free_disk).into(),
            ],
            Err(why) => vec![Cell::toned(Tone::Bad, format!("not reachable: {why}"))],
        };
        table.row(start.into_iter().chain(rest));
    }
    table
}

fn as_json(one: &Known) -> Value {
    let mut object = json!({
        "name": &*one.entry.name,
        "from": one.entry.source.name(),
        "address": one.address,
        "root": one.entry.root.as_deref(),
        "slots": one.entry.slots,
        "chosen": one.chosen,
        "reachable": one.state.is_ok(),
    });
    match &one.state {
        Ok(engine) => {
            object["engine"] = json!({
                "version": engine.version, "api": format!("{}.{}", engine.api.0, engine.api.1),
                "buildkit": engine.buildkit, "platform": engine.platform(), "processors": engine.cpus,
                "memory": engine.memory, "free_disk": engine.free_disk,
            });
        }
        Err(why) => object["problem"] = json!(why),
    }
    object
}
