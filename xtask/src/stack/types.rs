//! The nouns of a stack: images, plans, outside bases, info commands. Knows nothing of YAML.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::task::At;
use crate::model::{Diagnostic, Place, RepoPath};

/// Everything a spec says, checked: keys are unique, parents exist, there is no cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The spec, relative to the root, e.g. `images/spec.yml`; the folder where there is no spec.
    pub file: Arc<str>,
    /// The folder of the images.
    pub dir: RepoPath,
    pub form: Form,
    /// Parents before children, otherwise in the order of definition.
    pub images: Vec<Image>,
    /// In the order of definition, never empty.
    pub plans: Vec<Plan>,
    /// The same plans for platforms that the images declare beside their first one; no spec knows them.
    pub foreign: Vec<Plan>,
    pub bases: Vec<Base>,
    /// Build args of every image in every plan.
    pub build_args: Args,
    /// Name to command, in the order of definition.
    pub info_cmds: Vec<InfoCmd>,
    /// In the order of definition.
    pub taggers: Vec<Tagger>,
    pub change: ChangePolicy,
    pub suffix: Suffix,
    pub warnings: Vec<Diagnostic>,
}

/// Build args: name to value.
pub type Args = BTreeMap<String, String>;

/// The generation of the spec that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `version: 1`.
    Current,
    /// `images` with `build_args`, one `tag.prefix`, `all_info_cmds`, `root`.
    Tag,
    /// `plans` (or `tags`) with `dbuild_env`, `skip_plans`, `manifests`.
    Plans,
    /// Folders with Dockerfiles and no spec.
    Tree,
}

/// What stands behind the prefix in the tag of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suffix {
    /// The first 7 digits of the commit.
    #[default]
    Hash,
    /// The branch as tag text.
    Branch,
}

/// One image of the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name within the stack, and that of its folder.
    pub key: Arc<str>,
    /// Of the key.
    pub place: Place,
    /// Repository without tag.
    pub image_name: String,
    pub image_name_place: Place,
    /// Several images may share one repository if their variants differ; the variant leads each tag.
    pub variant: Option<String>,
    /// The build context.
    pub dir: RepoPath,
    /// Within `dir`.
    pub dockerfile: String,
    /// Keys of its parents. Complete only after the FROM lines were read (`graph::resolve`).
    pub depend_on: Vec<At<Arc<str>>>,
    pub build_args: Args,
    /// Plan to build args.
    pub plan_args: BTreeMap<String, Args>,
    pub skip_plans: Vec<String>,
    pub integration_tests: Integration,
    /// Names in `Stack::info_cmds`.
    pub info_cmds: Vec<String>,
    /// Names in `Stack::taggers`, without those of its ancestors.
    pub taggers: Vec<String>,
    /// Remove the image from the engine when it is done.
    pub prune: bool,
    /// Take the last published image as cache.
    pub prepull: bool,
    pub target: Option<String>,
    /// e.g. `linux/amd64`; empty = that of the engine.
    pub platforms: Vec<String>,
    pub network: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// References whose cache the builder may use.
    pub cache_from: Vec<String>,
    /// Whether the image carries what others need to use it as a cache.
    pub inline_cache: bool,
    /// Repositories to which the image goes with its cache once it was built; without a tag, under the plan's.
    pub cache_to: Vec<String>,
    /// Id to where the value is read from.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Ids of ssh agents that RUN steps may use.
    pub ssh: Vec<String>,
    pub title: Option<String>,
    pub description: Option<String>,
}

/// Where the value of a build secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The name of an environment variable.
    Env(String),
    /// A file, relative to the root or absolute.
    File(String),
}

/// When the integration tests of an image run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Integration {
    #[default]
    None,
    /// With the other tests: nothing untested is pushed.
    BeforePush,
    AfterPush,
}

/// One track of the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: Arc<str>,
    pub place: Place,
    /// `None`: the tag is `latest`.
    pub tag_prefix: Option<String>,
    /// Follows the prefix in the stable tag.
    pub stable_postfix: String,
    pub build_args: Args,
    /// What it is made of, if it is for another platform than the first of its images.
    pub foreign: Option<Foreign>,
}

/// A plan of the spec, for another platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    pub plan: Arc<str>,
    /// e.g. `linux/arm64`
    pub platform: String,
}

/// An image from outside the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// As in the FROM line.
    pub reference: String,
    pub place: Place,
    pub policy: Policy,
    /// A program that makes an equal base where no registry can be reached, relative to the root.
    pub bootstrap: Option<String>,
}

/// When the digest of a base is looked up again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Only when told to.
    #[default]
    Pinned,
    /// At every run.
    Float,
    /// When the recorded digest is older.
    Ttl(Duration),
}

