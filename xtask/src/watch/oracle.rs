//! Random edits against an oracle: who re-reads only what batches touch must end with what is on disk. Only tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::tests::{Scene, path};
use super::*;

/// A small generator, so that a failure can be repeated from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// A path of one to three parts out of few names, so that paths meet.
    fn path(&mut self) -> String {
        let parts = 1 + self.roll(3);
        (0..parts).map(|_| format!("n{}", self.roll(5))).collect::<Vec<_>>().join("/")
    }
}

/// Every file below `dir` with its content.
fn read_all(root: &Path, dir: &Path, into: &mut BTreeMap<RepoPath, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let file = entry.path();
        if file.is_dir() {
            read_all(root, &file, into);
        } else if let Ok(content) = fs::read(&file) {
            into.insert(path(file.strip_prefix(root).unwrap().to_str().unwrap()), content);
        }
    }
}

/// What a caller does with a batch.
fn follow(root: &Path, batch: &Batch, mirror: &mut BTreeMap<RepoPath, Vec<u8>>) {
    if batch.rescan {
        mirror.clear();
        return read_all(root, root, mirror);
    }
    for changed in &batch.paths {
        mirror.retain(|file, _| !file.is_within(changed));
        let full = root.join(changed.as_path());
        if full.is_dir() {
            read_all(root, &full, mirror);
        } else if let Ok(content) = fs::read(&full) {
            mirror.insert(changed.clone(), content);
        }
    }
}

/// One edit; most fail when they make no sense, which is as good.
fn edit(root: &Path, dice: &mut Dice, number: u64) {
    let (one, two) = (root.join(dice.path()), root.join(dice.path()));
    let _ = match dice.roll(10) {
        0..4 => fs::create_dir_all(one.parent().unwrap()).and_then(|()| fs::write(&one, number.to_string())),
        4 => fs::create_dir_all(&one),
        5 => fs::remove_file(&one),
        6 => fs::remove_dir_all(&one),
        7 => fs::rename(&one, &two),
        8 => fs::create_dir_all(two.parent().unwrap()).and_then(|()| fs::rename(&one, &two)),
        _ => fs::write(root.join("tmp"), number.to_string()).and_then(|()| fs::rename(root.join("tmp"), &one)),
    };
}

/// Follows batches until the mirror has a file that is written now: the system tells of changes in their order, so that
/// every earlier one was in these batches, however slow the machine is.
fn catch_up(scene: &Scene, mirror: &mut BTreeMap<RepoPath, Vec<u8>>, number: u64) {
    let content = number.to_string().into_bytes();
    fs::write(scene.root.join("tmp"), &content).unwrap();
    fs::rename(scene.root.join("tmp"), scene.root.join("mark")).unwrap();
    while mirror.get(&path("mark")) != Some(&content) {
        let batch = scene.batches.recv_timeout(Duration::from_mins(1)).expect("a batch with the mark");
        follow(&scene.root, &batch, mirror);
    }
}

/// Runs this many edits from a seed, with pauses that let batches come at any moment.
fn edits(seed: u64, count: u64) {
    let scene = Scene::plain();
    let mut dice = Dice(seed);
    let mut mirror = BTreeMap::new();
    for number in 0..count {
        edit(&scene.root, &mut dice, number);
        if dice.roll(8) == 0 {
            std::thread::sleep(Duration::from_micros(dice.roll(12_000)));
        }
        for batch in scene.batches.try_iter() {
            follow(&scene.root, &batch, &mut mirror);
        }
        if number % 500 == 499 {
            catch_up(&scene, &mut mirror, number);
            let mut truth = BTreeMap::new();
            read_all(&scene.root, &scene.root, &mut truth);
            assert_eq!(mirror, truth, "seed {seed}, after {number} edits");
        }
    }
}

#[test]
fn random_edits_are_never_missed() {
    std::thread::scope(|scope| (0..4).for_each(|seed| drop(scope.spawn(move || edits(seed, 2_500)))));
}
