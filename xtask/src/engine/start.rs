//! Hands a task to a worker: withdraws its record first, signs its inputs, gathers what its templates may refer to.
//! Knows nothing of how it ends.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::decide::Decision;
use super::inputs;
use super::job::{Finished, Job, Message};
use super::scope::{self, ScopeParts};
use super::values;
use super::worker;
use super::{Options, Project};
use crate::exec::environment::{Own, Variables, child_environment, let_through, with_own};
use crate::graph::TaskId;
use crate::model::{Diagnostic, Event, Outcome, RepoPath, Step, Steps, StopToken, Task, Verdict};
use crate::rebuild::LastAttempt;
use crate::store::logs::LogPlace;

use super::ended::Ended;
use super::run::{Run, file_time, guarded};

impl Run<'_> {
    pub(super) fn start_queued(&mut self) -> Result<(), Diagnostic> {
        let mut started = Vec::new();
        while !self.stopping {
            let Some(task) = self.scheduler.next_to_start() else { break };
            started.push(TaskId(task));
        }
        if started.is_empty() {
            return Ok(());
        }
        self.options.steps.at(Step::Withdrawing);
        for id in &started {
            let record = self.project.records.entry(self.graph.name(*id).to_string()).or_default();
            self.project.db.withdraw(self.graph.name(*id), record.success.as_ref())?;
            record.attempt = Some(LastAttempt::Running);
        }
        // Durable before the first action: a killed run must not leave a record that still counts.
        self.commit()?;
        self.options.steps.at(Step::Withdrawn);
        for id in started {
            self.start(id)?;
        }
        Ok(())
    }

    pub(super) fn start(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let task = self.graph.node(id).task.clone();
        let Some(mut decision) = self.decisions.remove(&id) else { return Ok(()) };
        if self.decided_in.get(&id) != Some(&self.epoch) {
            self.refresh(id, &mut decision);
        }
        let (inputs, changed) = (decision.inputs.clone(), decision.changed.clone());
        self.decisions.insert(id, decision);
        let expected = self.recorded_seconds(id).map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        let mut job = match self.job(id, &inputs.paths, &changed) {
            Ok(job) => job,
            Err(problem) => return self.finish(id, Outcome::Error, Duration::ZERO, Some(problem), Ended::default()),
        };
        let title = task.title.as_ref().and_then(|title| job.expander.text(title, &job.scope, false).ok());
        let title = title.map_or_else(|| task.name.clone(), Arc::from);
        if !task.restart || !self.started.contains(&id) {
            self.started.push(id);
            if self.has_depfile(id) {
                let begun = file_time();
                self.begun_at.insert(id, begun);
                job.begun = Some(begun);
            }
        }
        if task.restart {
            job.stop = job.stop.child();
            self.tokens.insert(id, job.stop.clone());
        }
        self.since.insert(id, Instant::now());
        let verbosity = self.verbosity(&task);
        self.emit(Event::TaskStarted {
            task: task.name.clone(),
            title,
            expected,
            verbosity,
            interactive: task.interactive,
        });
        let tracer = self.options.tracer.as_ref().filter(|tracer| tracer.task == task.name);
        job.tracer = tracer.map(|tracer| tracer.words.clone());
        job.inputs = inputs.paths.iter().map(|path| (path.clone(), self.project.files.peek(path).stat())).collect();
        let optional = |path: &RepoPath| task.targets.iter().any(|target| target.path == *path && target.optional);
        job.targets =
            inputs::target_paths(&self.graph, id).into_iter().map(|path| (path.clone(), optional(&path))).collect();
        self.project.actions.chronicles().iter().for_each(|one| one.task_starts());
        let (queue, alive) = (self.queue.clone(), self.alive.clone());
        self.crew.run(move || {
            let finished = guarded(|| worker::run(&job, &queue)).unwrap_or_else(Finished::broken);
            queue.push(Message::Finished(id, Box::new(finished)));
            drop(alive);
        });
        self.options.steps.at(Step::Started);
        Ok(())
    }

    /// Something has run since the decision: signs the inputs again, right before the first action.
    pub(super) fn refresh(&mut self, id: TaskId, decision: &mut Decision) {
        let again = self.decision(id);
        if !matches!(again.verdict, Verdict::Error(_)) {
            decision.fingerprint = again.fingerprint;
            decision.inputs = again.inputs;
            decision.changed = again.changed;
        }
    }

    pub(super) fn verbosity(&self, task: &Task) -> u8 {
        self.options.verbosity.or(task.verbosity).or(self.project.config.verbosity).unwrap_or(1)
    }

    /// Everything a worker needs of one task.
    pub(super) fn job(&self, id: TaskId, inputs: &[RepoPath], changed: &[RepoPath]) -> Result<Job, Diagnostic> {
        let task = self.graph.node(id).task.clone();
        let mut getargs = Map::new();
        for arg in &task.getargs {
            let value = values::argument(&self.graph, &self.results, &arg.task, arg.key.as_deref());
            getargs.insert(arg.name.to_string(), value.map_err(|problem| problem.at(arg.place.clone()))?);
        }
        let no_words = Vec::new();
        let scope = scope::scope(&ScopeParts {
            task: &task,
            inputs,
            changed,
            params: self.project.params.get(&id),
            positional: self.project.positional.get(&id).unwrap_or(&no_words),
            getargs,
        });
        let env = self.child_env(&task, &scope)?;
        let previous = self.project.records.get(&*task.name).and_then(|record| record.success.as_ref());
        let previous = previous.and_then(|success| serde_json::from_str(&success.values).ok());
        let resources = values::resources(self.project, id, &self.results);
        let job = Job {
            resources,
            previous,
            stop: self.halt.clone(),
            steps: self.options.steps.clone(),
            grace: self.project.config.grace.unwrap_or(self.options.grace),
            ..plain_job(self.project, id, scope, env)
        };
        Ok(job)
    }

    pub(super) fn child_env(&self, task: &Task, scope: &Value) -> Result<Vec<(OsString, OsString)>, Diagnostic> {
        let through = self.let_through.get_or_init(|| let_through(&self.project.env, &[]));
        child_env(self.project, task, scope, through)
    }

    pub(super) fn teardown_job(&self, id: TaskId) -> Result<Job, Diagnostic> {
        let log = if self.logged.contains(&id) { LogPlace::Behind } else { LogPlace::Anew };
        Ok(Job { log, ..self.job(id, &[], &[])? })
    }
}

