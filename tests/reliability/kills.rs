//! Runs that are killed, anywhere: by a signal at a random instant, at every system call, at every step of the protocol.
//! Rows U1, U2, U3 and D5. The next run must make what a clean one makes, and do nothing twice that was acknowledged.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xtask::model::Step;

use crate::faults::counts::{Random, report, soak};
use crate::faults::helper::helper;
use crate::faults::program::{Running, program, run};
use crate::faults::{Ran, Space, count, steps, strace};
use crate::model::{Model, Node, output, product, source};

/// A graph of tasks that run the helper: layers of four, each task with two needs in the layer before.
struct Mill {
    space: Space,
    nodes: Vec<Node>,
    sources: BTreeMap<usize, String>,
}

impl Mill {
    fn new(space: Space, tasks: usize) -> Self {
        let nodes: Vec<Node> = (0..tasks)
            .map(|task| {
                let layer = task / 4 * 4;
                let reads =
                    if layer == 0 { vec![] } else { vec![layer - 4 + task % 4, layer - 4 + (task * 3 + 1) % 4] };
                Node {
                    reads: reads.into_iter().collect(),
                    outputs: 1 + task % 2,
                    coarse: task % 5 == 4,
                    ..Node::default()
                }
            })
            .collect();
        let mut text =
            "version: 1\nconfig: { default_tasks: [all] }\ntasks:\n  all: { task_dep: [\"t*\"] }\n".to_owned();
        let helper = helper();
        for (task, node) in nodes.iter().enumerate() {
            let inputs = Self::inputs(node, task).join(", ");
            let outputs = (0..node.outputs).map(|number| output(task, number)).collect::<Vec<_>>().join(", ");
            let pause = [0, 0, 500, 3000][task % 4];
            let _ = writeln!(
                text,
                "  t{task}:\n    file_dep: [{inputs}]\n    targets: [{outputs}]\n    actions: [[{}, mix, \"0\", \"{}\", \"{pause}\", {outputs}, \"--\", {inputs}]]",
                helper.display(),
                node.coarse
            );
        }
        space.write("tasks.yaml", text);
        space.write("out/.keep", "");
        let mut mill = Self { space, nodes, sources: BTreeMap::new() };
        for task in 0..tasks {
            mill.source(task, 0);
        }
        mill
    }

    fn inputs(node: &Node, task: usize) -> Vec<String> {
        std::iter::once(source(task)).chain(node.reads.iter().map(|need| output(*need, 0))).collect()
    }

    fn source(&mut self, task: usize, content: usize) {
        let content = format!("{content}\n");
        self.space.write(&source(task), &content);
        self.sources.insert(task, content);
    }

    /// What a clean run makes.
    fn products(&self) -> BTreeMap<String, String> {
        let mut files: BTreeMap<String, String> =
            self.sources.iter().map(|(task, content)| (source(*task), content.clone())).collect();
        for (task, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<String> = Self::inputs(node, task).iter().map(|name| files[name].clone()).collect();
            for number in 0..node.outputs {
                files.insert(output(task, number), product(&inputs, 0, node.coarse, number));
            }
        }
        files
    }

    /// The run after a fault: works, makes what a clean run makes, repeats nothing that was acknowledged.
    #[track_caller]
    fn recovers(&self, before: &Ran, what: &str) -> Ran {
        let after = run(self.space.root(), &[]);
        assert_eq!(after.exit, 0, "{what}: {}\n{}", after.out, after.err);
        for done in before.of("task_finished").filter(|one| one["outcome"] == "ran" || one["outcome"] == "up-to-date") {
            let task = done["task"].as_str().expect("a name");
            assert!(
                !after.started().contains(&task),
                "{what}: {task} was acknowledged and ran again: {:?}",
                after.kinds(task)
            );
        }
        for (name, content) in self.products() {
            assert_eq!(self.space.read(&name), content, "{what}: {name}");
        }
        after
    }
}

