//! What runs after a change, and what does not: rows 1 to 4 of the issue. Knows the program by its events alone.

use std::time::Duration;

use super::space::{IMAGES, Space, docker};

const PARENT_KEY: &str = "dev.xtask.parent-key";
const KEY: &str = "dev.xtask.key";

#[test]
fn everything_runs_once_and_a_second_run_runs_nothing() {
    let space = Space::new("again");
    let first = space.build();
    let mut all: Vec<String> = ["build", "render", "stage", "test"]
        .iter()
        .flat_map(|step| IMAGES.iter().map(move |image| format!("{step}:{image}")))
        .collect();
    all.sort_unstable();
    assert_eq!(first.started(), all);
    assert!(space.cat("leaf", "/note/base.txt").starts_with("note of base"), "the leaf stands on all of its parents");
    let ids = space.ids();

    let again: Vec<_> = (0..3).map(|_| space.build()).collect();
    for run in &again {
        assert_eq!(run.started(), [""; 0]);
        assert!(run.outcomes().values().all(|outcome| *outcome == "up-to-date"), "{:?}", run.outcomes());
    }
    assert_eq!(space.ids(), ids);
    let fastest = again.iter().map(|run| run.time).min().unwrap();
    assert!(fastest < Duration::from_secs(1), "{fastest:?} for nothing");
}

#[test]
fn a_changed_leaf_runs_its_chain_alone_and_a_changed_parent_its_descendants_on_the_new_parent() {
    let space = Space::new("edit");
    space.build();
    let old = space.ids();

    space.append("images/leaf/note.txt", "another line");
    let run = space.build();
    assert_eq!(run.started(), ["build:leaf", "stage:leaf", "test:leaf"], "a file of the context");
    assert!(space.cat("leaf", "/note/leaf.txt").ends_with("another line"));
    space.append("images/leaf/Dockerfile.j2", "ENV MORE=1");
    let run = space.build();
    assert_eq!(run.started(), ["build:leaf", "render:leaf", "stage:leaf", "test:leaf"], "a line of the template");
    let edited = space.ids();
    assert_ne!(edited["leaf"], old["leaf"]);
    for image in ["base", "mid", "side"] {
        assert_eq!(edited[image], old[image], "{image}");
    }

    space.append("images/mid/note.txt", "another line");
    let run = space.build();
    assert_eq!(run.started(), ["build:leaf", "build:mid", "stage:mid", "test:leaf", "test:mid"]);
    let new = space.ids();
    assert_ne!(new["mid"], edited["mid"]);
    assert_ne!(new["leaf"], edited["leaf"]);
    assert_eq!((&new["base"], &new["side"]), (&old["base"], &old["side"]));
    assert_eq!(space.label("leaf", PARENT_KEY), space.label("mid", KEY));
    assert!(space.layers("leaf").starts_with(&space.layers("mid")), "on the layers of the new parent");
    assert!(space.cat("leaf", "/note/mid.txt").ends_with("another line"));
}

#[test]
fn a_comment_in_a_template_ends_at_the_rendered_dockerfile() {
    let space = Space::new("comment");
    space.build();
    let ids = space.ids();
    space.replace("images/base/Dockerfile.j2", "{# A comment. #}", "{# Other words. #}");
    let run = space.build();
    assert_eq!(run.started(), ["render:base"]);
    assert_eq!(space.ids(), ids);
    assert_eq!(space.build().started(), [""; 0]);
}

#[test]
fn a_lost_state_costs_no_build() {
    let space = Space::new("lost");
    space.build();
    let ids = space.ids();
    let layers: Vec<_> = IMAGES.iter().map(|image| space.layers(image)).collect();
    std::fs::remove_dir_all(space.path(".xtask")).unwrap();
    let run = space.build();
    for image in IMAGES {
        assert!(!run.built(image), "{image} was built again");
    }
    assert_eq!(space.ids(), ids);
    assert_eq!(IMAGES.iter().map(|image| space.layers(image)).collect::<Vec<_>>(), layers);
    assert_eq!(space.build().started(), [""; 0], "and everything is known again");
}

#[test]
fn an_image_that_was_removed_from_the_engine_is_built_again() {
    let space = Space::new("removed");
    space.run(&["build:side"]).fine();
    let id = space.id("side");
    docker(&["rmi", "--force", &id]);
    let run = space.run(&["build:side"]).fine();
    assert_eq!(run.started(), ["build:side"]);
    let decided = run.of("task_decided").find(|one| one["task"] == "build:side").unwrap();
    assert_eq!(decided["reasons"][0]["kind"], "image_missing", "{decided}");
    assert!(space.cat("side", "/note/side.txt").starts_with("note of side"));
}

#[test]
fn a_child_is_built_on_the_planned_parent_whoever_bears_its_names() {
    let space = Space::new("moved");
    space.build();
    let ids = space.ids();
    let key = space.label("base", KEY);
    for tag in ["t", &format!("k-{}", &key[..12])] {
        docker(&["tag", &ids["side"], &format!("{}/base:{tag}", space.prefix)]);
    }
    assert_eq!(space.id("base"), ids["side"]);
    space.append("images/mid/note.txt", "another line");
    let run = space.run(&["build:leaf"]).fine();
    assert!(run.started().contains(&"build:base"), "{:?}", run.started());
    assert_eq!(space.label("base", KEY), key, "its names are its own again");
    assert!(space.layers("mid").starts_with(&space.layers("base")));
    assert_eq!(space.layers("leaf").len(), 4, "nothing of `side` is in it");
    assert!(space.cat("leaf", "/note/mid.txt").ends_with("another line"));
}

#[test]
fn many_images_are_asked_about_at_once_and_none_is_missed() {
    let space = Space::new("many");
    let plans: String = ('a'..='h').map(|plan| format!("  {plan}: {{ tag_prefix: {plan} }}\n")).collect();
    space.replace("images/spec.yml", "tag: { prefix: t }\n", &format!("plans:\n{plans}"));
    space.run(&["build"]).fine();
    assert_eq!(space.run(&["build"]).fine().started(), [""; 0]);
    let name = |image: &str, plan: &str| format!("{}/{image}:{plan}", space.prefix);
    docker(&["rmi", &name("mid", "c")]);
    assert_eq!(space.run(&["build"]).fine().started(), ["build:mid"], "one name of one plan is gone");
    docker(&["tag", &name("side", "h"), &name("leaf", "h")]);
    assert_eq!(space.run(&["build"]).fine().started(), ["build:leaf"], "one name means another image");
    assert_eq!(space.run(&["build"]).fine().started(), [""; 0]);
}
