//! The action `stack_push`: publishes the whole stack by one plan, made before anything is sent.
//!
//! The content of all images goes first, then their version tags, then the tags that move, parents first. A version
//! that is taken by other content refuses the whole push. `plan` writes the plan to a file, `apply` does what such a
//! file says, `resume` finishes what was cut short; these two need neither a build nor a test.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::publish::{self, given, truth};
use super::push::observed;
use super::services::{Services, whole};
use super::wish::Wish;
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, Diagnostics, Digest, Reason, Stream, words};
use crate::registry::publish::{Plan, Step};
use crate::stack::{Image, taggers};

pub(super) struct StackPush(pub(super) Arc<Services>);

/// What the arguments ask for.
enum Mode {
    Push,
    /// Only writes the plan.
    Plan(PathBuf),
    Apply(PathBuf),
    Resume,
}

fn mode(call: &Call<'_>) -> Result<Mode, Failure> {
    let path = |name: &str| given(call, name).map(|file| call.root.join(file));
    match (path("plan"), path("apply"), truth(call, "resume")) {
        (None, None, false) => Ok(Mode::Push),
        (Some(file), None, false) => Ok(Mode::Plan(file)),
        (None, Some(file), false) => Ok(Mode::Apply(file)),
        (None, None, true) => Ok(Mode::Resume),
        _ => Err(Failure::error(Diagnostic::error(format!(
            "task `{}` takes one of `plan`, `apply` and `resume`",
            call.task
        )))),
    }
}

impl StackPush {
    fn wish(&self, call: &Call<'_>) -> Result<Wish, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        Wish::of(&self.0, call, &stack, &stack.images.iter().collect::<Vec<_>>())
    }

    /// The plan of a file, made again against what the registry has now.
    fn read(&self, file: &std::path::Path) -> Result<Plan, Failure> {
        let shown = file.display();
        let wrong =
            |why: String| Failure::error(Diagnostic::error(format!("plan `{shown}` cannot be used")).cause(why));
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let plan: Plan = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if plan.v != 1 {
            return Err(wrong(format!("its version is {}, expected 1", plan.v)));
        }
        let now = publish::plan(&self.0, &plan.wanted, &plan.indexes)?;
        let moved = plan.moved_since(&now);
        if moved.is_empty() { Ok(now) } else { Err(Failure::failed(whole(Diagnostics(moved)))) }
    }

    fn write(&self, call: &Call<'_>, file: &std::path::Path) -> Result<Done, Failure> {
        let wish = self.wish(call)?;
        wish.tell_missing(call);
        let plan = publish::plan(&self.0, &wish.wanted, &wish.indexes)?;
        let steps = plan.steps.iter().map(ToString::to_string);
        for line in steps.chain(plan.indexes.iter().map(ToString::to_string)) {
            call.out.line(Stream::Stdout, line.as_bytes());
        }
        let text = serde_json::to_string_pretty(&plan).unwrap_or_default() + "\n";
        std::fs::write(file, text).map_err(|error| {
            Failure::error(Diagnostic::error(format!("plan `{}` cannot be written", file.display())).cause(error))
        })?;
        Ok(Done { result: Some(nothing()), remark: Some(summary(&plan)), ..Done::default() })
    }

    fn resume(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let mut finished = 0;
        for (_, journal) in publish::unfinished(call.root)? {
            let plan = publish::plan(&self.0, &journal.plan.wanted, &journal.plan.indexes)?;
            publish::carry_out(&self.0, call, &plan)?;
            finished += 1;
        }
        let remark = match finished {
            0 => "nothing was left to finish".to_owned(),
            count => format!("{} finished", words::count(count, "push")),
        };
        Ok(Done { result: Some(nothing()), remark: Some(remark), ..Done::default() })
    }
}

/// What there is to do, in a line.
fn summary(plan: &Plan) -> String {
    let count = |wanted: fn(&Step) -> bool| plan.steps.iter().filter(|step| wanted(step)).count();
    let uploads = count(|step| matches!(step, Step::Upload { .. }));
    let tags = count(|step| matches!(step, Step::Tag { .. }));
    let done = count(|step| matches!(step, Step::Done { .. }));
    let joins = match plan.indexes.len() {
        0 => String::new(),
        1 => ", 1 index to join".to_owned(),
        count => format!(", {count} indexes to join"),
    };
    format!(
        "{} to upload, {} to write, {done} right already{joins}",
        words::count(uploads, "image"),
        words::count(tags, "tag")
    )
}

/// These runs publish nothing new of the tree, so nothing that depends on it is dirty.
fn nothing() -> Digest {
    Digest::of(b"")
}

impl ActionType for StackPush {
    fn name(&self) -> &'static str {
        "stack_push"
    }

    fn arguments(&self) -> Arguments {
        Arguments {
            required: &[],
            optional: &["registry", "version", "message", "commits", "plan", "apply", "resume"],
            short: Some("registry"),
        }
    }

    fn links(&self, _: &Value) -> Result<Links, Diagnostic> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let need = |kind: &str, image: &str, dirties| Need { resource: format!("{kind}:{image}").into(), dirties };
        let tagged = |image: &&Image| !taggers::of(&stack, &graph, image).is_empty();
        let manifests = stack.images.iter().filter(tagged).map(|image| need("manifest", &image.key, true));
        let needs = stack
            .images
            .iter()
            .flat_map(|image| [need("image", &image.key, true), need("tested", &image.key, false)])
            .chain(manifests)
            .collect();
        Ok(Links { provides: vec!["published".into()], needs, observes: true, ..Links::default() })
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let told = |what: &str| Reason::UptodateFalse { item: what.to_owned() };
        match mode(call)? {
            Mode::Push => observed(&self.0, &self.wish(call)?),
            Mode::Plan(_) => {
                self.wish(call)?;
                Ok(Observed { forced: vec![told("plan")], ..Observed::default() })
            }
            Mode::Apply(_) => Ok(Observed { forced: vec![told("apply")], ..Observed::default() }),
            Mode::Resume => Ok(Observed { forced: vec![told("resume")], ..Observed::default() }),
        }
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let plan = match mode(call)? {
            Mode::Push => {
                let wish = self.wish(call)?;
                wish.tell_missing(call);
                publish::plan(&self.0, &wish.wanted, &wish.indexes)?
            }
            Mode::Apply(file) => self.read(&file)?,
            Mode::Plan(file) => return self.write(call, &file),
            Mode::Resume => return self.resume(call),
        };
        publish::remind(call, &plan)?;
        let after = publish::carry_out(&self.0, call, &plan)?;
        let is_done = plan.is_done() && plan.indexes.is_empty();
        let remark = if is_done { "already in the registry".to_owned() } else { summary(&plan) };
        Ok(Done { result: None, values: publish::published(&after), remark: Some(remark) })
    }
}
