//! Names that the stack gives: tags, full names, names of files. Pure text; knows nothing of registries.

use crate::model::image::is_tag;
use crate::model::{Diagnostic, Digest, ImageRef};

use super::types::{Args, Image, Plan, Stack};

/// The longest tag that registries accept.
const LONGEST_TAG: usize = 128;
/// Digits of a commit in tags.
pub const HASH_DIGITS: usize = 7;
/// Begins the tags that name content keys.
pub const KEY_TAG: &str = "k-";

/// The tag of an image in a plan: `<prefix>-<suffix>`, `latest` for a plan without a prefix, the variant in front.
///
/// `suffix` is the first 7 digits of the commit or the text of the branch (see `Stack::suffix`).
pub fn plan_tag(image: &Image, plan: &Plan, suffix: &str) -> String {
    with_variant(image, &plan_tag_without_variant(plan, suffix))
}

fn plan_tag_without_variant(plan: &Plan, suffix: &str) -> String {
    match &plan.tag_prefix {
        Some(prefix) => format!("{prefix}-{suffix}"),
        None => "latest".to_owned(),
    }
}

/// The tag that is moved when the set is declared stable: `<prefix>-stable`, or `stable`.
pub fn stable_tag(image: &Image, plan: &Plan) -> String {
    let postfix = &plan.stable_postfix;
    let tag = match &plan.tag_prefix {
        Some(prefix) => format!("{prefix}{postfix}"),
        None => postfix.trim_start_matches(['-', '.']).to_owned(),
    };
    with_variant(image, &tag)
}

/// The tag that names what was built last for a plan on this machine: the prefix, or `latest`, the variant in front.
/// What is made for another platform bears that, too.
pub fn moving_tag(image: &Image, plan: &Plan) -> String {
    let tag = with_variant(image, plan.tag_prefix.as_deref().unwrap_or("latest"));
    match &plan.foreign {
        Some(foreign) => platform_tag(&tag, &foreign.platform),
        None => tag,
    }
}

/// `k-` and 12 digits of the content key: finds an image again by what it is made of.
pub fn key_tag(key: &Digest) -> String {
    format!("{KEY_TAG}{}", key.short())
}

/// The tag of a release: `1.4.0` in the first plan, `<prefix>-1.4.0` in the others, which share the repository.
/// The `+` of build metadata, which no tag may have, becomes `_`.
pub fn version_tag(stack: &Stack, image: &Image, plan: &Plan, version: &semver::Version) -> String {
    with_variant(image, &in_plan(stack, plan, &version.to_string().replace('+', "_")))
}

/// `latest` in the first plan, `<prefix>-latest` in the others.
pub fn latest_tag(stack: &Stack, image: &Image, plan: &Plan) -> String {
    with_variant(image, &in_plan(stack, plan, "latest"))
}

/// Tags of what an image holds, as version tags are: as they are in the first plan, behind the prefix in the others.
///
/// Errors: one is too long with what is put in front.
pub fn in_plan_of(stack: &Stack, image: &Image, plan: &Plan, found: &[String]) -> Result<Vec<String>, Diagnostic> {
    found.iter().map(|tag| checked(with_variant(image, &in_plan(stack, plan, tag)))).collect()
}

fn in_plan(stack: &Stack, plan: &Plan, tag: &str) -> String {
    let is_first = stack.plans.first().is_none_or(|first| *first.name == *plan.spec_name());
    match &plan.tag_prefix {
        Some(prefix) if !is_first => format!("{prefix}-{tag}"),
        _ => tag.to_owned(),
    }
}

/// The tag under which one platform of an image waits to be joined: `1.4.0-linux-arm64`.
pub fn platform_tag(tag: &str, platform: &str) -> String {
    format!("{tag}-{}", platform.replace('/', "-"))
}

/// A tag of an image: its variant leads.
pub fn with_variant(image: &Image, tag: &str) -> String {
    match &image.variant {
        Some(variant) => format!("{variant}-{tag}"),
        None => tag.to_owned(),
    }
}

/// The build arg `BASE_TAG`, with which older Dockerfiles name the tag of their parent. An arg of the user wins.
pub fn base_tag_arg(plan: &Plan, suffix: &str) -> Args {
    Args::from([("BASE_TAG".to_owned(), plan_tag_without_variant(plan, suffix))])
}

/// A branch as text for tags: every character that no tag may have becomes `-`, also a leading dot; what is too long
/// is cut and ends with digits of the whole name, so that two long branches stay two tags.
///
/// Errors: an empty name; a name whose text is `stable`, which is the tag that people rely on.
pub fn branch_text(branch: &str) -> Result<String, Diagnostic> {
    const LONGEST: usize = 80;
    let fine = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let mut text: String = branch.trim().chars().map(|c| if fine(c) { c } else { '-' }).collect();
    if text.len() > LONGEST {
        text.truncate(LONGEST - 13);
        text = format!("{text}-{}", Digest::of(branch.as_bytes()).short());
    }
    let text = text.trim_start_matches(['.', '-']).to_owned();
    if text.is_empty() {
        return Err(Diagnostic::error(format!("branch `{branch}` has no name that a tag can have"))
            .help("give the branch a name with letters or digits"));
    }
    if text.eq_ignore_ascii_case("stable") {
        return Err(Diagnostic::error(format!("branch `{branch}` would overwrite the stable tags"))
            .help(format!("rename the branch: git branch -m {branch} {branch}-next")));
    }
    Ok(text)
}

