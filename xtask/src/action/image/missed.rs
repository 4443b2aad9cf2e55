//! Which step of the last build of an image was the first that the builder did not have, and what had changed for it.
//! Knows nothing of why the task ran.
//!
//! Beside the state: losing it costs an explanation.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stack::artifacts::BuildStep;
use crate::store::STATE_DIR;

/// What is kept of a build until the next one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    image: String,
    plan: String,
    /// Of the content key: name and short value.
    parts: Vec<(String, String)>,
    /// Every numbered step as the builder names it.
    steps: Vec<String>,
    told: Told,
}

/// What is told of a build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub steps: usize,
    pub cached: usize,
    /// The first step that was not cached; none where all were.
    pub first: Option<String>,
    /// What had changed for it since the build before, as far as that can be known.
    pub because: Vec<String>,
}

impl Told {
    pub(crate) fn to_json(&self) -> Value {
        serde_json::json!({
            "steps": self.steps, "cached": self.cached, "first_miss": self.first, "because": self.because,
        })
    }

    /// A line for people.
    pub(crate) fn line(&self) -> String {
        let counts = format!("{} of {} steps of the last build were cached", self.cached, self.steps);
        match &self.first {
            None => counts,
            Some(step) => format!("{counts}; the first that was not: `{step}`: {}", self.because.join(", ")),
        }
    }
}

fn path(root: &Path, stem: &str) -> PathBuf {
    root.join(STATE_DIR).join("builds").join(format!("{stem}.json"))
}

fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// What the last build of an image told, by plan.
pub(crate) fn last(root: &Path, image: &str) -> Vec<(String, Told)> {
    let files = std::fs::read_dir(root.join(STATE_DIR).join("builds")).into_iter().flatten().flatten();
    let records = files.filter_map(|file| read(&file.path())).filter(|record| record.image == image);
    let mut all: Vec<(String, Told)> = records.map(|record| (record.plan, record.told)).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// Keeps what the build of an image for a plan told; `stem` is unique to both. Nothing depends on it, so that a failure
/// to write it is none.
pub(super) fn note(
    root: &Path,
    (image, plan, stem): (&str, &str, &str),
    parts: &[(String, String)],
    steps: &[BuildStep],
) {
    let path = path(root, stem);
    let before = read(&path).filter(|record| record.image == image && record.plan == plan);
    let record = Record {
        image: image.to_owned(),
        plan: plan.to_owned(),
        parts: parts.to_vec(),
        steps: steps.iter().map(|step| step.command.clone()).collect(),
        told: told(before.as_ref(), parts, steps),
    };
    if let Ok(text) = serde_json::to_string(&record) {
        let _ = super::render::write(&path, &text);
    }
}

fn told(before: Option<&Record>, parts: &[(String, String)], steps: &[BuildStep]) -> Told {
    let missed = steps.iter().find(|step| !step.cached && !is_base(&step.command));
    Told {
        steps: steps.len(),
        cached: steps.iter().filter(|step| step.cached).count(),
        first: missed.map(|step| step.command.clone()),
        because: missed.map_or_else(Vec::new, |step| because(before, parts, &step.command)),
    }
}

/// The base is no work of the build.
fn is_base(command: &str) -> bool {
    command.rsplit("] ").next().is_some_and(|text| text.starts_with("FROM "))
}

/// How many changes are named.
const MOST: usize = 3;

fn because(before: Option<&Record>, parts: &[(String, String)], command: &str) -> Vec<String> {
    let Some(before) = before else { return vec!["no earlier build of it is known here".to_owned()] };
    let changes = changes(&before.parts, parts);
    let text = command.rsplit("] ").next().unwrap_or(command);
    let (words, copies) = (words(text), text.starts_with("COPY ") || text.starts_with("ADD "));
    let concerns = |name: &str| match name.split_once(' ') {
        Some(("file" | "link" | "directory", path)) if copies => words.iter().any(|word| takes(word, path)),
        // What a step mounts is named in it.
        Some(("file" | "link", path)) => text.contains("--mount=") && text.contains(path),
        Some(("arg", _)) => !copies || words.iter().any(|word| word.contains('$')),
        Some(("base", _)) => true,
        _ => ["platform", "target"].contains(&name) || name.starts_with("option "),
    };
    let mut found: Vec<String> =
        changes.iter().filter(|(name, _)| concerns(name)).map(|(_, text)| text.clone()).collect();
    if found.is_empty() && !before.steps.iter().any(|step| step == command) {
        return vec!["the instruction is new or another".to_owned()];
    }
    if found.is_empty() {
        return vec!["nothing that is known changed for it: the builder had it no more".to_owned()];
    }
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    if more > 0 {
        found.push(format!("{more} more"));
    }
    found
}

/// Every part that differs: its name, and what it was and is, in words.
fn changes(old: &[(String, String)], new: &[(String, String)]) -> Vec<(String, String)> {
    let value = |parts: &[(String, String)], name: &str| {
        parts.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone())
    };
    let olds: std::collections::BTreeMap<&str, &str> = old.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut found = Vec::new();
    for (name, now) in new.iter().filter(|(name, now)| olds.get(name.as_str()) != Some(&now.as_str())) {
        let was = olds.get(name.as_str());
        found.push((
            name.clone(),
            was.map_or_else(|| format!("{} is new", shown(name)), |was| format!("{}: {was} → {now}", shown(name))),
        ));
    }
    for (name, _) in old.iter().filter(|(name, _)| value(new, name).is_none()) {
        found.push((name.clone(), format!("{} is gone", shown(name))));
    }
    found
}

