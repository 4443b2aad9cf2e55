//! Tags that are made of what images say of themselves. Knows the registry by its answers.

use super::publish::Scene;

/// A stack whose `base` tells a version that its children tell, too, and whose `leaf` tells one more.
fn scene() -> Scene {
    let scene = Scene::new("taggers");
    let taggers = r#"taggers:
  tool: { command: "/tool say 'tool v1.2.3'", pattern: 'v((\d+)\.\d+)', tags: [tool-$1, tool-$2] }
  note: { command: "/tool cat /note/leaf.txt", tags: ["of-$0"] }
"#;
    scene.space.write("images/spec.yml", &(scene.space.read("images/spec.yml") + taggers));
    scene.space.replace("images/spec.yml", "/base, ", "/base, taggers: [tool], ");
    scene.space.replace("images/spec.yml", "/leaf, ", "/leaf, taggers: [note], ");
    scene
}

#[test]
fn j05_j06_images_are_pushed_under_tags_of_what_is_in_them_and_in_their_parents() {
    let scene = scene();
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    for image in ["base", "mid", "leaf", "side"] {
        let tags = scene.tags(image);
        for tag in ["1.0.0", "latest", "tool-1.2", "tool-1"] {
            assert!(tags.contains(&tag.to_owned()), "{image} has {tag}: {tags:?}");
        }
        assert_eq!(tags.contains(&"of-note".to_owned()), image == "leaf", "{tags:?}");
        assert_eq!(scene.manifest(image, "tool-1.2"), scene.manifest(image, "1.0.0"));
    }
    let written = std::fs::read_dir(scene.space.path("artifacts")).unwrap().flatten();
    let leaf = written
        .map(|entry| entry.file_name().into_string().unwrap())
        .find(|name| name.starts_with("tags-") && name.contains("leaf"));
    let lines = scene.space.read(&format!("artifacts/{}", leaf.expect("a file of tags")));
    let tags: Vec<&str> = lines.lines().filter_map(|line| line.rsplit(':').next()).collect();
    assert_eq!(tags, ["tool-1.2", "tool-1", "of-note"], "those of the ancestors come first");
    let again = scene.space.run(&["push", "--version", "1.0.0"]).fine();
    assert_eq!(again.started(), [""; 0], "nothing is to do");
}

#[test]
fn a_tagger_that_finds_nothing_stops_its_image_but_not_one_that_is_inherited() {
    let scene = scene();
    scene.space.replace("images/spec.yml", "/tool cat /note/leaf.txt", "/tool cat /nowhere");
    // The base has another tool than its child, which tells nothing that the pattern knows.
    scene.space.replace("images/spec.yml", "/tool say 'tool v1.2.3'", "/tool cat /note/base.txt");
    scene.space.replace("images/spec.yml", r"v((\d+)\.\d+)", "note of ((base))");
    scene.space.dockerfile("side", "base", "COPY note.txt /note/base.txt");
    let run = scene.space.run(&["push", "--version", "1.0.0"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    let problem = run.problem("manifest:leaf");
    assert!(problem.contains("tagger `note` cannot run `/tool cat /nowhere`"), "{problem}");
    assert_eq!(run.outcomes()["manifest:side"], "ran", "{}", run.stdout);
    assert!(scene.tags("leaf").is_empty(), "nothing is pushed");
    scene.space.replace("images/spec.yml", "taggers: [note]", "taggers: [nose]");
    let unknown = scene.space.say(&["list"]);
    assert_eq!(unknown.code, 3);
    assert!(unknown.stderr.contains("image `leaf` names unknown tagger `nose`"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("`note`"), "{}", unknown.stderr);
}
