//! Fault tests of the lock, with real processes: this test program is its own helper.

use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

/// Runs the test `helper_process` below as a process of its own, which does what `mode` says in `dir`.
fn helper(program: &[&str], mode: &str, dir: &Path) -> Child {
    let own = std::env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = program.iter().map(std::ffi::OsStr::new).collect();
    words.push(own.as_os_str());
    Command::new(words[0])
        .args(&words[1..])
        .args(["--exact", "store::lock::tests::helper_process", "--ignored", "--nocapture", "-q"])
        .env("LOCK_TEST_MODE", mode)
        .env("LOCK_TEST_DIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a line of the helper's output holds `text`.
fn until(child: &mut Child, text: &str) {
    let mut lines = std::io::BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(text)), "the helper never said {text:?}");
}

#[test]
#[ignore = "the other process of the tests here"]
#[expect(clippy::print_stdout, reason = "it speaks to the test that started it")]
fn helper_process() {
    let (Ok(mode), Ok(dir)) = (std::env::var("LOCK_TEST_MODE"), std::env::var("LOCK_TEST_DIR")) else { return };
    let dir = PathBuf::from(dir);
    let mut waits = 0;
    let got = acquire(&dir, &Owner::this(&mode), Patience::Endless, &StopToken::new(), &mut |owner| {
        assert!(owner.is_none_or(|owner| owner.pid != std::process::id()));
        waits += 1;
    });
    let lock = match got {
        Ok(lock) => lock,
        Err(error) => return println!("said: {}", error.diagnostic()),
    };
    match mode.as_str() {
        "hold" => {
            println!("held");
            std::thread::sleep(Duration::from_secs(100));
        }
        "daemon" => {
            let mut command = Command::new("setsid");
            command.args(["sleep", "100"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            #[expect(clippy::zombie_processes, reason = "it outlives this process: that is the fault")]
            let child = command.spawn().unwrap();
            println!("daemon {}", child.id());
            std::thread::sleep(Duration::from_secs(100));
        }
        "turn" => {
            let mut log = OpenOptions::new().append(true).create(true).open(dir.join("turns")).unwrap();
            writeln!(log, "begin {}", std::process::id()).unwrap();
            std::thread::sleep(Duration::from_millis(5));
            writeln!(log, "end {} {waits}", std::process::id()).unwrap();
        }
        other => println!("unknown mode {other}"),
    }
    drop(lock);
}

fn try_now(dir: &Path) -> Result<Lock, LockError> {
    acquire(dir, &Owner::this("test"), Patience::None, &StopToken::new(), &mut |_| {})
}

#[test]
fn the_second_is_told_who_is_the_first() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(".xtask");
    let first = try_now(&dir).unwrap();
    assert_eq!(first.died, None);
    let error = try_now(&dir).unwrap_err();
    let LockError::Busy { owner: Some(owner), .. } = &error else { panic!("{error:?}") };
    assert_eq!((owner.pid, owner.command.as_str()), (std::process::id(), "test"));
    let text = error.diagnostic().to_string();
    assert!(text.contains(&format!("in use by process {} (`test`, for ", owner.pid)), "{text}");
    assert_eq!(holder(&dir).as_ref(), Some(owner));
    drop(first);
    assert_eq!(holder(&dir), None);
    assert_eq!(try_now(&dir).unwrap().died, None);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("lock"))), (0o700, 0o600));
}

#[test]
fn waiting_ends_by_time_and_by_request() {
    let root = tempfile::tempdir().unwrap();
    let held = try_now(root.path()).unwrap();
    let mut told = 0;
    let limit = Patience::Limited(Duration::from_millis(150));
    let error = acquire(root.path(), &Owner::this("b"), limit, &StopToken::new(), &mut |_| told += 1).unwrap_err();
    assert!(matches!(error, LockError::Busy { .. }));
    assert_eq!(told, 1);
    let stop = StopToken::new();
    stop.request(crate::model::stop::Stop::Gently);
    let error = acquire(root.path(), &Owner::this("b"), Patience::Endless, &stop, &mut |_| {}).unwrap_err();
    assert!(matches!(error, LockError::Stopped { .. }));
    drop(held);
}

#[test]
fn d7_fifty_at_once_have_it_one_after_the_other() {
    let root = tempfile::tempdir().unwrap();
    let children: Vec<Child> = (0..50).map(|_| helper(&[], "turn", root.path())).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let turns = fs::read_to_string(root.path().join("turns")).unwrap();
    let lines: Vec<Vec<&str>> = turns.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 100);
    for pair in lines.chunks(2) {
        assert_eq!((pair[0][0], pair[1][0], pair[0][1]), ("begin", "end", pair[1][1]));
    }
    let waited = lines.iter().filter(|line| line.len() == 3 && line[2] != "0").count();
    assert!(waited >= 1, "nobody was told that it waits");
}

#[test]
fn d8_a_killed_holder_frees_the_lock_at_once() {
    let root = tempfile::tempdir().unwrap();
    for _ in 0..100 {
        let mut child = helper(&[], "hold", root.path());
        until(&mut child, "held");
        assert!(matches!(try_now(root.path()), Err(LockError::Busy { .. })));
        child.kill().unwrap();
        child.wait().unwrap();
        let start = Instant::now();
        let lock = try_now(root.path()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!(lock.died.as_ref().map(|owner| owner.pid), Some(child.id()));
    }
}

#[test]
fn d9_a_daemon_of_a_dead_holder_does_not_hold_the_lock() {
    let root = tempfile::tempdir().unwrap();
    let mut child = helper(&[], "daemon", root.path());
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    while !line.starts_with("daemon ") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "no daemon was started");
    }
    let daemon = line["daemon ".len()..].trim().to_owned();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Path::new(&format!("/proc/{daemon}")).exists());
    let start = Instant::now();
    let lock = try_now(root.path());
    Command::new("kill").args(["-9", &daemon]).status().unwrap();
    assert!(lock.is_ok() && start.elapsed() < Duration::from_secs(1));
}

#[test]
fn d10_without_locks_there_is_an_error_and_no_run() {
    for errno in ["ENOLCK", "ENOSYS"] {
        let root = tempfile::tempdir().unwrap();
        let inject = format!("inject=flock:error={errno}");
        let child = helper(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject], "turn", root.path());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("cannot be locked: its file system has no locks"), "{errno}: {text}");
        assert!(!root.path().join("turns").exists());
    }
}

#[test]
fn d11_a_folder_that_is_removed_while_one_waits_is_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(".xtask");
    let first = try_now(&dir).unwrap();
    let waiter = {
        let dir = dir.clone();
        std::thread::spawn(move || {
            acquire(&dir, &Owner::this("b"), Patience::Endless, &StopToken::new(), &mut |_| {}).unwrap()
        })
    };
    std::thread::sleep(Duration::from_millis(60));
    fs::remove_dir_all(&dir).unwrap();
    let second = waiter.join().unwrap();
    drop(first);
    assert!(matches!(try_now(&dir), Err(LockError::Busy { .. })));
    drop(second);
}

#[test]
fn s12_a_link_in_its_place_is_refused() {
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.path().join("elsewhere"), root.path().join("lock")).unwrap();
    assert!(matches!(try_now(root.path()), Err(LockError::Unusable { .. })));
    assert!(!root.path().join("elsewhere").exists());
}
