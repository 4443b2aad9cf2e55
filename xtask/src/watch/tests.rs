//! The watch on a real disk, by the rows of the reliability table. Knows nothing of tasks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::*;

/// A directory under watch.
pub(super) struct Scene {
    pub watcher: Option<Watcher>,
    pub batches: Receiver<Batch>,
    pub root: PathBuf,
    _dir: tempfile::TempDir,
}

pub(super) fn path(text: &str) -> RepoPath {
    RepoPath::from_root(text).unwrap()
}

impl Scene {
    /// Watches all of a new directory that `prepare` filled; `out` in it is ignored.
    pub fn new(how: How, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repo");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        let (sender, batches) = channel();
        let post = move |batch| drop(sender.send(batch));
        let ignore = |path: &RepoPath| path.as_bytes() == b"out";
        let watcher = Watcher::start(&root, [WatchDir::deep(RepoPath::root())], ignore, how, post).unwrap();
        Self { watcher: Some(watcher), batches, root, _dir: dir }
    }

    pub fn plain() -> Self {
        Self::new(How::default(), |_| {})
    }

    /// All batches until none came for so long.
    pub fn settle(&self, quiet: Duration) -> Vec<Batch> {
        let mut all = Vec::new();
        loop {
            match self.batches.recv_timeout(quiet) {
                Ok(batch) => all.push(batch),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return all,
            }
        }
    }

    /// Whether a batch comes soon that says to look at everything. What went with the root may come first.
    fn rescans(&self) -> bool {
        let end = Instant::now() + Duration::from_secs(30);
        while let Ok(batch) = self.batches.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if batch.rescan {
                return true;
            }
        }
        false
    }

    /// All paths that batches have until one has this file, which is written now: everything earlier is known by then.
    pub fn until_mark(&self, mark: &str) -> BTreeSet<RepoPath> {
        fs::write(self.root.join(mark), "mark").unwrap();
        let mut paths = BTreeSet::new();
        while !paths.contains(&path(mark)) {
            let batch = self.batches.recv_timeout(Duration::from_mins(1)).unwrap();
            assert!(!batch.rescan);
            paths.extend(batch.paths);
        }
        paths.remove(&path(mark));
        paths
    }

    /// Whether a batch that concerns this path comes, however slow the machine is.
    pub fn sees(&self, wanted: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(30);
        while let Ok(batch) = self.batches.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if batch.touches(&path(wanted)) {
                return true;
            }
        }
        false
    }
}

const QUIET: Duration = Duration::from_millis(200);

/// Row W1, twice: the queue of the system overflows while nobody reads it.
#[test]
fn w1_an_overflow_means_look_at_everything() {
    for _ in 0..2 {
        let gate: &'static std::sync::Mutex<()> = Box::leak(Box::default());
        let nobody_reads = gate.lock().unwrap();
        let scene = Scene::new(How { gate: Some(gate), ..How::default() }, |_| {});
        for number in 0..20_000 {
            fs::write(scene.root.join(format!("f{number}")), "x").unwrap();
        }
        drop(nobody_reads);
        // What came before the overflow may go first, and take its time on a busy machine.
        assert!(scene.rescans());
        scene.settle(Duration::from_secs(1));
        fs::create_dir_all(scene.root.join("a/b")).unwrap();
        fs::write(scene.root.join("a/b/c"), "y").unwrap();
        assert!(scene.sees("a/b/c"));
    }
}

