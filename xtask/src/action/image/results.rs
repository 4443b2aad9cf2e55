//! What a run leaves in `artifacts/` for people and other programs: lists of images, a result per image, how they were
//! built. Knows nothing of how images are made.
//!
//! A list tells of the last run in which such a thing was done, so that `push` does not forget what `build-stack` built.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::ledger::{Facts, Member};
use super::services::{Services, whole};
use crate::action::{Chronicle, Ending};
use crate::model::{Diagnostic, Outcome, RepoPath};
use crate::stack::artifacts::{self, Artifact, ImageResult, TestResult};
use crate::stack::wiki::Dependency;
use crate::stack::{Graph, Image, Plan, Stack, graph::Source, tags};

pub(super) struct Results(pub(super) Arc<Services>);

/// The actions that an image passes through.
const WAY: [&str; 7] = [
    "image_build",
    "image_push_untested",
    "image_test",
    "image_manifest",
    "image_push",
    "image_integration",
    "image_prune",
];

/// How the actions of one image ended.
#[derive(Default)]
struct Endings<'a>(BTreeMap<&'a str, &'a Ending<'a>>);

impl<'a> Endings<'a> {
    fn of(&self, action: &str) -> Option<&'a Ending<'a>> {
        self.0.get(action).copied()
    }

    /// Whether the action was started.
    fn was_tried(&self, action: &str) -> bool {
        self.of(action).is_some_and(was_tried)
    }
}

fn was_tried(ending: &Ending<'_>) -> bool {
    matches!(ending.outcome, Outcome::Ran | Outcome::Failed | Outcome::Error | Outcome::Interrupted)
}

/// One image in one plan, with everything that is known of it.
struct Row<'a> {
    image: &'a Image,
    plan: &'a Plan,
    reference: String,
    tag: String,
    endings: &'a Endings<'a>,
    facts: Facts,
}

impl Chronicle for Results {
    fn run_ended(&self, endings: &[Ending<'_>]) -> Result<(), Diagnostic> {
        let mut facts = self.0.ledger.take();
        let mut images: BTreeMap<String, Endings<'_>> = BTreeMap::new();
        for ending in endings.iter().filter(|ending| WAY.contains(&ending.action)) {
            let Some(image) = ending.args["image"].as_str() else { continue };
            images.entry(image.to_owned()).or_default().0.insert(ending.action, ending);
        }
        // A repository without a stack has other built-in actions.
        if images.is_empty() {
            return Ok(());
        }
        let built = images.values().any(|image| image.of("image_build").is_some_and(|end| end.outcome.is_good()));
        let quiet = facts.is_empty() && images.values().all(|image| WAY.iter().all(|action| !image.was_tried(action)));
        let (root, (stack, graph)) = (&*self.0.root, self.0.stack().map_err(whole)?);
        if built {
            self.0.note_branch(&stack)?;
        }
        if quiet && has_results(root) {
            return Ok(());
        }
        artifacts::prepare(root)?;
        let suffix = self.0.suffix(&stack)?;
        let mut rows = Vec::new();
        for (image, plan) in stack.pairs() {
            let Some(endings) = images.get(&*image.key) else { continue };
            let tag = tags::checked(tags::plan_tag(image, plan, &suffix))?;
            let member: Member = (image.key.clone(), plan.name.clone());
            let reference = format!("{}:{tag}", image.image_name);
            rows.push(Row { image, plan, reference, tag, endings, facts: facts.remove(&member).unwrap_or_default() });
        }
        for row in &rows {
            let result = row.result();
            store(root, &result.path(), result.yaml())?;
        }
        lists(root, &rows)?;
        if rows.iter().any(|row| row.facts.steps.is_some()) {
            builds(root, (&stack, &graph), &rows, &suffix)?;
        }
        Ok(())
    }
}

/// Whether a run has written results here before.
fn has_results(root: &Path) -> bool {
    std::fs::read_dir(root.join("artifacts")).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.path().extension() == Some("yaml".as_ref())))
    })
}

/// Writes a file if it is not like that already.
fn store(root: &Path, file: &RepoPath, text: String) -> Result<(), Diagnostic> {
    if std::fs::read(root.join(file.as_path())).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    artifacts::store(root, file, text)
}

