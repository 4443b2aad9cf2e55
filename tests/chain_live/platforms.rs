//! Images of several platforms: pushed one by one or in one run, joined in the registry. Knows nothing of emulation:
//! nothing that is foreign is run in a build.

use serde_json::Value;

use super::program::Run;
use super::publish::Scene;
use super::space::{IMAGES, Space, docker};
use crate::support::proxy::{Proxy, Spoil};

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

const PLATFORMS: &str = "platforms: [linux/arm64, linux/amd64], labels: {";

/// A stack of two platforms without tests, as far as nothing of another platform can be run here.
fn without_tests(name: &str) -> Scene {
    let scene = Scene::new(name);
    scene.space.replace("images/spec.yml", "labels: {", PLATFORMS);
    for folder in IMAGES.map(|image| format!("images/{image}/test")).into_iter().chain(["images/tests_common".into()]) {
        std::fs::remove_dir_all(scene.space.path(&folder)).expect("the tests");
    }
    scene
}

fn says(run: &Run, text: &str) -> bool {
    run.of("task_output").any(|one| one["text"].as_str().is_some_and(|line| line.contains(text)))
}

impl Scene {
    /// The layers of an image in the registry.
    fn layers(&self, image: &str, tag: &str) -> Vec<Value> {
        let (_, manifest) = self.manifest(image, tag).unwrap_or_else(|| panic!("{image}:{tag} is there"));
        let manifest: Value = serde_json::from_str(&manifest).expect("a manifest");
        manifest["layers"].as_array().expect("layers").clone()
    }
}

#[test]
fn j09_one_run_builds_all_platforms_and_pushes_them_as_one() {
    let scene = without_tests("one-run");
    let run = scene.space.run(&["push", "--version", "1.0.0"]).fine();
    for image in IMAGES {
        for tag in ["1.0.0", "latest"] {
            assert_eq!(scene.platforms(image, tag), ["amd64", "arm64"], "{image}:{tag}: {}", run.stdout);
        }
        let name = format!("{}-linux-arm64", scene.space.name(image));
        assert_eq!(docker(&["image", "inspect", "--format={{.Architecture}}", &name]), "arm64", "{name}");
        assert_eq!(docker(&["image", "inspect", "--format={{.Architecture}}", &scene.space.name(image)]), "amd64");
    }
    let (base, leaf) = (scene.layers("base", "1.0.0-linux-arm64"), scene.layers("leaf", "1.0.0-linux-arm64"));
    assert_eq!(leaf[..base.len()], base[..], "a child is built on its parent of the same platform");
    let disk = scene.disk();
    let again = scene.space.run(&["push", "--version", "1.0.0"]).fine();
    assert_eq!(again.started(), [""; 0], "nothing is to do");
    assert_eq!(scene.disk(), disk);

    // By a plan, which says what will be joined.
    scene.space.append("images/mid/note.txt", "another line");
    let planned = scene.space.run(&["push", "--version", "1.1.0", "--plan", "out.json"]).fine();
    assert!(says(&planned, "/leaf:1.1.0, latest, t-dev of `linux/amd64` and `linux/arm64`"), "{}", planned.stdout);
    assert!(IMAGES.iter().all(|image| scene.manifest(image, "1.1.0-linux-arm64").is_none()), "nothing is sent");
    scene.space.run(&["push", "--apply", "out.json"]).fine();
    assert_eq!(scene.platforms("leaf", "1.1.0"), ["amd64", "arm64"]);
    assert_eq!(scene.platforms("leaf", "latest"), ["amd64", "arm64"]);
    scene.space.run(&["push-image", "-i", "side", "-v", "1.2.0"]).fine();
    assert_eq!(scene.platforms("side", "1.2.0"), ["amd64", "arm64"], "one image alone is joined, too");
}

#[test]
fn an_index_that_was_not_written_is_written_by_resume() {
    let mut scene = without_tests("join-resume");
    let proxy = Proxy::before(scene.registry.host());
    scene.space.env.insert("STACK_REGISTRY".to_owned(), proxy.host.clone());
    proxy.spoil_all(&["PUT ", "/mid/manifests/1.0.0 "], Spoil::Status(403));
    let cut = scene.space.run(&["push", "--version", "1.0.0"]);
    assert_eq!((cut.code, cut.outcomes()["push"]), (1, "failed"), "{}", cut.stdout);
    assert!(cut.stdout.contains("finish it: cargo xtask push --resume"), "{}", cut.stdout);
    assert_eq!(scene.platforms("base", "1.0.0"), ["amd64", "arm64"], "versions go parents first");
    assert!(IMAGES.iter().all(|image| scene.get_as(&format!("{image}/manifests/latest"), INDEX).0 == 404));
    proxy.behave();
    assert_eq!(scene.space.run(&["push", "--resume"]).fine().started(), ["push"]);
    for image in IMAGES {
        assert_eq!(scene.platforms(image, "1.0.0"), ["amd64", "arm64"]);
        assert_eq!(scene.platforms(image, "latest"), ["amd64", "arm64"]);
    }
    let again = scene.space.run(&["push", "--resume"]).fine();
    assert!(
        says(&again, "nothing was left") || again.stdout.contains("nothing was left to finish"),
        "{}",
        again.stdout
    );
}