/// The five ways in which editors save.
fn save(way: usize, file: &Path, content: &str) {
    use std::io::{Seek, Write};
    use std::os::unix::fs::PermissionsExt;
    let beside = file.with_extension("swp");
    match way {
        0 => {
            let mut open = fs::OpenOptions::new().write(true).open(file).unwrap();
            open.rewind().unwrap();
            open.write_all(content.as_bytes()).unwrap();
        }
        1 => fs::write(file, content).unwrap(),
        2 => {
            fs::write(&beside, content).unwrap();
            fs::rename(&beside, file).unwrap();
        }
        3 => {
            fs::rename(file, file.with_extension("bak")).unwrap();
            let mut open = fs::File::create(file).unwrap();
            open.write_all(content.as_bytes()).unwrap();
            open.sync_all().unwrap();
        }
        _ => {
            fs::write(file, content).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}

/// Row W3: a caller that compares contents runs exactly once for each save.
#[test]
fn w3_each_save_of_an_editor_is_one_run() {
    let one_way = |way: usize| {
        let scene = Scene::new(How::default(), |root| fs::write(root.join("f"), "content 000").unwrap());
        let file = scene.root.join("f");
        let mut known = fs::read(&file).unwrap();
        for number in 1..=100 {
            save(way, &file, &format!("content {number:03}"));
            let mut runs = 0;
            let end = Instant::now() + Duration::from_secs(30);
            let mut quiet_until = end;
            while let Ok(batch) = scene.batches.recv_timeout(quiet_until.saturating_duration_since(Instant::now())) {
                let now = fs::read(&file).unwrap_or_default();
                if batch.touches(&path("f")) && now != known {
                    runs += 1;
                    known = now;
                    quiet_until = Instant::now() + Duration::from_millis(12);
                }
            }
            assert_eq!(runs, 1, "way {way}, save {number}");
        }
    };
    std::thread::scope(|scope| (0..5).for_each(|way| drop(scope.spawn(move || one_way(way)))));
}

/// Row W4: a watch of the file itself would die at the first replacement.
#[test]
fn w4_every_atomic_replacement_is_seen() {
    let scene = Scene::new(How::default(), |root| fs::write(root.join("f"), "").unwrap());
    for number in 0..100 {
        save(2, &scene.root.join("f"), &number.to_string());
        assert!(scene.sees("f"), "replacement {number}");
    }
}

/// Row W5: directories that are filled before anybody can subscribe them. And that so many of them hold up nobody else.
#[test]
fn w5_new_directories_lose_nothing() {
    let scene = Scene::plain();
    let files: Vec<String> = (0..1000).map(|number| format!("d{number}/a/b/c/f")).collect();
    let missed = |change: &str| {
        for file in &files {
            let file = scene.root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, change).unwrap();
        }
        fs::write(scene.root.join("last"), change).unwrap();
        let written = Instant::now();
        // The file itself, not only a directory above it.
        let mut open: BTreeSet<RepoPath> = files.iter().map(|file| path(file)).collect();
        let mut last = None;
        while (last.is_none() || !open.is_empty()) && written.elapsed() < Duration::from_secs(30) {
            let Ok(batch) = scene.batches.recv_timeout(Duration::from_millis(100)) else { continue };
            open.retain(|file| !batch.rescan && !batch.paths.contains(file));
            if last.is_none() && batch.touches(&path("last")) {
                last = Some(written.elapsed());
            }
        }
        assert!(last.is_some_and(|time| time < Duration::from_secs(20)), "the last file waited {last:?}");
        open.len()
    };
    assert_eq!(missed("one"), 0, "when new");
    assert_eq!(missed("two"), 0, "when written again");
}

/// Row W6.
#[test]
fn w6_reading_is_no_change() {
    let scene = Scene::new(How::default(), |root| fs::write(root.join("f"), "x").unwrap());
    for _ in 0..10_000 {
        fs::read(scene.root.join("f")).unwrap();
    }
    fs::read_dir(&scene.root).unwrap().for_each(drop);
    assert_eq!(scene.until_mark("mark"), BTreeSet::new());
}

/// Row W7 at this level: what the tool writes itself.
#[test]
fn w7_state_logs_and_ignored_targets_are_silent() {
    let scene = Scene::new(How::default(), |root| {
        for dir in [".xtask/logs", "out", ".git"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
    });
    for file in [".xtask/state.db", ".xtask/logs/a.log", "out/image.tar", ".git/HEAD"] {
        fs::write(scene.root.join(file), "x").unwrap();
    }
    fs::create_dir_all(scene.root.join("out/deep/er")).unwrap();
    fs::remove_dir_all(scene.root.join("out")).unwrap();
    assert_eq!(scene.until_mark("mark"), BTreeSet::new());
}

/// Row W9 on a real disk.
#[test]
fn w9_a_file_touched_all_the_time_is_handed_on_soon() {
    let scene = Scene::plain();
    let (root, start) = (scene.root.clone(), Instant::now());
    let writer = std::thread::spawn(move || {
        while start.elapsed() < Duration::from_secs(2) {
            fs::write(root.join("log"), "x").unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    assert!(scene.sees("log") && start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    writer.join().unwrap();
}

/// Row W11 at this level: what is watched goes away and comes back.
#[test]
fn w11_roots_may_go_and_come_back() {
    let scene = Scene::new(How::default(), |root| fs::create_dir_all(root.join("a/b")).unwrap());
    for round in 0..3 {
        fs::remove_dir_all(&scene.root).unwrap();
        assert!(scene.rescans(), "round {round}, gone");
        std::thread::sleep(Duration::from_millis(30));
        fs::create_dir_all(scene.root.join("a/b")).unwrap();
        assert!(scene.rescans(), "round {round}, back");
        fs::write(scene.root.join("a/b/f"), "x").unwrap();
        assert!(scene.sees("a/b/f"), "round {round}");
    }
    fs::rename(scene.root.join("a"), scene.root.join("z")).unwrap();
    assert!(scene.sees("a/b/f"));
    fs::write(scene.root.join("z/b/f"), "y").unwrap();
    assert!(scene.sees("z/b/f"));
}

/// Row W11: the set changes with a reload.
#[test]
fn w11_a_reload_changes_what_is_watched() {
    let scene = Scene::plain();
    let watcher = scene.watcher.as_ref().unwrap();
    watcher.set_dirs([WatchDir::deep(path("not/yet/there")), WatchDir::flat(path("scripts"))], |_| false);
    fs::write(scene.root.join("f"), "x").unwrap();
    fs::create_dir_all(scene.root.join("not/yet/there/deep")).unwrap();
    fs::create_dir_all(scene.root.join("scripts/sub")).unwrap();
    let seen = scene.until_mark("scripts/mark");
    assert!(seen.contains(&path("not/yet/there")) && !seen.contains(&path("f")), "{seen:?}");
    fs::write(scene.root.join("not/yet/there/deep/f"), "x").unwrap();
    assert!(scene.sees("not/yet/there/deep/f"));
    fs::write(scene.root.join("scripts/x.sh"), "x").unwrap();
    assert!(scene.sees("scripts/x.sh"));
    fs::write(scene.root.join("scripts/sub/x"), "x").unwrap();
    fs::write(scene.root.join("not/x"), "x").unwrap();
    assert_eq!(scene.until_mark("scripts/mark"), BTreeSet::new());
}

/// Row W15: polling alone sees a change within two intervals.
#[test]
fn w15_polling_sees_all_that_matters() {
    let scene = Scene::new(How { poll: true, ..How::default() }, |root| fs::create_dir(root.join("a")).unwrap());
    type Step = (&'static str, fn(&Path));
    let steps: [Step; 4] = [
        ("a/f", |root| fs::write(root.join("a/f"), "x").unwrap()),
        ("a/f", |root| fs::write(root.join("a/f"), "y").unwrap()),
        ("n/e/w", |root| {
            fs::create_dir_all(root.join("n/e")).unwrap();
            fs::write(root.join("n/e/w"), "x").unwrap();
        }),
        ("n/e/w", |root| fs::remove_file(root.join("n/e/w")).unwrap()),
    ];
    for (file, step) in steps {
        let start = Instant::now();
        step(&scene.root);
        assert!(scene.sees(file) && start.elapsed() < Duration::from_millis(1500), "{file} {:?}", start.elapsed());
        scene.settle(Duration::from_millis(50));
    }
}

/// While git holds its lock nothing is handed on; then all at once.
#[test]
fn a_checkout_of_git_is_one_batch() {
    let scene = Scene::new(How::default(), |root| fs::create_dir(root.join(".git")).unwrap());
    let lock = scene.root.join(".git/index.lock");
    fs::write(&lock, "").unwrap();
    for number in 0..40 {
        fs::write(scene.root.join(format!("f{number}")), "x").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::remove_file(&lock).unwrap();
    assert_eq!(scene.batches.recv_timeout(Duration::from_mins(1)).unwrap().paths.len(), 40);
    // A lock that a dead git left behind stops nothing for long.
    fs::write(&lock, "").unwrap();
    fs::write(scene.root.join("g"), "x").unwrap();
    assert!(scene.batches.recv_timeout(Duration::from_secs(4)).unwrap().touches(&path("g")));
}

/// What waits when the watch ends is handed on first.
#[test]
fn nothing_is_lost_at_the_end() {
    let mut scene = Scene::plain();
    for round in 0..20 {
        fs::write(scene.root.join("f"), round.to_string()).unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
    scene.watcher = None;
    assert!(scene.settle(QUIET).iter().any(|batch| batch.touches(&path("f"))));
}

/// From the end of a write to the batch: the room's share of the promised 15 ms.
#[test]
fn a_lone_write_is_handed_on_within_ten_milliseconds() {
    let scene = Scene::plain();
    let mut times: Vec<Duration> = (0..50)
        .map(|number| {
            fs::write(scene.root.join("f"), number.to_string()).unwrap();
            let start = Instant::now();
            assert!(scene.sees("f"));
            let time = start.elapsed();
            scene.settle(Duration::from_millis(20));
            time
        })
        .collect();
    times.sort();
    assert!(times[25] < Duration::from_millis(10), "median {:?}", times[25]);
}

#[test]
fn a_batch_knows_what_it_touches() {
    let batch = |paths: &[&str]| Batch {
        paths: paths.iter().map(|text| path(text)).collect(),
        rescan: false,
        problems: Vec::new(),
        since: Instant::now(),
    };
    let one = batch(&["a/b", "a-b", "c/d/e"]);
    let touched: BTreeMap<&str, bool> =
        ["a", "a/b", "a/b/c", "a/c", "c/d", "c/x", "a-", "b"].map(|text| (text, one.touches(&path(text)))).into();
    let wanted = [("a", true), ("a/b", true), ("a/b/c", true), ("a/c", false), ("c/d", true), ("c/x", false)];
    assert!(wanted.iter().all(|(text, yes)| touched[text] == *yes), "{touched:?}");
    assert!(!touched["a-"] && !touched["b"]);
}
