//! Runs the actions of one task, in order, on a thread of its own. Knows nothing of the graph or of records.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::job::{Finished, Job, Message};
use super::probe::{shell_of, template_failure};
use super::scope;
use crate::action::{Call, Failure, Output};
use crate::exec::{self, CommandSpec, Exit};
use crate::model::digest::Hasher;
use crate::model::task::{Action, ActionKind};
use crate::model::{Diagnostic, Digest, Event, RepoPath, Step, Stream};
use crate::queue::Queue;
use crate::store::FileState;
use crate::store::files::{exists, look_afresh, stat_at};
use crate::store::logs::TaskLog;

/// How many last lines of output are kept for the report of a failure.
const TAIL: usize = 20;
/// How much of a command's stdout is kept as a value.
const CAPTURE: usize = 1 << 20;

/// Runs everything and says how it went.
pub(super) fn run(job: &Job, queue: &Arc<Queue<Message>>) -> Finished {
    let start = Instant::now();
    if let Some(begun) = job.begun {
        pass(begun);
    }
    let screen = Screen {
        task: job.task.name.clone(),
        queue: queue.clone(),
        secrets: job.secrets.clone(),
        tail: Mutex::default(),
        log: Mutex::new(TaskLog::new(&job.root, &job.task.name, job.log)),
    };
    let mut done = Progress::default();
    let failure = attempts(job, &screen, &mut done, start).err();
    job.steps.at(Step::Acted);
    let mut targets = observe_targets(job);
    let failure = failure.or_else(|| missing_target(job, &targets).map(Failure::failed));
    let failure = failure.or_else(|| {
        let log = screen.log.lock().unwrap_or_else(PoisonError::into_inner);
        let why = log.problem()?;
        Some(Failure::failed(
            Diagnostic::error(format!("the log of task `{}` cannot be written", job.task.name)).cause(why),
        ))
    });
    if failure.is_some() && job.task.delete_on_error {
        delete_targets(job);
        targets = observe_targets(job);
    }
    let has_log = screen.log.lock().unwrap_or_else(PoisonError::into_inner).is_used();
    let finished = Finished {
        result: done.result.unwrap_or_else(|| Digest::of(b"")),
        values: done.values,
        stdout: done.stdout,
        remark: done.remark,
        duration: start.elapsed(),
        tail: screen.tail.into_inner().unwrap_or_else(PoisonError::into_inner).into(),
        has_log,
        moved_inputs: moved(job),
        targets,
        leaky: done.leaky,
        failure,
    };
    job.steps.at(Step::Observed);
    finished
}

/// Waits until times of files are later than `begun`: their clock goes in steps of some milliseconds. Not for longer, as
/// somebody may set it back.
fn pass(begun: i64) {
    let start = Instant::now();
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
    };
    while now() <= begun && start.elapsed() < Duration::from_millis(50) {
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// What the actions have produced so far.
#[derive(Default)]
struct Progress {
    values: Map<String, Value>,
    result: Option<Digest>,
    stdout: Vec<u8>,
    remark: Option<String>,
    leaky: Option<Diagnostic>,
}

/// The actions, again after a failure if the task says so.
fn attempts(job: &Job, screen: &Screen, done: &mut Progress, start: Instant) -> Result<(), Failure> {
    let retry = job.task.retry;
    let mut left = retry.map_or(0, |retry| retry.times);
    let mut delay = retry.map_or(Duration::ZERO, |retry| retry.delay);
    loop {
        *done = Progress::default();
        match once(job, screen, done, start) {
            Err(failure) if left > 0 && !failure.interrupted && !job.stop.is_requested() => {
                screen.line(
                    Stream::Stderr,
                    format!("{}; trying again in {delay:.1?}", failure.diagnostic.message).as_bytes(),
                );
                sleep(delay, job);
                left -= 1;
                delay = (delay * 2).min(Duration::from_mins(1));
            }
            result => return result,
        }
    }
}

fn sleep(delay: Duration, job: &Job) {
    let end = Instant::now() + delay;
    while Instant::now() < end && !job.stop.is_requested() {
        std::thread::sleep(Duration::from_millis(20).min(end.saturating_duration_since(Instant::now())));
    }
}

fn once(job: &Job, screen: &Screen, done: &mut Progress, start: Instant) -> Result<(), Failure> {
    for require in &job.task.require {
        let holds = command(job, screen, &Plain { text: &require.value.shell, place: &require.place }, start)?;
        if !holds {
            let message = match &require.value.message {
                Some(message) => {
                    job.expander.text(message, &job.scope, false).map_err(|why| template_failure(job, &why))?
                }
                None => format!("`{}` does not hold", require.value.shell),
            };
            let error = Diagnostic::error(format!("task `{}` requires: {message}", job.task.name));
            return Err(Failure::failed(error.at(require.place.clone())));
        }
    }
    for action in &job.task.actions {
        if job.stop.is_requested() {
            return Err(Failure::interrupted(&job.task.name));
        }
        one(job, screen, action, done, start)?;
    }
    Ok(())
}

struct Plain<'a> {
    text: &'a str,
    place: &'a crate::model::Place,
}

