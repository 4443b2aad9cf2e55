//! Past runs as tables: all of them, one, two side by side, and tasks that failed and passed with the same inputs.
//! Pure; knows nothing of where runs are kept.

use std::collections::BTreeMap;

use crate::model::event::Outcome;
use crate::model::words;

use std::time::Duration;

use super::layout;
use super::paint::{Paint, Tone};
use super::table::{Cell, Table};

/// One task of a past run.
#[derive(Clone, Debug, PartialEq)]
pub struct PastTask {
    pub task: String,
    pub outcome: Outcome,
    pub seconds: f64,
    /// In words.
    pub reasons: Vec<String>,
    /// Of its inputs and definition; empty if unknown.
    pub key: String,
}

/// One past run.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRun {
    pub id: i64,
    /// As people of this place write a time.
    pub started: String,
    pub seconds: f64,
    pub exit: u8,
    pub command: String,
    pub tasks: Vec<PastTask>,
}

fn time(seconds: f64) -> String {
    layout::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn outcome(outcome: Outcome) -> Cell {
    let tone = match outcome {
        Outcome::Ran => Tone::Good,
        Outcome::Failed | Outcome::Error => Tone::Bad,
        Outcome::Unmet | Outcome::Interrupted => Tone::Warn,
        Outcome::UpToDate | Outcome::Ignored | Outcome::Skipped => Tone::Dim,
    };
    Cell::toned(tone, outcome.name())
}

fn exit(code: u8) -> Cell {
    let tone = match code {
        0 => Tone::Good,
        130 => Tone::Warn,
        _ => Tone::Bad,
    };
    Cell::toned(tone, code.to_string())
}

/// The runs, one per line, in the order given.
pub fn runs(runs: &[PastRun], columns: Option<usize>, paint: Paint) -> String {
    let mut table =
        Table::with_head(&["run", "started", "time", "exit", "ran", "failed", "command"]).right(&[0, 2, 3, 4, 5]);
    for run in runs {
        let number = |wanted: &[Outcome]| run.tasks.iter().filter(|task| wanted.contains(&task.outcome)).count();
        table.row([
            Cell::from(run.id.to_string()),
            run.started.as_str().into(),
            time(run.seconds).into(),
            exit(run.exit),
            number(&[Outcome::Ran]).to_string().into(),
            number(&[Outcome::Failed, Outcome::Error]).to_string().into(),
            run.command.as_str().into(),
        ]);
    }
    table.render(columns, paint)
}

/// What ran in one run, and why; tasks that were up to date are only counted.
pub fn one(run: &PastRun, columns: Option<usize>, paint: Paint) -> String {
    let mut table = Table::with_head(&["task", "outcome", "time", "why"]).right(&[2]);
    let fresh = run.tasks.iter().filter(|task| task.outcome == Outcome::UpToDate).count();
    for task in run.tasks.iter().filter(|task| task.outcome != Outcome::UpToDate) {
        let cells: [Cell; 4] = [
            task.task.as_str().into(),
            outcome(task.outcome),
            time(task.seconds).into(),
            task.reasons.join("; ").into(),
        ];
        table.row(cells);
    }
    let head =
        format!("run {} of {}: {} in {}, exit {}\n", run.id, run.started, run.command, time(run.seconds), run.exit);
    let rest = if fresh > 0 { format!("{} up to date\n", words::count(fresh, "task")) } else { String::new() };
    let body = if table.is_empty() { String::new() } else { table.render(columns, paint) };
    head + &body + &rest
}

/// Two runs side by side: tasks with another outcome, and those whose time differs by a tenth and a tenth of a second.
pub fn compare(old: &PastRun, new: &PastRun, columns: Option<usize>, paint: Paint) -> String {
    let by_name = |run: &'_ PastRun| -> BTreeMap<String, PastTask> {
        run.tasks.iter().map(|task| (task.task.clone(), task.clone())).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let mut table =
        Table::with_head(&["task", &format!("run {}", old.id), "", &format!("run {}", new.id), "", "change"])
            .right(&[2, 4]);
    for name in names {
        let (one, two) = (before.get(name), after.get(name));
        let Some(change) = change(one, two) else { continue };
        let side = |task: Option<&PastTask>| match task {
            Some(task) if task.outcome == Outcome::UpToDate => [outcome(task.outcome), Cell::default()],
            Some(task) => [outcome(task.outcome), time(task.seconds).into()],
            None => [Cell::toned(Tone::Dim, "did not run"), Cell::default()],
        };
        let ([a, b], [c, d]) = (side(one), side(two));
        table.row([name.as_str().into(), a, b, c, d, change]);
    }
    let total = format!("{} against {} in all\n", time(new.seconds), time(old.seconds));
    if table.is_empty() { format!("no task differs\n{total}") } else { table.render(columns, paint) + &total }
}

fn change(old: Option<&PastTask>, new: Option<&PastTask>) -> Option<Cell> {
    let (Some(old), Some(new)) = (old, new) else { return Some(Cell::default()) };
    let difference = new.seconds - old.seconds;
    let slower = difference.abs() > 0.1 && difference.abs() > old.seconds * 0.1;
    let both_ran = old.outcome == Outcome::Ran && new.outcome == Outcome::Ran;
    if both_ran && slower {
        let (tone, sign) = if difference > 0.0 { (Tone::Warn, "+") } else { (Tone::Good, "-") };
        return Some(Cell::toned(tone, format!("{sign}{}", time(difference.abs()))));
    }
    let key = match (old.key.is_empty() || new.key.is_empty(), old.key == new.key) {
        (true, _) => "",
        (false, false) => "other inputs",
        // The task decides by something that it does not name, or by chance.
        (false, true) if [old.outcome, new.outcome].contains(&Outcome::Failed) => "same inputs",
        (false, true) => "",
    };
    (old.outcome != new.outcome).then(|| key.into())
}

/// A task that failed and passed with the very same inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaky {
    pub task: String,
    pub passed: usize,
    pub failed: usize,
    /// The last run in which it failed.
    pub last_failure: i64,
}

