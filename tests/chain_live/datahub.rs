//! Tests of images as datahub's stacks have them: a conftest of that interface, with the Docker SDK of Python and
//! `TEST_IMAGE`; images that are tested elsewhere. Rows D83, D84 and D90.

use std::path::Path;

use super::publish::Scene;
use super::space::{Space, docker};

/// Where Debian puts packages of Python.
const PACKAGES: &str = "/usr/lib/python3/dist-packages";

/// The SDK and what it needs, and nothing else of this machine: another pytest than that of the SDK's Python may run.
fn sdk(space: &Space) -> String {
    let folder = space.path("sdk");
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in
        ["docker", "requests", "urllib3", "idna", "chardet", "charset_normalizer", "certifi", "websocket", "six.py"]
    {
        let from = Path::new(PACKAGES).join(name);
        if from.exists() {
            std::os::unix::fs::symlink(from, folder.join(name)).expect("a link");
        }
    }
    assert!(folder.join("docker").exists(), "python3-docker is installed");
    folder.to_string_lossy().into_owned()
}

#[test]
fn d83_a_conftest_of_datahub_works_unchanged() {
    let space = Space::new("conftest");
    space.write("images/conftest.py", include_str!("datahub_conftest.py"));
    space.write("images/base/test/test_base.py", include_str!("datahub_test.py"));
    let path = sdk(&space);
    space.replace("tasks.yaml", "  test:\n", &format!("  test:\n    env: {{ PYTHONPATH: \"{path}\" }}\n"));
    let run = space.run(&["test:base"]).fine();
    let report = space.read("artifacts/base/tests.default.xml");
    assert!(report.contains(r#"failures="0""#) && report.contains("test_what_is_in_it"), "{report}\n{}", run.stdout);
    assert!(report.contains("test_a_running_container") && report.contains(r#"errors="0""#), "{report}");
    let left = docker(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={}", space.id("base"))]);
    assert_eq!(left, "", "its fixture removes every container");
}

#[test]
fn d90_images_that_are_tested_elsewhere_are_pushed_under_a_tag_that_says_so() {
    let mut scene = Scene::new("untested");
    let list = format!("[\"leaf\", \"{}/side\"]", scene.space.prefix);
    scene.space.env.insert("PREPUSH_IMAGES".to_owned(), list);
    scene.space.run(&["push-untested"]).fine();
    let digest = |image: &str, tag: &str| scene.manifest(image, tag).map(|(digest, _)| digest);
    let tag = scene.tags("leaf").into_iter().find(|tag| tag.ends_with("-untested")).expect("it is there");
    assert_eq!(tag, "t-dev-untested");
    assert!(digest("side", &tag).is_some() && digest("base", &tag).is_none() && digest("mid", &tag).is_none());
    let listed = scene.space.read("artifacts/IMAGES_UNTESTED_PUSHED");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.lines().all(|line| line.ends_with(":t-dev-untested")), "{listed}");
    let named = docker(&["images", "--quiet", &format!("{}/*", scene.registry.host())]);
    assert_eq!(named, "", "the engine keeps no such name");
    // It is nobody's release: nothing untested becomes stable.
    let run = scene.space.run(&["stable", "--from", &tag]);
    assert_ne!(run.code, 0, "{}", run.stdout);
    scene.space.env.insert("PREPUSH_IMAGES".to_owned(), "leaf".to_owned());
    let run = scene.space.run(&["push-untested:leaf"]);
    assert_eq!(run.problem("push-untested:leaf"), "`PREPUSH_IMAGES` is no JSON list of images", "{}", run.stdout);
}
