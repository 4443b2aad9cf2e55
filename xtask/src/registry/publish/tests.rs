//! Decisions of a push, without any registry.

use super::*;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn wanted(image: &str, tags: &[(&str, bool)]) -> Wanted {
    Wanted {
        image: image.to_owned(),
        name: format!("hub.example.org/lab/{image}"),
        identity: Identity::Local(digest(image)),
        anchor: "k-abc".to_owned(),
        labels: BTreeMap::new(),
        tested: None,
        tags: tags.iter().map(|(tag, immutable)| WantedTag { tag: (*tag).to_owned(), immutable: *immutable }).collect(),
    }
}

fn observed(content: Option<&str>, tags: &[(&str, &str)]) -> Observed {
    Observed {
        base: content.map(digest),
        content: content.map(digest),
        recorded: false,
        tags: tags.iter().map(|(tag, of)| ((*tag).to_owned(), digest(of))).collect(),
    }
}

const TAGS: &[(&str, bool)] = &[("latest", false), ("1.0.0", true)];

fn shown(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.to_string().replace("hub.example.org/lab/", "")).collect()
}

#[test]
fn content_comes_first_then_versions_then_moving_tags_parents_first() {
    let plan =
        plan_push(&[wanted("base", TAGS), wanted("leaf", TAGS)], &[observed(None, &[]), observed(None, &[])]).unwrap();
    assert_eq!(
        shown(&plan),
        [
            "upload base:k-abc",
            "upload leaf:k-abc",
            "tag    base:1.0.0 → new content",
            "tag    leaf:1.0.0 → new content",
            "tag    base:latest → new content",
            "tag    leaf:latest → new content",
        ]
    );
}

#[test]
fn what_is_there_is_not_uploaded_and_what_points_right_is_done() {
    let there = observed(Some("m"), &[("1.0.0", "m"), ("latest", "old")]);
    let plan = plan_push(&[wanted("base", TAGS)], &[there]).unwrap();
    let (old, new) = (digest("old").short(), digest("m").short());
    assert_eq!(shown(&plan), [format!("move   base:latest: {old} → {new}"), format!("done   base:1.0.0 = {new}")]);
    assert!(!plan.is_done());
    let all = observed(Some("m"), &[("1.0.0", "m"), ("latest", "m")]);
    assert!(plan_push(&[wanted("base", TAGS)], &[all]).unwrap().is_done());
}

#[test]
fn every_taken_version_is_listed_and_nothing_is_planned() {
    let taken = || observed(None, &[("1.0.0", "other")]);
    let images = [wanted("base", TAGS), wanted("mid", TAGS), wanted("leaf", TAGS)];
    let refused = plan_push(&images, &[taken(), observed(None, &[]), taken()]).unwrap_err();
    let text: Vec<String> = refused.iter().map(|one| one.message.clone()).collect();
    assert_eq!(
        text,
        [
            "`hub.example.org/lab/base:1.0.0` exists with other content, and a version never moves",
            "`hub.example.org/lab/leaf:1.0.0` exists with other content, and a version never moves"
        ]
    );
}

#[test]
fn two_images_cannot_want_the_same_tag() {
    let mut other = wanted("twin", TAGS);
    other.name = "hub.example.org/lab/base".to_owned();
    let refused = plan_push(&[wanted("base", TAGS), other], &[observed(None, &[]), observed(None, &[])]).unwrap_err();
    assert_eq!(refused.len(), 2);
    assert_eq!(refused[0].message, "`hub.example.org/lab/base:latest` is wanted by `base` and `twin`");
}

#[test]
fn a_plan_survives_json() {
    let plan = plan_push(&[wanted("base", TAGS)], &[observed(None, &[("latest", "old")])]).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.contains(&format!("\"old\":\"{}\"", digest("old"))), "{text}");
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}