#[test]
fn what_no_engine_here_can_build_or_test_is_left_to_other_machines_and_told() {
    // With tests, which nothing here can run for the other platform.
    let scene = Scene::new("no-runner");
    scene.space.replace("images/spec.yml", "labels: {", PLATFORMS);
    let run = scene.space.run(&["push", "--version", "1.0.0"]).fine();
    assert!(says(&run, "missing: base (linux/arm64): it was not tested"), "{}", run.stdout);
    assert!(says(&run, "when machines of the others have pushed: cargo xtask join"), "{}", run.stdout);
    assert!(scene.manifest("leaf", "1.0.0-linux-amd64").is_some());
    assert!(scene.manifest("leaf", "1.0.0-linux-arm64").is_none(), "nothing untested is pushed");
    assert!(IMAGES.iter().all(|image| scene.get_as(&format!("{image}/manifests/1.0.0"), INDEX).0 == 404));

    // A RUN of a parent keeps its children from being built; what is beside it is built.
    let scene = without_tests("no-emulator");
    scene.space.replace("images/spec.yml", "/mid, ", "/mid, network: none, ");
    scene.space.dockerfile("mid", "base", "COPY note.txt /note/mid.txt\nRUN [\"/tool\", \"say\", \"x\"]");
    let run = scene.space.run(&["push", "--version", "1.0.0"]).fine();
    assert!(
        says(&run, "image `mid` is not built for linux/arm64: `mid` has RUN, and no engine here"),
        "{}",
        run.stdout
    );
    assert!(
        says(&run, "missing: leaf (linux/arm64): its parent `mid` was not built for that platform"),
        "{}",
        run.stdout
    );
    assert!(scene.manifest("side", "1.0.0-linux-arm64").is_some());
    assert!(IMAGES.iter().all(|image| scene.get_as(&format!("{image}/manifests/1.0.0"), INDEX).0 == 404));
    let again = scene.space.run(&["push", "--version", "1.0.0"]).fine();
    assert_eq!(again.started(), [""; 0], "what cannot be done is not tried again and again");
}

#[test]
fn a_version_that_is_there_already_refuses_the_push_of_platforms_before_anything_is_sent() {
    let scene = without_tests("taken-index");
    scene.space.build();
    scene.push_by_hand("leaf", "1.0.0");
    let disk = scene.disk();
    let refused = scene.space.run(&["push", "--version", "1.0.0"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.problem("push").contains("/leaf:1.0.0` exists with other content"), "{}", refused.stdout);
    assert_eq!(scene.disk(), disk, "not even content was sent");
}

/// Another stack on the same engine, whose `base` is built on an image from outside, for two platforms.
fn built_on(registry: &str, name: &str) -> Space {
    let mut space = Space::new("on-outside");
    space.env.insert("STACK_REGISTRY".to_owned(), registry.to_owned());
    space.replace("images/spec.yml", "labels: {", PLATFORMS);
    space.write("images/base/Dockerfile.j2", &format!("FROM {name}\nCOPY note.txt /note/base.txt\n"));
    space.append("images/spec.yml", &format!("bases: {{ \"{name}\": {{ policy: pinned }} }}"));
    space.append("tasks.yaml", &format!("  os: {{ actions: [{{ base_image: {{ name: \"{name}\" }} }}] }}"));
    space
}

#[test]
fn a_base_from_outside_is_that_of_the_platform_or_the_platform_is_left_out() {
    let scene = without_tests("outside");
    scene.space.write(
        "images/base/Dockerfile.j2",
        "FROM scratch\nARG TARGETARCH\nCOPY tool /tool\nCOPY arch-$TARGETARCH.txt /arch\n",
    );
    for arch in ["amd64", "arm64"] {
        scene.space.write(&format!("images/base/arch-{arch}.txt"), &format!("{arch} of {}\n", scene.space.prefix));
    }
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    let layers = |name: &str| -> Vec<String> {
        let text = docker(&["image", "inspect", "--format={{json .RootFS.Layers}}", name]);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{name} has layers: {text}"))
    };
    let (own, other) = (scene.space.name("base"), format!("{}-linux-arm64", scene.space.name("base")));
    assert_ne!(layers(&own), layers(&other), "each has its own file");

    let space = built_on(scene.registry.host(), &format!("{}/base:1.0.0", scene.registry.host()));
    let run = space.run(&["build:base"]).fine();
    for (name, of) in [(space.name("base"), &own), (format!("{}-linux-arm64", space.name("base")), &other)] {
        assert_eq!(layers(&name)[..2], layers(of)[..], "{name}: {}", run.stdout);
    }
    assert_eq!(space.run(&["build:base"]).fine().started(), [""; 0]);

    scene.push_by_hand("side", "2.0.0");
    let space = built_on(scene.registry.host(), &format!("{}/side:2.0.0", scene.registry.host()));
    let run = space.run(&["build:base"]).fine();
    assert!(says(&run, "image `base` is not built for linux/arm64: base `"), "{}", run.stdout);
    assert!(says(&run, "is there for `linux/amd64` only"), "{}", run.stdout);
    assert_eq!(space.run(&["build:base"]).fine().started(), [""; 0], "what is settled is not tried again");
}
