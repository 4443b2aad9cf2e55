//! Looks at the outside world before a verdict: `if`, shell checks, commands whose output counts, built-in actions.
//!
//! Runs on a worker thread and changes nothing itself.

use std::ffi::OsString;
use std::sync::Arc;

use serde_json::Value;

use super::job::{Job, Probed};
use super::scope;
use crate::action::{Call, Failure, Output};
use crate::exec::{self, CommandSpec};
use crate::model::task::{ActionKind, At, Condition, Uptodate};
use crate::model::{Diagnostic, Digest, Stream};
use crate::rebuild::{Part, PartKey, PartValue};

/// Whether a task needs a probe at all.
pub(super) fn is_needed(task: &crate::model::Task, observes: bool) -> bool {
    let asks = |item: &At<Uptodate>| {
        matches!(
            item.value,
            Uptodate::Shell(_)
                | Uptodate::OutputOf(_)
                | Uptodate::Image(_)
                | Uptodate::RemoteTag(_)
                | Uptodate::Named { .. }
        )
    };
    observes || task.uptodate.iter().any(asks) || matches!(&task.condition, Some(At { value: Condition::Shell(_), .. }))
}

/// Finds everything out, in order; stops at the first failure.
pub(super) fn probe(job: &Job) -> Probed {
    let mut probed = Probed::default();
    if let Err(failure) = fill(job, &mut probed) {
        probed.failure = Some(failure);
    }
    probed
}

fn fill(job: &Job, probed: &mut Probed) -> Result<(), Failure> {
    if let Some(At { value: Condition::Shell(command), .. }) = &job.task.condition
        && !holds(job, command)?
    {
        probed.skip = true;
        return Ok(());
    }
    for item in &job.task.uptodate {
        check(job, &item.value, probed)?;
    }
    observe(job, probed)
}

fn check(job: &Job, item: &Uptodate, probed: &mut Probed) -> Result<(), Failure> {
    match item {
        Uptodate::Shell(command) if holds(job, command)? => {}
        Uptodate::Shell(command) => probed.false_checks.push(command.to_string()),
        Uptodate::OutputOf(command) => {
            let output = output_of(job, command)?;
            let key = PartKey::Check(command.clone());
            probed.parts.push(Part { key, value: PartValue::Digest(Digest::of(&output)) });
        }
        Uptodate::Image(reference) => named(job, "image", &Value::from(&**reference), probed)?,
        Uptodate::RemoteTag(reference) => named(job, "remote_tag", &Value::from(&**reference), probed)?,
        Uptodate::Named { name, args } => named(job, name, &args.value(), probed)?,
        _ => {}
    }
    Ok(())
}

/// A check registered in Rust, by name.
fn named(job: &Job, name: &str, args: &Value, probed: &mut Probed) -> Result<(), Failure> {
    let Some(check) = job.actions.check(name) else {
        return Err(Failure::error(Diagnostic::error(format!(
            "uptodate item `{name}` of task `{}` is unknown",
            job.task.name
        ))));
    };
    let args = expand(job, args)?;
    let seen = with_call(job, &args, |call| check.look(call))?;
    if seen.satisfied == Some(false) {
        probed.false_checks.push(name.to_owned());
    }
    probed.forced.extend(seen.reason);
    if let Some(value) = seen.value {
        let key = PartKey::Check(format!("{name} {args}").into());
        probed.parts.push(Part { key, value: PartValue::Text(value.into()) });
    }
    Ok(())
}

fn observe(job: &Job, probed: &mut Probed) -> Result<(), Failure> {
    let mut all_satisfied = !job.task.actions.is_empty();
    for action in &job.task.actions {
        let ActionKind::BuiltIn { name, args } = &action.kind else {
            all_satisfied = false;
            continue;
        };
        let Some(kind) = job.actions.get(name) else { continue };
        let args = expand(job, &args.value())?;
        let seen = with_call(job, &args, |call| kind.observe(call))?;
        probed.parts.extend(seen.parts);
        probed.forced.extend(seen.forced);
        all_satisfied &= seen.satisfied;
        if let Some(values) = seen.values {
            probed.values.get_or_insert_default().extend(values);
        }
        probed.result = seen.result.or(probed.result);
    }
    probed.satisfied = all_satisfied;
    Ok(())
}

fn expand(job: &Job, args: &Value) -> Result<Value, Failure> {
    scope::expand_json(&*job.expander, args, &job.scope).map_err(|why| template_failure(job, &why))
}

pub(super) fn template_failure(job: &Job, why: &str) -> Failure {
    Failure::error(
        Diagnostic::error(format!("a template of task `{}` cannot be expanded", job.task.name))
            .at(job.task.place.clone())
            .cause(why),
    )
}

/// An output that goes nowhere: probes are silent.
struct Silent;

impl Output for Silent {
    fn line(&self, _: Stream, _: &[u8]) {}
    fn progress(&self, _: u64, _: u64, _: &str) {}
}

fn with_call<T>(job: &Job, args: &Value, f: impl FnOnce(&Call<'_>) -> T) -> T {
    f(&Call {
        root: &job.root,
        task: &job.task.name,
        args,
        resources: &job.resources,
        previous: job.previous.as_ref(),
        env: &job.env,
        stop: &job.stop,
        out: &Silent,
    })
}

/// Whether a command exits with 0; what it prints is hidden.
fn holds(job: &Job, command: &Arc<str>) -> Result<bool, Failure> {
    let result = shell(job, command)?;
    match result.exit {
        exec::Exit::Code(_) => Ok(result.exit.success()),
        exit => {
            let subject = format!("check `{command}` of task `{}`", job.task.name);
            Err(Failure::error(exit.diagnostic(&subject).unwrap_or_else(|| Diagnostic::error(subject.clone()))))
        }
    }
}

fn output_of(job: &Job, command: &Arc<str>) -> Result<Vec<u8>, Failure> {
    let result = shell(job, command)?;
    let subject = format!("output_of `{command}` of task `{}`", job.task.name);
    match result.exit.diagnostic(&subject) {
        None => Ok(result.stdout),
        Some(problem) => Err(Failure::error(problem)),
    }
}

fn shell(job: &Job, command: &str) -> Result<exec::CommandResult, Failure> {
    let text = job.expander.text(command, &job.scope, true).map_err(|why| template_failure(job, &why))?;
    let mut argv: Vec<OsString> = shell_of(job).iter().map(OsString::from).collect();
    argv.push(text.into());
    let mut spec = CommandSpec::new(argv, job.root.to_path_buf(), job.env.clone());
    spec.capture_limit = 1 << 20;
    spec.grace = job.grace;
    Ok(exec::run(&spec, &mut |_, _| {}, &mut std::io::sink(), &job.stop))
}

/// The shell of the task, or `sh -c`.
pub(super) fn shell_of(job: &Job) -> Vec<String> {
    match &job.task.shell {
        Some(words) => words.iter().map(ToString::to_string).collect(),
        None => vec!["sh".into(), "-c".into()],
    }
}
