//! What `env run` costs beside the docker command line: on a container that is kept, against `docker exec`; with a new
//! container, against `docker run`. In turn, in one run. Knows nothing of the program's insides.
//!
//! `cargo bench --profile dev --bench environments [-- ROUNDS]`. Needs busybox-static; the peer is the command line of
//! `DOCKER`. At most 50 ms over each is the aim.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "bench_environment";
const METADATA: &str = "key: BENCH\ntype: environment_specification\nname: bench_environment\n\
    short_description: For the benchmark\nversion: 0.1.0\ncreator: the benchmark\neditor_list: []\n\
    creation_date: 2026-11-26\nexternal_references: []\ntag_list: []\nnotes:\n";
const DOCKERFILE: &str = "FROM scratch\nCOPY busybox /bin/busybox\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nRUN mkdir -m 1777 /tmp\nENV PATH=/bin\n";

fn lay_out(root: &Path) {
    let folder = root.join("environments").join(NAME);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(root.join("tasks.yaml"), "version: 1\ntasks: {}\n").expect("a file");
    std::fs::write(folder.join("metadata.yml"), METADATA).expect("a file");
    std::fs::write(folder.join(format!("Dockerfile_{NAME}")), DOCKERFILE).expect("a file");
    std::fs::copy("/bin/busybox", folder.join("busybox")).expect("busybox-static is installed");
}

fn xtask(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["env", "run", NAME]).args(words).current_dir(root).env("XTASK_CACHE_DIR", root.join("cache"));
    command
}

fn docker(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("DOCKER").unwrap_or_else(|| "docker".into()));
    command.args(words);
    command
}

fn time(mut command: Command) -> Duration {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("a program");
    assert!(status.success(), "{command:?}");
    start.elapsed()
}

fn text(mut command: Command) -> String {
    String::from_utf8_lossy(&command.output().expect("a program").stdout).trim().to_owned()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path();
    lay_out(root);
    time(xtask(root, &["-c", "true"]));
    let find = |format: &str| {
        text(docker(&["ps", "--filter", &format!("label=dev.xtask.env.name={NAME}"), "--format", format]))
    };
    let container = find("{{.ID}}").lines().next().unwrap_or_default().to_owned();
    let image = text(docker(&["inspect", "--format", "{{.Image}}", &container]));
    let (mut warm, mut exec, mut cold, mut run) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut other, mut run_other) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        warm.push(time(xtask(root, &["-c", "true"])));
        exec.push(time(docker(&["exec", &container, "sh", "-c", "true"])));
        // Nothing else is asked for at once: `--fresh` makes, uses and removes.
        let word = format!("true {round}");
        cold.push(time(xtask(root, &["--fresh", "-c", &word])));
        run.push(time(docker(&["run", "--rm", "--init", "--entrypoint", "sh", &image, "-c", &word])));
        // Somebody whom the image does not know: a list of users with him in it, and folders of his own.
        other.push(time(xtask(root, &["--fresh", "--user", "4242", "-c", &word])));
        let words = ["run", "--rm", "--init", "--user", "4242", "--entrypoint", "sh", &image, "-c", &word];
        run_other.push(time(docker(&words)));
    }
    println!("median of {rounds} rounds, in ms");
    for (name, ours, peer_name, peer) in [
        ("env run, kept", warm, "docker exec", exec),
        ("env run --fresh", cold, "docker run --rm", run),
        ("  --user", other, "  --user", run_other),
    ] {
        let (ours, peer) = (median(ours), median(peer));
        println!(
            "{name:16} {ours:7.1}   {peer_name:16} {peer:7.1}   over {:+.1}   ratio {:.2}",
            ours - peer,
            ours / peer
        );
    }
    let mut stop = Command::new(env!("CARGO_BIN_EXE_xtask"));
    stop.args(["env", "cache", "prune", "--all"]).current_dir(root).env("XTASK_CACHE_DIR", root.join("cache"));
    time(stop);
}
