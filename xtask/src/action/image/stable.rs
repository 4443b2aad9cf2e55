//! The action `image_stable`: moves the stable tags of the whole set to what was published, by copying manifests in
//! the registry. No pull; all of them or none; verified before and after; an append-only log.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::build::published_tag;
use super::publish::{given, truth};
use super::services::{Services, whole};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::graph::Links;
use crate::model::{Diagnostic, Diagnostics, ImageRef, Stream, words};
use crate::registry::promote::{self, Log, Member, Rules};
use crate::stack::artifacts::{self, Artifact};
use crate::stack::{Graph, Image, Plan, Stack, tags};

pub(super) struct ImageStable(pub(super) Arc<Services>);

/// What of the stack is promoted, and from which tag to which.
struct Choice<'a> {
    services: &'a Services,
    call: &'a Call<'a>,
    stack: &'a Stack,
    graph: &'a Graph,
    /// Indexes of images; all of them unless some are named.
    images: Vec<usize>,
    plans: Vec<&'a Plan>,
    /// `<prefix>-stable` to `stable`, rather than what was published to `<prefix>-stable`.
    is_global: bool,
}

impl<'a> Choice<'a> {
    fn new(services: &'a Services, call: &'a Call<'a>, stack: &'a Stack, graph: &'a Graph) -> Result<Self, Failure> {
        let is_global = truth(call, "global");
        let plans = plans(call, stack, is_global)?;
        let mut images = Vec::new();
        for name in named(&call.args["images"])? {
            let known: Vec<&str> = stack.images.iter().map(|image| &*image.key).collect();
            let at = known.iter().position(|key| *key == name).ok_or_else(|| {
                Failure::error(
                    Diagnostic::error(format!("image `{name}` is not in `{}`", stack.file))
                        .maybe_help(words::suggest("image", &name, &known)),
                )
            })?;
            images.push(at);
        }
        if images.is_empty() {
            images = (0..stack.images.len()).collect();
        }
        Ok(Self { services, call, stack, graph, images, plans, is_global })
    }

    fn members(&self) -> Result<Vec<Member>, Failure> {
        let mut members = Vec::new();
        for plan in &self.plans {
            for at in (0..self.stack.images.len()).filter(|at| self.stack.images[*at].is_in(&plan.name)) {
                if self.images.contains(&at) {
                    members.push(self.moving(at, plan)?);
                } else if let Some(member) = self.staying(at, plan)? {
                    members.push(member);
                }
            }
        }
        if members.is_empty() {
            return Err(Failure::error(Diagnostic::error("no image of the stack is in the plan")));
        }
        Ok(members)
    }

    fn to(&self, image: &Image, plan: &Plan) -> Result<String, Diagnostic> {
        let global = Plan { tag_prefix: None, ..plan.clone() };
        tags::checked(tags::stable_tag(image, if self.is_global { &global } else { plan }))
    }

    fn moving(&self, at: usize, plan: &Plan) -> Result<Member, Diagnostic> {
        let image = &self.stack.images[at];
        let from = match given(self.call, "from") {
            Some(from) => match semver::Version::parse(from) {
                Ok(version) => tags::checked(tags::version_tag(self.stack, image, plan, &version))?,
                Err(_) => tags::checked(tags::with_variant(image, from))?,
            },
            None if self.is_global => tags::checked(tags::stable_tag(image, plan))?,
            None => published_tag(self.services, self.stack, image, plan)?,
        };
        // Only a set that was checked became the stable one of its plan.
        Ok(self.member(at, plan, from, self.to(image, plan)?, self.is_global && given(self.call, "from").is_none()))
    }

    /// An image that keeps its tag, as a witness: what moves must fit to the parents and children that stay.
    fn staying(&self, at: usize, plan: &Plan) -> Result<Option<Member>, Diagnostic> {
        let parent_of = |child: usize| self.graph.parents(child).contains(&at);
        let is_parent = self.images.iter().any(|moved| parent_of(*moved));
        let is_child = self.graph.parents(at).iter().any(|parent| self.images.contains(parent));
        if !is_parent && !is_child {
            return Ok(None);
        }
        let to = self.to(&self.stack.images[at], plan)?;
        let member = self.member(at, plan, to.clone(), to.clone(), true);
        let name = ImageRef { name: member.name.clone(), tag: None, digest: None };
        let is_there = self.services.registries().open(&name)?.digest(&to)?.is_some();
        Ok((is_parent || is_there).then_some(member))
    }

