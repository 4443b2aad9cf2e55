//! A stack of 500 images with 20 000 context files in which nothing has changed. Knows nothing of other scenes.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure::{Cost, median, run};
use crate::program::{LABEL, Place, must, row, xtask};

const IMAGES: usize = 500;
const FILES: usize = 40;
const ROUNDS: usize = 9;
/// Longer than the time in which an equal stat proves nothing.
const SETTLE: Duration = Duration::from_millis(2300);

const TASKS: &str = "version: 1
config: { default_tasks: [build-stack], jobs: 4 }
pools: { docker: 4 }
stack: images/spec.yml
tasks:
  build-stack: { task_dep: [\"build:*\"] }
  render: { for_each: image, actions: [{ render: { image: \"{{ image.name }}\" } }] }
  stage: { for_each: image, actions: [{ stage: { image: \"{{ image.name }}\" } }] }
  build: { for_each: image, pool: docker, actions: [{ image_build: { image: \"{{ image.name }}\" } }] }
";

fn name(image: usize) -> String {
    format!("i{image:03}")
}

fn lay_out(place: &Place) {
    let mut spec = "version: 1\ntag: { prefix: t }\nimages:\n".to_owned();
    for image in 0..IMAGES {
        let (name, prefix) = (name(image), &place.prefix);
        let _ = writeln!(spec, "  {name}: {{ image_name: {prefix}/{name}, labels: {{ {LABEL}: {prefix} }} }}");
        // Ten roots; everything else has a parent, at most nine deep.
        let parent = if image < 10 { "scratch".to_owned() } else { format!("{prefix}/{}", self::name(image / 2)) };
        place.write(&format!("images/{name}/Dockerfile.j2"), format!("FROM {parent}\nCOPY . /data/{name}/\n"));
        for file in 0..FILES {
            let text = format!("file {file} of image {image} of {prefix}\n");
            place.write(&format!("images/{name}/files/{}/{file}.txt", file % 4), text);
        }
    }
    place.write("images/spec.yml", spec);
    place.write("tasks.yaml", TASKS);
}

pub fn table() {
    println!("\n{IMAGES} images, {} context files: seconds, median of {ROUNDS}", IMAGES * FILES);
    let place = Place::new("plan");
    lay_out(&place);
    let scene = |name: &str, words: &[&str], rounds: usize, limit: &str| {
        let costs: Vec<Cost> = (0..rounds).map(|_| run(&xtask(&place.dir, words))).collect();
        let cost = median(&costs);
        row(&format!("{name} ({:.0} MiB)", cost.mib), &cost, None, limit);
    };
    scene("first build of all", &["build-stack"], 1, "");
    // What was just written is looked at closely once more; then stats tell.
    std::thread::sleep(SETTLE);
    must(&xtask(&place.dir, &["build-stack"]));
    scene("plan: build-stack --dry-run", &["build-stack", "--dry-run"], ROUNDS, "at most 0.3");
    scene("plan and run: build-stack", &["build-stack"], ROUNDS, "at most 0.3");
    place.write("images/i499/files/0/0.txt", "another content\n");
    scene("one leaf changed: build-stack", &["build-stack"], 1, "");
}
