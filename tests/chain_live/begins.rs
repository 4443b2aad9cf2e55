//! A repository that `init` made, built and tested with the one command that `init` names. Knows nothing of crates.

use std::process::Command;

use super::program::end_of;
use crate::support::{LABEL, unique};

/// A base with a shell, as small as it can be, that goes away again.
struct Base(String);

impl Base {
    fn new(dir: &std::path::Path) -> Self {
        let name = format!("{}/base:1", unique("init"));
        let script = "set -eu; mkdir -p root/bin root/etc; cp \"$(command -v busybox)\" root/bin/busybox; \
                      for name in sh cat sleep; do ln -s busybox root/bin/$name; done; \
                      echo NAME=small > root/etc/os-release; tar -C root -c . | docker import - \"$NAME\" >/dev/null; rm -r root";
        let done =
            Command::new("sh").args(["-c", script]).current_dir(dir).env("NAME", &name).output().expect("a shell");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self(name)
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

/// The images with a label, which go away again.
struct Built(String);

impl Drop for Built {
    fn drop(&mut self) {
        let filter = format!("label={LABEL}={}", self.0);
        for id in super::space::docker(&["images", "--quiet", "--filter", &filter]).lines() {
            let _ = Command::new("docker").args(["rmi", "--force", id]).output();
        }
    }
}

#[test]
fn a_new_repository_builds_with_one_command() {
    let dir = tempfile::tempdir().expect("a folder");
    let base = Base::new(dir.path());
    let prefix = unique("init-stack");
    let program = |words: &[&str], cwd: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).current_dir(dir.path().join(cwd)).env_remove("XTASK_FILE");
        end_of(command).fine()
    };
    program(&["init", "lab", "--no-crate", "--name", &prefix, "--base", &base.0], "");
    // Only so that it can be found again; the rest stays as `init` wrote it.
    let spec = dir.path().join("lab/images/spec.yml");
    let text = std::fs::read_to_string(&spec).expect("a spec");
    let label = format!("    labels: {{ {LABEL}: {prefix} }}\n    info_cmds:");
    std::fs::write(&spec, text.replacen("    info_cmds:", &label, 1)).expect("a spec");
    let built = Built(prefix.clone());
    let first = program(&["build-stack", "--reporter", "json"], "lab");
    let done: Vec<&str> = first.outcomes().into_keys().collect();
    assert!(done.contains(&"test:base") && done.contains(&"manifest:base"), "{done:?}");
    let welcome = super::space::docker(&["run", "--rm", "--network=none", &format!("{prefix}/base:dev")]);
    assert_eq!(welcome, "Welcome to base.");
    let again = program(&["build-stack", "--reporter", "json"], "lab");
    assert!(again.started().is_empty(), "{}", again.stdout);
    let report = program(&["report", "--format", "json"], "lab").stdout;
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let image = &report["images"][0];
    assert_eq!((&image["up_to_date"], &image["tests_passed"]), (&true.into(), &1.into()), "{report}");
    assert_eq!(image["tags"], serde_json::json!([format!("{prefix}/base:dev")]));
    assert_eq!(
        image["digest"],
        super::space::docker(&["image", "inspect", "--format={{.Id}}", &format!("{prefix}/base:dev")])
    );
    assert!(image["bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{report}");
    assert!(image["manifest"].as_str().is_some_and(|page| page.contains("NAME=small")), "{report}");
    program(&["report", "--output", "report.html"], "lab");
    let page = std::fs::read_to_string(dir.path().join("lab/report.html")).expect("a page");
    assert!(page.contains("<span class=\"tag ran\">up to date</span>") && page.contains("1\u{a0}passed"), "{page}");
    drop(built);
}
