//! A run with a container for itself comes to the same as one in a container that is kept, and leaves nothing.

use std::time::{Duration, Instant};

use super::lab::{Lab, containers_of, docker, wait_for};
use crate::support::LABEL;
use crate::support::spare::Spare;

#[test]
fn streams_words_input_and_exit_codes_are_those_of_the_script() {
    let lab = Lab::new("alone");
    let said = lab.run(&["--fresh", "-c", "printf out; printf err >&2; exit 7"]);
    assert_eq!((said.code, said.text().as_str()), (7, "out"));
    assert!(said.err.ends_with("errerror: script `command` ended with exit code 7\n"), "{}", said.err);
    assert_eq!(lab.run(&["--fresh", "-c", "exit 2"]).code, 2);
    let mut script = b"#!/bin/sh\ntail -n +3 \"$0\" | wc -c; cat; exit 0\n".to_vec();
    script.extend((0..=255_u8).cycle().take(1 << 20));
    lab.write("script.sh", &script);
    assert_eq!(lab.run(&["--fresh", "script.sh"]).fine().text().trim(), (1 << 20).to_string());
    let words = lab
        .run(&[
            "--fresh",
            "-e",
            "A=b c",
            "--",
            "sh",
            "-c",
            "echo \"$A\" \"$1\" \"$HOME\" ${XTASK_EXEC:+marked}",
            "sh",
            "a  b",
        ])
        .fine();
    assert_eq!(words.text(), "b c a  b /xtask/home marked\n");
    assert!(containers_of(&lab.name()).is_empty());
}

#[test]
fn files_go_in_and_come_out() {
    let lab = Lab::new("alonefiles");
    lab.write("one.txt", "one\n");
    let text =
        "set -e; cat \"$UPLOAD_0\"; echo table > \"$RUN_RESULT_DIR/table.csv\"; echo x > /tmp/f; echo \"$RUN_ID\"";
    let words = ["--fresh", "--upload", "one.txt", "--download", "/tmp/f:got", "-c", text];
    let said = lab.run(&words).fine();
    let lines: Vec<String> = said.text().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "one");
    assert_eq!(std::fs::read_to_string(lab.path("got")).expect("a download"), "x\n");
    let result = lab.path(".xtask/runs").join(&lines[1]).join("result/table.csv");
    assert_eq!(std::fs::read_to_string(result).expect("a result"), "table\n");
    assert!(containers_of(&lab.name()).is_empty());
}

#[test]
fn its_end_is_told_whatever_ends_it() {
    let lab = Lab::new("aloneends");
    lab.run(&["-c", "true"]).fine();
    let kept = containers_of(&lab.name());
    let begin = Instant::now();
    let late = lab.run(&["--fresh", "--timeout", "1.5", "-c", "echo begun; sleep 300 & sleep 300"]);
    assert_eq!((late.code, late.text().as_str()), (124, "begun\n"));
    assert!(begin.elapsed() < Duration::from_mins(1), "{:?}", begin.elapsed());
    assert!(late.err.contains("error: script `command` was ended, because its 1.5 s were over"), "{}", late.err);
    let large = lab.run(&["--fresh", "--memory", "32m", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"]);
    assert!(large.code == 137 && large.err.contains("was killed at its limit"), "{} {}", large.code, large.err);
    let name = lab.name();
    let mut command = lab.command(&["env", "run", &name, "--fresh", "-c", "sleep 300"]);
    let child = command.stderr(std::process::Stdio::piped()).spawn().expect("the program");
    let running = || {
        let all = docker(&["ps", "--no-trunc", "--quiet", "--filter", &format!("label=dev.xtask.env.name={name}")]);
        all.lines().find(|id| !kept.iter().any(|kept| kept == id)).map(str::to_owned)
    };
    wait_for("its container runs", || running().is_some());
    docker(&["rm", "--force", &running().expect("a container")]);
    let output = child.wait_with_output().expect("an end");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(125) && err.contains("was lost with its container or engine"), "{err}");
    assert_eq!(containers_of(&lab.name()), kept);
}

#[test]
fn the_folders_are_there_whoever_runs_it_and_whatever_the_image_is_like() {
    let lab = Lab::new("alonefolders");
    let text = "stat -c '%a %u %n' /xtask /xtask/runs; echo x > \"$HOME/f\"; echo y > \"$RUN_RESULT_DIR/f\"; id -un";
    let own = lab.run(&["--fresh", "-c", text]).fine();
    assert_eq!(own.text(), "1777 0 /xtask\n755 0 /xtask/runs\nroot\n");
    let other = lab.run(&["--fresh", "--user", "4242", "-c", text]).fine();
    assert_eq!(other.text(), "1777 0 /xtask\n755 4242 /xtask/runs\ncaller\n");
    let strict = lab.run(&["--fresh", "--security", "strict", "-c", "echo x > \"$HOME/f\"; id -un"]).fine();
    assert_eq!(strict.text(), "root\n");
    // Root without its privileges is a user like any other in a folder of somebody else.
    let name = lab.name();
    let path = format!("environments/{name}/Dockerfile_{name}");
    let dockerfile = std::fs::read_to_string(lab.path(&path)).expect("a Dockerfile");
    lab.write(&path, dockerfile + "RUN mkdir /other /xtask && chown 4242 /other /xtask\n");
    let refused = lab.run(&["--fresh", "-c", "mkdir /other/new 2>/dev/null || echo refused; stat -c %u /xtask/runs"]);
    assert_eq!(refused.fine().text(), "refused\n0\n");
    assert!(containers_of(&name).is_empty());
}

/// The folders of this machine that are mounted in containers.
fn mounted(lab: &Lab) -> Vec<std::path::PathBuf> {
    let clients = std::fs::read_dir(lab.path("cache/leases")).into_iter().flatten().flatten();
    let found = clients.flat_map(|client| std::fs::read_dir(client.path()).expect("a folder").flatten());
    found.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "run")).collect()
}

