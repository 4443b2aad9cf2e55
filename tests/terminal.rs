//! The program on a terminal of its own, interrupted in every way: rows P1, P2, P3 and P6. Knows nothing of its insides.

use std::path::Path;
use std::process::{Command, Output};

/// Tasks that end politely, that do not listen, and that start others who leave the session. SECONDS marks them.
const TASKS: &str = r#"
version: 1
config: { grace: 2s }
tasks:
  polite: { run: always, actions: ["sleep SECONDS"] }
  deaf: { run: always, actions: ["trap '' INT TERM HUP; sleep SECONDS; sleep SECONDS; sleep SECONDS"] }
  fork: { run: always, actions: ["setsid sleep SECONDS & for i in 1 2 3; do sh -c 'sleep SECONDS & wait' & done; wait"] }
"#;

/// Runs the program on a new terminal, acts when its six sleepers are there, and prints how it ended, after how many
/// seconds, how many sleepers were left, and whether the terminal's settings are as before.
const DRIVER: &str = r#"
import os, pty, select, signal, subprocess, sys, termios, time
program, seconds, act = sys.argv[1:]
def sleepers():
    found = subprocess.run(["pgrep", "-f", "-x", "sleep " + seconds], capture_output=True, text=True)
    return len(found.stdout.split())
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program, [program, "run", "-n", "4", "polite", "deaf", "fork"])
before = termios.tcgetattr(terminal)
def read():
    if select.select([terminal], [], [], 0.02)[0]:
        try: return os.read(terminal, 65536)
        except OSError: time.sleep(0.02)
deadline = time.time() + 60
while sleepers() < 6:
    read()
    if time.time() > deadline: sys.exit("the tasks never ran")
start = time.time()
for word in act.split(","):
    if word == "ctrl-c": os.write(terminal, b"\x03")
    elif word == "wait": time.sleep(0.4)
    else: os.kill(pid, getattr(signal, word))
while True:
    read()
    done, status = os.waitpid(pid, os.WNOHANG)
    if done: break
    if time.time() > deadline: sys.exit("it never ended")
took = time.time() - start
if act == "SIGKILL":
    while sleepers() and time.time() < start + 10: time.sleep(0.05)
same = termios.tcgetattr(terminal) == before
code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
print(code, "%.3f" % took, sleepers(), same)
"#;

fn python(dir: &Path, seconds: &str, act: &str) -> Output {
    Command::new("python3")
        .args(["-c", DRIVER, env!("CARGO_BIN_EXE_xtask"), seconds, act])
        .current_dir(dir)
        .env_remove("XTASK_TOKEN")
        .output()
        .expect("python3 is needed")
}

/// Interrupts a run by `act`; it must end with `code` within `limit` seconds, and nobody may be left.
fn interrupted(act: &str, code: i32, limit: f64) {
    let dir = tempfile::tempdir().unwrap();
    let unique = std::process::id() % 10_000;
    let seconds = format!("{}{unique}", 20_000 + act.len() as u32);
    std::fs::write(dir.path().join("tasks.yaml"), TASKS.replace("SECONDS", &seconds)).unwrap();
    let output = python(dir.path(), &seconds, act);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{act}: {}", String::from_utf8_lossy(&output.stderr));
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!((words[0], words[2], words[3]), (code.to_string().as_str(), "0", "True"), "{act}: {text}");
    assert!(words[1].parse::<f64>().unwrap() < limit, "{act}: {text}");
}

#[test]
fn p1_ctrl_c_ends_all_within_the_grace() {
    interrupted("ctrl-c", 130, 4.0);
}

#[test]
fn p2_ctrl_c_twice_ends_all_at_once() {
    interrupted("ctrl-c,wait,ctrl-c", 130, 1.5);
}

#[test]
fn p3_each_signal_has_its_code() {
    for (act, code) in [("SIGTERM", 143), ("SIGHUP", 129), ("SIGQUIT", 131)] {
        interrupted(act, code, 4.0);
    }
}

#[test]
fn p6_killed_it_leaves_nobody() {
    interrupted("SIGKILL", -9, 4.0);
}
