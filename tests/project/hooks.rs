//! Hooks in a repository of its own: by the real pre-commit, and by git alone.

use std::path::Path;

use crate::space::Space;
use crate::stand_in::StandIn;

const TASKS: &str = "version: 1
stack: images/spec.yml
tasks:
  render: { for_each: image, actions: [{ render: { image: \"{{ image.name }}\" } }] }
  lint-notes: { file_dep: [\"*.txt\"], actions: [\"! grep -n FORBIDDEN {{ file_dep }}\"] }
  lint-other: { file_dep: [\"*.md\"], actions: [\"false\"] }
";

const GIT: &str = "git -c user.name=Test -c user.email=test@localhost";

struct Scene {
    space: Space,
    stand_in: StandIn,
}

impl Scene {
    fn new() -> Self {
        let space = Space::new();
        space.write("repo/tasks.yaml", TASKS);
        space.write("repo/images/spec.yml", "version: 1\nimages:\n  bottom: { image_name: lab/bottom }\n");
        space.write("repo/images/bottom/Dockerfile.j2", "FROM scratch\n");
        space.write("repo/note.txt", "fine\n");
        space.write("repo/.gitignore", ".xtask\n");
        let scene = Self { space, stand_in: StandIn::new() };
        scene.fine("git init --quiet --initial-branch=main && git add --all");
        scene
    }

    fn repo(&self) -> std::path::PathBuf {
        self.space.path("repo")
    }

    #[track_caller]
    fn fine(&self, command: &str) -> String {
        let (fine, text) = self.stand_in.sh(&self.repo(), command);
        assert!(fine, "`{command}` failed:\n{text}");
        text
    }

    #[track_caller]
    fn fails(&self, command: &str, wanted: &str) {
        let (fine, text) = self.stand_in.sh(&self.repo(), command);
        assert!(!fine && text.contains(wanted), "`{command}` did not fail with `{wanted}`:\n{text}");
    }
}

#[test]
fn pre_commit_runs_the_hooks_of_this_project() {
    let scene = Scene::new();
    // This project's hooks, as a repository that others name.
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.pre-commit-hooks.yaml");
    scene.space.write("hooks/.pre-commit-hooks.yaml", &std::fs::read_to_string(hooks).expect("hooks"));
    let begun = format!(
        "cd ../hooks && git init --quiet && git add --all && {GIT} commit --quiet --message=Hooks && git rev-parse HEAD"
    );
    let commit = scene.fine(&begun).trim().to_owned();
    scene.space.write(
        "repo/.pre-commit-config.yaml",
        &format!("repos:\n  - repo: {}\n    rev: {commit}\n    hooks: [{{ id: xtask-check }}, {{ id: xtask-render }}, {{ id: xtask-affected }}]\n", scene.space.path("hooks").display()),
    );
    scene.fine("git add --all");
    let home = scene.space.path("home");
    let run = format!("PRE_COMMIT_HOME={} pre-commit run --color never", home.display());
    let said = scene.fine(&run);
    assert_eq!(said.matches("Passed").count(), 3, "{said}");
    assert!(scene.repo().join(".xtask/render/bottom/Dockerfile").exists());
    scene.space.write("repo/note.txt", "FORBIDDEN\n");
    scene.fine("git add --all");
    scene.fails(&run, "1:FORBIDDEN");
    scene.space.write("repo/note.txt", "fine\n");
    scene.space.write("repo/images/bottom/Dockerfile.j2", "FRON scratch\n");
    scene.fine("git add --all");
    scene.fails(&run, "FRON");
}

#[test]
fn git_alone_runs_the_installed_hooks() {
    let scene = Scene::new();
    scene.fine("cargo xtask hooks install");
    scene.fine(&format!("{GIT} commit --quiet --message=Begin"));
    scene.space.write("repo/note.txt", "FORBIDDEN\n");
    scene.fails(&format!("git add --all && {GIT} commit --quiet --message=Note"), "1:FORBIDDEN");
    scene.space.write("repo/note.txt", "better\n");
    scene.space.write("repo/tasks.yaml", &TASKS.replace("file_dep", "file_depp"));
    scene.fails(&format!("git add --all && {GIT} commit --quiet --message=Typo"), "file_depp");
    // A hook of somebody else stays.
    scene.fine(
        "cargo xtask hooks uninstall && test ! -e .git/hooks/pre-commit && echo '#!/bin/sh' > .git/hooks/pre-push",
    );
    scene.fails("cargo xtask hooks install", "`pre-push`");
    assert!(!scene.repo().join(".git/hooks/pre-commit").exists());
    scene.fails("cd / && cargo xtask hooks install", "is in no git repository");
}