fn command(job: &Job, screen: &Screen, plain: &Plain<'_>, start: Instant) -> Result<bool, Failure> {
    let action = Action {
        place: plain.place.clone(),
        kind: ActionKind::Shell(plain.text.into()),
        step: crate::model::task::Step { ignore_error: true, ..Default::default() },
    };
    let (exit, _) = process(job, screen, &action, start)?;
    Ok(exit.success())
}

fn one(job: &Job, screen: &Screen, action: &Action, done: &mut Progress, start: Instant) -> Result<(), Failure> {
    if let ActionKind::BuiltIn { name, args } = &action.kind {
        return built_in(job, screen, name, &args.value(), done);
    }
    let values_file = ValuesFile::new(job);
    let (exit, ran) = process(job, screen, action, start)?;
    let Ran { stdout, result, leaky } = ran;
    done.result = Some(result);
    // Of a process that we ended ourselves, those whom it started are ended with it.
    if leaky && exit != Exit::Stopped {
        let warning = Diagnostic::warning(format!("task `{}` left processes behind; they were ended", job.task.name));
        let warning = warning.at(action.place.clone());
        // A task with a teardown may have some, but what holds its output would keep it from ending.
        let help = "send their output elsewhere, and they may run until the teardown: `… > FILE 2>&1 &`";
        let help = (!job.task.teardown.is_empty()).then(|| help.to_owned());
        done.leaky = Some(warning.maybe_help(help));
    }
    if !exit.success() && !action.step.ignore_error {
        return Err(failed(job, action, &exit));
    }
    if let Some(name) = &action.step.save {
        let text = screen.without_secrets(&stdout);
        let text = String::from_utf8_lossy(&text);
        done.values.insert(name.to_string(), Value::from(text.trim_end_matches('\n')));
    } else if stdout.first() == Some(&b'{')
        && let Ok(Value::Object(map)) = serde_json::from_slice(&stdout)
    {
        done.values.extend(map);
    }
    if let Some(map) = values_file.take() {
        done.values.extend(map);
    }
    done.stdout = stdout;
    Ok(())
}

fn failed(job: &Job, action: &Action, exit: &Exit) -> Failure {
    let subject = format!("task `{}`", job.task.name);
    let diagnostic = exit.diagnostic(&subject).unwrap_or_else(|| Diagnostic::error(subject)).at(action.place.clone());
    match exit.outcome() {
        crate::model::Outcome::Interrupted => Failure { is_error: false, interrupted: true, diagnostic },
        crate::model::Outcome::Error => Failure::error(diagnostic),
        _ => Failure::failed(diagnostic),
    }
}

