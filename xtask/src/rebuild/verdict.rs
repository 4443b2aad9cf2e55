//! The decision itself, in doit's order with the fixes of the contract; every reason is collected.

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::model::task::RunMode;
use crate::model::{Digest, Reason, RepoPath, Verdict};

/// The record of the last success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Of the whole fingerprint; its parts are kept apart, since they are read only to name a difference.
    pub fingerprint: Digest,
    pub targets: Vec<TraceTarget>,
    /// An input changed while the actions ran: the next run executes (fix 5).
    pub changed_during_run: Vec<RepoPath>,
}

/// A target as the last success left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceTarget {
    pub path: RepoPath,
    /// `None` where the policy compares existence only.
    pub digest: Option<Digest>,
}

/// How the last attempt ended when it did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastAttempt {
    /// It was started and never ended: the program was killed.
    Running,
    Failed,
    Interrupted,
    /// `forget` removed the record.
    Forgotten,
}

/// Everything that was observed about one task before its verdict.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub fingerprint: Fingerprint,
    /// Whether it has file_dep (or `watch` paths), also when a glob matches nothing.
    pub has_file_dep: bool,
    /// Whether an item of uptodate, a result or an observation can say "up to date".
    pub has_check: bool,
    /// Texts of the uptodate items that say no.
    pub false_checks: Vec<String>,
    /// Paths of non-optional targets that do not exist.
    pub missing_targets: Vec<RepoPath>,
    /// Targets as they are now, in the order of the trace's.
    pub targets: Vec<TraceTarget>,
    /// Found outside: an image that is not there, a tag with another digest, `-a`.
    pub forced: Vec<Reason>,
    /// Every effect is there although no record says so (an image with the wanted key).
    pub satisfied: bool,
    pub run_mode: RunMode,
}

/// Decides. `trace` is the record of the last success, `parts` reads its fingerprint's parts (asked only if the
/// digests differ), `attempt` is what happened after it.
///
/// Inputs that are missing have been reported before: they are errors, not reasons.
pub fn decide(
    seen: &Observation,
    trace: Option<&Trace>,
    parts: &mut dyn FnMut() -> Fingerprint,
    attempt: Option<LastAttempt>,
) -> Verdict {
    let mut reasons = seen.forced.clone();
    reasons.extend(seen.false_checks.iter().map(|item| Reason::UptodateFalse { item: item.clone() }));
    if !seen.has_file_dep && !seen.has_check && !seen.satisfied {
        reasons.extend(without_dependencies(seen, trace));
    }
    reasons.extend(seen.missing_targets.iter().map(|path| Reason::TargetMissing { path: path.lossy() }));
    match (attempt, trace) {
        (Some(attempt), _) if !(seen.satisfied && reasons.is_empty()) => reasons.push(match attempt {
            LastAttempt::Running | LastAttempt::Interrupted => Reason::Interrupted,
            LastAttempt::Failed => Reason::LastFailed,
            LastAttempt::Forgotten => Reason::Forgotten,
        }),
        (None, None) if seen.has_file_dep && !seen.satisfied => reasons.push(Reason::NeverRan),
        _ => {}
    }
    if let Some(trace) = trace {
        reasons.extend(against(seen, trace, parts));
    }
    // What changed says more than a check that noticed it.
    reasons.sort_by_key(|reason| matches!(reason, Reason::UptodateFalse { .. }));
    if reasons.is_empty() { Verdict::UpToDate } else { Verdict::Run(reasons) }
}

/// A task with neither inputs nor checks (fix 36).
fn without_dependencies(seen: &Observation, trace: Option<&Trace>) -> Option<Reason> {
    match seen.run_mode {
        RunMode::OnChange | RunMode::Always => Some(Reason::NoDependencies),
        // Their missing targets are reasons by themselves.
        RunMode::WhenMissing => None,
        RunMode::Once => trace.is_none().then_some(Reason::NeverRan),
    }
}

fn against(seen: &Observation, trace: &Trace, parts: &mut dyn FnMut() -> Fingerprint) -> Vec<Reason> {
    let mut reasons: Vec<Reason> =
        trace.changed_during_run.iter().map(|path| Reason::InputChangedDuringRun { path: path.lossy() }).collect();
    if seen.fingerprint.digest() != trace.fingerprint {
        reasons.extend(seen.fingerprint.differences(&parts()));
    }
    for now in &seen.targets {
        let before = trace.targets.iter().find(|target| target.path == now.path);
        let differs = before.is_some_and(|before| before.digest.is_some() && before.digest != now.digest);
        if differs && !seen.missing_targets.contains(&now.path) {
            reasons.push(Reason::TargetChanged { path: now.path.lossy() });
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::PartValue;
    use super::super::{Part, PartKey};
    use super::*;

    fn fingerprint(content: &str) -> Fingerprint {
        Fingerprint::new(vec![Part {
            key: PartKey::FileDep(RepoPath::from_root("in").unwrap()),
            value: PartValue::Digest(Digest::of(content.as_bytes())),
        }])
    }

    fn seen(content: &str) -> Observation {
        Observation { fingerprint: fingerprint(content), has_file_dep: true, ..Observation::default() }
    }

    fn trace(content: &str) -> Trace {
        Trace { fingerprint: fingerprint(content).digest(), targets: Vec::new(), changed_during_run: Vec::new() }
    }

    fn decide(seen: &Observation, trace: Option<&Trace>, attempt: Option<LastAttempt>) -> Verdict {
        super::decide(seen, trace, &mut || fingerprint("1"), attempt)
    }

    fn kinds(verdict: &Verdict) -> Vec<&'static str> {
        match verdict {
            Verdict::Run(reasons) => reasons.iter().map(Reason::kind).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_record_of_the_same_inputs_is_up_to_date() {
        assert_eq!(decide(&seen("1"), Some(&trace("1")), None), Verdict::UpToDate);
        assert_eq!(kinds(&decide(&seen("2"), Some(&trace("1")), None)), ["file_dep_changed"]);
        assert_eq!(kinds(&decide(&seen("1"), None, None)), ["never_ran"]);
    }

    #[test]
    fn a_true_check_needs_no_record_but_inputs_do() {
        let check = Observation { has_check: true, ..Observation::default() };
        assert_eq!(decide(&check, None, None), Verdict::UpToDate);
        let both = Observation { has_check: true, ..seen("1") };
        assert_eq!(kinds(&decide(&both, None, None)), ["never_ran"]);
    }

    #[test]
    fn without_dependencies_it_always_runs_unless_told_otherwise() {
        let plain = Observation::default();
        assert_eq!(kinds(&decide(&plain, Some(&trace("1")), None))[0], "no_dependencies");
        let once = Observation { run_mode: RunMode::Once, ..Observation::default() };
        assert_eq!(kinds(&decide(&once, None, None)), ["never_ran"]);
    }

    #[test]
    fn an_effect_that_is_there_is_adopted() {
        let image = Observation { satisfied: true, has_check: true, ..seen("1") };
        assert_eq!(decide(&image, None, None), Verdict::UpToDate);
        assert_eq!(decide(&image, None, Some(LastAttempt::Running)), Verdict::UpToDate);
    }

    #[test]
    fn what_happened_after_the_last_success_counts() {
        for (attempt, kind) in [
            (LastAttempt::Running, "interrupted"),
            (LastAttempt::Failed, "last_failed"),
            (LastAttempt::Forgotten, "forgotten"),
        ] {
            assert_eq!(kinds(&decide(&seen("1"), Some(&trace("1")), Some(attempt))), [kind]);
        }
    }
}
