//! `--dry-run` and `--frozen`: says what would run. Knows nothing of how a run is prepared.

use std::time::Duration;

use super::run::{Prepared, options};
use crate::engine::{self, Status};
use crate::model::{Event, StopToken, Verdict};
use crate::report::Reporter;
use crate::world::Stream;

/// `--dry-run` and `--frozen`: the same decisions, nothing is run or written.
pub(super) fn dry(prepared: &mut Prepared, reporter: &mut dyn Reporter, err: &Stream, stop: &StopToken) -> u8 {
    let options = options(prepared, &[], stop);
    let predictions = engine::predict(&mut prepared.project, &prepared.selection, &options);
    let visible = predictions.iter().filter(|prediction| !prediction.hidden).count();
    let names = predictions.iter().filter(|prediction| !prediction.hidden).map(|prediction| &prediction.name);
    let widest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    reporter.event(&Event::RunStarted { run_id: "dry-run".into(), tasks: visible, workers: 0, widest, expected: None });
    let mut counts = crate::model::Counts::default();
    let (mut errors, mut runs, mut may_run) = (false, 0, 0);
    for prediction in predictions {
        let mut after = Vec::new();
        let verdict = match prediction.status {
            Status::Group | Status::Skipped => continue,
            Status::UpToDate => {
                counts.up_to_date += 1;
                Verdict::UpToDate
            }
            Status::Ignored => {
                counts.ignored += 1;
                Verdict::Ignored
            }
            Status::Error(problem) => {
                errors = true;
                counts.error += 1;
                Verdict::Error(problem)
            }
            Status::WillRun(reasons) => {
                runs += 1;
                Verdict::Run(reasons)
            }
            Status::MayRun { after: tasks, reasons } => {
                may_run += 1;
                after = tasks;
                Verdict::Run(reasons)
            }
        };
        reporter.event(&Event::TaskDecided { task: prediction.name, verdict, after, hidden: prediction.hidden });
    }
    let exit = match (errors, runs + may_run > 0 && prepared.args.frozen) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    };
    // The summary of a run would say that nothing was to do.
    if prepared.args.reporter.as_deref().is_some_and(|name| matches!(name, "json" | "junit")) {
        reporter.event(&Event::RunFinished { exit, counts, duration: Duration::ZERO, saved: Duration::ZERO });
    } else {
        let tasks = crate::model::words::count(runs, "task");
        let maybe = if may_run > 0 { format!("{may_run} may run, ") } else { String::new() };
        err.line(&format!("     dry run  {tasks} would run, {maybe}{} up to date", counts.up_to_date));
    }
    reporter.finish();
    exit
}
