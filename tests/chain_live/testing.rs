//! How images are tested: on this machine and inside, before the push and after it, side by side. Knows pytest by its
//! reports alone.

use std::process::Command;

use super::space::{Space, docker};

/// Makes `base` an image with Python and pytest: those of this machine, so that no registry is needed.
fn with_python(space: &Space) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/chain_live/python.py");
    let root = space.path("images/base/root");
    let copied = Command::new("/usr/bin/python3").arg(script).arg(&root).output().expect("Python");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    space.append(
        "images/base/Dockerfile.j2",
        "ENV PATH=/usr/bin\nCOPY root/ /\nCOPY workflow_tests/ /opt/workflow_tests/",
    );
}

const INSIDE: &str = "import os\n\n\ndef test_it_is_the_image():\n    assert open('/note/base.txt').read().startswith('note of base')\n    assert os.environ['TEST_IMAGE'].startswith('sha256:')\n";

#[test]
fn tests_run_inside_the_image_those_of_its_ancestors_too_and_workflow_tests_are_those_in_it() {
    let space = Space::new("inside");
    space.write("images/base/workflow_tests/test_workflow.py", INSIDE);
    with_python(&space);
    space.replace(
        "tasks.yaml",
        "image_test: { image: \"{{ image.name }}\" }",
        "image_test: { image: \"{{ image.name }}\", where: container }",
    );
    space.append(
        "tasks.yaml",
        "  workflow:\n    for_each: image\n    actions: [{ image_workflow: \"{{ image.name }}\" }]",
    );
    space.write("images/base/test/test_base.py", INSIDE);
    space.write(
        "images/leaf/test/test_leaf.py",
        "def test_leaf():\n    assert open('/note/leaf.txt').read() == 'other'\n",
    );
    let run = space.run(&["test:mid", "test:leaf", "workflow:base", "workflow:leaf"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    let outcomes = run.outcomes();
    assert_eq!((outcomes["test:mid"], outcomes["test:leaf"], outcomes["workflow:base"]), ("ran", "failed", "ran"));
    let report = space.read("artifacts/mid/tests.default.xml");
    assert!(report.contains(r#"tests="3""#) && report.contains(r#"failures="0""#), "{report}");
    let report = space.read("artifacts/leaf/tests.default.xml");
    assert!(report.contains(r#"failures="1""#) && report.contains("test_it_is_the_image"), "{report}");
    assert!(space.read("artifacts/base/workflow.default.xml").contains(r#"tests="1""#));
    assert!(space.read("logs/base.workflow-tests.log").contains("1 passed"));
    assert!(!space.path("artifacts/leaf/workflow.default.xml").exists(), "it has no such tests");

    space.write("images/leaf/test/test_leaf.py", "def test_leaf():\n    assert open('/note/leaf.txt').read()\n");
    let again = space.run(&["test:mid", "test:leaf", "workflow:base"]).fine();
    assert_eq!(again.started(), ["test:leaf"], "the others are known for this key and these files");
    let left = docker(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={}", space.id("base"))]);
    assert_eq!(left, "", "no container is left");
}

#[test]
fn an_image_without_pytest_says_so() {
    let space = Space::new("nopytest");
    space.replace(
        "tasks.yaml",
        "image_test: { image: \"{{ image.name }}\" }",
        "image_test: { image: \"{{ image.name }}\", where: container }",
    );
    let run = space.run(&["test:base"]);
    assert_eq!(run.code, 2, "{}", run.stdout);
    assert_eq!(run.problem("test:base"), "image `base` has no pytest, so no test can run inside");
}

#[test]
fn integration_tests_run_when_the_spec_says_and_have_their_own_report_and_log() {
    let space = Space::new("integration");
    space.replace("images/spec.yml", "/mid,", "/mid, integration_tests: before_push,");
    space.replace("images/spec.yml", "/side,", "/side, integration_tests: after_push,");
    for image in ["mid", "side", "leaf"] {
        let text = format!(
            "def test_integration_of_{image}():\n    assert {}\n",
            if image == "mid" { "False" } else { "True" }
        );
        space.write(&format!("images/{image}/integration_tests/test_{image}.py"), &text);
    }
    space.append(
        "tasks.yaml",
        "  integration:\n    for_each: image\n    actions: [{ image_integration: \"{{ image.name }}\" }]",
    );
    // Files of equal names in two folders, and no test at all.
    space.write("images/side/test/test_base.py", "def test_of_side():\n    pass\n");
    space.write("images/base/test/test_base.py", "");
    space.write("tests/by_image/base/test_by_image.py", "def test_of_all_that_stand_on_base():\n    pass\n");
    let run = space.run(&["build-stack", "integration"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    let outcomes = run.outcomes();
    assert_eq!(outcomes["test:mid"], "failed");
    assert_eq!(run.problem("test:mid"), "integration tests of image `mid` failed in plan `default`");
    assert_eq!((outcomes["test:leaf"], outcomes["test:side"], outcomes["integration:side"]), ("ran", "ran", "ran"));
    assert!(space.read("artifacts/mid/tests.default.xml").contains(r#"failures="0""#));
    assert!(space.read("artifacts/mid/integration.default.xml").contains(r#"failures="1""#));
    assert!(space.read("logs/mid.integration-tests.log").contains("test_integration_of_mid"));
    assert!(!space.read("logs/mid.basic-tests.log").contains("test_integration_of_mid"), "each has its own");
    assert!(space.read("artifacts/side/tests.default.xml").contains("test_of_all_that_stand_on_base"));
    assert!(space.read("artifacts/side/integration.default.xml").contains("test_integration_of_side"));
    assert!(!space.path("artifacts/leaf/integration.default.xml").exists(), "the spec does not want them");
    let result = space.read(&format!("artifacts/{}-mid-t-dev.yaml", space.prefix));
    assert!(result.contains("integration_tests: Failed integration tests"), "{result}");
    assert!(result.contains("basic_tests: Passed basic tests"), "{result}");
}

#[test]
fn tests_side_by_side_are_given_ports_of_their_own() {
    let space = Space::new("ports");
    let test = "import os, socket, time\n\n\ndef test_port():\n    with socket.socket() as here:\n        here.bind(('127.0.0.1', int(os.environ['TEST_PORT'])))\n        here.listen()\n        time.sleep(1)\n";
    space.write("images/base/test/test_base.py", test);
    space.write("images/mid/test/test_mid.py", "");
    let run = space.run(&["-n", "4", "build-stack"]).fine();
    assert_eq!(run.outcomes()["test:leaf"], "ran");
}

#[test]
fn an_image_that_the_spec_prunes_goes_and_no_other() {
    let space = Space::new("prune");
    space.replace("images/spec.yml", "/side,", "/side, prune: true,");
    space.append("tasks.yaml", "  prune:\n    for_each: image\n    task_dep: [\"test:{{ image.name }}\"]\n    actions: [{ image_prune: \"{{ image.name }}\" }]");
    space.run(&["prune"]).fine();
    assert_eq!(space.id("side"), "");
    for image in ["base", "mid", "leaf"] {
        assert_ne!(space.id(image), "", "{image}");
    }
}

#[test]
fn old_images_are_cleaned_by_the_rules_and_first_shown_with_their_bytes() {
    let space = Space::new("clean");
    let mut ids = Vec::new();
    for round in 0..3 {
        space.append("images/leaf/note.txt", &format!("round {round}"));
        space.run(&["build:leaf"]).fine();
        ids.push(space.id("leaf"));
    }
    let held = || -> Vec<bool> {
        ids.iter().map(|id| !docker(&["image", "inspect", "--format={{.Id}}", id]).is_empty()).collect()
    };
    let shown = space.say(&["clean", "--images", "--keep", "1", "--dry-run"]).fine();
    assert_eq!(shown.stdout.lines().filter(|line| line.starts_with("would remove ")).count(), 2, "{}", shown.stdout);
    let last = shown.stdout.lines().last().unwrap();
    assert!(last.ends_with(" would be freed by 2 images, 3 kept"), "{last}");
    assert_eq!(held(), [true; 3], "a dry run removes nothing");

    // What was promoted stays, however old.
    let key = docker(&["image", "inspect", "--format={{index .Config.Labels \"dev.xtask.key\"}}", &ids[0]]);
    let line = format!(
        r#"{{"v":1,"id":"1","time":"2026-01-01T00:00:00Z","who":"test","tool":"test","action":"promote","state":"done","moves":[{{"image":"leaf","name":"h/leaf","from":"a","to":"stable","old":null,"new":null,"key":"{key}"}}]}}"#
    );
    space.write("artifacts/promotions.jsonl", &format!("{line}\n"));
    space.say(&["clean", "--images", "--keep", "1"]).fine();
    assert_eq!(held(), [true, false, true]);
    for image in ["base", "mid"] {
        assert_ne!(space.id(image), "", "{image}: the others stand on it");
    }
    std::fs::remove_file(space.path("artifacts/promotions.jsonl")).unwrap();
    space.say(&["clean", "--images", "--keep", "1"]).fine();
    assert_eq!(held(), [false, false, true]);
    assert_eq!(space.run(&["build:leaf"]).fine().started(), [""; 0], "and what is kept is up to date");
}
