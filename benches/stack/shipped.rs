//! `build-stack` of this repository with nothing to do, beside a loop of fully cached builds by the docker command line.
//! Knows nothing of other scenes.

use std::path::Path;

use crate::measure::{pair, run};
use crate::program::{docker, must, row, xtask};

const ROUNDS: usize = 5;

pub fn table() {
    println!("\nthe shipped stack, nothing changed, median of {ROUNDS}: seconds of ours, of the loop, ratio");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    // Where it was never built, this takes minutes.
    must(&xtask(&root, &["build-stack"]));
    must(&xtask(&root, &["build-stack"]));
    let text = format!("DOCKER={} benches/docker-build-loop.sh .xtask/render bench", docker());
    let by_hand = crate::program::script(&root, &text);
    must(&by_hand);
    let (ours, theirs) = pair(ROUNDS, || run(&xtask(&root, &["build-stack"])), || run(&by_hand));
    row("build-stack, a loop of cached builds", &ours, Some(&theirs), "at most 0.05");
}
