//! What the system refuses or folds: tests in namespaces of their own, so that this machine's limits stay. Only tests.

use std::fs;
use std::process::Command;

use super::How;
use super::tests::{Scene, path};

/// Runs one of the ignored tests below in namespaces of its own, after `before`.
fn in_namespace(flags: &str, before: &str, test: &str) {
    let exe = std::env::current_exe().unwrap();
    let script = format!("{before} && exec \"$0\" --exact {test} --ignored --nocapture");
    let output = Command::new("unshare").args([flags, "sh", "-c", &script]).arg(exe).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Row W2: five watches for eleven directories.
#[test]
fn w2_too_few_watches_are_named_and_the_rest_is_polled() {
    in_namespace("-Ur", "echo 5 > /proc/sys/user/max_inotify_watches", "watch::namespace_tests::w2_inner");
}

#[test]
#[ignore = "run by w2 in a user namespace with five watches"]
fn w2_inner() {
    let scene = Scene::new(How::default(), |root| {
        (0..10).for_each(|number| fs::create_dir(root.join(format!("d{number}"))).unwrap());
    });
    let problems = &scene.watcher.as_ref().unwrap().problems;
    let wanted =
        "warning: `user.max_inotify_watches` is 5 for all programs of this user, and 11 directories need a watch here
  note: 6 of them are looked at twice a second instead
  help: raise the limit: sudo sysctl user.max_inotify_watches=524288";
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [wanted]);
    for number in 0..10 {
        let file = format!("d{number}/f");
        fs::write(scene.root.join(&file), "x").unwrap();
        assert!(scene.sees(&file), "{file}");
    }
    // One more is not worth the same words again.
    fs::create_dir(scene.root.join("more")).unwrap();
    loop {
        let batch = scene.batches.recv_timeout(std::time::Duration::from_mins(1)).expect("a batch");
        assert_eq!(batch.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
        if batch.paths.contains(&path("more")) {
            break;
        }
    }
}

/// Without a single watcher all is polled, and says so.
#[test]
fn w2_no_watcher_at_all_is_named() {
    in_namespace("-Ur", "echo 0 > /proc/sys/user/max_inotify_instances", "watch::namespace_tests::w2_no_watcher_inner");
}

#[test]
#[ignore = "run by w2_no_watcher_at_all_is_named in a user namespace without watchers"]
fn w2_no_watcher_inner() {
    let scene = Scene::plain();
    let text = scene.watcher.as_ref().unwrap().problems[0].to_string();
    assert!(text.contains("help: raise the limit: sudo sysctl user.max_inotify_instances=512"), "{text}");
    fs::write(scene.root.join("f"), "x").unwrap();
    assert!(scene.sees("f"));
}

/// Row W12: links are not followed, and a directory with two paths is entered once.
#[test]
fn w12_loops_end() {
    let scene = Scene::new(How::default(), |root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink("..", root.join("a/b/up")).unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
    });
    fs::write(scene.root.join("a/b/f"), "x").unwrap();
    assert_eq!(scene.until_mark("a/b/mark"), [path("a/b/f")].into());
    in_namespace("-Urm", "true", "watch::namespace_tests::w12_inner");
}

#[test]
#[ignore = "run by w12 in a mount namespace"]
fn w12_inner() {
    let scene = Scene::new(How::default(), |root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        let bound = Command::new("mount").arg("--bind").args([root, &root.join("a/b")]).status().unwrap();
        assert!(bound.success());
    });
    fs::write(scene.root.join("a/f"), "x").unwrap();
    assert!(scene.sees("a/f"));
    assert!(Command::new("umount").arg(scene.root.join("a/b")).status().unwrap().success());
}
