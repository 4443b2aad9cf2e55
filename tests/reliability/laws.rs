//! The laws of the engine on random graphs with random edits, failures and numbers of workers. The oracle is the model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::test_runner::{Config, TestRunner};

use crate::faults::space::Note;
use crate::faults::{Ran, Space, count};
use crate::model::{Edit, End, Model};
use crate::plans::{SETUPS, Step, Story, stories, taskfile};

/// A workspace and what it should be like.
struct Lab {
    space: Space,
    model: Model,
    jobs: usize,
}

impl Lab {
    fn new(model: &Model, jobs: usize) -> Self {
        let space = Space::new();
        for folder in ["out", "fail"] {
            std::fs::create_dir(space.path(folder)).expect("a folder");
        }
        space.write("tasks.yaml", taskfile(model));
        for (name, content) in &model.files {
            space.write(name, content);
        }
        Self { space, model: model.clone(), jobs }
    }

    fn edit(&mut self, edit: &Edit) {
        if !self.model.edit(edit) {
            return;
        }
        let (space, model) = (&self.space, &self.model);
        match edit {
            Edit::Source(task, content) => space.write(&format!("in/{task}"), format!("{content}\n")),
            Edit::Definition(_) => space.write("tasks.yaml", taskfile(model)),
            Edit::Remove(task, number) => {
                std::fs::remove_file(space.path(&model.output(*task, *number))).expect("it exists");
            }
            Edit::Overwrite(task, number) => {
                let name = model.output(*task, *number);
                space.write(&name, &model.files[&name]);
            }
            Edit::Fail(task) => space.write(&format!("fail/{task}"), ""),
            Edit::Mend(task) => std::fs::remove_file(space.path(&format!("fail/{task}"))).expect("it exists"),
            Edit::Forget(task) => {
                space.command(&["forget", &format!("t{task}")]).fine();
            }
        }
    }

    /// What a dry run says: tasks that will run, and those that may.
    fn predicted(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let dry = self.space.run(&["--dry-run"]);
        assert_eq!(self.space.mixer.take(), [], "a dry run ran something");
        let (mut will, mut may) = (BTreeSet::new(), BTreeSet::new());
        for one in dry.of("task_decided").filter(|one| one["verdict"] == "run") {
            let name = one["task"].as_str().expect("a name").to_owned();
            if one["after"].is_null() {
                will.insert(name)
            } else {
                may.insert(name)
            };
        }
        (will, may)
    }

    /// Runs, and holds everything that the run said and did against the model and the laws.
    fn run(&mut self, keep_going: bool) -> BTreeMap<usize, End> {
        let jobs = self.jobs.to_string();
        let words = ["-n", &jobs, if keep_going { "--continue" } else { "--no-continue" }];
        let ran = self.space.run(&words);
        let seen: BTreeMap<usize, End> =
            (0..self.model.nodes.len()).filter_map(|task| Some((task, end(&ran, task)?))).collect();
        let ends = self.model.run(&|task| seen.contains_key(&task));
        let wanted: BTreeMap<usize, End> =
            ends.iter().enumerate().filter_map(|(task, end)| Some((task, (*end)?))).collect();
        assert_eq!(seen, wanted, "as the model says; {}", ran.err);
        let failed = seen.values().any(|end| *end == End::Failed);
        assert_eq!(ran.exit, u8::from(failed), "{}", ran.err);
        if keep_going || !failed {
            assert_eq!(seen.len(), self.model.nodes.len(), "every task was reached; {}", ran.err);
        }
        Self::reasons(&ran, &seen);
        self.order(&seen);
        for (name, content) in &self.model.files {
            assert_eq!(&self.space.read(name), content, "content of {name}");
        }
        seen
    }

    /// Every task that ran has a reason, and no skipped one has.
    fn reasons(ran: &Ran, seen: &BTreeMap<usize, End>) {
        for (task, end) in seen {
            let reasons = ran.reasons(&format!("t{task}"));
            match end {
                End::Ran | End::Failed => assert!(reasons.is_some_and(|all| !all.is_empty()), "t{task} has no reason"),
                End::UpToDate => assert!(reasons.is_some_and(Vec::is_empty), "t{task} was skipped with a reason"),
                End::Unmet => assert!(reasons.is_none(), "t{task} was decided before its needs"),
            }
        }
    }

