//! How fast the task engine is, beside ninja, doit and go-task, in one run: a table of ratios. Knows the program only by
//! its command line, and for hashing by the library.
//!
//! `cargo bench --bench engine [-- PART… ]`, where a part is `small` (1 000 tasks, 10 000 files, all peers), `large`
//! (10 000 tasks, 100 000 files, ninja), `growth` (1 000, 10 000 and 50 000 tasks) or `hash`; all of them by default.
//! `doit-large` adds doit to the large graph. Give it a quiet machine: load is printed, and makes ratios worthless.
//! `ENGINE_BENCH_PROGRAM` names another build of the program than the bench's own. Graphs are made below the folder of `ENGINE_BENCH_DIR` (default: `target/engine-bench`) and kept.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "engine/graph.rs"]
mod graph;
#[path = "engine/hashing.rs"]
mod hashing;
#[path = "engine/measure.rs"]
mod measure;
#[path = "engine/peers.rs"]
mod peers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use graph::Graph;
use measure::{Cost, pair, run};
use peers::{Peer, Tool};

/// Longer than the time in which an equal stat proves nothing.
const SETTLE: Duration = Duration::from_millis(2300);

fn main() {
    let known = ["small", "large", "growth", "hash", "doit-large"];
    let words: Vec<String> = std::env::args().skip(1).filter(|word| known.contains(&word.as_str())).collect();
    let wants = |part: &str| words.iter().any(|word| word == part) || (words.is_empty() && part != "doit-large");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.trim());
    let folder = std::env::var_os("ENGINE_BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/engine-bench"), PathBuf::from);
    std::fs::create_dir_all(&folder).expect("a folder for the graphs");
    let folder = folder.canonicalize().expect("the folder for the graphs");
    let peers = peers::find(&folder);
    if wants("small") {
        compare(&folder, 1000, &peers, 15);
    }
    if wants("large") || wants("doit-large") {
        let few: Vec<Peer> = peers
            .iter()
            .filter(|peer| peer.tool == Tool::Ninja || (peer.tool == Tool::Doit && wants("doit-large")))
            .cloned()
            .collect();
        compare(&folder, 10_000, &few, 9);
    }
    if wants("growth") {
        growth(&folder, &peers);
    }
    // Last: the peak memory of a process counts what its parent held when it was started.
    if wants("hash") {
        hashing::table(&folder);
    }
}

fn ours() -> Peer {
    let built = || env!("CARGO_BIN_EXE_xtask").into();
    Peer { tool: Tool::Xtask, program: std::env::var_os("ENGINE_BENCH_PROGRAM").map_or_else(built, PathBuf::from) }
}