impl Mill {
    /// One fault, and what the run said that it hit. Damaged state may cost one more run.
    fn befall(&self, fault: usize, random: &mut Random) -> Ran {
        let root = self.space.root();
        let command = program(root, &["run", "--reporter", "json", "-n", "3"]);
        match fault {
            0 => {
                let mut running = Running::start(root, &["run", "--reporter", "json", "-n", "3"]);
                std::thread::sleep(Duration::from_micros(random.below(80_000) as u64));
                running.signal(Signal::KILL);
                let code = running.end();
                running.said(code)
            }
            1 => strace::kill_at(&command, strace::WRITES, 1 + random.below(80)),
            2 => strace::error_at(&command, "pwrite64,fsync,fdatasync,ftruncate,rename", "EIO", 1 + random.below(40)),
            _ => {
                let names = ["state.db", "files.bin", "files.new", "seen.bin", "tasks.bin"];
                let there = names.iter().map(|name| self.space.path(&format!(".xtask/{name}")));
                let there: Vec<_> = there.filter(|file| file.metadata().is_ok_and(|meta| meta.len() > 0)).collect();
                let file = &there[random.below(there.len())];
                let mut bytes = std::fs::read(file).expect("the state");
                let at = random.below(bytes.len());
                if fault == 3 {
                    bytes[at] ^= 1 << random.below(8);
                } else {
                    bytes.truncate(at);
                }
                std::fs::write(file, bytes).expect("the state");
                let ran = run(root, &[]);
                if ran.err.contains("was written by a newer version") {
                    std::fs::remove_dir_all(self.space.path(".xtask")).expect("the state");
                } else {
                    assert!(ran.exit == 0 || ran.err.contains("put aside"), "exit {}: {}", ran.exit, ran.err);
                }
                // What it told may rest on what was put aside.
                Ran::new(0, String::new(), String::new())
            }
        }
    }
}

#[test]
fn u1_killed_at_any_instant_the_next_run_is_right() {
    let mut random = Random::new();
    let seed = random.0;
    let mut mill = Mill::new(Space::new(), 24);
    let begun = Instant::now();
    run(mill.space.root(), &[]).fine();
    let whole = begun.elapsed().as_micros() as usize;
    let rounds = count(200, 1_000);
    let (mut killed, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        for _ in 0..=random.below(3) {
            let task = random.below(24);
            mill.source(task, random.below(1_000));
        }
        if random.below(4) == 0 {
            let _ = std::fs::remove_file(mill.space.path(&output(random.below(24), 0)));
        }
        let jobs = (1 + random.below(4)).to_string();
        let mut running = Running::start(mill.space.root(), &["run", "--reporter", "json", "-n", &jobs]);
        std::thread::sleep(Duration::from_micros(random.below(whole) as u64));
        running.signal(Signal::KILL);
        let code = running.end();
        killed += usize::from(code == 128 + 9);
        let before = running.said(code);
        acknowledged += before.of("task_finished").filter(|one| one["outcome"] == "ran").count();
        mill.recovers(&before, &format!("seed {seed}, round {round}"));
        if round % 20 == 0 {
            assert_eq!(run(mill.space.root(), &[]).fine().started(), [""; 0], "seed {seed}, round {round}");
        }
    }
    assert!(killed > rounds / 4 && acknowledged > 0, "{killed} of {rounds} were killed, {acknowledged} tasks before");
    report(
        "U1",
        &format!("{killed} of {rounds} runs killed, {acknowledged} tasks acknowledged before, 0 wrong, 0 run again"),
    );
}

/// Numbers from 1 to `last`: all of them, or that many, spread.
fn sample(last: usize, many: usize) -> Vec<usize> {
    let step = if soak().is_some() { 1 } else { (last / many).max(1) };
    (1..=last).step_by(step).collect()
}

#[test]
fn u2_killed_at_any_write_the_next_run_is_right() {
    let mut mill = Mill::new(Space::new(), 5);
    let command = |mill: &Mill| program(mill.space.root(), &["run", "--reporter", "json", "-n", "2"]);
    let last = strace::count(&command(&mill), strace::WRITES);
    assert!(last > 20, "only {last} writes were seen");
    let points = sample(last + 3, 25);
    for number in &points {
        for task in 0..5 {
            mill.source(task, *number);
        }
        // The first run of a workspace, too: making the database is the riskiest part.
        if number % 2 == 0 {
            std::fs::remove_dir_all(mill.space.path(".xtask")).expect("the state");
        }
        let before = strace::kill_at(&command(&mill), strace::WRITES, *number);
        let after = mill.recovers(&before, &format!("write {number}"));
        assert!(!after.err.contains("damaged"), "write {number}: {}", after.err);
    }
    report("U2", &format!("{} of {last} writes, 0 wrong, 0 databases that cannot be opened", points.len()));
}

