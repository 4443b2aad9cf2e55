//! `history`: past runs as tables or data. Knows nothing of how a table is laid out.

use serde_json::{Value, json};

use super::args::HistoryArgs;
use super::project;
use crate::model::{Diagnostic, Diagnostics, Reason};
use crate::report::history::{self, PastRun, PastTask};
use crate::store::StateDb;
use crate::store::db::{RunRow, RunTaskRow};
use crate::world::World;

/// The state keeps no more runs than this.
const KEPT: usize = 200;

/// Prints the last runs, one run, two side by side, or the flaky tasks.
pub(super) fn history(args: &HistoryArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(&args.file, world)?;
    let db = StateDb::open_read_only(&place.root)?;
    let (columns, paint) = super::out_style(&args.file.color, world);
    if let Some(pair) = &args.compare {
        let (old, new) = (find(&db, pair[0])?, find(&db, pair[1])?);
        let text = if args.json { compare_json(&old, &new) } else { history::compare(&old, &new, columns, paint) };
        print(&text, world);
        return Ok(0);
    }
    if args.flaky {
        let runs = all(&db, KEPT)?;
        let text = if args.json { flaky_json(&runs) } else { history::flaky_table(&runs, columns, paint) };
        print(&text, world);
        return Ok(0);
    }
    if let Some(id) = args.run {
        if args.json {
            find(&db, id)?;
            db.run_tasks(id)?.iter().for_each(|row| world.out.line(&task_json(row).to_string()));
        } else {
            print(&history::one(&find(&db, id)?, columns, paint), world);
        }
        return Ok(0);
    }
    if args.json {
        db.runs(args.limit)?.iter().for_each(|run| world.out.line(&run_json(run).to_string()));
    } else {
        let runs = all(&db, args.limit)?;
        if runs.is_empty() {
            world.err.line("note: no run is remembered yet");
        } else {
            print(&history::runs(&runs, columns, paint), world);
        }
    }
    Ok(0)
}

fn print(text: &str, world: &World) {
    if !text.is_empty() {
        world.out.line(text.trim_end_matches('\n'));
    }
}

fn find(db: &StateDb, id: i64) -> Result<PastRun, Diagnostics> {
    let Some(row) = db.runs(KEPT)?.into_iter().find(|run| run.id == id) else {
        return Err(Diagnostic::error(format!("run `{id}` is not remembered")).help("cargo xtask history").into());
    };
    past(db, row)
}

fn all(db: &StateDb, limit: usize) -> Result<Vec<PastRun>, Diagnostics> {
    db.runs(limit)?.into_iter().map(|row| past(db, row)).collect()
}

fn past(db: &StateDb, row: RunRow) -> Result<PastRun, Diagnostics> {
    let tasks = db.run_tasks(row.id)?.into_iter().map(past_task).collect();
    Ok(PastRun {
        id: row.id,
        started: local_time(row.started),
        seconds: row.seconds,
        exit: row.exit,
        command: row.command,
        tasks,
    })
}

fn past_task(row: RunTaskRow) -> PastTask {
    let reasons = reasons(&row).iter().map(in_words).collect();
    PastTask { task: row.task, outcome: row.outcome, seconds: row.seconds, reasons, key: row.key }
}

fn reasons(row: &RunTaskRow) -> Vec<Value> {
    serde_json::from_str(&row.reasons).unwrap_or_default()
}

/// A recorded reason in words; one of another version as it was written.
pub(super) fn in_words(reason: &Value) -> String {
    Reason::from_json(reason).map_or_else(|| reason.to_string(), |reason| reason.to_string())
}

fn local_time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| String::new(),
        |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

fn task_json(row: &RunTaskRow) -> Value {
    json!({ "task": row.task, "outcome": row.outcome.name(), "seconds": row.seconds, "reasons": reasons(row), "key": row.key })
}

fn run_json(run: &RunRow) -> Value {
    json!({ "run": run.id, "started": run.started, "seconds": run.seconds, "exit": run.exit, "command": run.command })
}

/// A line per task of either run.
fn compare_json(old: &PastRun, new: &PastRun) -> String {
    let of = |run: &PastRun, name: &str| {
        run.tasks
            .iter()
            .find(|task| task.task == name)
            .map(|task| json!({ "outcome": task.outcome.name(), "seconds": task.seconds }))
    };
    let mut names: Vec<&str> = old.tasks.iter().chain(&new.tasks).map(|task| task.task.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let line = |name: &&str| json!({ "task": name, "old": of(old, name), "new": of(new, name) }).to_string() + "\n";
    names.iter().map(line).collect()
}

fn flaky_json(runs: &[PastRun]) -> String {
    let line = |one: &history::Flaky| {
        let object =
            json!({ "task": one.task, "failed": one.failed, "passed": one.passed, "last_failure": one.last_failure });
        object.to_string() + "\n"
    };
    history::flaky(runs).iter().map(line).collect()
}
