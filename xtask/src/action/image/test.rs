//! The actions that test an image: `image_test` before it is published, `image_integration` after, and `image_workflow`
//! with the tests that are in the image itself. For every plan, against exactly the image that was built.
//!
//! Common tests, the image's own and those of all its ancestors run, all of them even if one fails; 0 and 5 (no test
//! found) pass. How pytest is run is in `pytest.rs`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::platforms::{self, NO_RUNNER, Runner};
use super::pytest::{Ending, Session};
use super::services::{Services, whole};
use super::{image_of, leftovers, log_stem};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, RepoPath};
use crate::stack::artifacts::{Log, TestResult};
use crate::stack::{Graph, Image, Integration, Stack};

pub(super) struct ImageTest(pub(super) Arc<Services>, pub(super) Kind);

/// Which tests an action runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Common, own and inherited; integration tests too, where the spec wants them before the push.
    Basic,
    /// Integration tests, where the spec wants them after the push.
    Integration,
    /// Tests that the Dockerfile copied into the image.
    Workflow,
}

/// Where the tests of a workflow are in an image unless the task says otherwise.
const WORKFLOW: &str = "/opt/workflow_tests";

impl Kind {
    fn action(self) -> &'static str {
        match self {
            Self::Basic => "image_test",
            Self::Integration => "image_integration",
            Self::Workflow => "image_workflow",
        }
    }

    /// What the task provides, and the name of its value.
    fn resource(self) -> &'static str {
        match self {
            Self::Basic => "tested",
            Self::Integration => "integrated",
            Self::Workflow => "workflow",
        }
    }
}

/// One call of pytest.
struct Round {
    folders: Vec<RepoPath>,
    log: Log,
    /// Begins the name of the report.
    report: &'static str,
}

/// Folders of tests: common, own, then those of the ancestors, nearest first.
fn basic(services: &Services, stack: &Stack, graph: &Graph, image: &Image) -> Vec<RepoPath> {
    let at = stack.images.iter().position(|one| one.key == image.key).unwrap_or_default();
    let mut ancestors = graph.ancestors(at);
    ancestors.sort_unstable();
    let line = std::iter::once(at).chain(ancestors.into_iter().rev()).map(|index| &stack.images[index]);
    let mut found: Vec<Option<RepoPath>> = vec![RepoPath::new(&stack.dir, "tests_common")];
    for image in line {
        found.extend(["test", "tests"].map(|name| RepoPath::new(&image.dir, name)));
        // Stacks that keep the tests of all images in one folder.
        found.push(RepoPath::from_root(format!("tests/by_image/{}", image.key)));
    }
    there(services, found)
}

fn integration(services: &Services, image: &Image) -> Vec<RepoPath> {
    there(services, vec![RepoPath::new(&image.dir, "integration_tests")])
}

fn there(services: &Services, folders: Vec<Option<RepoPath>>) -> Vec<RepoPath> {
    folders.into_iter().flatten().filter(|dir| services.root.join(dir.as_path()).is_dir()).collect()
}

/// Files beside the tests that pytest reads, too.
fn settings(stack: &Stack) -> Vec<RepoPath> {
    ["conftest.py", "pytest.ini"].iter().filter_map(|name| RepoPath::new(&stack.dir, name)).collect()
}

impl ImageTest {
    /// The calls of pytest that have something to run; for a workflow none, because its files are in the image.
    fn rounds(&self, stack: &Stack, graph: &Graph, image: &Image) -> Vec<Round> {
        let after = Round { folders: integration(&self.0, image), log: Log::IntegrationTests, report: "integration" };
        let mut rounds = Vec::new();
        match (self.1, image.integration_tests) {
            (Kind::Basic, when) => {
                let folders = basic(&self.0, stack, graph, image);
                rounds.push(Round { folders, log: Log::BasicTests, report: "tests" });
                if when == Integration::BeforePush {
                    rounds.push(after);
                }
            }
            (Kind::Integration, Integration::AfterPush) => rounds.push(after),
            (Kind::Integration | Kind::Workflow, _) => {}
        }
        rounds.retain(|round| !round.folders.is_empty());
        rounds
    }

    /// Whether there are tests in the image itself, which is what this action runs.
    fn has_workflow(&self, image: &Image, args: &Value) -> bool {
        let is_there = || self.0.root.join(image.dir.as_path()).join("workflow_tests").is_dir();
        self.1 == Kind::Workflow && (args["path"].is_string() || is_there())
    }

    /// Everything against one image; how each round ended.
    fn test(
        &self,
        session: &Session<'_>,
        (stack, image): (&Stack, &Image),
        rounds: &[Round],
    ) -> Result<Vec<(Log, Ending)>, Failure> {
        let args = session.call.args;
        let inside = args["where"].as_str() == Some("container");
        let docker = &session.runner.docker;
        leftovers::sweep(&self.0, docker);
        let mut ended = Vec::new();
        for round in rounds {
            let session = Session { log: round.log, report: round.report, ..*session };
            let ending = if inside {
                session.in_container(docker, &round.folders, &settings(stack))?
            } else {
                session.on_host(&round.folders)?
            };
            ended.push((round.log, ending));
        }
        if self.has_workflow(image, args) {
            let path = args["path"].as_str().unwrap_or(WORKFLOW);
            ended.push((Log::WorkflowTests, session.in_image(docker, path)?));
        }
        Ok(ended)
    }
}

