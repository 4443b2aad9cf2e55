//! The options of `stable`, with the registry's own answers as the witness. Knows registries only by HTTP and by disk.

use super::publish::Scene;
use super::space::IMAGES;

#[test]
fn a_set_is_shown_moved_turned_back_and_made_the_global_one() {
    let scene = Scene::new("stable");
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    let one = scene.all("1.0.0");
    let disk = scene.disk();
    let shown = scene.space.run(&["stable", "--from", "1.0.0", "--dry-run"]).fine();
    assert!(shown.stdout.contains("/leaf:t-stable: nothing → "), "{}", shown.stdout);
    assert_eq!(scene.disk(), disk, "nothing is written");
    scene.space.run(&["stable", "--from", "1.0.0"]).fine();
    assert_eq!(scene.all("t-stable"), one);

    scene.space.append("images/mid/note.txt", "another line");
    scene.space.run(&["push", "--version", "1.1.0"]).fine();
    let two = scene.all("1.1.0");
    // `leaf` is built on the new `mid`, and the stable `mid` is the old one.
    for alone in ["leaf", "mid"] {
        let refused = scene.space.run(&["stable", "--from", "1.1.0", "--image", alone]);
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        assert!(refused.problem("stable").contains("was built on another `mid (default)`"), "{}", refused.stdout);
    }
    assert_eq!(scene.all("t-stable"), one, "the whole set or nothing");
    let both = ["stable", "--from", "1.1.0", "--image", "mid", "--image", "leaf"];
    scene.space.run(&both).fine();
    assert_eq!(scene.all("t-stable"), two, "the others are the same in both versions");
    scene.space.run(&["stable", "--rollback"]).fine();
    assert_eq!(scene.all("t-stable"), one);
    scene.space.run(&both).fine();
    scene.space.run(&["stable", "--global"]).fine();
    assert_eq!(scene.all("stable"), two, "the tags without a prefix");
    assert_eq!(scene.all("t-stable"), two);
    let log = scene.space.read("artifacts/promotions.jsonl");
    assert_eq!(log.lines().count(), 10, "a beginning and an end each: {log}");
}

#[test]
fn what_another_tool_pushed_is_untested_until_it_is_pushed_here() {
    let scene = Scene::new("foreign");
    scene.space.build();
    for image in IMAGES {
        scene.push_by_hand(image, "by-hand");
    }
    let refused = scene.space.run(&["stable", "--from", "by-hand"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.problem("stable").ends_with(":by-hand` is untested"), "{}", refused.stdout);
    assert!(IMAGES.iter().all(|image| scene.manifest(image, "t-stable").is_none()), "nothing moved");
    // The same content, pushed after its tests: the record is about content, not about tags.
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    scene.space.run(&["stable", "--from", "by-hand"]).fine();
    assert_eq!(scene.all("t-stable"), scene.all("1.0.0"));
}

#[test]
fn wrong_choices_are_told_before_anything_is_asked() {
    let scene = Scene::new("choices");
    for (words, problem) in [
        (["--image", "laef"], "image `laef` is not in `images/spec.yml`"),
        (["--plan", "other"], "plan `other` is not in `images/spec.yml`"),
        (["--rollback", "--global"], "task `stable` takes no `global` with `rollback`"),
    ] {
        let run = scene.space.run(&[&["stable"], &words[..]].concat());
        assert_eq!(run.problem("stable"), problem);
    }
}
