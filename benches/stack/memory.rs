//! How much memory it takes to serve a context: one large file, and many small ones, each in a process of its own that does
//! nothing else. Fails where it is more than the limit beside the list of files. Knows nothing of how long it takes.

use std::path::Path;
use std::process::{Command, Stdio};

use xtask::docker::{Docker, endpoint};

use super::{Folder, Shape, ours};

/// What serving may take beside the list of files.
const LIMIT: u64 = 64 << 20;
/// Begins the arguments of the process that is measured.
const CHILD: &str = "serve-and-measure";

/// Bytes of memory of this process, now or at most.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("a field");
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
}

/// The process that is measured, if this is one: prints what the list of files takes and what is taken beside it.
pub fn is_child() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [word, path, shape, files, bytes] = &words[..] else { return false };
    if word != CHILD {
        return false;
    }
    let endpoint = endpoint::resolve(&|name| std::env::var_os(name), None).expect("an endpoint");
    let docker = Docker::connect(&endpoint).expect("a client");
    docker.engine().expect("an engine");
    let shape = if shape == "Big" { Shape::Big } else { Shape::Many };
    let number = |text: &String| text.parse().expect("a number");
    let folder = Folder { path: Path::new(path).to_owned(), shape, files: number(files), bytes: number(bytes) };
    let before = memory("VmRSS");
    let manifest = folder.manifest();
    let with_list = memory("VmRSS");
    ours(&docker, &folder, "FROM scratch\nCOPY . /x\n", manifest);
    println!("{} {}", with_list.saturating_sub(before), memory("VmHWM").saturating_sub(with_list));
    true
}

pub fn table(files: usize, bytes: usize) {
    println!("\nmemory to serve a context, at most {} MiB beside the list of files", LIMIT >> 20);
    let home = tempfile::tempdir().expect("a folder");
    for shape in [Shape::Big, Shape::Many] {
        let seed = u64::from(std::process::id()) * 7_000_003;
        let folder = Folder::create(&home.path().join(format!("{shape:?}")), shape, files, bytes, seed);
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.arg(CHILD).arg(&folder.path).args([format!("{shape:?}"), files.to_string(), bytes.to_string()]);
        let output = child.stderr(Stdio::inherit()).output().expect("this program");
        assert!(output.status.success(), "the build of {shape:?} works");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [list, beside] = numbers[..] else { panic!("two numbers: {text}") };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let what = match shape {
            Shape::Big => format!("1 file of {} MB", bytes >> 20),
            Shape::Many => format!("{files} files, {} MB", bytes >> 20),
        };
        println!("  {what:<28} list {:>6.1} MiB, beside it {:>6.1} MiB", mib(list), mib(beside));
        assert!(beside < LIMIT, "{what}: {:.1} MiB beside the list of files", mib(beside));
        std::fs::remove_dir_all(&folder.path).expect("the folder");
    }
}
