//! Much output, many processes, few descriptors.

use super::*;

/// The most memory that this process has held, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn p11_output_without_end_of_line_neither_grows_memory_nor_is_changed() {
    let size = 256 << 20;
    let mut hasher = crate::model::digest::Hasher::new();
    struct Hashing<'a>(&'a mut crate::model::digest::Hasher);
    impl std::io::Write for Hashing<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.raw(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let before = peak_memory();
    let mut spec = shell(&format!("yes \"$(printf 'a\\r\\377\\001b')\" | tr '\\n' '\\0' | head -c {size}"));
    spec.capture_limit = 1000;
    let mut longest = 0;
    let mut sink = |_: Stream, line: &[u8]| longest = longest.max(line.len());
    let result = run(&spec, &mut sink, &mut Hashing(&mut hasher), &StopToken::new());
    assert_eq!(result.exit, Exit::Code(0));
    assert_eq!((result.stdout.len(), result.truncated), (1000, true));
    assert_eq!(longest, 64 * 1024);
    assert!(peak_memory() - before < 32 << 20);
    let mut expected = crate::model::digest::Hasher::new();
    let pattern = b"a\r\xff\x01b\0".repeat(1 << 16);
    let mut left = size;
    while left > 0 {
        let part = left.min(pattern.len());
        expected.raw(&pattern[..part]);
        left -= part;
    }
    assert_eq!(hasher.finish(), expected.finish());
}

#[test]
fn p12_no_line_is_torn_and_each_stream_is_in_order() {
    let text = "i=0; while [ $i -lt 2000 ]; do echo out-$i-ooooooooooooooooooooooooo; echo err-$i-eeeeeeeeeeee >&2; \
                i=$((i+1)); done";
    let threads: Vec<_> = (0..16).map(|_| std::thread::spawn(move || run_it(&shell(text)))).collect();
    for thread in threads {
        let seen = thread.join().unwrap();
        assert_eq!(seen.result.exit, Exit::Code(0));
        for (stream, head, tail) in
            [(Stream::Stdout, "out", "-ooooooooooooooooooooooooo"), (Stream::Stderr, "err", "-eeeeeeeeeeee")]
        {
            let lines = seen.text(stream);
            assert_eq!(lines.len(), 2000);
            for (number, line) in lines.iter().enumerate() {
                assert_eq!(*line, format!("{head}-{number}{tail}"));
            }
        }
    }
}

#[test]
fn p14_few_descriptors_give_a_clear_error() {
    // Holds descriptors until none is left, instead of a limit that would hit the test's own machinery.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let small = rustix::process::Rlimit { current: Some(64), maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, small).unwrap();
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    for spare in 0..6 {
        held.truncate(held.len() - usize::from(spare > 0));
        let exit = run_it(&shell("true")).result.exit;
        if let Some(problem) = exit.diagnostic("task `a`") {
            let text = problem.to_string();
            assert!(text.contains("too many open files") && text.contains("help: ulimit -n"), "{spare}: {text}");
        }
    }
    held.truncate(held.len() - 8);
    assert_eq!(run_it(&shell("true")).result.exit, Exit::Code(0));
    drop(held);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

/// The descriptors that this process was given without "close on exec" by whoever started it.
fn inherited() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let open = entries.filter(|entry| {
        let info = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("2000000").trim();
        u64::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC as u64 == 0
    });
    open.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name.len() > 1).collect()
}

#[test]
fn no_descriptor_of_ours_reaches_a_child() {
    let mut expected: Vec<String> = ["0", "1", "2"].map(str::to_owned).to_vec();
    expected.extend(inherited());
    let _file = std::fs::File::open("/dev/null").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let seen = run_it(&command(&["ls", "/proc/self/fd"]));
                    // `ls` itself has one more: the directory that it reads.
                    let strange = seen.text(Stream::Stdout).len() - expected.len();
                    assert_eq!(strange, 1, "{:?} instead of {expected:?}", seen.lines);
                }
            });
        }
    });
}

/// Prints what one process costs. Run with `--ignored --nocapture`; the benchmark compares the whole tool.
#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_one_process() {
    let _supervisor = supervise();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "0123456789abcdef0123456789").unwrap();
    let (count, workers) = (2000, 2);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let dir = dir.path();
            scope.spawn(move || {
                let stop = StopToken::new();
                for number in 0..count / workers {
                    let mut spec = shell(&format!("head -qc 16 a > b{worker}-{number}"));
                    spec.cwd = dir.to_owned();
                    let result = run(&spec, &mut |_, _| {}, &mut std::io::sink(), &stop);
                    assert!(result.exit.success());
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let each = seconds * 1000.0 / f64::from(count);
    #[expect(clippy::print_stderr, reason = "the measurement is for the person who asked for it")]
    {
        eprintln!("{count} processes, {workers} threads: {seconds:.3} s, {each:.3} ms each");
    }
}