fn shown(part: &str) -> String {
    match part.split_once(' ') {
        Some(("file" | "link" | "directory", path)) => format!("`{path}`"),
        Some(("arg", name)) => format!("build arg `{name}`"),
        Some(("base", number)) => format!("base {number}"),
        _ => format!("`{part}`"),
    }
}

/// The sources of a COPY or ADD, or the words of anything else.
fn words(text: &str) -> Vec<String> {
    let rest = text.split_once(' ').map_or("", |(_, rest)| rest);
    let rest = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect::<Vec<_>>().join(" ");
    let listed = serde_json::from_str::<Vec<String>>(&rest).ok();
    let mut words = listed.unwrap_or_else(|| rest.split(' ').map(str::to_owned).collect());
    words.pop();
    words
}

fn takes(source: &str, path: &str) -> bool {
    let source = source.trim_start_matches("./").trim_matches('/');
    if source.is_empty() || source == "." || source == path {
        return true;
    }
    if path.strip_prefix(source).is_some_and(|rest| rest.starts_with('/')) {
        return true;
    }
    let Some(star) = source.find(['*', '?', '[']) else { return false };
    path.starts_with(&source[..star])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn step(command: &str, cached: bool) -> BuildStep {
        BuildStep { command: command.to_owned(), cached, ..BuildStep::default() }
    }

    /// The first miss of a build of `steps` after one of the same steps with other parts.
    fn after(old: &[(&str, &str)], new: &[(&str, &str)], steps: &[(&str, bool)]) -> Told {
        let steps: Vec<BuildStep> = steps.iter().map(|(command, cached)| step(command, *cached)).collect();
        let names = steps.iter().map(|step| step.command.clone()).collect();
        let before = Record { parts: parts(old), steps: names, ..Record::default() };
        told(Some(&before), &parts(new), &steps)
    }

    #[test]
    fn a_step_is_told_with_what_changed_for_it() {
        let old = [("dockerfile", "1"), ("base 1", "b"), ("arg V", "1"), ("file a/x", "x1"), ("file b", "b1")];
        let miss = |changed: (&str, &str), steps: &[(&str, bool)]| {
            let new: Vec<(&str, &str)> =
                old.iter().map(|one| if one.0 == changed.0 { changed } else { *one }).collect();
            let told = after(&old, &new, steps);
            (told.first.unwrap_or_default(), told.because.join(", "))
        };
        let steps = [("FROM x", false), ("COPY a/ /a", true), ("COPY --chown=1 b /b", false), ("RUN make", false)];
        assert_eq!(miss(("file b", "b2"), &steps), ("COPY --chown=1 b /b".into(), "`b`: b1 → b2".into()));
        let steps = [("COPY a/ /a", false), ("RUN make", false)];
        assert_eq!(miss(("file a/x", "x2"), &steps), ("COPY a/ /a".into(), "`a/x`: x1 → x2".into()));
        let steps = [("COPY a/ /a", true), ("RUN make", false)];
        assert_eq!(miss(("arg V", "2"), &steps), ("RUN make".into(), "build arg `V`: 1 → 2".into()));
        assert!(miss(("file b", "b2"), &steps).1.contains("no more"), "no step takes it");
        let steps = [("[build 2/3] COPY [\"a\", \"/a\"]", false)];
        assert_eq!(miss(("base 1", "c"), &steps).1, "base 1: b → c");
        assert_eq!(after(&old, &old, &[("COPY a/ /a", true)]).line(), "1 of 1 steps of the last build were cached");
    }

    #[test]
    fn a_new_instruction_and_a_first_build_are_told() {
        let before = Record { steps: vec!["RUN a".into()], ..Record::default() };
        assert_eq!(told(Some(&before), &[], &[step("RUN b", false)]).because, ["the instruction is new or another"]);
        assert!(told(None, &[], &[step("RUN b", false)]).because[0].starts_with("no earlier build"));
        let gone = after(&[("file a", "1")], &[], &[("COPY * /", false)]);
        assert_eq!(gone.because, ["`a` is gone"]);
    }

    #[test]
    fn a_record_is_kept_until_the_next_build() {
        let root = tempfile::tempdir().unwrap();
        for content in ["1", "2"] {
            note(root.path(), ("leaf", "p", "leaf.p"), &parts(&[("file a", content)]), &[step("COPY a /a", false)]);
        }
        let told = last(root.path(), "leaf");
        assert_eq!((told.len(), told[0].0.as_str(), told[0].1.because[0].as_str()), (1, "p", "`a`: 1 → 2"));
        assert_eq!(last(root.path(), "other"), []);
    }
}