fn built_in(job: &Job, screen: &Screen, name: &str, args: &Value, done: &mut Progress) -> Result<(), Failure> {
    let Some(kind) = job.actions.get(name) else {
        return Err(Failure::error(Diagnostic::error(format!(
            "action `{name}` of task `{}` is unknown",
            job.task.name
        ))));
    };
    let args = scope::expand_json(&*job.expander, args, &job.scope).map_err(|why| template_failure(job, &why))?;
    let left = kind.run(&Call {
        root: &job.root,
        task: &job.task.name,
        args: &args,
        resources: &job.resources,
        previous: job.previous.as_ref(),
        env: &job.env,
        stop: &job.stop,
        out: screen,
    })?;
    let result = left.result.unwrap_or_else(|| Digest::of(Value::Object(left.values.clone()).to_string().as_bytes()));
    done.result = Some(result);
    done.values.extend(left.values);
    done.remark = left.remark.or(done.remark.take());
    Ok(())
}

/// What a process left.
struct Ran {
    stdout: Vec<u8>,
    result: Digest,
    leaky: bool,
}

fn process(job: &Job, screen: &Screen, action: &Action, start: Instant) -> Result<(Exit, Ran), Failure> {
    let expand = |why: String| template_failure(job, &why);
    let argv: Vec<OsString> = match &action.kind {
        ActionKind::Shell(text) => {
            let shell = match &action.step.shell {
                Some(words) => words.iter().map(ToString::to_string).collect(),
                None => shell_of(job),
            };
            let text = job.expander.text(text, &job.scope, true).map_err(expand)?;
            shell.into_iter().map(OsString::from).chain([OsString::from(text)]).collect()
        }
        ActionKind::Argv(words) => {
            let mut argv = Vec::new();
            for word in words {
                argv.extend(job.expander.words(word, &job.scope).map_err(expand)?.into_iter().map(OsString::from));
            }
            argv
        }
        ActionKind::BuiltIn { .. } => Vec::new(),
    };
    let argv = job.tracer.iter().flat_map(|words| words.iter().cloned()).chain(argv).collect();
    let mut env = job.env.clone();
    if !action.step.env.is_empty() {
        Arc::make_mut(&mut env)
            .extend(scope::expand_env(&*job.expander, &action.step.env, &job.scope).map_err(expand)?);
    }
    let cwd = match action.step.cwd.as_ref().or(job.task.cwd.as_ref()) {
        Some(dir) => job.root.join(job.expander.text(dir, &job.scope, false).map_err(expand)?),
        None => PathBuf::from(&*job.root),
    };
    let mut spec = CommandSpec::new(argv, cwd, env);
    spec.timeout = limit(job, action, start);
    spec.grace = job.grace;
    spec.interactive = job.task.interactive;
    // A task that cleans up at the end of the run may have a service running until then.
    spec.keep_background = !job.task.teardown.is_empty();
    spec.capture_limit = CAPTURE;
    let mut hasher = Hasher::new();
    let mut log = LogOf(screen);
    let mut sink = |stream: Stream, line: &[u8]| {
        hasher.raw(line).raw(b"\n");
        if screen.secrets.is_empty() {
            screen.show(stream, line);
        } else {
            screen.line(stream, &screen.without_secrets(line));
        }
    };
    // A secret may lie across two pieces of raw output, so lines are logged where there is one.
    let mut nowhere = std::io::sink();
    let raw: &mut dyn Write = if screen.secrets.is_empty() { &mut log } else { &mut nowhere };
    let ran = exec::run(&spec, &mut sink, raw, &job.stop);
    Ok((ran.exit, Ran { stdout: ran.stdout, result: hasher.finish(), leaky: ran.leaky }))
}

/// The nearer of the step's limit and what is left of the task's.
fn limit(job: &Job, action: &Action, start: Instant) -> Option<Duration> {
    let left = job.task.timeout.map(|timeout| timeout.saturating_sub(start.elapsed()).max(Duration::from_millis(1)));
    match (action.step.timeout, left) {
        (Some(step), Some(left)) => Some(step.min(left)),
        (step, left) => step.or(left),
    }
}