fn check_place(kind: Kind, args: &Value) -> Result<(), Diagnostic> {
    match args["where"].as_str() {
        None | Some("host" | "container") => Ok(()),
        Some(other) => Err(Diagnostic::error(format!("argument `where` of action `{}` is `{other}`", kind.action()))
            .help("write `host` or `container`")),
    }
}

impl ActionType for ImageTest {
    fn name(&self) -> &'static str {
        self.1.action()
    }

    fn arguments(&self) -> Arguments {
        let optional: &[&str] = match self.1 {
            Kind::Workflow => &["pytest_args", "path"],
            Kind::Basic | Kind::Integration => &["pytest_args", "where"],
        };
        Arguments { required: &["image"], optional, short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        check_place(self.1, args)?;
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, self.1.action(), args)?;
        let rounds = self.rounds(&stack, &graph, image);
        let mut inputs: Vec<RepoPath> = rounds.into_iter().flat_map(|round| round.folders).collect();
        if self.1 != Kind::Workflow {
            inputs.extend(settings(&stack));
        }
        Ok(Links {
            provides: vec![format!("{}:{}", self.1.resource(), image.key).into()],
            needs: vec![Need { resource: format!("image:{}", image.key).into(), dirties: true }],
            inputs,
            ..Links::default()
        })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, self.1.action(), call.args)?;
        let rounds = self.rounds(&stack, &graph, image);
        let none = Map::new();
        let built = call.resources.get(&*format!("image:{}", image.key));
        let plans = built.and_then(|values| values["plans"].as_object()).unwrap_or(&none);
        if plans.is_empty() {
            return Err(Failure::error(
                Diagnostic::error(format!("image `{}` was not built in this graph", image.key))
                    .help("give a task the action `image_build` for it"),
            ));
        }
        let has_tests = !rounds.is_empty() || self.has_workflow(image, call.args);
        let (mut passed, mut failed, mut found) = (Map::new(), BTreeSet::new(), false);
        let mut done: HashMap<String, Vec<(Log, Ending)>> = HashMap::new();
        for (plan, values) in plans {
            let (Some(id), Some(key)) = (values["id"].as_str(), values["key"].as_str()) else { continue };
            // Plans may share an image.
            if !done.contains_key(id) {
                let Some(runner) = self.runner(call, (&stack, image), plan, has_tests)? else { continue };
                runner.fetch(&self.0, call, image, values)?;
                let stem = log_stem(&stack, image, plan);
                let log = Log::BasicTests;
                let session = Session { call, image, plan, stem: &stem, id, log, report: "tests", runner: &runner };
                done.insert(id.to_owned(), self.test(&session, (&stack, image), &rounds)?);
            }
            let ended = &done[id];
            found |= !ended.is_empty();
            self.note(image, plan, ended);
            if ended.iter().any(|(_, ending)| *ending == Ending::Failed) {
                failed.insert(plan.clone());
            } else {
                passed.insert(key.to_owned(), Value::from(id));
            }
        }
        if !failed.is_empty() {
            return Err(Failure::failed(refusal(call, image, &failed, done.values().flatten())));
        }
        let remark = (!found).then(|| "has no tests".to_owned());
        let values = Map::from_iter([(self.1.resource().to_owned(), Value::Object(passed))]);
        Ok(Done { result: None, values, remark })
    }
}

impl ImageTest {
    /// The engine on which the image of a plan is tested. `None` is told: then the image stays untested.
    fn runner(
        &self,
        call: &Call<'_>,
        (stack, image): (&Stack, &Image),
        plan: &str,
        has_tests: bool,
    ) -> Result<Option<Runner>, Failure> {
        let Some(plan) = stack.all_plans().find(|one| *one.name == *plan) else { return Ok(None) };
        if !has_tests {
            return platforms::home(&self.0).map(Some);
        }
        let runner = platforms::runner(&self.0, plan)?;
        if runner.is_none() {
            platforms::tell(call, image, plan, "tested", NO_RUNNER);
        }
        Ok(runner)
    }

    fn note(&self, image: &Image, plan: &str, ended: &[(Log, Ending)]) {
        self.0.ledger.note(&image.key, &plan.into(), |facts| {
            for (log, ending) in ended {
                let result = if *ending == Ending::Failed { TestResult::Failed } else { TestResult::Passed };
                match log {
                    Log::BasicTests => facts.basic_tests = Some(result),
                    Log::IntegrationTests => facts.integration_tests = Some(result),
                    Log::Build | Log::WorkflowTests => {}
                }
            }
        });
    }
}

fn refusal<'e>(
    call: &Call<'_>,
    image: &Image,
    failed: &BTreeSet<String>,
    ended: impl Iterator<Item = &'e (Log, Ending)>,
) -> Diagnostic {
    let kinds: BTreeSet<&str> = ended
        .filter(|(_, ending)| *ending == Ending::Failed)
        .map(|(log, _)| match log {
            Log::IntegrationTests => "integration tests",
            Log::WorkflowTests => "workflow tests",
            Log::Build | Log::BasicTests => "tests",
        })
        .collect();
    let kinds = kinds.into_iter().collect::<Vec<_>>().join(" and ");
    let names = crate::model::words::list(failed);
    Diagnostic::error(format!("{kinds} of image `{}` failed in plan {names}", image.key))
        .note(format!("the reports are in `artifacts/{}`", image.key))
        .help(format!("to run only this test again: cargo xtask run -s {}", call.task))
}