/// Flaky tasks, the most flaky first.
pub fn flaky(runs: &[PastRun]) -> Vec<Flaky> {
    let mut seen: BTreeMap<(&str, &str), (usize, usize, i64)> = BTreeMap::new();
    for run in runs {
        for task in run.tasks.iter().filter(|task| !task.key.is_empty()) {
            let (passed, failed, last) = seen.entry((&task.task, &task.key)).or_default();
            match task.outcome {
                Outcome::Ran => *passed += 1,
                Outcome::Failed => (*failed, *last) = (*failed + 1, run.id.max(*last)),
                _ => {}
            }
        }
    }
    let mut all: BTreeMap<&str, Flaky> = BTreeMap::new();
    for ((task, _), (passed, failed, last)) in
        seen.into_iter().filter(|(_, (passed, failed, _))| *passed > 0 && *failed > 0)
    {
        let one =
            all.entry(task).or_insert_with(|| Flaky { task: task.to_owned(), passed: 0, failed: 0, last_failure: 0 });
        one.passed += passed;
        one.failed += failed;
        one.last_failure = one.last_failure.max(last);
    }
    let mut all: Vec<Flaky> = all.into_values().collect();
    all.sort_by(|one, two| two.failed.cmp(&one.failed).then_with(|| one.task.cmp(&two.task)));
    all
}

/// The same as text.
pub fn flaky_table(runs: &[PastRun], columns: Option<usize>, paint: Paint) -> String {
    let all = flaky(runs);
    if all.is_empty() {
        return "no task failed and passed with the same inputs\n".to_owned();
    }
    let mut table = Table::with_head(&["task", "failed", "passed", "last failure"]).right(&[1, 2]);
    for one in all {
        table.row([one.task, one.failed.to_string(), one.passed.to_string(), format!("run {}", one.last_failure)]);
    }
    table.render(columns, paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: i64, tasks: &[(&str, Outcome, f64, &str)]) -> PastRun {
        let tasks = tasks.iter().map(|(task, outcome, seconds, key)| PastTask {
            task: (*task).to_owned(),
            outcome: *outcome,
            seconds: *seconds,
            reasons: vec!["never ran".to_owned()],
            key: (*key).to_owned(),
        });
        PastRun {
            id,
            started: format!("2026-11-2{id} 10:00"),
            seconds: 61.0,
            exit: u8::from(id == 2),
            command: "build-stack".into(),
            tasks: tasks.collect(),
        }
    }

    fn sample() -> Vec<PastRun> {
        vec![
            run(
                1,
                &[
                    ("lint", Outcome::Ran, 1.0, "a"),
                    ("test:b", Outcome::Ran, 5.0, "k"),
                    ("docs", Outcome::Ran, 1.0, "d"),
                ],
            ),
            run(
                2,
                &[
                    ("lint", Outcome::UpToDate, 0.0, "a"),
                    ("test:b", Outcome::Failed, 4.0, "k"),
                    ("docs", Outcome::Ran, 1.5, "d"),
                ],
            ),
            run(3, &[("lint", Outcome::Ran, 1.05, "a2"), ("test:b", Outcome::Failed, 4.0, "k2")]),
        ]
    }

    #[test]
    fn runs_are_lines() {
        let wanted = "\
run  started               time  exit  ran  failed  command
  1  2026-11-21 10:00    1m 01s     0    3       0  build-stack
  2  2026-11-22 10:00    1m 01s     1    1       1  build-stack
  3  2026-11-23 10:00    1m 01s     0    1       1  build-stack
";
        assert_eq!(
            runs(&sample(), None, Paint::default()),
            wanted.replace("    1m 01s", "  1m 01s").replace("    time", "  time")
        );
        let wanted = "\
run 2 of 2026-11-22 10:00: build-stack in 1m 01s, exit 1
task    outcome   time  why
test:b  failed   4.00s  never ran
docs    ran      1.50s  never ran
1 task up to date
";
        assert_eq!(one(&sample()[1], None, Paint::default()), wanted);
    }

    #[test]
    fn two_runs_are_compared_by_outcome_and_time() {
        let all = sample();
        let wanted = "\
task    run 1         run 2              change
docs    ran    1.00s  ran         1.50s  +0.50s
lint    ran    1.00s  up-to-date
test:b  ran    5.00s  failed      4.00s  same inputs
1m 01s against 1m 01s in all
";
        assert_eq!(compare(&all[0], &all[1], None, Paint::default()), wanted);
        assert!(
            compare(&all[1], &all[2], None, Paint::default())
                .contains("lint  up-to-date         ran          1.05s  other inputs")
        );
        assert_eq!(
            compare(&all[0], &all[0], None, Paint::default()),
            "no task differs\n1m 01s against 1m 01s in all\n"
        );
    }

    #[test]
    fn flaky_means_the_same_key_failed_and_passed() {
        let wanted = Flaky { task: "test:b".into(), passed: 1, failed: 1, last_failure: 2 };
        assert_eq!(flaky(&sample()), [wanted]);
        assert_eq!(flaky(&sample()[1..]), []);
        assert!(flaky_table(&sample(), None, Paint::default()).ends_with("test:b       1       1  run 2\n"));
    }
}
