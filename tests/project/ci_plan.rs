//! The stack as jobs of a CI: the committed workflow is made from it, and its jobs follow the FROM lines.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What the program says here, on stdout and on stderr.
fn say(words: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(words)
        .current_dir(root())
        .env_remove("XTASK_FILE")
        .output()
        .expect("the program");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{notes}");
    (String::from_utf8(output.stdout).expect("text"), notes)
}

fn ci_plan(words: &[&str]) -> String {
    say(&[&["ci-plan"], words].concat()).0
}

#[test]
fn the_committed_workflow_is_made_from_the_stack() {
    let kept = std::fs::read_to_string(root().join(".github/workflows/stack.yml")).expect("a workflow");
    let made = ci_plan(&["--format", "github", "--all"]);
    assert!(made == kept, "it is old: cargo xtask ci-plan --all > .github/workflows/stack.yml");
    let whole: Value = serde_yaml::from_str(&made).expect("YAML");
    let jobs = whole["jobs"].as_object().expect("jobs");
    assert_eq!(jobs.len(), 6, "{:?}", jobs.keys());
    assert_eq!(jobs["debian-base"]["needs"], serde_json::json!(["plan"]));
    let needs = serde_json::json!(["plan", "debian-base", "python-base", "base-notebook"]);
    assert_eq!(jobs["datascience-notebook"]["needs"], needs);
    let condition = jobs["r-notebook"]["if"].as_str().expect("a condition");
    assert!(condition.contains("fromJSON(needs.plan.outputs.images), 'r-notebook')"), "{condition}");
    let steps = jobs["r-notebook"]["steps"].as_array().expect("steps");
    assert!(
        steps.iter().any(|step| step["run"].as_str().is_some_and(|run| run == "cargo xtask --yes test:r-notebook"))
    );
    assert!(steps.iter().any(|step| step["env"]["IMAGES"] == "${{ needs.debian-base.outputs.images }}\n"));
}

#[test]
fn only_what_is_affected_is_planned() {
    let plan: Value =
        serde_json::from_str(&ci_plan(&["--format", "json", "--files", "images/base-notebook/healthcheck"]))
            .expect("JSON");
    let jobs = plan["jobs"].as_array().expect("jobs");
    let names: Vec<&str> = jobs.iter().filter_map(|job| job["image"].as_str()).collect();
    assert_eq!(names, ["base-notebook", "datascience-notebook"]);
    assert_eq!(jobs[0]["needs"], serde_json::json!([]), "its parent is not built here");
    assert_eq!(jobs[1]["needs"], serde_json::json!(["base-notebook"]));
    assert!(jobs[1]["why"].to_string().contains("healthcheck"), "{plan}");
    let workflow: Value =
        serde_yaml::from_str(&ci_plan(&["--files", "images/base-notebook/healthcheck"])).expect("YAML");
    assert_eq!(workflow["jobs"].as_object().expect("jobs").len(), 2);
    let nothing: Value = serde_yaml::from_str(&ci_plan(&["--files", "README.md"])).expect("YAML");
    assert_eq!(nothing["jobs"].as_object().expect("jobs").keys().collect::<Vec<_>>(), ["nothing"]);
}

#[test]
fn a_person_is_told_that_nothing_is_affected() {
    let (images, notes) = say(&["affected", "--files", "README.md"]);
    assert!(images.is_empty() && notes.contains("none of 5 images is concerned"), "{notes}");
    let (images, notes) = say(&["affected", "--files", "images/r-notebook/test/test_new.py"]);
    assert!(images.is_empty() && notes.contains("to be tested: `r-notebook`"), "{notes}");
    let (images, notes) = say(&["affected", "--files", "images/r-notebook/Rprofile.site"]);
    assert_eq!((&*images, &*notes), ("r-notebook\n", ""));
}