    fn member(&self, at: usize, plan: &Plan, from: String, to: String, tested: bool) -> Member {
        let image = &self.stack.images[at];
        // With the plan even where there is one: the log is read by people who may add another.
        let name = |image: &Image| format!("{} ({})", image.key, plan.name);
        Member {
            image: name(image),
            name: tags::full_name(self.call.args["registry"].as_str(), image),
            from,
            to,
            parents: self.graph.parents(at).iter().map(|parent| name(&self.stack.images[*parent])).collect(),
            key: None,
            tested,
        }
    }
}

/// The plan that is named by its name or by its whole prefix, else all.
fn plans<'s>(call: &Call<'_>, stack: &'s Stack, is_global: bool) -> Result<Vec<&'s Plan>, Failure> {
    let plans: Vec<&Plan> = match given(call, "plan") {
        None => stack.plans.iter().collect(),
        Some(name) => {
            let is_it = |plan: &&Plan| *plan.name == *name || plan.tag_prefix.as_deref() == Some(name);
            let known: Vec<&str> = stack.plans.iter().map(|plan| &*plan.name).collect();
            let found = stack.plans.iter().find(is_it).ok_or_else(|| {
                Failure::error(
                    Diagnostic::error(format!("plan `{name}` is not in `{}`", stack.file))
                        .note(format!("its plans are {}", words::list(&known)))
                        .maybe_help(words::suggest("plan", name, &known)),
                )
            })?;
            vec![found]
        }
    };
    let plans = match given(call, "from") {
        Some(from) if plans.len() > 1 && semver::Version::parse(from).is_err() => vec![plan_of(from, &plans)?],
        _ => plans,
    };
    if !is_global {
        return Ok(plans);
    }
    match plans.as_slice() {
        [plan] if plan.tag_prefix.is_some() => Ok(plans),
        [plan] => Err(Failure::error(
            Diagnostic::error(format!("plan `{}` has no prefix", plan.name))
                .note("its stable tag is the global one already"),
        )),
        _ => Err(Failure::error(
            Diagnostic::error("`--global` takes one plan, and the stack has several")
                .help(format!("name it: cargo xtask stable --global --plan {}", plans[0].name)),
        )),
    }
}

/// The plan that a tag such as `2026.4-main` belongs to: of the prefixes that it begins with, the longest.
fn plan_of<'s>(tag: &str, plans: &[&'s Plan]) -> Result<&'s Plan, Failure> {
    let prefix = |plan: &Plan| plan.tag_prefix.as_ref().map(|prefix| format!("{prefix}-"));
    let fitting =
        plans.iter().filter_map(|plan| Some((prefix(plan)?, *plan))).filter(|(prefix, _)| tag.starts_with(prefix));
    fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, plan)| plan).ok_or_else(|| {
        Failure::error(
            Diagnostic::error(format!("`{tag}` is the tag of no plan of the stack"))
                .note(format!("tags begin with {}", words::list(plans.iter().filter_map(|plan| prefix(plan)))))
                .help(format!("name the plan, too: cargo xtask stable --from {tag} --plan {}", plans[0].name)),
        )
    })
}

/// A rollback goes back as one, so nothing can be chosen of it.
fn refuse_choice(call: &Call<'_>) -> Result<(), Failure> {
    let chosen = ["from", "plan"].into_iter().find(|name| given(call, name).is_some());
    let chosen = chosen.or_else(|| truth(call, "global").then_some("global"));
    let chosen = chosen.or_else(|| named(&call.args["images"]).is_ok_and(|names| !names.is_empty()).then_some("image"));
    match chosen {
        None => Ok(()),
        Some(name) => Err(Failure::error(
            Diagnostic::error(format!("task `{}` takes no `{name}` with `rollback`", call.task))
                .note("the last promotion is turned back as a whole"),
        )),
    }
}

