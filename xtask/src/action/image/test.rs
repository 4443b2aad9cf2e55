//! The action `image_test`: the tests of an image against exactly that image, for every plan.
//!
//! As in datahub's stacks: pytest runs on this machine with `TEST_IMAGE` set, and starts containers. Common tests, the
//! image's own and those of all its ancestors run, all of them even if one fails; 0 and 5 (no test found) pass.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::image_of;
use super::services::{Services, whole};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::exec::{self, CommandSpec, Exit};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, RepoPath, Stream};
use crate::stack::artifacts::{self, TestResult};
use crate::stack::{Graph, Image, Integration, Stack};

pub(super) struct ImageTest(pub(super) Arc<Services>);

/// Folders of tests: common, own, then those of the ancestors, nearest first.
fn folders(services: &Services, stack: &Stack, graph: &Graph, image: &Image) -> Vec<RepoPath> {
    let at = stack.images.iter().position(|one| one.key == image.key).unwrap_or_default();
    let mut ancestors = graph.ancestors(at);
    ancestors.sort_unstable();
    let line = std::iter::once(at).chain(ancestors.into_iter().rev()).map(|index| &stack.images[index]);
    let mut found: Vec<Option<RepoPath>> = vec![RepoPath::new(&stack.dir, "tests_common")];
    found.extend(line.map(|image| RepoPath::new(&image.dir, "test")));
    if image.integration_tests == Integration::BeforePush {
        found.push(RepoPath::new(&image.dir, "integration_tests"));
    }
    found.into_iter().flatten().filter(|dir| services.root.join(dir.as_path()).is_dir()).collect()
}

impl ActionType for ImageTest {
    fn name(&self) -> &'static str {
        "image_test"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image"], optional: &["pytest_args"], short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_test", args)?;
        let mut inputs = folders(&self.0, &stack, &graph, image);
        inputs.extend(["conftest.py", "pytest.ini"].iter().filter_map(|name| RepoPath::new(&stack.dir, name)));
        Ok(Links {
            provides: vec![format!("tested:{}", image.key).into()],
            needs: vec![Need { resource: format!("image:{}", image.key).into(), dirties: true }],
            inputs,
            ..Links::default()
        })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_test", call.args)?;
        let folders = folders(&self.0, &stack, &graph, image);
        let none = Map::new();
        let built = call.resources.get(&*format!("image:{}", image.key));
        let plans = built.and_then(|values| values["plans"].as_object()).unwrap_or(&none);
        if plans.is_empty() {
            return Err(Failure::error(
                Diagnostic::error(format!("image `{}` was not built in this graph", image.key))
                    .help("give a task the action `image_build` for it"),
            ));
        }
        let mut passed = Map::new();
        let (mut done, mut failed) = (HashMap::new(), BTreeSet::new());
        for (plan, values) in plans {
            let (Some(id), Some(key)) = (values["id"].as_str(), values["key"].as_str()) else { continue };
            // Plans may share an image.
            let fine = match done.get(id) {
                Some(fine) => *fine,
                None => {
                    let fine = folders.is_empty() || pytest(call, image, plan, id, &folders)?;
                    done.insert(id.to_owned(), fine);
                    fine
                }
            };
            let ended = match (fine, folders.is_empty()) {
                (_, true) => TestResult::Skipped,
                (true, _) => TestResult::Passed,
                (false, _) => TestResult::Failed,
            };
            self.0.ledger.note(&image.key, &plan.as_str().into(), |facts| facts.basic_tests = Some(ended));
            if fine {
                passed.insert(key.to_owned(), Value::from(id));
            } else {
                failed.insert(plan.clone());
            }
        }
        if let Some(plan) = failed.iter().next() {
            let names = crate::model::words::list(&failed);
            return Err(Failure::failed(
                Diagnostic::error(format!("tests of image `{}` failed in plan {names}", image.key))
                    .note(format!("the report is in `artifacts/{}/tests.{plan}.xml`", image.key))
                    .help(format!("to run only this test again: cargo xtask run -s test:{}", image.key)),
            ));
        }
        let remark = folders.is_empty().then(|| "has no tests".to_owned());
        Ok(Done { result: None, values: Map::from_iter([("tested".to_owned(), Value::Object(passed))]), remark })
    }
}

