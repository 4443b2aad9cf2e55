//! How fast files are hashed, beside what the processor gives: `openssl speed sha256` on as many processes as there are
//! processors. Knows nothing of tasks.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use xtask::model::RepoPath;
use xtask::store::Files;

/// Files and bytes of each.
const SHAPES: [(usize, usize); 5] = [(1, 512 << 20), (64, 4 << 20), (4096, 64 << 10), (16_384, 8 << 10), (20_000, 200)];

pub fn table(folder: &Path) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!(
        "\nhashing                        MB/s   openssl sha256 MB/s (processes, bytes at once)   ratio   us/file"
    );
    println!("                               of that on each processor: SHA-256 itself, open + read + close, the rest");
    for (files, bytes) in SHAPES {
        let dir = make(folder, files, bytes);
        // One stream of SHA-256 cannot be split.
        let processes = cores.min(files);
        let block = bytes.min(16 << 10);
        let (mut best, mut peer) = (0.0_f64, 0.0_f64);
        let mut read = f64::INFINITY;
        for _ in 0..3 {
            best = best.max(ours(&dir, files, bytes));
            peer = peer.max(openssl(processes, block));
            read = read.min(reading(&dir, files, processes));
        }
        let whole = bytes as f64 / best * processes as f64;
        println!(
            "{files:>6} files of {bytes:>9} B {best:>8.0}   {peer:>8.0} ({processes}, {block}){:>28.2} {whole:>10.1}",
            best / peer,
        );
        let (hash, read) = (bytes as f64 / peer * processes as f64, read * 1e6 / files as f64 * processes as f64);
        println!(
            "{:>41.1} us {read:>10.1} us {:>10.1} us: {:.2} of what both take",
            hash,
            whole - hash - read,
            (hash + read) / whole
        );
    }
}

/// Seconds for nothing but to open, read and close the same files on all processors: no digest of files can be had for
/// less.
fn reading(dir: &Path, files: usize, threads: usize) -> f64 {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut buffer = vec![0; 1 << 17];
                loop {
                    let file = next.fetch_add(1, Ordering::Relaxed);
                    if file >= files {
                        break;
                    }
                    let mut file = File::open(dir.join(file.to_string())).expect("a file");
                    while file.read(&mut buffer).expect("it can be read") == buffer.len() {}
                }
            });
        }
    });
    start.elapsed().as_secs_f64()
}

fn make(folder: &Path, files: usize, bytes: usize) -> PathBuf {
    let dir = folder.join(format!("hash-{files}-{bytes}"));
    if !dir.join("done").exists() {
        std::fs::create_dir_all(&dir).expect("a folder");
        let content: Vec<u8> = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
        for file in 0..files {
            std::fs::write(dir.join(file.to_string()), &content).expect("a file");
        }
        std::fs::write(dir.join("done"), "").expect("a mark");
    }
    dir
}

/// Megabytes per second without any memory of former digests.
fn ours(dir: &Path, files: usize, bytes: usize) -> f64 {
    let paths: Vec<RepoPath> = (0..files).filter_map(|file| RepoPath::from_root(file.to_string())).collect();
    let mut store = Files::open(dir).expect("a folder");
    let start = Instant::now();
    store.observe(&paths);
    (files * bytes) as f64 / 1e6 / start.elapsed().as_secs_f64()
}

fn openssl(processes: usize, block: usize) -> f64 {
    let words = [
        "speed",
        "-mr",
        "-seconds",
        "1",
        "-bytes",
        &block.to_string(),
        "-multi",
        &processes.to_string(),
        "-evp",
        "sha256",
    ];
    let told = Command::new("openssl").args(words).output().expect("openssl");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    // `+F:21:sha256:1234567.89` at the end: bytes per second of all processes.
    let rate = text
        .lines()
        .rev()
        .find(|line| line.starts_with("+F:"))
        .and_then(|line| line.rsplit(':').next()?.parse::<f64>().ok());
    rate.unwrap_or_else(|| panic!("openssl said: {text}")) / 1e6
}
