//! The commands of `docs/publishing.md`, in their order, in a small stack with a registry. Knows nothing of what they do.

use std::path::Path;
use std::process::Command;

use super::program::end_of;
use super::publish::Scene;

#[test]
fn the_commands_of_the_page_about_publishing_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/publishing.md")).expect("the page");
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("$ cargo xtask ")).collect();
    assert!(commands.len() >= 9, "only {} commands were found", commands.len());
    let scene = Scene::new("handbook");
    scene.commit();
    for command in commands {
        // The shell takes the words apart, as it does for people.
        let command = &command.replace("127.0.0.1:5000", scene.registry.host());
        let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {command}")]).output().expect("a shell");
        let words = String::from_utf8(words.stdout).expect("text");
        let run = end_of(scene.space.command(&words.lines().collect::<Vec<_>>()));
        assert_eq!(run.code, 0, "`{command}` failed:\n{}{}", run.stdout, run.stderr);
    }
}