impl Row<'_> {
    fn result(&self) -> ImageResult {
        let bad = |ending: &&&Ending<'_>| !ending.outcome.is_good() && ending.outcome != Outcome::Ignored;
        let failed = WAY.iter().filter_map(|action| self.endings.of(action)).collect::<Vec<_>>();
        let failed = failed.iter().find(bad).copied();
        let refused = self.endings.of("image_push").filter(|ending| !ending.outcome.is_good());
        ImageResult {
            full_image_name: self.reference.clone(),
            success: failed.is_none(),
            message: match failed {
                None => self.done(),
                Some(ending) => ending.problem.map_or_else(|| "a task that it needs failed".to_owned(), str::to_owned),
            },
            image_built: self.facts.steps.is_some(),
            push_success: if refused.is_some() { Some(false) } else { self.is_pushed().then_some(true) },
            push_log: self.facts.push_log.as_deref().unwrap_or_default().join("\n"),
            basic_tests: self.basic_tests(),
            integration_tests: self.integration_tests(),
        }
    }

    /// In words, what was done.
    fn done(&self) -> String {
        let said = [
            (self.facts.steps.is_some(), "built"),
            (self.endings.was_tried("image_test"), "tested"),
            (self.is_pushed(), "pushed"),
        ];
        let done: Vec<&str> = said.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect();
        if done.is_empty() { "up to date".to_owned() } else { done.join(", ") }
    }

    fn is_pushed(&self) -> bool {
        !self.facts.pushed.is_empty()
    }

    fn basic_tests(&self) -> TestResult {
        self.facts.basic_tests.unwrap_or_else(|| self.held("image_test", "tested"))
    }

    fn integration_tests(&self) -> TestResult {
        self.facts.integration_tests.unwrap_or_else(|| self.held("image_integration", "integrated"))
    }

    /// Tests that need not run again have passed for this very image.
    fn held(&self, action: &str, value: &str) -> TestResult {
        let passed = self.endings.of(action).and_then(|ending| ending.values[value].as_object());
        if passed.is_some_and(|passed| !passed.is_empty()) { TestResult::Passed } else { TestResult::Skipped }
    }

    fn has_failed_tests(&self) -> bool {
        [self.basic_tests(), self.integration_tests()].contains(&TestResult::Failed)
    }

    fn has_passed_tests(&self) -> bool {
        self.basic_tests() == TestResult::Passed && !self.has_failed_tests()
    }
}

fn lists(root: &Path, rows: &[Row<'_>]) -> Result<(), Diagnostic> {
    let references = |wanted: &dyn Fn(&Row<'_>) -> bool| -> Vec<String> {
        rows.iter().filter(|row| wanted(row)).map(|row| row.reference.clone()).collect()
    };
    let write = |artifact: Artifact, actions: &[&str], items: Vec<String>| {
        let is_news = rows.iter().any(|row| actions.iter().any(|action| row.endings.was_tried(action)));
        let is_asked = rows.iter().any(|row| actions.iter().any(|action| row.endings.of(action).is_some()));
        if is_news || (is_asked && !root.join(artifact.path().as_path()).exists()) {
            store(root, &artifact.path(), Artifact::list(items))?;
        }
        Ok::<(), Diagnostic>(())
    };
    let tests = ["image_test", "image_integration"];
    write(Artifact::ImagesBuilt, &["image_build"], references(&|row| row.facts.steps.is_some()))?;
    write(Artifact::ImagesTestPassed, &tests, references(&|row| row.has_passed_tests()))?;
    write(Artifact::ImagesTestError, &tests, references(&|row| row.has_failed_tests()))?;
    let untested: Vec<String> = rows.iter().filter_map(|row| row.facts.untested.clone()).collect();
    if rows.iter().any(|row| row.endings.was_tried("image_push_untested")) {
        store(root, &Artifact::ImagesUntestedPushed.path(), Artifact::list(untested))?;
    }
    if rows.iter().any(|row| row.facts.push_log.is_some()) {
        let pushed = rows.iter().flat_map(|row| &row.facts.pushed);
        store(root, &Artifact::ImagesPushed.path(), Artifact::list(pushed))?;
    }
    Ok(())
}

/// How images were built: steps with times, tags, and what each stands on.
fn builds(root: &Path, (stack, graph): (&Stack, &Graph), rows: &[Row<'_>], suffix: &str) -> Result<(), Diagnostic> {
    let built = || rows.iter().filter_map(|row| Some((row, row.facts.steps.as_ref()?)));
    let steps = built().map(|(row, steps)| (row.reference.clone(), steps.clone())).collect();
    store(root, &artifacts::artifact("builder-metainfo.json"), artifacts::builder_metainfo(&steps))?;
    let history: Vec<_> =
        built().map(|(row, _)| (row.image.key.to_string(), row.plan.name.to_string(), row.tag.clone())).collect();
    store(root, &artifacts::artifact("build_history.json"), artifacts::build_history(&history))?;
    let needs: Vec<Dependency> = built()
        .filter_map(|(row, _)| dependency((stack, graph), row.image, row.plan, row.facts.base.as_deref()?, suffix))
        .collect();
    store(root, &artifacts::artifact("image-dependency.json"), artifacts::dependency_json(&needs))?;
    store(root, &artifacts::artifact("image-dependency.csv"), artifacts::dependency_csv(&needs))
}

/// What an image of a plan was built on, by full references.
pub(super) fn dependency(
    (stack, graph): (&Stack, &Graph),
    image: &Image,
    plan: &Plan,
    base: &str,
    suffix: &str,
) -> Option<Dependency> {
    let reference = |image: &Image| format!("{}:{}", image.image_name, tags::plan_tag(image, plan, suffix));
    let at = stack.images.iter().position(|one| one.key == image.key)?;
    let plan_at = stack.plans.iter().position(|one| one.name == plan.name)?;
    let used = graph.uses(at, plan_at).iter().find(|used| used.reference == base);
    let base = match used.map(|used| used.source) {
        Some(Source::Image(parent)) => reference(&stack.images[parent]),
        _ => base.to_owned(),
    };
    Some(Dependency { image: reference(image), base })
}