/// All scenes of one size: ours and each peer's in folders of their own, so that nobody sees what the other wrote.
fn compare(folder: &Path, tasks: usize, peers: &[Peer], rounds: usize) {
    println!(
        "\n{tasks} tasks, {} files                wall s (median)     cpu s    MiB   ours/peer: wall   cpu",
        tasks * 10
    );
    let own = ours();
    let here = Graph::new(&folder.join(format!("{tasks}-xtask")), tasks);
    let first = run(&own.build(&here, None));
    row("first run", &own, &first, None);
    // What was just written is looked at closely once more; then stats tell.
    std::thread::sleep(SETTLE);
    row("second run", &own, &run(&own.build(&here, None)), None);
    let mut missed = Vec::new();
    for peer in peers {
        let there = Graph::new(&folder.join(format!("{tasks}-{}", peer.tool.name())), tasks);
        // One that takes seconds needs no more rounds to be told from the others.
        let rounds = if peer.tool == Tool::Task { rounds.min(3) } else { rounds };
        let mut row = |scene: &'static str, peer: &Peer, cost: &Cost, ours: Option<&Cost>| {
            row(scene, peer, cost, ours);
            let limit = limit(scene, tasks).filter(|_| peer.tool == Tool::Ninja);
            if let (Some(ours), Some(limit)) = (ours, limit)
                && ours.wall / cost.wall > limit
            {
                missed.push((scene, ours.wall / cost.wall, limit));
            }
        };
        row("first run", peer, &run(&peer.build(&there, None)), Some(&first));
        let (ours, theirs) = pair(rounds, || run(&own.build(&here, None)), || run(&peer.build(&there, None)));
        row("no-op", &own, &ours, None);
        row("no-op", peer, &theirs, Some(&ours));
        for (scene, task) in [("change in the last layer", tasks - 1), ("change in the middle", tasks / 2)] {
            let edited = |graph: &Graph, peer: &Peer| {
                graph.edit(task);
                std::thread::sleep(Duration::from_millis(20));
                run(&peer.build(graph, None))
            };
            // What depends on the middle takes long where contents do not count.
            let rounds = if task == tasks - 1 { rounds.min(7) } else { 1 };
            let (ours, theirs) = pair(rounds, || edited(&here, &own), || edited(&there, peer));
            row(scene, &own, &ours, None);
            row(scene, peer, &theirs, Some(&ours));
        }
        std::thread::sleep(SETTLE);
        run(&own.build(&here, None));
        for (scene, task) in [("one task without needs", 0), ("one task that needs most others", tasks - 1)] {
            let (ours, theirs) =
                pair(rounds, || run(&own.build(&here, Some(task))), || run(&peer.build(&there, Some(task))));
            row(scene, &own, &ours, None);
            row(scene, peer, &theirs, Some(&ours));
        }
    }
    println!("where the time of ours goes (no-op, then a change in the last layer):");
    println!("{}", own.profile(&here));
    here.edit(tasks - 1);
    println!("{}", own.profile(&here));
    for (scene, ratio, limit) in missed {
        println!("MISSED: {scene}: {ratio:.2} of ninja's time, the limit is {limit:.2}");
        match scene {
            "first run" => println!("{}", own.profile(&Graph::new(&here.dir, tasks))),
            "change in the middle" => {
                here.edit(tasks / 2);
                println!("{}", own.profile(&here));
            }
            _ => println!("its parts are above"),
        }
    }
}

/// How much of ninja's time is allowed.
fn limit(scene: &str, tasks: usize) -> Option<f64> {
    match scene {
        "no-op" if tasks >= 10_000 => Some(0.6),
        "no-op" => Some(1.0),
        "first run" | "change in the last layer" | "change in the middle" => Some(1.1),
        _ => None,
    }
}

/// A no-op by size: linear if the time per task stays.
fn growth(folder: &Path, peers: &[Peer]) {
    println!("\ngrowth of a no-op       ours ms   us/task    MiB   ninja ms   us/task    MiB    ratio");
    let own = ours();
    let ninja = peers.iter().find(|peer| peer.tool == Tool::Ninja);
    for tasks in [1000, 10_000, 50_000] {
        let here = Graph::new(&folder.join(format!("{tasks}-xtask")), tasks);
        for _ in 0..2 {
            run(&own.build(&here, None));
            std::thread::sleep(SETTLE);
        }
        let theirs_at = ninja.map(|ninja| {
            let there = Graph::new(&folder.join(format!("{tasks}-ninja")), tasks);
            run(&ninja.build(&there, None));
            (ninja, there)
        });
        let (ours, theirs) = match &theirs_at {
            Some((ninja, there)) => pair(7, || run(&own.build(&here, None)), || run(&ninja.build(there, None))),
            None => pair(7, || run(&own.build(&here, None)), Cost::default),
        };
        let per_task = |cost: &Cost| cost.wall * 1e6 / tasks as f64;
        println!(
            "{tasks:>6} tasks           {:>8.1}  {:>8.1}  {:>5.0}   {:>8.1}  {:>8.1}  {:>5.0}   {:>6.2}",
            ours.wall * 1e3,
            per_task(&ours),
            ours.mib,
            theirs.wall * 1e3,
            per_task(&theirs),
            theirs.mib,
            ours.wall / theirs.wall
        );
    }
}

/// One line of the table; with the ratio of ours to it where it is a peer's.
fn row(scene: &str, peer: &Peer, cost: &Cost, ours: Option<&Cost>) {
    let ratio = ours.map_or_else(String::new, |ours| {
        format!("   {:>6.2} {:>6.2}   memory {:.2}", ours.wall / cost.wall, ours.cpu / cost.cpu, ours.mib / cost.mib)
    });
    println!("  {scene:<32} {:<6} {:>10.3} {:>14.3} {:>6.0}{ratio}", peer.tool.name(), cost.wall, cost.cpu, cost.mib);
}
