//! Links that break, stand still or lie; names that would like to be more than names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::{Digest, StopToken};
use crate::remote::sshd::programs;
use crate::remote::sync::{Limits, Place};
use crate::remote::transfer::{Link, transfer};
use crate::remote::{Job, JobState, Patience, RemoteError, SyncSpec, Target, sync_all};

/// A program in the place of ssh: runs the command here, through `body`, which sees it as `"$@"`.
fn stub(dir: &Path, body: &str) -> String {
    let path = dir.join("rsh");
    // The first word is the name of the host.
    fs::write(&path, format!("#!/bin/bash\nshift\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn quick() -> Patience {
    Patience {
        no_progress: Duration::from_secs(1),
        deadline: Some(Duration::from_mins(1)),
        retries: 2,
        back_off: Duration::from_millis(10),
    }
}

fn send(dir: &Path, shell: &str, patience: Patience) -> Result<u32, RemoteError> {
    let link = Link::shell(shell, programs());
    let to = dir.join("to");
    let mut spec = SyncSpec::new(dir.join("from"));
    spec.delete = true;
    let to = to.to_str().unwrap();
    let done = transfer(&spec, &link, to, patience, &mut |_| {}, &mut std::io::sink(), &StopToken::new())?;
    Ok(done.attempts)
}

/// Every file of a tree with its digest.
fn contents(dir: &Path) -> Vec<(PathBuf, Digest)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let name = entry.path().strip_prefix(dir).unwrap().to_owned();
            found.push((name, Digest::of(&fs::read(entry.path()).unwrap())));
        }
    }
    found.sort();
    found
}

#[test]
fn r1_a_cut_link_leaves_every_file_old_or_new() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    let content = |seed: usize, size: usize| -> Vec<u8> {
        let block: Vec<u8> = (0..1000).map(|at: usize| (at.wrapping_mul(seed * 2 + 31) % 253) as u8).collect();
        block.into_iter().cycle().take(size).collect()
    };
    for round in 0..20 {
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).unwrap();
        for file in 0..6 {
            fs::write(to.join(format!("f{file}")), content(file, 60_000)).unwrap();
            fs::write(from.join(format!("f{file}")), content(file + 100 + round, 90_000)).unwrap();
        }
        let (old, new) = (contents(&to), contents(&from));
        let bytes = 500 + round * 27_000 + round * round * 17;
        let pid = dir.path().join("pid");
        let cut = stub(
            dir.path(),
            &format!(
                "bash -c 'echo $$ > {0}; exec \"$@\"' x \"$@\" < <(head -c {bytes}; kill -9 $(cat {0})); exit 255",
                pid.display()
            ),
        );
        // What is left of the other side may hold the pipe: then it is the lack of progress that ends the round.
        let patience = Patience { retries: 0, no_progress: Duration::from_millis(300), ..quick() };
        match send(dir.path(), &cut, patience) {
            Ok(_) | Err(RemoteError::Failed { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        for (name, digest) in contents(&to) {
            if !name.starts_with(".rsync-partial") && !name.to_string_lossy().contains(".~tmp~") {
                let whole = old.contains(&(name.clone(), digest)) || new.contains(&(name.clone(), digest));
                assert!(whole, "round {round}: {} is neither old nor new", name.display());
            }
        }
        send(dir.path(), &stub(dir.path(), "exec \"$@\""), quick()).unwrap();
        assert_eq!(contents(&to), new, "round {round}");
    }
}

#[test]
fn r2_a_link_that_stands_still_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("from")).unwrap();
    fs::write(dir.path().join("from/f"), vec![7; 3_000_000]).unwrap();
    for (name, body) in [
        ("nothing at all", "sleep 1000"),
        ("one way", "\"$@\" | { head -c 100; sleep 1000; }"),
        ("drops", "while read -r -N 1 x; do sleep 1; done"),
    ] {
        let start = Instant::now();
        let error = send(dir.path(), &stub(dir.path(), body), Patience { retries: 1, ..quick() }).unwrap_err();
        assert!(
            matches!(&error, RemoteError::GaveUp { attempts: 2, how, .. } if how.contains("no progress for 1 s")),
            "{name}: {error:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(12), "{name}: {:?}", start.elapsed());
    }
}