/// The actions of a task with nothing around them: no values of other tasks, nothing to verify.
pub(super) fn plain_job(project: &Project, id: TaskId, scope: Value, env: Vec<(OsString, OsString)>) -> Job {
    Job {
        root: Arc::new(project.root.clone()),
        root_fd: project.files.root_fd().clone(),
        actions: project.actions.clone(),
        expander: project.expander.clone(),
        resources: BTreeMap::new(),
        scope,
        env: Arc::new(env),
        previous: None,
        stop: StopToken::new(),
        steps: Steps::default(),
        grace: project.config.grace.unwrap_or(Options::default().grace),
        tracer: None,
        begun: None,
        inputs: Vec::new(),
        targets: Vec::new(),
        secrets: secrets(project, id),
        log: LogPlace::Anew,
        task: project.graph.node(id).task.clone(),
    }
}

/// Values of params that nobody may see.
fn secrets(project: &Project, id: TaskId) -> Vec<String> {
    let params = project.params.get(&id).into_iter().flatten();
    let secret = params.filter(|(_, param)| param.secret).filter_map(|(_, param)| param.value.as_str());
    secret.filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// The environment of what a task starts. `through` passes from ours if the task declares no more.
pub(super) fn child_env(
    project: &Project,
    task: &Task,
    scope: &Value,
    through: &Variables,
) -> Result<Vec<(OsString, OsString)>, Diagnostic> {
    let broken = |why: String| {
        Diagnostic::error(format!("env of task `{}` cannot be expanded", task.name)).at(task.place.clone()).cause(why)
    };
    let declared = scope::expand_env(&*project.expander, &task.env, scope).map_err(broken)?;
    let mut declared: Variables = declared.into_iter().collect();
    let values = project.root.join(crate::store::STATE_DIR).join(format!("values-{}.json", safe(&task.name)));
    declared.insert("XTASK_VALUES".into(), values.into());
    let pass: Vec<&str> = task.pass_env.iter().map(|name| &**name).collect();
    let own = Own { token: &project.token, root: project.root.as_os_str(), task: &task.name };
    let child = if pass.is_empty() {
        with_own(through, &declared, &own)
    } else {
        child_environment(&project.env, &pass, &declared, &own)
    };
    Ok(child.into_iter().collect())
}

/// A name as part of a file name.
fn safe(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}
