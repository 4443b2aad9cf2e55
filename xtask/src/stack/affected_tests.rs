//! A small stack, file lists given by hand.

use super::*;
use crate::model::Place;
use crate::stack::graph::{Mention, resolve};
use crate::stack::spec::{Folder, Source, parse};

/// base -> mid -> leaf, base -> side, and alone.
fn stack(change_policy: &str) -> (Stack, Graph) {
    let edges =
        [("base", "debian"), ("mid", "lab/base"), ("leaf", "lab/mid"), ("side", "lab/base"), ("alone", "debian")];
    let images: String = edges.iter().map(|(key, _)| format!("  {key}: {{image_name: lab/{key}}}\n")).collect();
    let text = format!("version: 1\nimages:\n{images}change_policy: {change_policy}\n");
    let folders = edges.iter().map(|(key, _)| Folder { path: (*key).to_owned(), has_dockerfile: true }).collect();
    let stack = parse(&Source { file: "images/spec.yml", text: &text, folders, change_ignore: None }).unwrap();
    let from = |image: &crate::stack::Image| {
        let (_, parent) = edges.iter().find(|(key, _)| **key == *image.key).unwrap();
        vec![Mention { reference: (*parent).to_owned(), place: Place::file("Dockerfile") }]
    };
    resolve(stack, None, |image, _| Ok(from(image))).unwrap()
}

fn change(files: &[&str]) -> Change {
    Change { files: files.iter().map(|file| RepoPath::from_root(file).unwrap()).collect(), ..Change::default() }
}

/// One line per image to build and per test to run.
fn shown(policy: &str, change: &Change) -> String {
    let (stack, graph) = stack(policy);
    let found = affected(&stack, &graph, change, &|_, file| file.lossy().ends_with("README.md").then_some(false));
    let build = found.images.keys().map(|at| found.chain(&stack, *at).join(" -> "));
    let only_tests = found.tests.iter().filter(|(_, why)| **why != WhyTest::Built);
    let tests = only_tests.map(|(at, _)| found.test_chain(&stack, *at).join(" -> "));
    build.chain(tests).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_file_concerns_its_image_and_all_below() {
    insta::assert_snapshot!(shown("{}", &change(&["images/mid/with space.txt", "images/alone/a", "docs/x"])), @r"
    images/mid/with space.txt -> mid
    images/mid/with space.txt -> mid -> leaf
    images/alone/a -> alone
    ");
    assert_eq!(shown("{}", &change(&["images/midd/x/y", "docs/images/mid/x", "images"])), "");
    assert_eq!(shown("{}", &change(&[])), "");
}

#[test]
fn a_file_that_no_copy_reaches_concerns_nothing() {
    assert_eq!(shown("{}", &change(&["images/base/README.md", "images/base/manual_tests/a.py"])), "");
}

#[test]
fn test_files_concern_tests_only_and_those_of_descendants() {
    insta::assert_snapshot!(shown("{}", &change(&["images/mid/test/test_a.py"])), @r"
    images/mid/test/test_a.py -> tests of mid
    images/mid/test/test_a.py -> tests of leaf
    ");
    insta::assert_snapshot!(shown("{}", &change(&["images/tests_common/test_b.py", "images/side/Dockerfile"])), @r"
    images/side/Dockerfile -> side
    images/tests_common/test_b.py -> tests of base
    images/tests_common/test_b.py -> tests of mid
    images/tests_common/test_b.py -> tests of leaf
    images/tests_common/test_b.py -> tests of alone
    ");
}

#[test]
fn pipeline_files_and_shared_templates_concern_everything() {
    let all = |text: &str| ["base", "mid", "leaf", "side", "alone"].map(|key| format!("{text} -> {key}")).join("\n");
    assert_eq!(shown("{}", &change(&["images/spec.yml"])), all("images/spec.yml (build_all `spec.yml`)"));
    assert_eq!(shown("{}", &change(&["images/macros.j2"])), all("images/macros.j2 (shared by all images)"));
    let policy = "{build_all: [\"ci/**\", Makefile]}";
    assert_eq!(shown(policy, &change(&["ci/a/b.sh"])), all("ci/a/b.sh (build_all `ci/**`)"));
    assert_eq!(shown(policy, &change(&["Makefile"])), all("Makefile"));
    assert_eq!(shown(policy, &change(&["cix/a", "docs/Makefile"])), "");
}

#[test]
fn ignored_files_concern_nothing() {
    let policy = "{ignore: [mid, \"**/*.md\", \"images/*/notes\"]}";
    assert_eq!(shown(policy, &change(&["images/mid/a", "images/side/a.md", "images/base/notes/x/y", "a.md"])), "");
    assert_eq!(shown(policy, &change(&["images/leaf/amd"])), "images/leaf/amd -> leaf");
}

#[test]
fn policies_rebuild_everything() {
    let first = |policy: &str, change: &Change| shown(policy, change).lines().next().unwrap_or_default().to_owned();
    let with = |message: &str, branch: &str, first_run: bool| Change {
        messages: vec![message.to_owned()],
        branch: Some(branch.to_owned()),
        first_run,
        ..Change::default()
    };
    assert_eq!(
        first("{}", &with("Fix it\n\nFull ReBuild please", "x", false)),
        "`full rebuild` in a commit message -> base"
    );
    assert_eq!(first("{full_rebuild_message: null}", &with("full rebuild", "x", false)), "");
    let policy = "{full_rebuild_branches: [main], full_rebuild_on_first_run: true}";
    assert_eq!(first(policy, &with("", "main", false)), "everything is built on branch `main` -> base");
    assert_eq!(first(policy, &with("", "maintenance", false)), "");
    assert_eq!(first(policy, &with("", "topic", true)), "first run of branch `topic` -> base");
    assert_eq!(first("{}", &with("", "topic", true)), "");
}

#[test]
fn every_file_is_told_with_its_meaning() {
    let (stack, graph) = stack("{ignore: [alone]}");
    let files = ["images/mid/a", "images/alone/x", "docs/x", "images/mid/test/t.py", "images/tests_common/t.py"];
    let found = affected(&stack, &graph, &change(&files), &|_, _| None);
    let texts: Vec<String> = found.files.iter().map(|(_, effect)| effect.to_string()).collect();
    assert_eq!(texts, ["its image", "ignored by `alone`", "no image", "tests of its image", "tests of all images"]);
}

#[test]
fn a_random_edit_concerns_what_an_independent_walk_finds() {
    use proptest::prelude::*;
    let (stack, graph) = stack("{}");
    let keys: Vec<String> = stack.images.iter().map(|image| image.key.to_string()).collect();
    proptest!(|(picked in proptest::collection::vec(0usize..5, 0..4))| {
        let files: Vec<String> = picked.iter().map(|at| format!("images/{}/file", keys[*at])).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let found = affected(&stack, &graph, &change(&files), &|_, _| None);
        // The oracle: an image is built if it or one of the images above it was picked.
        let above = |key: &str| match key { "mid" | "side" => vec!["base"], "leaf" => vec!["mid", "base"], _ => vec![] };
        let hit = |key: &str| picked.iter().any(|at| keys[*at] == key || above(key).contains(&keys[*at].as_str()));
        let wanted: Vec<usize> = (0..keys.len()).filter(|at| hit(&keys[*at])).collect();
        prop_assert_eq!(found.images.keys().copied().collect::<Vec<_>>(), wanted);
    });
}
