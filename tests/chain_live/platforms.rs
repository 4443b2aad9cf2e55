//! Images of several platforms: pushed one by one, joined in the registry. Knows nothing of emulation: nothing that is
//! foreign is run in a build.

use serde_json::Value;

use super::publish::Scene;
use super::space::IMAGES;

const INDEX: &str =
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json";

impl Scene {
    /// The platforms that an index lists.
    fn platforms(&self, image: &str, tag: &str) -> Vec<String> {
        let (status, _, body) = self.get_as(&format!("{image}/manifests/{tag}"), INDEX);
        assert_eq!(status, 200, "{body}");
        let index: Value = serde_json::from_str(&body).expect("an index");
        let listed = index["manifests"].as_array().unwrap_or_else(|| panic!("{body} is an index"));
        listed.iter().map(|one| one["platform"]["architecture"].as_str().expect("its platform").to_owned()).collect()
    }
}

#[test]
fn j09_platforms_are_joined_when_all_are_there_and_not_before() {
    let mut scene = Scene::new("platforms");
    scene.space.replace("images/spec.yml", "labels: {", "platforms: [linux/arm64, linux/amd64], labels: {");
    let other = |scene: &mut Scene, platform: &str| {
        scene.space.env.insert("XTASK_PLATFORM".to_owned(), platform.to_owned());
    };
    other(&mut scene, "linux/riscv64");
    let unknown = scene.space.say(&["list"]);
    assert_eq!(unknown.code, 3);
    assert!(
        unknown.stderr.contains("image `base` does not declare the platform `linux/riscv64`"),
        "{}",
        unknown.stderr
    );

    other(&mut scene, "linux/amd64");
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    assert!(scene.tags("leaf").contains(&"1.0.0-linux-amd64".to_owned()), "{:?}", scene.tags("leaf"));
    assert!(IMAGES.iter().all(|image| scene.manifest(image, "latest").is_none()), "never half of a version");
    let early = scene.space.run(&["join", "--version", "1.0.0"]);
    assert_eq!(early.code, 1);
    let problem = early.problem("join");
    assert!(problem.ends_with(":1.0.0` has no image for the declared platform `linux/arm64`"), "{problem}");
    assert!(IMAGES.iter().all(|image| scene.manifest(image, "1.0.0").is_none()), "nothing is written");

    other(&mut scene, "linux/arm64");
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    scene.space.run(&["join", "--version", "1.0.0"]).fine();
    for image in IMAGES {
        for tag in ["1.0.0", "latest"] {
            assert_eq!(scene.platforms(image, tag), ["amd64", "arm64"], "{image}:{tag}");
        }
    }
    let disk = scene.disk();
    let again = scene.space.run(&["join", "--version", "1.0.0"]).fine();
    assert!(again.stdout.contains("already joined"), "{}", again.stdout);
    assert_eq!(scene.disk(), disk);
    scene.space.run(&["stable", "--from", "1.0.0"]).fine();
    assert_eq!(scene.platforms("leaf", "t-stable"), ["amd64", "arm64"], "a whole index is promoted");
}
