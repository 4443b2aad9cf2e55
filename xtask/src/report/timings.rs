//! Where the time of a run went: one self-contained HTML page like cargo's, and the same as a Chrome trace. Pure:
//! recorded events in, text out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::event::Outcome;
use crate::model::{Counts, Event, Verdict};

use super::layout;
use super::page::{class, escape, page};

/// One task of the run.
#[derive(Clone, Debug)]
struct Span {
    task: Arc<str>,
    decided: Duration,
    start: Duration,
    end: Duration,
    outcome: Outcome,
    reasons: Vec<String>,
    worker: usize,
}

/// All of a run that the pages need.
#[derive(Debug, Default)]
struct Record {
    /// Those that were started, by start.
    spans: Vec<Span>,
    /// Names of those that were up to date.
    fresh: Vec<Arc<str>>,
    /// Those that did neither, and what became of them.
    rest: Vec<(Arc<str>, Outcome)>,
    workers: usize,
    total: Duration,
    saved: Duration,
    counts: Counts,
}

/// Which tasks each task waits for, by name: for the critical path.
pub type Needs = BTreeMap<Arc<str>, Vec<Arc<str>>>;

fn record(events: &[(Duration, Event)]) -> Record {
    let mut record = Record::default();
    let mut decided: HashMap<Arc<str>, (Duration, Vec<String>)> = HashMap::new();
    let mut running: HashMap<Arc<str>, (Duration, usize)> = HashMap::new();
    let mut free: BTreeSet<usize> = BTreeSet::new();
    for (time, event) in events {
        match event {
            Event::TaskDecided { task, verdict: Verdict::Run(reasons), .. } => {
                decided.insert(task.clone(), (*time, reasons.iter().map(ToString::to_string).collect()));
            }
            Event::TaskStarted { task, .. } => {
                let worker = free.pop_first().unwrap_or(running.len());
                running.insert(task.clone(), (*time, worker));
            }
            Event::TaskFinished { task, outcome, .. } => {
                if let Some((start, worker)) = running.remove(task) {
                    free.insert(worker);
                    let (decided, reasons) = decided.remove(task).unwrap_or((start, Vec::new()));
                    let (task, end, outcome) = (task.clone(), *time, *outcome);
                    record.spans.push(Span { task, decided, start, end, outcome, reasons, worker });
                    record.workers = record.workers.max(worker + 1);
                } else if *outcome == Outcome::UpToDate {
                    record.fresh.push(task.clone());
                } else {
                    record.rest.push((task.clone(), *outcome));
                }
            }
            Event::RunFinished { counts, saved, .. } => (record.counts, record.saved) = (*counts, *saved),
            _ => {}
        }
        record.total = record.total.max(*time);
    }
    record.spans.sort_by_key(|span| (span.start, span.worker));
    record
}

/// The chain of tasks that made the run as long as it was: from the last to end, each time the needed task that ended
/// last. First task first.
fn critical_path(record: &Record, needs: &Needs) -> Vec<Arc<str>> {
    let spans: HashMap<&str, &Span> = record.spans.iter().map(|span| (&*span.task, span)).collect();
    let mut path = Vec::new();
    let mut last = record.spans.iter().max_by_key(|span| span.end);
    while let Some(span) = last {
        path.push(span.task.clone());
        let mut waiting: Vec<Arc<str>> = needs.get(&span.task).cloned().unwrap_or_default();
        let mut seen: BTreeSet<Arc<str>> = waiting.iter().cloned().collect();
        let mut before: Option<&Span> = None;
        // Groups and tasks that were up to date took no time: what they need counts in their place.
        while let Some(task) = waiting.pop() {
            match spans.get(&*task) {
                Some(found) if before.is_none_or(|known| known.end < found.end) => before = Some(found),
                Some(_) => {}
                None => waiting
                    .extend(needs.get(&task).into_iter().flatten().filter(|one| seen.insert((*one).clone())).cloned()),
            }
        }
        last = before.filter(|before| before.start < span.start && !path.contains(&before.task));
    }
    path.reverse();
    path
}

