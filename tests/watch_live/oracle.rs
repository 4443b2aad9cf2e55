//! Random edits against an oracle that walks the folders itself: after each burst every task has last run on what is
//! there now (nothing missed), and no task ran twice on the same (nothing needless).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::space::{Dice, Round, Space, Watch, soak};

/// What each task reads is what it prints.
const TASKS: &str = r#"
version: 1
config: { default_tasks: [all] }
vars: { show: 'for file; do echo "$file=$(cat "$file" 2>/dev/null)"; done' }
tasks:
  all: { task_dep: [deep, flat, folder, but, one, down, mark] }
  deep: { file_dep: ["a/**/*.txt"], actions: [[sh, -c, "{{ vars.show }}", sh, "{{ file_dep }}"]] }
  flat: { file_dep: ["a/*.txt", "b/*"], actions: [[sh, -c, "{{ vars.show }}", sh, "{{ file_dep }}"]] }
  folder: { file_dep: [b], actions: [[sh, -c, "{{ vars.show }}", sh, "{{ file_dep }}"]] }
  but: { file_dep: ["c/**/*", "!c/n1"], actions: [[sh, -c, "{{ vars.show }}", sh, "{{ file_dep }}"]] }
  one: { file_dep: [one.txt], actions: [[sh, -c, "{{ vars.show }}", sh, "{{ file_dep }}"]] }
  up: { file_dep: ["c/**/*.txt"], targets: [out/count], actions: [[sh, -c, "echo $# > out/count", sh, "{{ file_dep }}"]] }
  down: { file_dep: [out/count], actions: [[sh, -c, "{{ vars.show }}", sh, "{{ file_dep }}"]] }
  mark: { file_dep: [mark], actions: [[cat, mark]] }
"#;

type State = BTreeMap<&'static str, Vec<String>>;

/// Every file below `dir` with its path.
fn walk(root: &Path, dir: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(dir)) else { return };
    for entry in entries.flatten() {
        let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) { walk(root, &path, found) } else { found.push(path) }
    }
}

/// What each task should have read if it ran now.
fn truth(space: &Space) -> State {
    let mut files = vec!["one.txt".to_owned()];
    for dir in ["a", "b", "c"] {
        walk(&space.path(""), dir, &mut files);
    }
    files.sort_unstable();
    let shown = |wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
        let wanted = files.iter().filter(|file| wanted(file));
        wanted.map(|file| format!("{file}={}", fs::read_to_string(space.path(file)).unwrap_or_default())).collect()
    };
    let is_flat = |file: &str| file.matches('/').count() == 1;
    let text = |file: &str| file.strip_suffix(".txt").is_some();
    let count = files.iter().filter(|file| file.starts_with("c/") && text(file)).count();
    [
        ("deep", shown(&|file| file.starts_with("a/") && text(file))),
        ("flat", shown(&|file| is_flat(file) && ((file.starts_with("a/") && text(file)) || file.starts_with("b/")))),
        ("folder", shown(&|file| file.starts_with("b/"))),
        ("but", shown(&|file| file.starts_with("c/") && file != "c/n1" && !file.starts_with("c/n1/"))),
        ("one", shown(&|file| file == "one.txt")),
        ("down", vec![format!("out/count={count}")]),
    ]
    .into()
}

/// A path of two to four parts out of few names, so that paths meet; half of them end in `.txt`.
fn some_path(dice: &mut Dice) -> String {
    let mut path = ["a", "b", "c"][dice.roll(3) as usize].to_owned();
    for _ in 0..=dice.roll(3) {
        path += &format!("/n{}", dice.roll(4));
    }
    if dice.roll(2) == 0 { path + ".txt" } else { path }
}

/// One edit; some fail because they make no sense, which is as good.
fn edit(space: &Space, dice: &mut Dice, number: usize) {
    let (one, two) = (space.path(&some_path(dice)), space.path(&some_path(dice)));
    let up = |path: &Path| fs::create_dir_all(path.parent().unwrap_or(path));
    let tmp = space.path("tmp");
    let _ = match dice.roll(24) {
        0..8 => up(&one).and_then(|()| fs::write(&one, number.to_string())),
        8 | 9 => fs::create_dir_all(&one),
        10 | 11 => fs::remove_file(&one),
        12 | 13 => fs::remove_dir_all(&one),
        14 => fs::rename(&one, &two),
        15 | 16 => up(&two).and_then(|()| fs::rename(&one, &two)),
        17 => fs::write(&tmp, number.to_string()).and_then(|()| fs::rename(&tmp, &one)),
        // Nothing is another content after these, although the first of them is empty for a moment.
        18 => fs::read(&one).and_then(|same| fs::write(&one, same)),
        19 => fs::read(&one).and_then(|same| fs::write(&tmp, same)).and_then(|()| fs::rename(&tmp, &one)),
        20 => {
            fs::File::options().write(true).open(&one).and_then(|file| file.set_modified(std::time::SystemTime::now()))
        }
        21 => fs::write(space.path("elsewhere"), number.to_string()),
        22 => fs::write(&tmp, (number / 50).to_string()).and_then(|()| fs::rename(&tmp, space.path("one.txt"))),
        _ => {
            if dice.roll(8) == 0 {
                space.git(&["checkout", "-q", "-f", ["one", "two"][dice.roll(2) as usize]]);
            }
            Ok(())
        }
    };
}

