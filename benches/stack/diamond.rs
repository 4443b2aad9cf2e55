//! Twelve images in the form of a diamond, new for every builder: the program beside the docker command line in the best
//! order by hand. Knows nothing of other scenes.

use std::cell::Cell;
use std::fmt::Write as _;

use crate::measure::{pair, run};
use crate::program::{LABEL, Place, docker, row, script, tool, xtask};

const ROUNDS: usize = 3;

/// Each image with those it is built from, parents first: 1, 3, 4, 3, 1.
const IMAGES: [(&str, &[&str]); 12] = [
    ("a", &[]),
    ("b1", &["a"]),
    ("b2", &["a"]),
    ("b3", &["a"]),
    ("c1", &["b1", "b2"]),
    ("c2", &["b1", "b3"]),
    ("c3", &["b2", "b3"]),
    ("c4", &["b3", "b1"]),
    ("d1", &["c1", "c2"]),
    ("d2", &["c2", "c3"]),
    ("d3", &["c3", "c4"]),
    ("e", &["d1", "d2", "d3"]),
];

/// What an image does in its RUN step.
#[derive(Clone, Copy)]
enum Step {
    /// A second of waiting, as for a download.
    Waits,
    /// Half a second of work of one processor.
    Computes,
    /// Nothing but files: the engine's own time.
    Nothing,
}

const TASKS: &str = "version: 1
config: { default_tasks: [build-stack], jobs: 4 }
pools: { docker: 4 }
stack: images/spec.yml
tasks:
  build-stack: { task_dep: [\"build:*\"] }
  render: { for_each: image, actions: [{ render: { image: \"{{ image.name }}\" } }] }
  build: { for_each: image, pool: docker, actions: [{ image_build: { image: \"{{ image.name }}\" } }] }
";

/// The same tree for both: `prefix` begins the names, `seed` makes it new.
fn lay_out(place: &Place, prefix: &str, step: Step, seed: &str) -> String {
    let mut spec = "version: 1\ntag: { prefix: t }\nimages:\n".to_owned();
    let mut by_hand = String::new();
    for (name, parents) in IMAGES {
        let mut text = match parents.first() {
            None => "FROM scratch\nCOPY tool /tool\n".to_owned(),
            Some(parent) => format!("FROM {prefix}/{parent}:t\n"),
        };
        for parent in parents.iter().skip(1) {
            let _ = writeln!(text, "COPY --from={prefix}/{parent}:t /of/{parent}.txt /from/{name}-{parent}.txt");
        }
        let _ = writeln!(text, "COPY {name}.txt /of/{name}.txt");
        match step {
            Step::Waits => text += "RUN [\"/tool\", \"sleep\", \"1\"]\n",
            Step::Computes => text += "RUN [\"/tool\", \"work\", \"200\", \",\", \"write\", \"/sum\", \"done\"]\n",
            Step::Nothing => {}
        }
        place.write(&format!("images/{name}/Dockerfile"), &text);
        place.write(&format!("images/{name}/{name}.txt"), format!("{name} of {seed}\n"));
        if parents.is_empty() {
            tool(&place.dir.join(format!("images/{name}/tool")));
        }
        let label = format!("{LABEL}: {}", place.prefix);
        let _ = writeln!(spec, "  {name}: {{ image_name: {prefix}/{name}, labels: {{ {label} }} }}");
        let _ = writeln!(
            by_hand,
            "{} build -q -t {prefix}/{name}:t --label {LABEL}={} images/{name} >/dev/null",
            docker(),
            place.prefix
        );
    }
    place.write("images/spec.yml", spec);
    place.write("tasks.yaml", TASKS);
    by_hand
}

pub fn table() {
    println!("\n12 images in a diamond, new each time, median of {ROUNDS}: seconds of ours, by hand, ratio");
    for (name, step) in
        [("steps that wait 1 s", Step::Waits), ("steps that compute", Step::Computes), ("files alone", Step::Nothing)]
    {
        let round = Cell::new(0);
        let next = || {
            round.set(round.get() + 1);
            format!("{}-{name}-{}", std::process::id(), round.get())
        };
        let ours = || {
            let place = Place::new("diamond-ours");
            lay_out(&place, &place.prefix, step, &next());
            run(&xtask(&place.dir, &["build-stack"]))
        };
        let theirs = || {
            let place = Place::new("diamond-by-hand");
            let by_hand = lay_out(&place, &place.prefix, step, &next());
            run(&script(&place.dir, &by_hand))
        };
        let (ours, theirs) = pair(ROUNDS, ours, theirs);
        row(&format!("cold, {name}"), &ours, Some(&theirs), "at most 1.0");
    }
}