/// The page. Times count from the start of the run.
pub fn html(title: &str, events: &[(Duration, Event)], needs: &Needs) -> String {
    let record = record(events);
    let path = critical_path(&record, needs);
    let mut body = facts(&record, &path);
    if record.spans.is_empty() {
        body.push_str("<p class=\"soft\">Nothing had to run.</p>");
        return page(title, false, &body);
    }
    body.push_str("<h2>Workers</h2>\n<div class=\"wide\">");
    body.push_str(&lanes(&record, &path));
    body.push_str("</div>\n<h2>Tasks that ran</h2>\n<div class=\"wide\">");
    body.push_str(&rows(&record, &path));
    body.push_str("</div>\n");
    body.push_str(&rest(&record));
    page(title, true, &body)
}

fn facts(record: &Record, path: &[Arc<str>]) -> String {
    let busy: Duration = record.spans.iter().map(|span| span.end.saturating_sub(span.start)).sum();
    let on_path: Duration = record
        .spans
        .iter()
        .filter(|span| path.contains(&span.task))
        .map(|span| span.end.saturating_sub(span.start))
        .sum();
    let all = record.spans.len() + record.fresh.len();
    let hits = (record.fresh.len() * 100 + all / 2).checked_div(all).unwrap_or(0);
    let facts = [
        ("total", short(record.total)),
        ("work of all workers", short(busy)),
        ("critical path", short(on_path)),
        ("ran", record.spans.len().to_string()),
        ("up to date", format!("{} ({hits} %)", record.fresh.len())),
        ("failed", (record.counts.failed + record.counts.error).to_string()),
        ("saved", if record.saved.is_zero() { "–".to_owned() } else { short(record.saved) }),
    ];
    let items: String =
        facts.iter().map(|(name, value)| format!("<li><b>{value}</b><span>{name}</span></li>")).collect();
    format!("<ul class=\"facts\">{items}</ul>\n")
}

/// Pixels of the picture.
const WIDTH: f64 = 1100.0;
const LEFT: f64 = 70.0;
const LANE: f64 = 30.0;
const TOP: f64 = 26.0;

fn lanes(record: &Record, path: &[Arc<str>]) -> String {
    let total = record.total.as_secs_f64().max(0.001);
    let x = |time: Duration| LEFT + time.as_secs_f64() / total * (WIDTH - LEFT - 20.0);
    let height = TOP + LANE * record.workers as f64 + 10.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" style=\"min-width:700px\" role=\"img\" \
         aria-label=\"When each worker ran which task\">\n"
    );
    let step = step(total);
    for tick in 0..=(total / step) as u32 {
        let time = Duration::from_secs_f64(step * f64::from(tick));
        let (at, label) = (x(time), short(time));
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{height}\"/>\
             <text class=\"soft\" x=\"{at:.1}\" y=\"16\" text-anchor=\"middle\">{label}</text>\n"
        ));
    }
    for worker in 0..record.workers {
        let y = TOP + LANE * worker as f64 + 19.0;
        svg.push_str(&format!("<text class=\"soft\" x=\"8\" y=\"{y}\">worker {}</text>\n", worker + 1));
    }
    for span in &record.spans {
        svg.push_str(&bar(span, x(span.start), x(span.end), path.contains(&span.task)));
    }
    svg.push_str("</svg>\n");
    svg
}

/// Seconds from one line to the next: a round number, so that there are four to nine lines.
fn step(total: f64) -> f64 {
    let round = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0];
    let small = [0.0001, 0.001, 0.01, 0.1].into_iter().flat_map(|unit| [unit, 2.0 * unit, 5.0 * unit]);
    let fits = |step: &f64| total / step < 9.0;
    small.chain(round).find(fits).unwrap_or((total / 3_600.0 / 8.0).ceil() * 3_600.0)
}

/// Milliseconds where hundredths of a second would all look alike.
fn short(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        0.0 => "0".to_owned(),
        millis if millis < 10.0 => format!("{millis:.1} ms"),
        millis if millis < 1_000.0 => format!("{millis:.0} ms"),
        _ => layout::duration(time),
    }
}