/// A JSON object that a command may write to the file named by `XTASK_VALUES`.
struct ValuesFile(Option<PathBuf>);

impl ValuesFile {
    fn new(job: &Job) -> Self {
        let path = job.env.iter().find(|(name, _)| name == "XTASK_VALUES").map(|(_, value)| PathBuf::from(value));
        Self(path)
    }

    fn take(self) -> Option<Map<String, Value>> {
        let path = self.0?;
        let text = std::fs::read(&path).ok()?;
        // It is ours, and is read only once.
        let _ = std::fs::remove_file(&path);
        serde_json::from_slice(&text).ok()
    }
}

fn observe_targets(job: &Job) -> Vec<(RepoPath, FileState)> {
    job.targets.iter().map(|(path, _)| (path.clone(), look_afresh(&job.root_fd, path))).collect()
}

/// The first non-optional target that does not exist after the last action.
fn missing_target(job: &Job, targets: &[(RepoPath, FileState)]) -> Option<Diagnostic> {
    let is_missing = |path: &RepoPath, state: &FileState| match state {
        // A dangling link counts as missing.
        FileState::Symlink { .. } => !exists(&job.root, path),
        state => !state.exists(),
    };
    let both = job.targets.iter().zip(targets);
    let (path, _) = both
        .map(|((_, optional), (path, state))| (path, !optional && is_missing(path, state)))
        .find(|(_, missing)| *missing)?;
    let place =
        job.task.targets.iter().find(|target| target.path == *path).map_or(&job.task.place, |target| &target.place);
    Some(
        Diagnostic::error(format!(
            "task `{}` failed: declared target `{path}` is missing after its actions",
            job.task.name
        ))
        .at(place.clone())
        .help("make the actions write it, or mark it `optional: true`"),
    )
}

fn delete_targets(job: &Job) {
    for (path, _) in &job.targets {
        // What cannot be removed stays; the record says that the task failed.
        let _ = std::fs::remove_file(job.root.join(path.as_path()));
    }
}

/// Inputs whose stat is not what it was when the task was decided upon.
fn moved(job: &Job) -> Vec<RepoPath> {
    let moved = job.inputs.iter().filter(|(path, before)| stat_at(&job.root_fd, path) != *before);
    moved.map(|(path, _)| path.clone()).collect()
}

/// Sends lines to the main thread and keeps the last ones; the log gets them, too.
struct Screen {
    task: Arc<str>,
    queue: Arc<Queue<Message>>,
    secrets: Vec<String>,
    tail: Mutex<VecDeque<String>>,
    log: Mutex<TaskLog>,
}

impl Screen {
    /// The line with every value of a secret param replaced.
    fn without_secrets<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        let text = String::from_utf8_lossy(line);
        if !self.secrets.iter().any(|secret| text.contains(secret)) {
            return Cow::Borrowed(line);
        }
        let hidden = self.secrets.iter().fold(text.into_owned(), |text, secret| text.replace(secret, "***"));
        Cow::Owned(hidden.into_bytes())
    }

    fn show(&self, stream: Stream, line: &[u8]) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(String::from_utf8_lossy(line).into_owned());
        drop(tail);
        let event = Event::TaskOutput { task: self.task.clone(), stream, line: line.to_vec() };
        self.queue.push_bounded(Message::Output(event));
    }
}

impl Output for Screen {
    fn line(&self, stream: Stream, line: &[u8]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written is noticed at the end of the task.
        let _ = log.write_all(line).and_then(|()| log.write_all(b"\n"));
        drop(log);
        self.show(stream, line);
    }

    fn progress(&self, done: u64, total: u64, text: &str) {
        let event = Event::TaskProgress { task: self.task.clone(), done, total, text: text.to_owned() };
        self.queue.push_bounded(Message::Output(event));
    }
}

/// The log as a writer for the bytes of a process.
struct LogOf<'a>(&'a Screen);

impl Write for LogOf<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}
