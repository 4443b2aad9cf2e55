//! How long a context takes to reach the engine: our session beside the docker command line with BuildKit, in turn, in
//! one run. Knows nothing of stacks.
//!
//! Builds 50 000 small files and one large one, with `COPY .` and with `COPY` of one file: new content (cold), nothing
//! changed, one file changed. It fills the build cache of the engine of `DOCKER_HOST`; the images are removed.

#[path = "memory.rs"]
pub mod memory;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use xtask::docker::{BuildRequest, Builder, Docker, endpoint};
use xtask::model::digest::Hasher;
use xtask::model::{Context, ContextEntry, ContextKind, Digest, StopToken};

/// What is in the folder, and what the Dockerfile copies of it.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Many,
    Big,
}

struct Folder {
    path: PathBuf,
    shape: Shape,
    files: usize,
    bytes: usize,
}

impl Folder {
    /// New content, so that nothing of it is known to the engine.
    fn create(path: &Path, shape: Shape, files: usize, bytes: usize, seed: u64) -> Self {
        let _ = fs::remove_dir_all(path);
        fs::create_dir_all(path).expect("a folder");
        let folder = Self { path: path.to_owned(), shape, files, bytes };
        let (count, size) = match shape {
            Shape::Many => (files, bytes / files),
            Shape::Big => (1, bytes),
        };
        for number in 0..count {
            let file = folder.file(number);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
            noise(&file, size, seed + number as u64);
        }
        fs::write(path.join("small.txt"), seed.to_string()).expect("a file");
        folder
    }

    fn file(&self, number: usize) -> PathBuf {
        self.path.join(format!("d{}/f{number}", number / 500))
    }

    /// Other content of another size in one file.
    fn touch(&self, copy_all: bool, round: usize) {
        let file = if copy_all { self.file(0) } else { self.path.join("small.txt") };
        let size = match (self.shape, copy_all) {
            (Shape::Big, true) => self.bytes,
            (Shape::Many, true) => self.bytes / self.files,
            (_, false) => 10,
        };
        noise(&file, size + 1, 77 + round as u64);
    }

    fn manifest(&self) -> Context {
        let mut entries = Vec::new();
        walk(&self.path, "", &mut entries);
        Context { entries }
    }
}

/// Writes bytes that no compression makes smaller, a little at a time: the memory measured below is not ours.
fn noise(path: &Path, size: usize, seed: u64) {
    let mut file = fs::File::create(path).expect("a file");
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut left = size;
    while left > 0 {
        let mut bytes = Vec::with_capacity(1 << 16);
        while bytes.len() < left.min(1 << 16) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(left);
        file.write_all(&bytes).expect("space");
        left -= bytes.len();
    }
}

fn digest(path: &Path) -> Digest {
    let mut file = fs::File::open(path).expect("a file");
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).expect("a file") {
            0 => return hasher.finish(),
            length => hasher.raw(&buffer[..length]),
        };
    }
}

fn walk(folder: &Path, prefix: &str, entries: &mut Vec<ContextEntry>) {
    let mut found: Vec<_> = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    found.sort_by_key(fs::DirEntry::file_name);
    for item in found {
        let path = format!("{prefix}{}", item.file_name().to_string_lossy());
        if item.file_type().expect("a type").is_dir() {
            entries.push(ContextEntry { path: path.clone().into(), kind: ContextKind::Directory });
            walk(&item.path(), &format!("{path}/"), entries);
        } else {
            let (digest, size) = (digest(&item.path()), item.metadata().expect("metadata").len());
            let kind = ContextKind::File { source: item.path(), digest, size, executable: false };
            entries.push(ContextEntry { path: path.into(), kind });
        }
    }
}

fn ours(docker: &Docker, folder: &Folder, dockerfile: &str, manifest: Context) -> f64 {
    let request = BuildRequest {
        dockerfile: dockerfile.into(),
        context: Arc::new(manifest),
        shared_key: folder.path.display().to_string(),
        builder: Builder::BuildKit,
        ..Default::default()
    };
    let start = Instant::now();
    let built = docker.build(&request, &mut |_| {}, &StopToken::new()).expect("our build");
    let seconds = start.elapsed().as_secs_f64();
    // The builder's cache keeps the steps; the images would fill the disk.
    docker.remove_image(&built.image, true).expect("an image to remove");
    seconds
}