#[test]
fn a_folder_that_was_mounted_goes_with_its_container_however_that_ends() {
    let lab = Lab::new("alonemount");
    let name = lab.name();
    let text = "echo x > \"$RUN_RESULT_DIR/x\"; mkdir \"$HOME/shut\"; echo y > \"$HOME/shut/y\"; chmod 0 \"$HOME/shut\"; \
        echo \"$RUN_ID\"; exit 5";
    let said = lab.run(&["--fresh", "--user", "4242", "-c", text]);
    assert_eq!(said.code, 5, "{}", said.err);
    let result = lab.path(".xtask/runs").join(said.text().trim()).join("result/x");
    assert_eq!(std::fs::read_to_string(result).expect("a result"), "x\n");
    assert_eq!(mounted(&lab), [] as [std::path::PathBuf; 0]);

    let mut command =
        lab.command(&["env", "run", &name, "--fresh", "--user", "4242", "-c", "echo z > $HOME/z; sleep 300"]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("the program");
    wait_for("it writes", || mounted(&lab).iter().any(|folder| folder.join("home/z").exists()));
    child.kill().expect("it runs");
    child.wait().expect("an end");
    assert_eq!(mounted(&lab).len(), 1);
    lab.say(&["env", "gc"]).fine();
    assert_eq!(mounted(&lab), [] as [std::path::PathBuf; 0]);
    assert!(containers_of(&name).is_empty());
}

#[test]
fn an_engine_that_cannot_mount_our_folders_gets_them_by_an_archive() {
    let spare = Spare::start();
    for (word, hide) in [
        // As where the engine's socket was handed into a container.
        ("alonehidden", "mount -t tmpfs none CACHE"),
        ("alonereadonly", "mount --bind CACHE CACHE && mount -o remount,bind,ro CACHE"),
    ] {
        let mut lab = Lab::new(word);
        lab.env.insert("DOCKER_HOST".to_owned(), spare.url());
        lab.say(&["env", "build", &lab.name()]).fine();
        std::fs::create_dir_all(lab.path("cache")).expect("a folder");
        spare.inside(&hide.replace("CACHE", &lab.path("cache").display().to_string()));
        for _ in 0..2 {
            let text = "echo x > \"$HOME/x\"; echo y > \"$RUN_RESULT_DIR/y\"; id -un";
            let said = lab.run(&["--fresh", "--user", "4242", "-c", text]).fine();
            assert_eq!(said.text(), "caller\n", "{word}");
            assert!(said.err.contains("note: results are in "), "{word}: {}", said.err);
        }
        let users = std::fs::read_dir(lab.path("cache/users")).expect("a folder").flatten();
        let known = users.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "archive")).count();
        assert_eq!(known, 1, "{word}: it is written down, so that the next run does not try");
        assert_eq!(spare.says(&["ps", "--all", "--quiet"]), "", "{word}");
        assert_eq!(mounted(&lab), [] as [std::path::PathBuf; 0], "{word}");
        spare.inside(&format!("umount {}", lab.path("cache").display()));
    }
}

#[test]
fn an_image_without_a_shell_is_told() {
    let lab = Lab::new("aloneshell");
    let name = lab.name();
    let dockerfile = format!("FROM scratch\nCOPY note.txt /\nLABEL {LABEL}={}\n", lab.word);
    lab.write(&format!("environments/{name}/Dockerfile_{name}"), dockerfile);
    let said = lab.run(&["--fresh", "-c", "true"]);
    assert_eq!(said.code, 125, "{}", said.err);
    assert!(said.err.contains("has no `sh` to run scripts with\n  help: install a shell"), "{}", said.err);
    assert!(containers_of(&name).is_empty());
}

#[test]
fn a_secret_is_not_in_what_the_engine_tells_of_the_container() {
    let mut lab = Lab::new("alonesecret");
    let canary = format!("canary-{}-51a7c0ffee", std::process::id());
    lab.env.insert("TOKEN".into(), canary.clone());
    let name = lab.name();
    let mut command =
        lab.command(&["env", "run", &name, "--fresh", "--secret", "TOKEN", "-c", "test -n \"$TOKEN\" && sleep 3"]);
    let mut child = command.spawn().expect("the program");
    wait_for("there is a container", || !containers_of(&name).is_empty());
    assert!(!docker(&["inspect", &containers_of(&name)[0]]).contains(&canary));
    assert!(child.wait().expect("an end").success());
    assert!(containers_of(&name).is_empty());
}
