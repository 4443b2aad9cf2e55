//! Builds where most of the stack is only in the registry: what is unchanged is not built again. Knows nothing of pushes.

use super::publish::Scene;
use super::space::{IMAGES, docker};
use crate::support::LABEL;

impl Scene {
    /// As on another machine: the engine has none of the images.
    fn wipe(&self) {
        let filter = format!("label={LABEL}={}", self.space.prefix);
        for id in docker(&["images", "--all", "--no-trunc", "--quiet", "--filter", &filter]).lines() {
            docker(&["rmi", "--force", id]);
        }
        assert_eq!(docker(&["images", "--all", "--quiet", "--filter", &filter]), "");
    }

    fn is_here(&self, image: &str) -> bool {
        !docker(&["images", "--quiet", &format!("{}/{image}", self.space.prefix)]).is_empty()
    }
}

#[test]
fn a_changed_child_is_built_on_its_published_parent_which_is_not_built() {
    let scene = Scene::new("partial");
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    let (ids, layers) = (scene.space.ids(), scene.space.layers("mid"));
    scene.wipe();

    let same = scene.space.run(&["build"]).fine();
    assert_eq!(same.started(), [""; 0], "everything is published");
    assert!(IMAGES.iter().all(|image| !scene.is_here(image)), "and is not even pulled");

    scene.space.append("images/leaf/note.txt", "changed");
    let run = scene.space.run(&["build:leaf"]).fine();
    assert!(run.built("leaf") && !run.built("mid") && !run.built("base"), "{}", run.stdout);
    assert_eq!(run.outcomes()["build:mid"], "up-to-date");
    assert!(run.stdout.contains("image `mid` is unchanged"), "{}", run.stdout);
    assert!(!scene.is_here("base") && !scene.is_here("side"), "what nobody needs is not pulled");
    let built = scene.space.layers("leaf");
    assert!(built.starts_with(&layers) && built.len() > layers.len(), "on exactly the published parent");
    let (_, manifest) = scene.manifest("mid", "1.0.0").expect("published");
    assert!(manifest.contains(&ids["mid"]));
    assert_eq!(scene.space.label("leaf", "org.opencontainers.image.base.digest"), ids["mid"]);

    // Tested and published like any other, although the state is lost: only what is needed is pulled.
    std::fs::remove_dir_all(scene.space.path(".xtask")).expect("the state");
    scene.wipe();
    let run = scene.space.run(&["push", "--version", "1.1.0"]).fine();
    assert!(run.built("leaf") && IMAGES.iter().filter(|image| run.built(image)).count() == 1, "{}", run.stdout);
    for image in ["base", "mid", "side"] {
        assert_eq!(scene.manifest(image, "1.1.0"), scene.manifest(image, "1.0.0"), "{image}");
    }
}

#[test]
fn a_registry_that_is_silent_or_lies_costs_a_build_and_nothing_else() {
    let mut scene = Scene::new("lies");
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    // Another image under the tag of the key, as after a push by hand.
    let key = scene.tags("base").into_iter().find(|tag| tag.starts_with("k-")).expect("its content");
    let name = format!("{}/base:{key}", scene.registry.host());
    docker(&["tag", &scene.space.name("side"), &name]);
    docker(&["push", "--quiet", &name]);
    docker(&["rmi", &name]);
    scene.wipe();
    let run = scene.space.run(&["build:side"]).fine();
    assert!(run.built("base"), "its tag has another image: {}", run.stdout);
    assert!(!run.built("side"), "which is published as it is");

    scene.wipe();
    scene.space.env.insert("STACK_REGISTRY".to_owned(), "127.0.0.1:1".to_owned());
    let run = scene.space.run(&["build:side"]).fine();
    assert!(run.built("base") && run.built("side"), "{}", run.stdout);
}
