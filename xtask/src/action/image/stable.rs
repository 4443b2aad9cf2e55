//! The action `image_stable`: moves the stable tags of the whole set to what was published, by copying manifests in
//! the registry. No pull; all of them or none; verified before and after; an append-only log.

use std::sync::Arc;

use serde_json::Value;

use super::build::published_tag;
use super::services::{Services, whole};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::graph::Links;
use crate::model::{Diagnostic, Diagnostics, Stream};
use crate::registry::promote::{self, Log, Member, Rules};
use crate::stack::{Graph, Image, Plan, Stack, tags};

pub(super) struct ImageStable(pub(super) Arc<Services>);

impl ImageStable {
    fn member(
        &self,
        call: &Call<'_>,
        stack: &Stack,
        graph: &Graph,
        image: &Image,
        plan: &Plan,
    ) -> Result<Member, Diagnostic> {
        let at = stack.images.iter().position(|one| one.key == image.key).unwrap_or_default();
        let label = |image: &Image| format!("{} ({})", image.key, plan.name);
        let from = match call.args["from"].as_str().filter(|from| !from.is_empty()) {
            Some(from) => from.to_owned(),
            None => published_tag(&self.0, stack, image, plan)?,
        };
        Ok(Member {
            image: label(image),
            name: tags::full_name(call.args["registry"].as_str(), image),
            from,
            to: tags::checked(tags::stable_tag(image, plan))?,
            parents: graph.parents(at).iter().map(|parent| label(&stack.images[*parent])).collect(),
            key: None,
            // Only tested content is ever pushed (`image_push` refuses the rest).
            tested: true,
        })
    }
}

impl ActionType for ImageStable {
    fn name(&self) -> &'static str {
        "image_stable"
    }

    fn arguments(&self) -> Arguments {
        Arguments {
            required: &[],
            optional: &["registry", "from", "rollback", "dry_run", "plan", "log"],
            short: Some("registry"),
        }
    }

    fn links(&self, _: &Value) -> Result<Links, Diagnostic> {
        Ok(Links { provides: vec!["stable".into()], ..Links::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let registries = self.0.registries();
        let only = call.args["plan"].as_str().filter(|plan| !plan.is_empty());
        let mut members = Vec::new();
        for (image, plan) in stack.pairs().filter(|(_, plan)| only.is_none_or(|only| *plan.name == *only)) {
            members.push(self.member(call, &stack, &graph, image, plan)?);
        }
        let path = call.root.join(call.args["log"].as_str().unwrap_or("artifacts/promotions.jsonl"));
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|error| {
                Failure::error(Diagnostic::error(format!("failed to make folder `{}`", dir.display())).cause(error))
            })?;
        }
        let who = self
            .0
            .env
            .get(std::ffi::OsStr::new("USER"))
            .map_or_else(|| "unknown".into(), |user| user.to_string_lossy().into_owned());
        let mut log = Log::open(&path, &who, jiff::Timestamp::now).map_err(|error| {
            Failure::error(Diagnostic::error(format!("`{}` cannot be used", path.display())).cause(error))
        })?;
        let truth = |name: &str| call.args[name].as_bool().unwrap_or(call.args[name].as_str() == Some("true"));
        let promotion = if truth("rollback") {
            promote::plan_rollback(&log, &registries)
        } else {
            promote::plan_promotion(&members, Rules::default(), &registries)
        };
        let promotion = promotion.map_err(|problems| Failure::failed(whole(Diagnostics(problems))))?;
        let mut show = |one: &promote::Move| call.out.line(Stream::Stdout, one.to_string().as_bytes());
        if truth("dry_run") {
            promotion.moves.iter().for_each(&mut show);
            return Ok(Done { remark: Some("nothing was moved".into()), ..Done::default() });
        }
        let moved = promote::promote(&promotion, &registries, &mut log, &mut show)
            .map_err(|failed| Failure::failed(failed.to_diagnostic()))?;
        let remark = Some(if moved == 0 {
            "every tag is there already".to_owned()
        } else {
            format!("{} moved", crate::model::words::count(moved, "tag"))
        });
        Ok(Done { remark, ..Done::default() })
    }
}
