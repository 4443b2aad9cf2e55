//! Actions beside those of a task: its teardown after a run, its `clean` without one. Knows nothing of when they are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::interest::Changes;
use super::job::{Job, Message};
use super::run::guarded;
use super::scope::{self, ScopeParts};
use super::start::{child_env, plain_job};
use super::{Project, worker};
use crate::action::Failure;
use crate::exec::environment::let_through;
use crate::graph::TaskId;
use crate::model::task::Action;
use crate::model::{Diagnostic, Event, StopToken, Stream, Task};
use crate::queue::Queue;
use crate::store::logs::LogPlace;

/// Runs the actions of a job on a thread of its own, and hears what it says. Gives the failure of an action, if there was
/// one, and what was written last.
pub(super) fn run(
    job: &Job,
    queue: &Arc<Queue<Message>>,
    hear: &mut dyn FnMut(Message),
) -> (Option<Failure>, Vec<String>) {
    let is_over = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = guarded(|| worker::run(job, queue));
            is_over.store(true, Ordering::Release);
            // Whoever waits for what is said would not hear that there is no more.
            queue.push(Message::Changed(Changes::default()));
            result
        });
        while !is_over.load(Ordering::Acquire) && !worker.is_finished() {
            if let Some(message) = queue.pop(Duration::from_millis(20)) {
                hear(message);
            }
        }
        worker.join()
    });
    queue.drain().into_iter().for_each(hear);
    match result {
        Ok(Ok(finished)) => (finished.failure, finished.tail),
        Ok(Err(failure)) => (Some(failure), Vec::new()),
        // `guarded` catches every panic.
        Err(_) => (Some(Failure::error(Diagnostic::error(format!("task `{}` broke", job.task.name)))), Vec::new()),
    }
}

/// A task with these actions and nothing else to do.
pub(super) fn with_actions(task: &Task, actions: Vec<Action>) -> Arc<Task> {
    Arc::new(Task {
        actions,
        targets: Vec::new(),
        require: Vec::new(),
        retry: None,
        delete_on_error: false,
        ..task.clone()
    })
}

/// Runs an action of the task's `clean` as its own actions are run: with its params, env and cwd, built-in ones as well.
/// What only a run knows (values and files of other tasks) is not there.
///
/// # Errors
/// A template that needs more, or how the action failed.
pub fn clean(
    project: &Project,
    id: TaskId,
    action: &Action,
    stop: &StopToken,
    show: &mut dyn FnMut(Stream, &[u8]),
) -> Result<(), Diagnostic> {
    let task = &project.graph.node(id).task;
    let scope = scope::scope(&ScopeParts {
        task,
        inputs: &[],
        changed: &[],
        params: project.params.get(&id),
        positional: &[],
        getargs: serde_json::Map::new(),
    });
    let env = child_env(project, task, &scope, &let_through(&project.env, &[]))?;
    let job = Job {
        task: with_actions(task, vec![action.clone()]),
        stop: stop.clone(),
        log: LogPlace::Nowhere,
        ..plain_job(project, id, scope, env)
    };
    let mut hear = |message| {
        if let Message::Output(Event::TaskOutput { stream, line, .. }) = message {
            show(stream, &line);
        }
    };
    let (failure, _) = run(&job, &Arc::default(), &mut hear);
    failure.map_or(Ok(()), |failure| Err(failure.diagnostic))
}
