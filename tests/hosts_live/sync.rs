//! `sync` to a machine that ssh reaches.

use std::path::Path;
use std::process::Command;

use super::program::end_of;
use super::space::Space;
use crate::support::sshd::Sshd;

fn same(one: &Path, other: &Path) -> bool {
    let output = Command::new("diff").arg("-r").args([one, other]).output().expect("diff");
    output.status.success()
}

#[test]
fn folders_and_ids_are_copied_without_a_task() {
    let sshd = Sshd::start("");
    let mut space = Space::new("sync");
    let target = tempfile::tempdir().unwrap();
    let root = target.path().join("a/b");
    let hosts = format!("hosts:\n  lab: {}\n", sshd.host(&format!("root: \"{}\", compress: true", root.display())));
    let storage = "storage:\n  ids: { notes: images/mid }\n  folders: [images]\n";
    space.write("tasks.yaml", &format!("{}\n{hosts}{storage}", space.read("tasks.yaml")));
    space.write("images/base/.storage_info.yaml", "id: weights\n");
    space.env.insert("PATH".into(), sshd.search_path());
    let say = |words: &[&str]| end_of(space.command(words));
    let first = say(&["sync", "images", "weights", "notes", "--host", "lab", "--exclude", "*.py"]).fine();
    assert!(first.stdout.contains("images to 127.0.0.1"), "{}", first.stdout);
    assert!(same(&space.path("images/mid/note.txt"), &root.join("images/mid/note.txt")));
    assert!(same(&space.path("images/base/note.txt"), &root.join("weights/note.txt")));
    assert!(same(&space.path("images/mid/note.txt"), &root.join("notes/note.txt")));
    assert!(!root.join("images/tests_common/test_common.py").exists(), "what is excluded stays here");
    let again = say(&["sync", "images", "--host", "lab", "--exclude", "*.py", "--json"]).fine();
    assert!(again.stdout.contains(r#""state":"same""#), "{}", again.stdout);
    std::fs::remove_file(space.path("images/side/note.txt")).unwrap();
    say(&["sync", "images", "--host", "lab", "--exclude", "*.py"]).fine();
    assert!(!root.join("images/side/note.txt").exists(), "what is gone here goes there");
    let rule = say(&["sync", "images", "--host", "lab", "--filter", "merge .rules"]);
    assert_eq!(rule.code, 3);
    assert!(
        rule.stderr.contains("`--filter` is `merge .rules`, expected `+ PATTERN` or `- PATTERN`"),
        "{}",
        rule.stderr
    );
    let unknown = say(&["sync", "weigths", "--host", "lab"]);
    assert_eq!(unknown.code, 3, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("an id with a similar name exists: `weights`"), "{}", unknown.stderr);
    let dead = sshd.port;
    drop(sshd);
    let gone = say(&["sync", "images", "--host", "lab"]);
    assert_eq!(gone.code, 1, "{dead}: {}", gone.stderr);
}