/// A command whose output describes an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoCmd {
    pub name: String,
    pub place: Place,
    /// The heading.
    pub description: String,
    /// Run without a shell.
    pub command: String,
}

/// A command whose output gives an image tags: `python-3.12` for `Python 3.12.4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagger {
    pub name: String,
    pub place: Place,
    /// Run in the image, without a shell.
    pub command: String,
    /// A regular expression that is searched for in the output.
    pub pattern: String,
    /// The tags, with `$1` or `${1}` for the first group of the pattern, `$0` for all that it found.
    pub tags: Vec<String>,
}

/// Which changed files concern which images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePolicy {
    pub mode: ChangeMode,
    /// Names directly below the folder of the images, or globs from the root: never a reason.
    pub ignore: Vec<String>,
    /// The same: a reason for every image.
    pub build_all: Vec<String>,
    /// A commit message that contains this, in any case, rebuilds everything.
    pub full_rebuild_message: Option<String>,
    /// Branches on which everything is built.
    pub full_rebuild_branches: Vec<String>,
    /// Build everything where the branch has not been built before.
    pub full_rebuild_on_first_run: bool,
    /// The branch that others are compared with.
    pub base: String,
}

/// Which commits are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeMode {
    /// The last commit.
    LastCommit,
    /// All commits since the branch left its base; on the base itself the last commit.
    #[default]
    Branch,
}

impl Default for ChangePolicy {
    fn default() -> Self {
        Self {
            mode: ChangeMode::default(),
            ignore: Vec::new(),
            build_all: vec!["spec.yml".to_owned()],
            full_rebuild_message: Some("full rebuild".to_owned()),
            full_rebuild_branches: Vec::new(),
            full_rebuild_on_first_run: false,
            base: "main".to_owned(),
        }
    }
}

impl Stack {
    pub fn image(&self, key: &str) -> Option<&Image> {
        self.images.iter().find(|image| &*image.key == key)
    }

    pub fn plan(&self, name: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| &*plan.name == name)
    }

    pub fn info_cmd(&self, name: &str) -> Option<&InfoCmd> {
        self.info_cmds.iter().find(|cmd| cmd.name == name)
    }

    pub fn tagger(&self, name: &str) -> Option<&Tagger> {
        self.taggers.iter().find(|tagger| tagger.name == name)
    }

    /// Every image with every plan that it does not skip; images outside, plans inside.
    pub fn pairs(&self) -> impl Iterator<Item = (&Image, &Plan)> {
        self.images
            .iter()
            .flat_map(|image| self.plans.iter().filter(|plan| image.is_in(&plan.name)).map(move |plan| (image, plan)))
    }

    /// The plans of the spec, then those for other platforms. `Graph::uses` counts plans in this order.
    pub fn all_plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.iter().chain(&self.foreign)
    }

    /// The plans that an image is built for, those for other platforms last.
    pub fn plans_of<'s>(&'s self, image: &'s Image) -> impl Iterator<Item = &'s Plan> {
        self.all_plans().filter(|plan| image.is_in(&plan.name))
    }

    /// The plan in which the parent of an image in `plan` is found: the same one, or that of the spec where the parent is
    /// not made for the platform.
    pub fn plan_of_parent<'s>(&'s self, parent: &Image, plan: &'s Plan) -> &'s Plan {
        if parent.is_in(&plan.name) { plan } else { self.plan(plan.spec_name()).unwrap_or(plan) }
    }

    /// Makes the plans for other platforms: one for each plan and each platform that some image declares beside its first.
    pub fn add_foreign_plans(&mut self) {
        let mut platforms: Vec<String> = Vec::new();
        for platform in self.images.iter().flat_map(|image| image.platforms.iter().skip(1)) {
            if !platforms.contains(platform) {
                platforms.push(platform.clone());
            }
        }
        for platform in platforms {
            for plan in &self.plans {
                let plan = plan.on(&platform);
                let is_not_declared = |image: &&mut Image| {
                    !image.platforms.iter().skip(1).any(|declared| *declared == platform)
                        || !image.is_in(plan.spec_name())
                };
                for image in self.images.iter_mut().filter(is_not_declared) {
                    image.skip_plans.push(plan.name.to_string());
                }
                self.foreign.push(plan);
            }
        }
    }

    /// Build args of one image in one plan: those of the stack, of the plan, of the image, of the image in that
    /// plan and of the command line, the later one winning.
    pub fn build_args(&self, image: &Image, plan: &Plan, command_line: &Args) -> Args {
        let own = image.plan_args.get(plan.spec_name());
        [Some(&self.build_args), Some(&plan.build_args), Some(&image.build_args), own, Some(command_line)]
            .into_iter()
            .flatten()
            .flat_map(|args| args.iter().map(|(name, value)| (name.clone(), value.clone())))
            .collect()
    }
}