    /// Needed tasks and setup tasks end before a task begins; each runs once; each teardown once, at the end.
    fn order(&self, seen: &BTreeMap<usize, End>) {
        let notes = self.space.mixer.take();
        let at = |note: &Note| notes.iter().position(|one| one == note);
        let times = |note: &Note| notes.iter().filter(|one| *one == note).count();
        let executed = |task: &usize| matches!(seen.get(task), Some(End::Ran | End::Failed));
        let last = notes.iter().rposition(|note| matches!(note, Note::End(_))).unwrap_or(0);
        for (task, node) in self.model.nodes.iter().enumerate() {
            let ran = executed(&task);
            assert_eq!(times(&Note::Begin(task)), usize::from(ran), "t{task} ran as often as it said");
            let teardown = Note::Text(format!("end of t{task}"));
            assert_eq!(times(&teardown), usize::from(ran && node.teardown), "teardown of t{task}");
            if !ran {
                continue;
            }
            let begin = at(&Note::Begin(task)).expect("it ran");
            for need in node.needs().filter(executed) {
                assert!(at(&Note::End(need)).expect("it ended") < begin, "t{task} began before t{need} ended");
            }
            if let Some(setup) = node.setup {
                let prepared = at(&Note::Text(format!("s{setup}")));
                assert!(prepared.is_some_and(|at| at < begin), "t{task} began before its setup");
            }
            assert!(!node.teardown || at(&teardown).expect("it is there") > last, "a teardown before the end");
        }
        for setup in 0..SETUPS {
            let wanted =
                self.model.nodes.iter().enumerate().any(|(task, node)| node.setup == Some(setup) && executed(&task));
            let ran = times(&Note::Text(format!("s{setup}")));
            // Its task may have been stopped by the failure of another one.
            assert!(
                ran == usize::from(wanted) || (ran == 1 && seen.values().any(|end| *end == End::Failed)),
                "s{setup}"
            );
        }
    }
}

fn end(ran: &Ran, task: usize) -> Option<End> {
    Some(match ran.outcome(&format!("t{task}"))? {
        "ran" => End::Ran,
        "up-to-date" => End::UpToDate,
        "failed" => End::Failed,
        "unmet" => End::Unmet,
        other => panic!("t{task} ended as {other}"),
    })
}

fn names(ends: &BTreeMap<usize, End>, wanted: End) -> BTreeSet<String> {
    ends.iter().filter(|(_, end)| **end == wanted).map(|(task, _)| format!("t{task}")).collect()
}

/// One story in two workspaces, one serial and one parallel, and the end of it in a clean one.
fn tell(story: &Story) {
    let model = Model::new(story.nodes.clone());
    let (mut serial, mut parallel) = (Lab::new(&model, 1), Lab::new(&model, story.jobs));
    for lab in [&mut serial, &mut parallel] {
        assert!(lab.run(true).values().all(|end| *end == End::Ran), "the first run runs everything");
    }
    assert_eq!(names(&parallel.run(true), End::Ran), BTreeSet::new(), "the second run does nothing");
    for Step { edits, keep_going } in &story.steps {
        for edit in edits {
            serial.edit(edit);
            parallel.edit(edit);
        }
        let (will, may) = parallel.predicted();
        let ends = parallel.run(*keep_going);
        let ran = names(&ends, End::Ran);
        let failed = names(&ends, End::Failed);
        let possible: BTreeSet<String> = will.union(&may).cloned().collect();
        let did: BTreeSet<String> = ran.union(&failed).cloned().collect();
        assert!(did.is_subset(&possible), "ran {did:?}, predicted {possible:?}");
        let wanted: BTreeSet<String> = will.into_iter().filter(|name| name.starts_with('t')).collect();
        assert!(!failed.is_empty() || wanted.is_subset(&did), "predicted {wanted:?}, ran {did:?}");
        if *keep_going || failed.is_empty() {
            // A second run does nothing but try again what failed.
            let again = parallel.run(true);
            assert_eq!(names(&again, End::Ran), BTreeSet::new(), "a second run did something");
            assert_eq!(serial.run(*keep_going), ends, "serial and parallel");
            if !failed.is_empty() {
                serial.run(true);
            }
        } else {
            // Which tasks a failure stops depends on time; afterwards both come to the same.
            serial.run(false);
            serial.run(true);
            parallel.run(true);
        }
        assert_eq!(serial.model.files, parallel.model.files, "serial and parallel");
    }
    if parallel.model.failing.is_empty() {
        let mut clean = Model::new(story.nodes.clone());
        clean.definitions.clone_from(&parallel.model.definitions);
        let sources = parallel.model.files.iter().filter(|(name, _)| name.starts_with("in/"));
        clean.files = sources.map(|(name, content)| (name.clone(), content.clone())).collect();
        let mut clean = Lab::new(&clean, 1);
        clean.run(true);
        assert_eq!(clean.model.files, parallel.model.files, "as a clean run makes it");
    }
}

fn hold(cases: usize, stories: impl proptest::strategy::Strategy<Value = Story>) {
    let config = Config { cases: cases as u32, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    TestRunner::new(config)
        .run(&stories, |story| {
            tell(&story);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn u18_laws_hold_on_small_graphs() {
    hold(count(900, 5_000), stories(2..8, 1..3));
}

#[test]
fn u18_laws_hold_on_graphs_of_dozens_of_tasks() {
    hold(count(100, 2_000), stories(8..20, 1..2));
}

#[test]
fn u18_laws_hold_on_graphs_of_hundreds_of_tasks() {
    hold(count(3, 50), stories(150..300, 1..2));
}