/// Checks a tag that was put together from parts.
///
/// Errors: it is longer than 128 characters or has others than letters, digits, `_`, `.` and `-`.
pub fn checked(tag: String) -> Result<String, Diagnostic> {
    if is_tag(&tag) {
        return Ok(tag);
    }
    Err(Diagnostic::error(format!("`{tag}` cannot be a tag")).note(format!(
        "a tag has at most {LONGEST_TAG} letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`"
    )))
}

/// The repository of an image: `<registry>/<last part of its image_name>`, or the image_name where none is given.
pub fn full_name(registry: Option<&str>, image: &Image) -> String {
    let last = image.image_name.rsplit('/').next().unwrap_or(&image.image_name);
    match registry.map(|registry| registry.trim_end_matches('/')).filter(|registry| !registry.is_empty()) {
        Some(registry) => format!("{registry}/{last}"),
        None => image.image_name.clone(),
    }
}

/// The page that describes an image: its full tag with `/`, `:` and the dots of the registry's host as `-`.
pub fn manifest_file(reference: &str) -> String {
    format!("{}.md", manifest_page(reference))
}

/// The name of that page in a wiki: without `.md`.
pub fn manifest_page(reference: &str) -> String {
    let host = ImageRef::parse(reference).and_then(|parsed| parsed.host().map(str::len)).unwrap_or(0);
    let (host, rest) = reference.split_at(host);
    format!("{}{rest}", host.replace('.', "-")).replace(['/', ':', '@'], "-")
}

/// The file of an image's result, log or record: its full tag with `/` and `:` as `-`.
pub fn artifact_stem(reference: &str) -> String {
    reference.replace(['/', ':', '@'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Place, RepoPath};

    fn image() -> Image {
        Image::new("base", "registry.example.org/lab/base", RepoPath::root(), Place::file("spec.yml"))
    }

    fn plan(prefix: Option<&str>) -> Plan {
        Plan::only(prefix.map(str::to_owned), Place::file("spec.yml"))
    }

    #[test]
    fn tags_of_plans() {
        assert_eq!(plan_tag(&image(), &plan(Some("2026.4")), "abc1234"), "2026.4-abc1234");
        assert_eq!(plan_tag(&image(), &plan(None), "abc1234"), "latest");
        assert_eq!(stable_tag(&image(), &plan(Some("2026.4"))), "2026.4-stable");
        assert_eq!(stable_tag(&image(), &plan(None)), "stable");
        let cuda = Image { variant: Some("cuda12".to_owned()), ..image() };
        assert_eq!(plan_tag(&cuda, &plan(Some("2026.4")), "abc1234"), "cuda12-2026.4-abc1234");
        assert_eq!(base_tag_arg(&plan(Some("2026.4")), "abc1234")["BASE_TAG"], "2026.4-abc1234");
        assert_eq!(key_tag(&Digest::of(b"abc")), "k-ba7816bf8f01");
    }

    #[test]
    fn releases_of_two_plans_do_not_overwrite_each_other() {
        let mut stack = super::super::spec::empty("spec.yml", RepoPath::root());
        let mut next = plan(Some("next"));
        next.name = "next".into();
        stack.plans = vec![plan(Some("2026.4")), next];
        let version = semver::Version::parse("1.4.0+b.5").unwrap();
        let tags = |at: usize| {
            let plan = &stack.plans[at];
            [version_tag(&stack, &image(), plan, &version), latest_tag(&stack, &image(), plan)]
        };
        assert_eq!(tags(0), ["1.4.0_b.5", "latest"]);
        assert_eq!(tags(1), ["next-1.4.0_b.5", "next-latest"]);
    }

    #[test]
    fn branches_become_tag_text() {
        let text = |branch: &str| branch_text(branch).map_err(|error| error.message);
        assert_eq!(text("main").as_deref(), Ok("main"));
        assert_eq!(
            text("feature/a b~!@#$%^&*()+`=[]{}|\\;:'\",<>?c").as_deref(),
            Ok(format!("feature-a-b{}c", "-".repeat(28)).as_str())
        );
        assert_eq!(text(".hidden").as_deref(), Ok("hidden"));
        assert_eq!(text("ünder").as_deref(), Ok("nder"));
        assert_eq!(text("stable"), Err("branch `stable` would overwrite the stable tags".to_owned()));
        assert_eq!(text("///"), Err("branch `///` has no name that a tag can have".to_owned()));
        let (long, other) = (text(&"x".repeat(200)).unwrap(), text(&"x".repeat(201)).unwrap());
        assert_eq!((long.len(), other.len()), (80, 80));
        assert_ne!(long, other);
        assert!(checked(format!("2026.3-{long}")).is_ok());
        assert!(checked("x".repeat(129)).is_err());
    }

    #[test]
    fn names_of_repositories_and_files() {
        assert_eq!(full_name(None, &image()), "registry.example.org/lab/base");
        assert_eq!(full_name(Some("127.0.0.1:5000/lab"), &image()), "127.0.0.1:5000/lab/base");
        let reference = "registry.example.org/lab/base:2026.3-main";
        assert_eq!(manifest_file(reference), "registry-example-org-lab-base-2026.3-main.md");
        assert_eq!(manifest_file("127.0.0.1:5000/lab/base:2026.4"), "127-0-0-1-5000-lab-base-2026.4.md");
        assert_eq!(manifest_file("lab/base:2026.4"), "lab-base-2026.4.md");
        assert_eq!(artifact_stem(reference), "registry.example.org-lab-base-2026.3-main");
    }
}