#[test]
fn r2_the_deadline_holds_for_all_attempts() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("from")).unwrap();
    let patience = Patience { deadline: Some(Duration::from_millis(600)), retries: 100, ..quick() };
    let start = Instant::now();
    let error = send(dir.path(), &stub(dir.path(), "sleep 1000"), patience).unwrap_err();
    assert!(matches!(error, RemoteError::TooLate { .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn r3_dropped_links_are_tried_again_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("from")).unwrap();
    fs::create_dir_all(dir.path().join("to")).unwrap();
    fs::write(dir.path().join("from/f"), "x").unwrap();
    let count = dir.path().join("count");
    let calls = || fs::read_to_string(&count).unwrap_or_default().len();
    let counted = |body: &str| stub(dir.path(), &format!("printf x >> '{}'\n{body}", count.display()));
    let error = send(dir.path(), &counted("exit 255"), quick()).unwrap_err();
    assert!(matches!(error, RemoteError::GaveUp { attempts: 3, .. }), "{error:?}");
    assert_eq!(calls(), 3);
    fs::remove_file(&count).unwrap();
    // It reads for a while, so that rsync is not ended by the closed pipe before it has spoken.
    let patience = Patience { no_progress: Duration::from_secs(20), ..quick() };
    let speaks = counted("echo 'no rsync here' >&2; timeout 2 cat >/dev/null; exit 127");
    let error = send(dir.path(), &speaks, patience).unwrap_err();
    assert!(matches!(&error, RemoteError::Failed { said, .. } if said[0].contains("no rsync here")), "{error:?}");
    assert_eq!(calls(), 1);
    fs::remove_file(&count).unwrap();
    let twice = "[ $(wc -c < \"${0%rsh}count\") -lt 3 ] && exit 255; exec \"$@\"";
    assert_eq!(send(dir.path(), &counted(twice), quick()), Ok(3));
}

#[test]
fn r4_no_name_runs_a_command() {
    let dir = tempfile::tempdir().unwrap();
    let canary = dir.path().join("canary");
    let source = dir.path().join("from");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "x").unwrap();
    let touch = format!("touch {}", canary.display());
    let pieces = [
        "-oProxyCommand=CMD",
        "-e CMD",
        "--rsh=CMD",
        "$(CMD)",
        "`CMD`",
        ";CMD;",
        "|CMD|",
        "\nCMD\n",
        "&& CMD",
        "'; CMD; '",
        "\"; CMD; \"",
        " ",
        "*",
        "~",
        "..",
        "a b",
        "::",
        "@",
        "[::1]",
        "localhost:1",
        "-l",
        "\\",
        "%h",
        "ssh://",
        "#",
    ];
    let place = Place { target: None, root: dir.path().join("root/deep").to_str().unwrap().to_owned() };
    let mut tried = 0;
    for (number, one) in pieces.iter().enumerate() {
        let texts = pieces.iter().take(20).map(|two| format!("{one}{two}").replace("CMD", &touch));
        let texts: Vec<String> = texts.collect();
        for text in &texts {
            let host = if number % 2 == 0 { text.clone() } else { format!("user@{text}") };
            if let Ok(target) = Target::parse(&host) {
                // Whatever passes as a name is one plain word and no option.
                let name = target.destination();
                assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@:._-".contains(&byte)), "{name}");
                assert!(!name.starts_with('-') && !name.contains("@-"), "{name}");
            }
        }
        let new = |path: &String| Job {
            spec: SyncSpec::new(&source),
            place: place.clone(),
            path: path.clone(),
            allow_collapse: false,
        };
        let jobs: Vec<Job> = texts.iter().map(new).collect();
        let none = |_: &Job, _| {};
        for report in sync_all(&jobs, Limits::default(), quick(), &programs(), &none, &StopToken::new()) {
            assert!(!canary.exists(), "{report:?} ran a command");
            if let JobState::Copied { .. } = report.state {
                let tree = Path::new(&place.root).join(&report.path);
                assert_eq!(fs::read_to_string(tree.join("f")).unwrap(), "x");
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 500);
    let mut outside: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    outside.sort();
    assert_eq!(outside, ["from", "root"]);
}

#[test]
fn r6_no_room_and_no_right_to_write_show_nothing_half() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for folder in [&from, &to] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("f"), "old").unwrap();
    }
    fs::write(from.join("f"), "new, and longer").unwrap();
    fs::write(from.join("large"), vec![7; 1_000_000]).unwrap();
    let old = contents(&to);
    // No file may have more than 64 blocks, as if the disk were full then.
    let full = stub(dir.path(), "trap '' XFSZ; ulimit -f 64; exec \"$@\"");
    let error = send(dir.path(), &full, quick()).unwrap_err();
    assert!(
        matches!(&error, RemoteError::Failed { how, .. } if how.contains("code 11") || how.contains("code 23")),
        "{error:?}"
    );
    let visible = |dir: &Path| {
        let mut found = contents(dir);
        found.retain(|(name, _)| !name.starts_with(".rsync-partial") && !name.to_string_lossy().contains(".~tmp~"));
        found
    };
    assert_eq!(visible(&to), old);
    let at = to.display();
    let mount = format!("mount --bind '{at}' '{at}' && mount -o remount,ro,bind '{at}' && exec \"$@\"");
    let read_only = stub(
        dir.path(),
        &format!("exec unshare --map-root-user --mount sh -c '{}' sh \"$@\"", mount.replace('\'', "\"")),
    );
    let error = send(dir.path(), &read_only, quick()).unwrap_err();
    assert!(
        matches!(&error, RemoteError::Failed { said, .. } if said.iter().any(|line| line.contains("Read-only"))),
        "{error:?}"
    );
    assert_eq!(visible(&to), old);
    send(dir.path(), &stub(dir.path(), "exec \"$@\""), quick()).unwrap();
    assert_eq!(contents(&to), contents(&from), "with room again, all arrives");
}