impl Image {
    /// An image with nothing but its names.
    pub fn new(key: &str, image_name: &str, dir: RepoPath, place: Place) -> Self {
        Self {
            key: key.into(),
            image_name: image_name.to_owned(),
            image_name_place: place.clone(),
            variant: None,
            dir,
            dockerfile: "Dockerfile".to_owned(),
            depend_on: Vec::new(),
            build_args: Args::new(),
            plan_args: BTreeMap::new(),
            skip_plans: Vec::new(),
            integration_tests: Integration::None,
            info_cmds: Vec::new(),
            taggers: Vec::new(),
            prune: false,
            prepull: true,
            target: None,
            platforms: Vec::new(),
            network: None,
            labels: BTreeMap::new(),
            cache_from: Vec::new(),
            inline_cache: false,
            cache_to: Vec::new(),
            secrets: BTreeMap::new(),
            ssh: Vec::new(),
            title: None,
            description: None,
            place,
        }
    }

    /// Whether it is built for this plan.
    pub fn is_in(&self, plan: &str) -> bool {
        !self.skip_plans.iter().any(|skipped| skipped == plan)
    }
}

impl Plan {
    /// The plan of a spec that has none.
    pub fn only(tag_prefix: Option<String>, place: Place) -> Self {
        Self {
            name: "default".into(),
            place,
            tag_prefix,
            stable_postfix: STABLE_POSTFIX.to_owned(),
            build_args: Args::new(),
            foreign: None,
        }
    }

    /// The same for another platform. Its name stands in names of files, and no plan of a spec can have it.
    fn on(&self, platform: &str) -> Self {
        let foreign = Foreign { plan: self.name.clone(), platform: platform.to_owned() };
        let name = format!("{}@{}", self.name, platform.replace('/', "-"));
        Self { name: name.into(), foreign: Some(foreign), ..self.clone() }
    }

    /// The name that the spec gives it.
    pub fn spec_name(&self) -> &str {
        self.foreign.as_ref().map_or(&*self.name, |foreign| &*foreign.plan)
    }

    /// The platform that an image is built for in this plan; `None` for that of the engine.
    pub fn platform<'s>(&'s self, image: &'s Image) -> Option<&'s str> {
        match &self.foreign {
            Some(foreign) => Some(&foreign.platform),
            None => image.platforms.first().map(String::as_str),
        }
    }
}

/// Follows the prefix in the stable tag unless a plan says otherwise.
pub const STABLE_POSTFIX: &str = "-stable";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_for_other_platforms_have_the_images_that_declare_them() {
        let place = || Place::file("spec.yml");
        let image = |key: &str, platforms: &[&str]| {
            let mut image = Image::new(key, &format!("lab/{key}"), RepoPath::root(), place());
            image.platforms = platforms.iter().map(|&platform| platform.to_owned()).collect();
            image
        };
        let mut stack = super::super::spec::empty("spec.yml", RepoPath::root());
        stack.plans.push(Plan::only(None, place()));
        let late = Plan { name: "late".into(), ..Plan::only(Some("l".into()), place()) };
        stack.plans.push(late);
        stack.images = vec![
            image("base", &["linux/amd64", "linux/arm64"]),
            image("own", &["linux/amd64"]),
            image("leaf", &["linux/amd64", "linux/arm64", "linux/arm/v7"]),
        ];
        stack.images[2].skip_plans.push("late".into());
        stack.images[0].plan_args.insert("late".into(), Args::from([("A".into(), "1".into())]));
        stack.add_foreign_plans();
        let of =
            |image: usize| stack.plans_of(&stack.images[image]).map(|plan| plan.name.to_string()).collect::<Vec<_>>();
        assert_eq!(of(0), ["default", "late", "default@linux-arm64", "late@linux-arm64"]);
        assert_eq!(of(1), ["default", "late"]);
        assert_eq!(of(2), ["default", "default@linux-arm64", "default@linux-arm-v7"], "what it skips, it skips on all");
        let arm = stack.foreign.iter().find(|plan| &*plan.name == "late@linux-arm64").unwrap();
        assert_eq!((arm.platform(&stack.images[0]), arm.spec_name()), (Some("linux/arm64"), "late"));
        assert_eq!(stack.build_args(&stack.images[0], arm, &Args::new())["A"], "1");
        assert_eq!(&*stack.plan_of_parent(&stack.images[1], arm).name, "late");
        assert_eq!(stack.pairs().count(), 5, "pairs are those of the spec");
    }
}
