//! What a step of a case expects of a call. Knows only what the call said.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::play::{list, pairs};
use crate::space::Ran;

/// Words of `expect` that name tasks by how they ended, with the outcome of the event.
const OUTCOMES: &[(&str, &str)] = &[
    ("ran", "ran"),
    ("up_to_date", "up-to-date"),
    ("failed", "failed"),
    ("error", "error"),
    ("unmet", "unmet"),
    ("ignored", "ignored"),
    ("skipped", "skipped"),
    ("interrupted", "interrupted"),
];

/// Compares; without `exit` the call must have ended with 0.
pub fn expect(ran: &Ran, wanted: &Value, fail: &mut dyn FnMut(String)) {
    let said = format!("\n  stdout: {}\n  stderr: {}", ran.out.trim(), ran.err.trim());
    let exit = wanted["exit"].as_u64().unwrap_or(0);
    if u64::from(ran.exit) != exit {
        fail(format!("exit {} instead of {exit}{said}", ran.exit));
    }
    for (word, value) in pairs(wanted) {
        if let Some((_, outcome)) = OUTCOMES.iter().find(|(known, _)| known == word) {
            let names: BTreeSet<String> = list(value).into_iter().map(str::to_owned).collect();
            let found = ran.outcome(outcome);
            // Most tasks of a plan may be up to date; only those that matter are named.
            let fine = if word == "up_to_date" { names.is_subset(&found) } else { names == found };
            if !fine {
                fail(format!("{word}: {found:?} instead of {names:?}{said}"));
            }
            continue;
        }
        match word.as_str() {
            "exit" => {}
            "order" => order(ran, &list(value), fail),
            "reasons" | "changed" | "decided" | "message" | "out" | "err" | "out_is" | "not"
                if !ran.speaks_our_words => {}
            "reasons" | "changed" | "decided" => decisions(ran, word, value, fail),
            "message" => contains(&format!("{}{}", ran.out, ran.err), word, value, fail),
            "out" => contains(&ran.out, word, value, fail),
            "err" => contains(&ran.err, word, value, fail),
            "out_is" => {
                if Some(&*ran.out) != value.as_str() {
                    fail(format!("stdout is {:?} instead of {value}", ran.out));
                }
            }
            "not" => list(value)
                .into_iter()
                .filter(|text| ran.out.contains(text) || ran.err.contains(text))
                .for_each(|text| fail(format!("it says `{text}`{said}"))),
            other => panic!("unknown expectation `{other}`"),
        }
    }
}

/// One text or several, all of which must be there.
fn contains(text: &str, word: &str, wanted: &Value, fail: &mut dyn FnMut(String)) {
    let texts = wanted.as_str().map_or_else(|| list(wanted), |text| vec![text]);
    for wanted in texts.into_iter().filter(|wanted| !text.contains(wanted)) {
        fail(format!("{word} has no `{wanted}`:\n{text}"));
    }
}

/// What was decided of tasks: kinds of reasons, the inputs said to have changed, or verdicts.
fn decisions(ran: &Ran, word: &str, wanted: &Value, fail: &mut dyn FnMut(String)) {
    for (task, value) in pairs(wanted) {
        let (found, fine) = match word {
            "reasons" => {
                let found = ran.reasons(task);
                let fine = list(value).iter().all(|kind| found.iter().any(|known| known == kind));
                (found.join(", "), fine)
            }
            "changed" => {
                let found: Vec<String> = ran.changed(task).into_iter().collect();
                let fine = list(value).iter().copied().eq(found.iter().map(String::as_str));
                (found.join(", "), fine)
            }
            _ => {
                let found = ran.verdict(task).unwrap_or_default();
                let fine = Some(&*found) == value.as_str();
                (found, fine)
            }
        };
        if !fine {
            fail(format!("{word} of `{task}`: {found} instead of {value}\n  stderr: {}", ran.err.trim()));
        }
    }
}

/// Tasks were started in this order, others between them or not.
fn order(ran: &Ran, wanted: &[&str], fail: &mut dyn FnMut(String)) {
    let started: Vec<&str> = ran
        .events
        .iter()
        .filter(|event| event["event"] == "task_started")
        .filter_map(|event| event["task"].as_str())
        .filter(|task| wanted.contains(task))
        .collect();
    if started != wanted {
        fail(format!("started: {started:?} instead of {wanted:?}"));
    }
}