/// What is known of the runs so far.
struct Oracle {
    last: State,
    missed: Vec<String>,
    needless: Vec<String>,
    runs: usize,
}

impl Oracle {
    /// Takes in the runs of one burst. `before` and `now`: the truth; `possible`: what it was in between.
    fn check(&mut self, rounds: &[Round], now: &State, possible: &BTreeMap<&'static str, BTreeSet<Vec<String>>>) {
        for start in rounds.iter().flat_map(|round| &round.starts) {
            let Some((task, _)) = now.get_key_value(&*start.task) else { continue };
            self.runs += 1;
            let raced = start.reasons.iter().any(|kind| kind == "input_changed_during_run");
            if self.last.get(task) == Some(&start.lines) && !raced {
                self.needless.push(format!("{task} twice on {:?}: {:?}", start.lines, start.reasons));
            }
            if possible[task].len() == 1 {
                self.needless.push(format!("{task} though nothing changed: {:?}", start.reasons));
            }
            self.last.insert(task, start.lines.clone());
        }
        let missed = now.iter().filter(|(task, lines)| self.last.get(*task) != Some(lines));
        self.missed.extend(missed.map(|(task, lines)| format!("{task}: {lines:?}")));
    }
}

/// So many edits from a seed, in bursts of one to twelve.
fn edits(seed: u64, count: usize) -> Oracle {
    let space = Space::new(TASKS);
    for file in ["a/n0.txt", "b/n9", "c/n9.txt", "one.txt", "mark"] {
        space.write(file, "0");
    }
    fs::create_dir(space.path("out")).unwrap();
    space.write(".gitignore", "/.xtask\n/out\n/mark\n/tmp\n/elsewhere\n");
    // An ignored file below `b` would be no input of `folder`; nothing there is.
    space.git(&["init", "-q", "-b", "one"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.git(&["checkout", "-q", "-b", "two"]);
    for number in 0..20 {
        space.write(&format!("{}/n{}/n{}.txt", ["a", "b", "c"][number % 3], number % 4, number % 3), "two");
    }
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "two"]);
    let watch: Watch = space.watch(&[]);
    let mut oracle = Oracle { last: State::new(), missed: Vec::new(), needless: Vec::new(), runs: 0 };
    let mut now = truth(&space);
    let all = |state: &State| state.iter().map(|(task, lines)| (*task, BTreeSet::from([lines.clone()]))).collect();
    let anything: BTreeMap<_, BTreeSet<Vec<String>>> =
        now.keys().map(|task| (*task, BTreeSet::from([vec![], vec![String::new()]]))).collect();
    oracle.check(&[watch.round()], &now, &anything);
    let (mut dice, mut number) = (Dice(seed), 0);
    while number < count {
        let mut possible: BTreeMap<&'static str, BTreeSet<Vec<String>>> = all(&now);
        for _ in 0..=dice.roll(12) {
            edit(&space, &mut dice, number);
            number += 1;
            now = truth(&space);
            for (task, lines) in &now {
                possible.entry(task).or_default().insert(lines.clone());
            }
            if dice.roll(8) == 0 {
                std::thread::sleep(Duration::from_micros(dice.roll(20_000)));
            }
        }
        space.write("mark", &number.to_string());
        oracle.check(&watch.until_marked(), &now, &possible);
        assert!(oracle.missed.is_empty(), "seed {seed}, after {number} edits: {:#?}", oracle.missed);
        assert!(oracle.needless.is_empty(), "seed {seed}, after {number} edits: {:#?}", oracle.needless);
    }
    assert_eq!(watch.interrupt().0, 130);
    oracle
}

#[test]
fn random_edits_miss_nothing_and_run_nothing_needlessly() {
    let count = soak(400);
    let oracles: Vec<Oracle> = std::thread::scope(|scope| {
        let seeds: Vec<_> = (0..2).map(|seed| scope.spawn(move || edits(seed, count / 2))).collect();
        seeds.into_iter().map(|seed| seed.join().expect("a seed without a finding")).collect()
    });
    let runs: usize = oracles.iter().map(|oracle| oracle.runs).sum();
    assert!(runs > count / 10, "{runs} runs for {count} edits");
    // For whoever wants the figures: shown with `--no-capture`.
    std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("soak-result {count} edits, {runs} runs, 0 missed, 0 needless\n").as_bytes(),
    )
    .unwrap();
}