/// Names of images: a list, or text with spaces between them, since templates make text.
fn named(value: &Value) -> Result<Vec<String>, Failure> {
    let wrong = || Failure::error(Diagnostic::error(format!("`images` is `{value}`, expected a list of images")));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

impl ImageStable {
    fn log(&self, call: &Call<'_>) -> Result<Log, Failure> {
        let path = call.root.join(call.args["log"].as_str().unwrap_or("artifacts/promotions.jsonl"));
        let user = self.0.env.get(std::ffi::OsStr::new("USER"));
        let who = user.map_or_else(|| "unknown".into(), |user| user.to_string_lossy().into_owned());
        Log::open(&path, &who, jiff::Timestamp::now).map_err(Failure::error)
    }
}

impl ActionType for ImageStable {
    fn name(&self) -> &'static str {
        "image_stable"
    }

    fn arguments(&self) -> Arguments {
        Arguments {
            required: &[],
            optional: &["registry", "from", "rollback", "dry_run", "plan", "images", "global", "log"],
            short: Some("registry"),
        }
    }

    fn links(&self, _: &Value) -> Result<Links, Diagnostic> {
        Ok(Links { provides: vec!["stable".into()], ..Links::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let registries = self.0.registries();
        let mut log = self.log(call)?;
        let mut members = Vec::new();
        let promotion = if truth(call, "rollback") {
            refuse_choice(call)?;
            promote::plan_rollback(&log, &registries)
        } else {
            members = Choice::new(&self.0, call, &stack, &graph)?.members()?;
            promote::plan_promotion(&members, Rules::default(), &registries)
        };
        let promotion = promotion.map_err(|problems| Failure::failed(whole(Diagnostics(problems))))?;
        if !truth(call, "rollback") {
            let pairs = names(&promotion.moves, &members);
            write_lists(call.root, &pairs)?;
            self.0.ledger.note_promoted(pairs);
        }
        let mut show = |one: &promote::Move| call.out.line(Stream::Stdout, one.to_string().as_bytes());
        if truth(call, "dry_run") {
            promotion.moves.iter().for_each(&mut show);
            return Ok(Done { remark: Some("nothing was moved".into()), ..Done::default() });
        }
        let moved = promote::promote(&promotion, &registries, &mut log, &mut show)
            .map_err(|failed| Failure::failed(failed.to_diagnostic()))?;
        let remark = Some(if moved == 0 {
            "every tag is there already".to_owned()
        } else {
            format!("{} moved", words::count(moved, "tag"))
        });
        Ok(Done { remark, ..Done::default() })
    }
}

/// New and old name of everything that is tagged.
fn names(moves: &[promote::Move], members: &[Member]) -> Vec<(String, String)> {
    let old = |new: &str| members.iter().find(|one| format!("{}:{}", one.name, one.to) == new).map(original);
    let pair = |one: &promote::Move| Some((one.reference(), old(&one.reference())?));
    // A member that stays where it is was only looked at.
    moves.iter().filter_map(pair).filter(|(new, old)| new != old).collect()
}

/// `artifacts/IMAGES_TAGGED` and `IMAGES_ORIGINAL`: new and old names, line by line; the same again for those that
/// become `stable` without a prefix. Also in a dry run.
fn write_lists(root: &Path, pairs: &[(String, String)]) -> Result<(), Diagnostic> {
    let (new, old): (Vec<&str>, Vec<&str>) = pairs.iter().map(|(new, old)| (&**new, &**old)).unzip();
    artifacts::store(root, &Artifact::ImagesTagged.path(), Artifact::list(new))?;
    artifacts::store(root, &Artifact::ImagesOriginal.path(), Artifact::list(old))?;
    let global = pairs.iter().filter(|(new, _)| new.ends_with(":stable"));
    let (new, old): (Vec<&str>, Vec<&str>) = global.map(|(new, old)| (&**new, &**old)).unzip();
    if new.is_empty() {
        return Ok(());
    }
    artifacts::store(root, &Artifact::ImagesGlobalStable.path(), Artifact::list(new))?;
    artifacts::store(root, &Artifact::ImagesOriginalStable.path(), Artifact::list(old))
}

/// What a member was before, by name.
fn original(member: &Member) -> String {
    let joint = if member.from.starts_with("sha256:") { '@' } else { ':' };
    format!("{}{joint}{}", member.name, member.from)
}