fn bar(span: &Span, from: f64, to: f64, on_path: bool) -> String {
    let y = TOP + LANE * span.worker as f64 + 4.0;
    let wide = (to - from).max(1.5);
    let name = escape(&span.task);
    let time = short(span.end.saturating_sub(span.start));
    let path = if on_path { " on-path" } else { "" };
    // Seven pixels per letter; a name that does not fit is in the tooltip and in the table.
    let room = ((wide - 10.0) / 7.3).max(0.0) as usize;
    let label = if room >= 4 { escape(&layout::cut(&span.task, room)) } else { String::new() };
    format!(
        "<g data-name=\"{name}\"><title>{name}: {time}, {}, {}</title>\
         <rect class=\"{}{path}\" x=\"{from:.1}\" y=\"{y}\" width=\"{wide:.1}\" height=\"22\" rx=\"3\"/>\
         <text class=\"inside\" x=\"{:.1}\" y=\"{}\">{label}</text></g>\n",
        span.outcome.name(),
        escape(span.reasons.first().map_or("", String::as_str)),
        class(span.outcome.name()),
        from + 5.0,
        y + 15.0,
    )
}

fn rows(record: &Record, path: &[Arc<str>]) -> String {
    let mut spans: Vec<&Span> = record.spans.iter().collect();
    spans.sort_by_key(|span| std::cmp::Reverse(span.end.saturating_sub(span.start)));
    let mut table = String::from(
        "<table><thead><tr><th>task</th><th>outcome</th><th class=\"n\">time</th><th class=\"n late\">start</th>\
         <th class=\"n late\">waited</th><th>why</th></tr></thead><tbody>\n",
    );
    for span in spans {
        let mark = if path.contains(&span.task) { " <span class=\"soft\">critical path</span>" } else { "" };
        let why: Vec<String> = span.reasons.iter().map(|reason| escape(reason)).collect();
        table.push_str(&format!(
            "<tr data-name=\"{0}\"><td><code>{0}</code>{mark}</td><td><span class=\"tag {1}\">{2}</span></td>\
             <td class=\"n\">{3}</td><td class=\"n late\">{4}</td><td class=\"n late\">{5}</td><td class=\"why\">{6}</td></tr>\n",
            escape(&span.task),
            class(span.outcome.name()),
            span.outcome.name(),
            short(span.end.saturating_sub(span.start)),
            short(span.start),
            short(span.start.saturating_sub(span.decided)),
            why.join("<br>"),
        ));
    }
    table.push_str("</tbody></table>");
    table
}

/// Tasks that neither ran nor were up to date.
fn rest(record: &Record) -> String {
    if record.rest.is_empty() {
        return String::new();
    }
    let mut table = String::from("<h2>Tasks that did not run</h2>\n<div class=\"wide\"><table><tbody>\n");
    for (task, outcome) in &record.rest {
        table.push_str(&format!(
            "<tr data-name=\"{0}\"><td><code>{0}</code></td><td><span class=\"tag {1}\">{2}</span></td></tr>\n",
            escape(task),
            class(outcome.name()),
            outcome.name(),
        ));
    }
    table + "</tbody></table></div>\n"
}

