//! What memory a build takes to serve its context: little, however large a file is and however many files there are. Each
//! test runs in a process of its own, so that the peak is that of its build.

use xtask::docker::{BuildResult, Builder};
use xtask::model::StopToken;

use crate::support::{Lab, manifest};

/// What serving may take beside the list of files.
const LIMIT: u64 = 64 << 20;

/// Bytes of memory of this process, now or at most.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("a field");
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
}

/// Builds with everything in the image; what the process took at most beside what it held before.
fn build(lab: &mut Lab) -> (BuildResult, u64) {
    lab.request.dockerfile = b"FROM scratch\nCOPY data /data\n".to_vec();
    lab.request.context = manifest(lab.folder.path());
    // From here on: what the list was made with does not count.
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak is forgotten");
    let before = memory("VmRSS");
    let built = lab.docker.build(&lab.request, &mut |_| {}, &StopToken::new()).expect("a build");
    let beside = memory("VmHWM").saturating_sub(before);
    lab.docker.remove_image(&built.image, true).expect("the image goes");
    (built, beside)
}

#[test]
fn a_large_file_is_served_in_little_memory() {
    const SIZE: u64 = 128 << 20;
    let mut lab = Lab::new("memory-large", Builder::BuildKit);
    lab.folder.write("data/large", "");
    // Holes are read as any other bytes.
    let file = std::fs::File::options().write(true).open(lab.folder.path().join("data/large")).expect("a file");
    file.set_len(SIZE).expect("its size");
    let (built, beside) = build(&mut lab);
    assert_eq!(built.sent, SIZE);
    assert!(beside < LIMIT, "{} MiB to send {} MiB", beside >> 20, SIZE >> 20);
}

#[test]
fn many_files_are_served_in_little_memory_beside_their_list() {
    const FILES: u64 = 10_000;
    let mut lab = Lab::new("memory-many", Builder::BuildKit);
    for number in 0..FILES {
        lab.folder.write(&format!("data/{}/{number}", number % 100), format!("file {number:05} of {}\n", lab.tag()));
    }
    let (built, beside) = build(&mut lab);
    assert!(built.sent > FILES * 20, "{built:?}");
    assert!(beside < LIMIT, "{} MiB to send {FILES} files", beside >> 20);
}
