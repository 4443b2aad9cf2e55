//! The push of a whole stack by one plan, the finishing of one that was cut short, and a release with a message, by the
//! program itself. Knows nothing of how content travels.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::publish::Scene;
use super::space::IMAGES;
use crate::support::proxy::{Proxy, Spoil};

#[test]
fn a_plan_is_written_first_and_applied_later_without_a_build() {
    let scene = Scene::new("plan");
    scene.commit();
    let planned = scene.space.run(&["push", "--version", "1.0.0", "--plan", "out.json"]).fine();
    assert_eq!(planned.outcomes()["push"], "ran");
    assert!(IMAGES.iter().all(|image| scene.tags(image).is_empty()), "nothing is sent");
    let plan: Value = serde_json::from_str(&scene.space.read("out.json")).expect("a plan");
    let steps: Vec<(&str, &str)> = plan["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| (step["step"].as_str().unwrap(), step["image"].as_str().unwrap()))
        .collect();
    let kinds: Vec<&str> = steps.iter().map(|(kind, _)| *kind).collect();
    let uploads: Vec<&str> = steps.iter().filter(|(kind, _)| *kind == "upload").map(|(_, image)| *image).collect();
    assert_eq!(uploads, IMAGES, "parents first");
    let first_tag = kinds.iter().position(|kind| *kind == "tag").expect("a tag");
    assert!(kinds[first_tag..].iter().all(|kind| *kind == "tag"), "content first: {kinds:?}");
    let ids = scene.space.ids();

    scene.space.append("images/base/note.txt", "changed after the plan");
    let applied = scene.space.run(&["push", "--apply", "out.json"]).fine();
    assert_eq!(applied.started(), ["push"], "nothing is built or tested");
    for image in IMAGES {
        let (_, manifest) = scene.manifest(image, "1.0.0").expect("it was pushed");
        assert!(manifest.contains(&ids[image]), "{image} is what was planned");
    }
    let disk = scene.disk();
    scene.space.run(&["push", "--apply", "out.json"]).fine();
    assert_eq!(scene.disk(), disk, "a second time nothing is sent");

    scene.space.run(&["push", "--version", "1.1.0"]).fine();
    let refused = scene.space.run(&["push", "--apply", "out.json"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.problem("push").ends_with("was moved since the plan was made"), "{}", refused.stdout);
    let both = scene.space.run(&["push", "--apply", "out.json", "--resume"]);
    assert_eq!(both.problem("push"), "task `push` takes one of `plan`, `apply` and `resume`");
    let none = scene.space.say(&["push"]);
    assert_eq!(none.code, 3);
    assert!(none.stderr.contains("needs option `--version`"), "{}", none.stderr);
}

#[test]
fn k10_a_push_that_was_refused_half_way_is_finished_by_resume() {
    let mut scene = Scene::new("resume");
    scene.commit();
    let proxy = Proxy::before(scene.registry.host());
    scene.space.env.insert("STACK_REGISTRY".to_owned(), proxy.host.clone());
    proxy.spoil_all(&["PUT ", "/mid/manifests/1.0.0"], Spoil::Status(403));
    let cut = scene.space.run(&["push", "--version", "1.0.0"]);
    assert_eq!((cut.code, cut.outcomes()["push"]), (1, "failed"), "{}", cut.stdout);
    assert!(cut.stdout.contains("finish it: cargo xtask push --resume"), "{}", cut.stdout);
    let there: Vec<bool> = IMAGES.iter().map(|image| scene.manifest(image, "1.0.0").is_some()).collect();
    assert_eq!(there, [true, false, false, false], "{IMAGES:?}: versions go parents first");
    for image in IMAGES {
        assert!(scene.tags(image).iter().any(|tag| tag.starts_with("k-")), "the content of {image} came first");
        assert_eq!(scene.manifest(image, "latest"), None, "{image}: what moves comes last");
    }
    let ids = scene.space.ids();

    // What is changed meanwhile, and does not even build, does not matter.
    scene.space.write("images/base/Dockerfile.j2", "FROM scratch\nCOPY missing /\n");
    proxy.behave();
    let resumed = scene.space.run(&["push", "--resume"]).fine();
    assert_eq!(resumed.started(), ["push"]);
    for image in IMAGES {
        let (digest, manifest) = scene.manifest(image, "1.0.0").expect("it was pushed");
        assert!(manifest.contains(&ids[image]), "{image} is what the push began with");
        assert_eq!(scene.manifest(image, "latest").expect("latest").0, digest);
    }
    let disk = scene.disk();
    let again = scene.space.run(&["push", "--resume"]).fine();
    assert!(again.stdout.contains("nothing was left to finish"), "{}", again.stdout);
    assert_eq!(scene.disk(), disk);
}

#[test]
fn a_version_that_is_taken_refuses_the_whole_push_before_anything_moves() {
    let scene = Scene::new("taken");
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    let disk = scene.disk();
    scene.space.append("images/side/note.txt", "another line");
    let refused = scene.space.run(&["push", "--version", "1.0.0"]);
    assert_eq!(refused.code, 1);
    assert!(refused.problem("push").contains("/side:1.0.0` exists with other content"), "{}", refused.stdout);
    assert_eq!(scene.disk(), disk, "not even content was sent");
}

#[test]
fn ackrep_a_release_of_one_image_has_a_message_and_commits_in_its_label() {
    let scene = Scene::new("release");
    let commit = scene.commit();
    let message = "it's \"new\"; $HOME\nsecond line";
    scene.space.build();
    let before = dockerfiles(&scene);
    let wrong = scene.space.say(&["push-image", "-i", "mit", "-v", "1.0.0", "-m", message]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.stderr.contains("is `mit`, which is no member of it"), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("`mid`"), "{}", wrong.stderr);

    scene.space.run(&["push-image", "-i", "mid", "-v", "1.0.0", "-m", message]).fine();
    let label = scene.label("mid", "1.0.0", "org.opencontainers.image.description");
    assert!(label.starts_with("mid:1.0.0. | Stack Version: "), "{label}");
    assert!(label.contains(&commit) && label.contains(", Begin | Message: "), "{label}");
    assert!(label.ends_with(message), "{label}");
    assert_eq!(scene.label("mid", "1.0.0", "dev.xtask.image"), "mid", "its own labels stay");
    let version = scene.manifest("mid", "1.0.0").expect("it was pushed");
    assert_eq!(scene.manifest("mid", "latest").expect("latest moved"), version);
    let key = scene.tags("mid").into_iter().find(|tag| tag.starts_with("k-")).expect("its content");
    let tested = scene.manifest("mid", &key).expect("its content").1;
    assert_eq!(layers(&version.1), layers(&tested), "the layers are those that were tested");
    assert_eq!(scene.tags("leaf"), [""; 0], "no other image but its parents");
    assert_eq!(dockerfiles(&scene), before, "no Dockerfile is changed");

    let disk = scene.disk();
    let again = scene.space.run(&["push-image", "-i", "mid", "-v", "1.0.0", "-m", message]).fine();
    assert_eq!(again.started(), [""; 0]);
    assert_eq!(scene.disk(), disk, "the same words give the same bytes");
    let other = scene.space.run(&["push-image", "-i", "mid", "-v", "1.0.0", "-m", "other words"]);
    assert_eq!((other.code, scene.disk() == disk), (1, true), "{}", other.stdout);

    // Alone: with what the last run built and tested.
    scene.space.append("images/base/note.txt", "not built yet");
    let alone = scene.space.run(&["-s", "push-image", "-i", "base", "-v", "2.0.0"]).fine();
    assert_eq!(alone.started(), ["push-image:base"]);
    let pushed = scene.manifest("base", "2.0.0").expect("it was pushed").1;
    assert!(pushed.contains(&scene.space.id("base")), "what was built last");
}

fn dockerfiles(scene: &Scene) -> BTreeMap<String, String> {
    IMAGES
        .iter()
        .map(|image| format!("images/{image}/Dockerfile.j2"))
        .map(|path| (path.clone(), scene.space.read(&path)))
        .collect()
}

fn layers(manifest: &str) -> Value {
    serde_json::from_str::<Value>(manifest).expect("a manifest")["layers"].clone()
}

impl Scene {
    /// A label of an image in the registry.
    pub fn label(&self, image: &str, tag: &str, name: &str) -> String {
        let (_, manifest) = self.manifest(image, tag).expect("the tag");
        let manifest: Value = serde_json::from_str(&manifest).expect("a manifest");
        let digest = manifest["config"]["digest"].as_str().expect("a config");
        let (status, _, config) = self.get(&format!("{image}/blobs/{digest}"));
        assert_eq!(status, 200);
        let config: Value = serde_json::from_str(&config).expect("a config");
        config["config"]["Labels"][name].as_str().unwrap_or_default().to_owned()
    }

    /// Pushes an image of the engine by hand: with another tool.
    pub fn push_by_hand(&self, image: &str, tag: &str) {
        let name = format!("{}/{image}:{tag}", self.registry.host());
        for words in [vec!["tag", &self.space.name(image), &name], vec!["push", "--quiet", &name], vec!["rmi", &name]] {
            let done = Command::new("docker").args(&words).output().expect("the docker command line");
            assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}
