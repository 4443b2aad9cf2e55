//! From the text of a spec and the names of the folders beside it to a checked stack. Knows nothing of the disk.

use crate::model::task::At;
use crate::model::{Diagnostic, Diagnostics, Place, RepoPath};
use crate::stack::types::{Args, ChangePolicy, Form, Image, Plan, Stack, Suffix};
use crate::taskfile::{Node, yaml};

use super::fields::{Fields, Findings};
use super::{check, current, legacy};

/// What a spec is read from.
#[derive(Clone, Debug, Default)]
pub struct Source<'a> {
    /// The spec's name relative to the root, e.g. `images/spec.yml`.
    pub file: &'a str,
    pub text: &'a str,
    /// The folders below that of the spec, relative to it, two levels deep.
    pub folders: Vec<Folder>,
    /// The text of `change_ignore.json` beside the spec, if it is there.
    pub change_ignore: Option<&'a str>,
}

/// A folder that may be an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// With `/` between its parts.
    pub path: String,
    /// Whether a file in it begins with `Dockerfile`.
    pub has_dockerfile: bool,
}

/// A stack before its checks.
pub struct Draft {
    pub stack: Stack,
    /// `root:` of the older forms.
    pub roots: Vec<At<String>>,
}

/// Reads a spec of any generation.
///
/// Errors: everything that is wrong, with places, in the order of the file.
pub fn parse(source: &Source<'_>) -> Result<Stack, Diagnostics> {
    let node = yaml::parse(source.file, source.text.as_bytes())?;
    let mut findings = Findings::default();
    let path = RepoPath::from_root(source.file).unwrap_or_else(RepoPath::root);
    let mut draft =
        Draft { stack: empty(source.file, path.parent().unwrap_or_else(RepoPath::root)), roots: Vec::new() };
    let fields = Fields::of(&node, "the spec", &mut findings);
    let current = fields.has("version");
    if let Some(field) = ["bases", "change_policy", "build_args"].into_iter().find(|name| !current && fields.has(name))
    {
        findings.error(
            Diagnostic::error(format!(
                "the spec has no version, but the field `{field}`, which older forms do not know"
            ))
            .at(node.place.clone())
            .help("write `version: 1` at the top"),
        );
    }
    if current || !findings.errors.is_empty() {
        current::read(fields, &mut draft, &mut findings);
    } else {
        legacy::read(fields, &mut draft, &mut findings);
        legacy::warn_of_contained_names(&draft.stack, &mut findings);
    }
    if let Some(text) = source.change_ignore {
        let file = path.parent().unwrap_or_else(RepoPath::root);
        let file = RepoPath::new(&file, "change_ignore.json").unwrap_or(file);
        legacy::change_ignore(&file.lossy(), text, &mut draft.stack.change, &mut findings);
    }
    if draft.stack.plans.is_empty() {
        draft.stack.plans.push(Plan::only(None, Place::file(source.file)));
    }
    check::check(&mut draft, &source.folders, &mut findings);
    finish(draft.stack, findings)
}

/// The stack with its warnings, or all errors and behind them the warnings.
pub fn finish(mut stack: Stack, mut findings: Findings) -> Result<Stack, Diagnostics> {
    let place = |diagnostic: &Diagnostic| diagnostic.places.first().map(|(place, _)| (place.line, place.column));
    findings.warnings.sort_by_key(place);
    if findings.errors.is_empty() {
        stack.warnings = findings.warnings;
        return Ok(stack);
    }
    findings.errors.sort_by_key(place);
    findings.errors.append(&mut findings.warnings);
    Err(Diagnostics(findings.errors))
}

/// A stack with nothing in it.
pub fn empty(file: &str, dir: RepoPath) -> Stack {
    Stack {
        file: file.into(),
        dir,
        form: Form::Current,
        images: Vec::new(),
        plans: Vec::new(),
        foreign: Vec::new(),
        bases: Vec::new(),
        build_args: Args::new(),
        info_cmds: Vec::new(),
        taggers: Vec::new(),
        change: ChangePolicy::default(),
        suffix: Suffix::default(),
        warnings: Vec::new(),
    }
}

pub fn no_images(place: &Place) -> Diagnostic {
    Diagnostic::error("the spec has no images")
        .at(place.clone())
        .help("add `images:` with one entry per folder that holds a Dockerfile")
}

/// The fields that an image has in every generation.
pub fn image(key: &Node, fields: &mut Fields<'_>, dir: &RepoPath, findings: &mut Findings) -> Image {
    let own = RepoPath::new(dir, key.key()).unwrap_or_else(|| dir.clone());
    let mut image = Image::new(key.key(), key.key(), own, key.place.clone());
    if let Some(text) = fields.text("image_name", findings) {
        image.image_name = text.value;
        image.image_name_place = text.place;
    }
    image.depend_on = fields
        .texts("depend_on", findings)
        .into_iter()
        .map(|text| At { value: text.value.as_str().into(), place: text.place })
        .collect();
    image.skip_plans = fields.texts("skip_plans", findings).into_iter().map(|name| name.value).collect();
    image.prune = fields.boolean("prune", false, findings);
    image.prepull = fields.boolean("prepull", true, findings);
    image
}
