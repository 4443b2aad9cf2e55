//! How fast a stack of images is planned and built, beside the docker command line with BuildKit, in one run: a table of
//! ratios. Knows the program by its command line, and for contexts by the library.
//!
//! `cargo bench --bench stack [-- PART…]`, where a part is `plan` (500 images with 20 000 context files, nothing changed),
//! `diamond` (12 images, new for every builder), `shipped` (`build-stack` of this repository beside a loop of fully cached
//! builds), `contexts` (50 000 files or one large one) or `memory` (what serving these takes; fails where it is too much);
//! all of them by default. `contexts FILES MEGABYTES ROUNDS` and `memory FILES MEGABYTES` are their sizes. The peer is the
//! command line of `DOCKER`, which must be one with BuildKit; `STACK_BENCH_PROGRAM` names another build of the program
//! than the bench's own. What is built is labelled `xtask.bench` and removed at the end.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "stack/contexts.rs"]
mod contexts;
#[path = "stack/diamond.rs"]
mod diamond;
#[path = "stack/large.rs"]
mod large;
#[path = "engine/measure.rs"]
mod measure;
#[path = "stack/program.rs"]
mod program;
#[path = "stack/shipped.rs"]
mod shipped;

fn main() {
    if contexts::memory::is_child() {
        return;
    }
    let known = ["plan", "diamond", "shipped", "contexts", "memory"];
    let words: Vec<String> = std::env::args().skip(1).filter(|word| known.contains(&word.as_str())).collect();
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let wants = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}; the peer is {}", load.trim(), program::peer_version());
    if wants("plan") {
        large::table();
    }
    if wants("diamond") {
        diamond::table();
    }
    if wants("shipped") {
        shipped::table();
    }
    if wants("memory") {
        contexts::memory_table(&numbers);
    }
    if wants("contexts") {
        contexts::table(&numbers);
    }
}