/// Runs pytest against one image. True if all tests passed, or there was none.
fn pytest(call: &Call<'_>, image: &Image, plan: &str, id: &str, folders: &[RepoPath]) -> Result<bool, Failure> {
    let report = call.root.join(format!("artifacts/{}/tests.{plan}.xml", image.key));
    if let Some(dir) = report.parent() {
        std::fs::create_dir_all(dir).map_err(|error| {
            Failure::error(Diagnostic::error(format!("failed to make folder `{}`", dir.display())).cause(error))
        })?;
    }
    let mut argv = program(call)?;
    argv.extend(["-p", "no:cacheprovider", "-o", "junit_family=xunit2"].map(OsString::from));
    let mut junit = OsString::from("--junitxml=");
    junit.push(&report);
    argv.push(junit);
    argv.extend(
        call.args["pytest_args"].as_array().into_iter().flatten().filter_map(Value::as_str).map(OsString::from),
    );
    argv.extend(folders.iter().map(|dir| dir.as_path().as_os_str().to_owned()));
    let mut env = call.env.to_vec();
    env.push(("TEST_IMAGE".into(), id.into()));
    env.push(("XTASK_RUN_ID".into(), format!("{}-{}", std::process::id(), call.task).into()));
    env.push(("PYTHONDONTWRITEBYTECODE".into(), "1".into()));
    let mut spec = CommandSpec::new(argv, call.root.to_owned(), env);
    spec.capture_limit = 0;
    call.out.line(Stream::Stdout, format!("testing {} ({plan}) {id}", image.key).as_bytes());
    let name = format!("{}.{plan}", image.key);
    let mut log = TestLog::new(call.root, &name, artifacts::Log::BasicTests);
    let mut show = |stream: Stream, line: &[u8]| {
        call.out.line(stream, line);
        log.line(line);
    };
    let result = exec::run(&spec, &mut show, &mut std::io::sink(), call.stop);
    match result.exit {
        Exit::Code(0 | 5) => Ok(true),
        Exit::Code(1) => Ok(false),
        Exit::Stopped => Err(Failure::interrupted(call.task)),
        exit => {
            let subject = format!("pytest of task `{}`", call.task);
            Err(Failure::error(exit.diagnostic(&subject).unwrap_or_else(|| Diagnostic::error(subject))))
        }
    }
}

/// `pytest`, or Python with that module: the first of them that works.
fn program(call: &Call<'_>) -> Result<Vec<OsString>, Failure> {
    let candidates: [&[&str]; 3] = [&["python3", "-m", "pytest"], &["/usr/bin/python3", "-m", "pytest"], &["pytest"]];
    for candidate in candidates {
        let argv: Vec<OsString> = candidate.iter().map(OsString::from).collect();
        let mut probe = argv.clone();
        probe.push("--version".into());
        let spec = CommandSpec::new(probe, call.root.to_owned(), call.env.to_vec());
        if exec::run(&spec, &mut |_, _| {}, &mut std::io::sink(), call.stop).exit.success() {
            return Ok(argv);
        }
    }
    Err(Failure::error(
        Diagnostic::error(format!("task `{}` needs pytest, which is not installed", call.task))
            .help("sudo apt-get install --yes python3-pytest"),
    ))
}

/// `logs/<image>.<plan>.basic-tests.log`, made anew. A log that cannot be written stops no test: the task's own log has
/// the same lines.
struct TestLog(Option<std::fs::File>);

impl TestLog {
    fn new(root: &std::path::Path, name: &str, kind: artifacts::Log) -> Self {
        let path = root.join(artifacts::log(name, kind).as_path());
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        Self(made.and_then(|()| std::fs::File::create(path)).ok())
    }

    fn line(&mut self, line: &[u8]) {
        if let Some(file) = &mut self.0 {
            let _ = file.write_all(line).and_then(|()| file.write_all(b"\n"));
        }
    }
}