#[test]
fn d5_an_error_of_any_write_is_told_and_costs_only_work() {
    let mut mill = Mill::new(Space::new(), 5);
    let command = |mill: &Mill| program(mill.space.root(), &["run", "--reporter", "json", "-n", "2"]);
    let calls = "pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2";
    let last = strace::count(&command(&mill), calls);
    assert!(last > 5, "only {last} writes were seen");
    let points = sample(last + 2, 8);
    let (mut told, mut silent) = (0, 0);
    for error in ["EIO", "ENOSPC", "EDQUOT"] {
        for number in &points {
            for task in 0..5 {
                mill.source(task, number * 10 + error.len());
            }
            if number % 2 == 0 {
                std::fs::remove_dir_all(mill.space.path(".xtask")).expect("the state");
            }
            let before = strace::error_at(&command(&mill), calls, error, *number);
            let (is_told, is_fine) =
                (before.err.contains("error: ") || before.err.contains("warning: "), before.exit == 0);
            assert!(is_told || is_fine, "{error} at {number}: exit {} without a word: {}", before.exit, before.out);
            told += usize::from(is_told);
            silent += usize::from(!is_told);
            mill.recovers(&before, &format!("{error} at {number}"));
        }
    }
    report("D5", &format!("{told} errors told, {silent} that cost nothing, 0 wrong"));
}

const ENTRY: &str = "kills::u3_ended_at_any_step_the_next_run_is_right";

/// A chain and a leaf, in this process: the model says what must be done.
fn chain() -> Model {
    let reads = |needs: &[usize]| Node { reads: needs.iter().copied().collect(), outputs: 1, ..Node::default() };
    let mut nodes = vec![reads(&[]), reads(&[0]), reads(&[0, 1]), reads(&[]), reads(&[2, 3])];
    nodes[1].teardown = true;
    Model::new(nodes)
}

/// A folder with the tasks and the files of a model.
fn written(model: &Model) -> Space {
    let space = Space::new();
    space.write("tasks.yaml", crate::plans::taskfile(model));
    space.write("out/.keep", "");
    for (name, content) in &model.files {
        space.write(name, content);
    }
    space
}

#[test]
fn u3_ended_at_any_step_the_next_run_is_right() {
    steps::be_the_victim();
    let mut random = Random::new();
    let seed = random.0;
    let mut model = chain();
    let space = written(&model);
    let each = count(12, 50);
    let mut aborted = 0;
    for step in Step::ALL {
        for round in 0..each {
            let task = random.below(5);
            let content = format!("{}\n", random.below(1_000_000));
            space.write(&source(task), &content);
            model.files.insert(source(task), content);
            let status = steps::abort_at(ENTRY, space.root(), step, 1 + random.below(3), false);
            aborted += usize::from(!status.success());
            let what = format!("seed {seed}, {step:?}, round {round}");
            let after = space.run(&[]);
            assert_eq!(after.exit, 0, "{what}: {}", after.err);
            // Whatever was done before: now all is as the model has it, and nothing is left to do.
            model.run(&|_| true);
            for (name, content) in &model.files {
                assert_eq!(&space.read(name), content, "{what}: {name}");
            }
            assert_eq!(space.run(&[]).fine().started(), [""; 0], "{what}");
        }
    }
    assert!(aborted * 3 > each * Step::ALL.len(), "{aborted} runs were ended");
    report("U3", &format!("{aborted} runs ended at {} steps, 0 wrong", Step::ALL.len()));
}

#[test]
fn p10_a_panic_in_a_worker_fails_the_run_and_leaves_the_state_sane() {
    let mut model = chain();
    let space = written(&model);
    for step in [Step::Acted, Step::Observed] {
        for times in 1..4 {
            let status = steps::abort_at(ENTRY, space.root(), step, times, true);
            assert_eq!(status.code(), Some(2), "{step:?} {times}");
            model.run(&|_| true);
            assert_eq!(space.run(&[]).exit, 0);
            assert_eq!(space.run(&[]).fine().started(), [""; 0], "{step:?} {times}");
            for (name, content) in &model.files {
                assert_eq!(&space.read(name), content, "{step:?} {times}: {name}");
            }
            space.write("in/0", format!("{step:?} {times}\n"));
            model.files.insert("in/0".into(), format!("{step:?} {times}\n"));
        }
    }
}

#[test]
fn n1_random_faults_one_after_the_other() {
    let mut random = Random::new();
    let seed = random.0;
    let time = soak().unwrap_or(Duration::from_secs(6));
    let begun = Instant::now();
    let (mut graphs, mut faults) = (0, 0);
    while begun.elapsed() < time {
        let tasks = 4 + 4 * random.below(6);
        let mut mill = Mill::new(Space::new(), tasks);
        graphs += 1;
        run(mill.space.root(), &[]).fine();
        for round in 0..6 {
            for _ in 0..=random.below(3) {
                let (task, content) = (random.below(tasks), random.below(1_000));
                mill.source(task, content);
            }
            let fault = random.below(5);
            let before = mill.befall(fault, &mut random);
            mill.recovers(&before, &format!("seed {seed}, graph {graphs}, round {round}, fault {fault}"));
            faults += 1;
        }
    }
    report("N1", &format!("{faults} faults on {graphs} graphs, seed {seed}, 0 wrong"));
}