fn theirs(folder: &Folder, dockerfile: &str) -> f64 {
    // Outside the context, so that both send the same files.
    let file = folder.path.with_extension("Dockerfile");
    fs::write(&file, dockerfile).expect("the Dockerfile");
    let start = Instant::now();
    let mut command = Command::new(crate::program::docker());
    command.env("DOCKER_BUILDKIT", "1").args(["build", "-q", "-f"]).arg(&file).arg(&folder.path);
    let built = command.stderr(Stdio::null()).output().expect("the docker command line");
    let seconds = start.elapsed().as_secs_f64();
    assert!(built.status.success(), "docker build works");
    let image = String::from_utf8_lossy(&built.stdout).trim().to_owned();
    let removed = Command::new(crate::program::docker()).args(["rmi", "--force", &image]).output();
    assert!(removed.is_ok_and(|removed| removed.status.success()), "{image} is removed");
    seconds
}

/// Seconds of processor time: of this process, and of its children that have ended.
fn processor() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(") ").next().unwrap_or("").split(' ').map(|f| f.parse().unwrap_or(0.0)).collect();
    let ticks = |at: usize| fields.get(at).copied().unwrap_or(0.0) / 100.0;
    (ticks(11) + ticks(12), ticks(13) + ticks(14))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How often a state is measured after each cold build.
const REPEATS: usize = 5;

/// Seconds and processor time of both, in one state of the folders.
#[derive(Default)]
struct Row {
    times: [Vec<f64>; 2],
    work: [Vec<f64>; 2],
}

/// Two equal folders, one for each builder.
struct Pair<'a> {
    docker: &'a Docker,
    dockerfile: &'a str,
    mine: Folder,
    other: Folder,
}

impl Pair<'_> {
    /// Measures both once; which is first depends on `turn`.
    fn measure(&self, turn: usize, row: &mut Row) {
        let mut manifest = Some(self.mine.manifest());
        let (mut a, mut b) = (0.0, 0.0);
        let before = processor();
        let mut first = || {
            rustix::fs::sync();
            a = ours(self.docker, &self.mine, self.dockerfile, manifest.take().unwrap_or_default());
        };
        // What the one before has written must not be paid for by the next.
        let mut second = || {
            rustix::fs::sync();
            b = theirs(&self.other, self.dockerfile);
        };
        if turn.is_multiple_of(2) {
            (first(), second())
        } else {
            (second(), first())
        };
        let after = processor();
        row.times[0].push(a);
        row.times[1].push(b);
        row.work[0].push(after.0 - before.0);
        row.work[1].push(after.1 - before.1);
    }
}

pub fn table(numbers: &[usize]) {
    let number = |at: usize, default: usize| numbers.get(at).copied().unwrap_or(default);
    let (files, bytes, rounds) = (number(0, 50_000), number(1, 500) << 20, number(2, 3));
    let endpoint = endpoint::resolve(&|name| std::env::var_os(name), None).expect("an endpoint");
    let docker = Docker::connect(&endpoint).expect("a client");
    let home = tempfile::tempdir().expect("a folder");
    println!("{files} files or 1, {} MB, {rounds} rounds; seconds, median; last: processor time", bytes >> 20);
    for shape in [Shape::Many, Shape::Big] {
        for copy_all in [true, false] {
            let dockerfile = if copy_all { "FROM scratch\nCOPY . /x\n" } else { "FROM scratch\nCOPY small.txt /x\n" };
            let mut rows: [Row; 3] = Default::default();
            for round in 0..rounds {
                let seed = (round as u64 + 1) * 1_000_003 + u64::from(std::process::id());
                let folder = |name: &str, seed| {
                    Folder::create(&home.path().join(format!("{name}{round}")), shape, files, bytes, seed)
                };
                let (mine, other) = (folder("mine", seed), folder("other", seed + 500_000));
                let pair = Pair { docker: &docker, dockerfile, mine, other };
                pair.measure(round, &mut rows[0]);
                (0..REPEATS).for_each(|turn| pair.measure(turn, &mut rows[1]));
                for turn in 0..REPEATS {
                    let change = 2 * (round * REPEATS + turn);
                    pair.mine.touch(copy_all, change);
                    pair.other.touch(copy_all, change + 1);
                    pair.measure(turn, &mut rows[2]);
                }
                let _ = (fs::remove_dir_all(&pair.mine.path), fs::remove_dir_all(&pair.other.path));
            }
            for (row, name) in rows.into_iter().zip(["cold", "no-op", "one changed"]) {
                let ([a, b], [c, d]) = (row.times.map(median), row.work.map(median));
                let copy = if copy_all { "COPY ." } else { "COPY small.txt" };
                println!("{shape:?} {copy:14} {name:12} {a:8.3} {b:8.3}  {:.2}   {c:6.2} {d:6.2}", a / b);
            }
        }
    }
}

/// What serving takes, with the same sizes.
pub fn memory_table(numbers: &[usize]) {
    let number = |at: usize, default: usize| numbers.get(at).copied().unwrap_or(default);
    memory::table(number(0, 50_000), number(1, 500) << 20);
}