/// The run in the format of Chrome's tracing (and Perfetto): a lane per worker, and how many tasks ran when.
pub fn chrome_trace(events: &[(Duration, Event)], needs: &Needs) -> String {
    let record = record(events);
    let path = critical_path(&record, needs);
    let micros = |time: Duration| time.as_micros() as u64;
    let mut trace: Vec<Value> = vec![json!({
        "name": "process_name", "ph": "M", "pid": 1, "args": { "name": "xtask" },
    })];
    for worker in 0..record.workers {
        trace.push(json!({
            "name": "thread_name", "ph": "M", "pid": 1, "tid": worker + 1,
            "args": { "name": format!("worker {}", worker + 1) },
        }));
    }
    let mut steps: Vec<(Duration, i64)> = Vec::new();
    for span in &record.spans {
        steps.extend([(span.start, 1), (span.end, -1)]);
        trace.push(json!({
            "name": *span.task, "cat": span.outcome.name(), "ph": "X", "pid": 1, "tid": span.worker + 1,
            "ts": micros(span.start), "dur": micros(span.end.saturating_sub(span.start)),
            "args": {
                "outcome": span.outcome.name(),
                "reasons": span.reasons,
                "waited_us": micros(span.start.saturating_sub(span.decided)),
                "critical_path": path.contains(&span.task),
            },
        }));
    }
    steps.sort_unstable();
    let mut now = 0;
    for (time, step) in steps {
        now += step;
        trace.push(json!({ "name": "tasks", "ph": "C", "pid": 1, "ts": micros(time), "args": { "running": now } }));
    }
    json!({ "traceEvents": trace, "displayTimeUnit": "ms" }).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Reason;

    /// a (0–4 s) and b (0–1 s) side by side, c (4–6 s) after a through a group, d up to date.
    pub(in super::super) fn sample() -> (Vec<(Duration, Event)>, Needs) {
        let at = |millis: u64, event: Event| (Duration::from_millis(millis), event);
        let events = vec![
            at(0, started(4, 2)),
            at(0, decided("a", vec![Reason::NeverRan])),
            at(0, decided("b", vec![Reason::FileDepChanged { path: "<x>".into(), old: "1".into(), new: "2".into() }])),
            at(0, begin("a", 1)),
            at(10, begin("b", 1)),
            at(15, finished("d", Outcome::UpToDate, 0)),
            at(1_010, failed("b", 1_000, "exit code 1")),
            at(4_000, ran("a", 4_000, "")),
            at(3_500, decided("c", vec![Reason::Always])),
            at(4_000, begin("c", 1)),
            at(6_000, ran("c", 2_000, "")),
            at(6_010, ended(1, Counts { ran: 2, failed: 1, up_to_date: 1, ..Counts::default() })),
        ];
        let needs = [("c", vec!["group"]), ("group", vec!["a", "d"])];
        let needs = needs.into_iter().map(|(task, all)| (task.into(), all.into_iter().map(Into::into).collect()));
        (events, needs.collect())
    }

    #[test]
    fn the_critical_path_goes_through_groups() {
        let (events, needs) = sample();
        let record = record(&events);
        assert_eq!(critical_path(&record, &needs), ["a".into(), "c".into()]);
        assert_eq!(record.workers, 2);
        let lanes: Vec<(&str, usize)> = record.spans.iter().map(|span| (&*span.task, span.worker)).collect();
        assert_eq!(lanes, [("a", 0), ("b", 1), ("c", 0)]);
        assert_eq!(critical_path(&record, &Needs::new()), ["c".into()]);
    }

    #[test]
    fn the_page_has_each_task_once_in_picture_and_table() {
        let (events, needs) = sample();
        let page = html("build-stack", &events, &needs);
        assert_eq!(page.matches("<g data-name=\"b\">").count(), 1);
        assert_eq!(page.matches("<tr data-name=\"b\">").count(), 1);
        assert_eq!(page.matches("on-path\" x=").count(), 2);
        assert!(page.contains("file_dep `&lt;x&gt;` changed") && !page.contains("<x>"));
        assert!(page.contains("<b>1 (25 %)</b><span>up to date</span>"));
        assert!(
            page.contains("<td class=\"n\">2.00s</td><td class=\"n late\">4.00s</td><td class=\"n late\">500 ms</td>")
        );
        assert!(html("x", &events[..1], &needs).contains("Nothing had to run."));
    }

    #[test]
    fn the_lines_of_time_are_round() {
        for (total, wanted) in
            [(0.004, 0.0005), (2.33, 0.5), (6.0, 1.0), (72.0, 10.0), (859.0, 120.0), (90_000.0, 14_400.0)]
        {
            let found = step(total);
            assert!((found - wanted).abs() < 1e-9, "{total}: {found}");
        }
    }

    #[test]
    fn the_trace_is_json_with_a_lane_per_worker() {
        let (events, needs) = sample();
        let trace: Value = serde_json::from_str(&chrome_trace(&events, &needs)).unwrap();
        let all = trace["traceEvents"].as_array().unwrap();
        let of = |kind: &str| all.iter().filter(|event| event["ph"] == kind).collect::<Vec<_>>();
        assert_eq!((of("X").len(), of("M").len(), of("C").len()), (3, 3, 6));
        let c = of("X").into_iter().find(|event| event["name"] == "c").unwrap();
        assert_eq!(
            (c["ts"].as_u64(), c["dur"].as_u64(), c["tid"].as_u64()),
            (Some(4_000_000), Some(2_000_000), Some(1))
        );
        assert_eq!(c["args"]["waited_us"], 500_000);
        assert_eq!(of("C").last().unwrap()["args"]["running"], 0);
    }
}
