//! What a sync of many small files to several hosts costs beside one rsync after the other; a sync of nothing, and of one
//! file, beside `rsync -a`. In turn, in one run, over a real ssh server. Knows nothing of how it is done.
//!
//! `cargo bench --bench sync [-- FILES]`: 20,000 files in 8 folders to 4 hosts unless it is said otherwise. Needs
//! openssh-server and rsync.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/support/sshd.rs"]
mod sshd;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use sshd::Sshd;
use xtask::model::StopToken;
use xtask::remote::sync::{Limits, Place};
use xtask::remote::{Job, JobState, Patience, SyncSpec, Target, sync_all};

const FOLDERS: usize = 8;
const HOSTS: usize = 4;
const ROUNDS: usize = 3;

fn main() {
    let files = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(20_000);
    let (server, dir) = (Sshd::start("MaxStartups 100"), tempfile::tempdir().expect("a folder"));
    let source = dir.path().join("source");
    for file in 0..files {
        let folder = source.join(format!("f{}/d{}", file % FOLDERS, file % 50));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{file}")), format!("content {file}").repeat(20)).expect("a file");
    }
    println!("{files} files in {FOLDERS} folders to {HOSTS} hosts, seconds; peer: one rsync after the other");
    let ours = |per_host: usize, place: &str| sync(&server, &source, &dir.path().join(place), per_host);
    let theirs = |place: &str| plain(&server, &source, &dir.path().join(place));
    let default = Limits::default().per_host;
    line("first", time(|| ours(default, "ours")), time(|| theirs("theirs")));
    let one = time(|| ours(1, "one at a time"));
    println!("{:16} {one:8.2}", "  one per host");
    for (name, change) in [("nothing changed", false), ("one file changed", true)] {
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            if change {
                std::fs::write(source.join("f3/d3/3"), format!("other {round}")).expect("a file");
            }
            own.push(time(|| ours(default, "ours")));
            other.push(time(|| theirs("theirs")));
        }
        line(name, median(own), median(other));
    }
    println!("one folder to one host, in parts that are copied side by side; peer: in one");
    let parted = |parts: usize, round: usize| {
        let roots = dir.path().join(format!("parts{parts}-{round}"));
        let what = if parts == 1 { vec![source.clone()] } else { folders(&source) };
        time(|| copy(&server, &what, &roots, 1, parts))
    };
    let rounds: Vec<[f64; 3]> = (0..ROUNDS).map(|round| [1, 2, 4].map(|parts| parted(parts, round))).collect();
    let of = |at: usize| median(rounds.iter().map(|times| times[at]).collect());
    line("2 parts", of(1), of(0));
    line("4 parts", of(2), of(0));
}

fn line(name: &str, ours: f64, peer: f64) {
    println!("{name:16} {ours:8.2}   peer {peer:8.2}   ratio {:.2}", ours / peer);
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn time(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_secs_f64()
}

fn target(server: &Sshd) -> Target {
    let mut target = Target::parse("127.0.0.1").expect("an address");
    target.port = Some(server.port);
    target.identity = Some(server.key());
    target.config_file = Some(server.dir().join("client"));
    target
}

/// All folders to all hosts, as one call.
fn sync(server: &Sshd, source: &Path, roots: &Path, per_host: usize) {
    copy(server, &folders(source), roots, HOSTS, per_host);
}

/// The folders of the source.
fn folders(source: &Path) -> Vec<PathBuf> {
    (0..FOLDERS).map(|folder| source.join(format!("f{folder}"))).collect()
}

/// Folders to so many hosts, so many of them at once to each.
fn copy(server: &Sshd, folders: &[PathBuf], roots: &Path, hosts: usize, per_host: usize) {
    let env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let job = |host: usize, folder: &PathBuf| {
        let root = roots.join(format!("h{host}")).to_string_lossy().into_owned();
        let mut spec = SyncSpec::new(folder);
        spec.delete = true;
        spec.memory = Some(roots.join("memory"));
        let place = Place { target: Some(target(server)), root };
        let path = folder.file_name().expect("a name").to_string_lossy().into_owned();
        Job { spec, place, path, allow_collapse: false }
    };
    let jobs: Vec<Job> =
        (0..hosts).flat_map(|host| folders.iter().map(move |folder| (host, folder))).map(|(h, f)| job(h, f)).collect();
    let limits = Limits { per_host, ..Limits::default() };
    let reports = sync_all(&jobs, limits, Patience::default(), &env, &|_, _| {}, &StopToken::new());
    let failed = reports.iter().find(|report| matches!(report.state, JobState::Failed(_)));
    assert!(failed.is_none(), "{failed:?}");
}

/// One rsync after the other, each with a connection of its own.
fn plain(server: &Sshd, source: &Path, roots: &Path) {
    let client = server.dir().join("client");
    let shell = format!("ssh -F {} -i {} -p {}", client.display(), server.key().display(), server.port);
    for host in 0..HOSTS {
        for folder in 0..FOLDERS {
            let to = roots.join(format!("h{host}/f{folder}"));
            std::fs::create_dir_all(&to).expect("a folder");
            let status = Command::new("rsync")
                .args(["-aH", "--delete", "-e", &shell, "--"])
                .arg(source.join(format!("f{folder}/")))
                .arg(format!("127.0.0.1:{}/", to.display()))
                .status();
            assert!(status.expect("rsync is needed").success());
        }
    }
}
