//! The status line and the keys of a watch on a real terminal. Knows the screen as text only.

use std::process::Command;

use super::space::Space;

const TASKS: &str = r#"
version: 1
config: { default_tasks: [all] }
tasks:
  all: { task_dep: [good, bad] }
  good: { file_dep: [good.txt], actions: ["cat good.txt"] }
  bad: { file_dep: [bad.txt], actions: ["test -e flag"] }
"#;

/// Runs the program on a terminal: each step is a text to wait for, and what to do then.
const DRIVER: &str = r#"
import ctypes, os, pty, re, select, signal, sys, termios, time, json
program, steps = sys.argv[1], json.loads(sys.argv[2])
# Whoever is killed takes the next one along: the test this driver, the driver the watch.
def die_with_parent(): ctypes.CDLL(None).prctl(1, signal.SIGKILL)
die_with_parent()
pid, terminal = pty.fork()
if pid == 0:
    die_with_parent()
    os.environ["TERM"] = "xterm-256color"
    os.execv(program, [program, "watch"])
before = termios.tcgetattr(terminal)
seen, past = b"", 0
def plain(seen): return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode(errors="replace"))
deadline = time.time() + 40
for wanted, act, text in steps:
    # Behind what was waited for before: the same words may have stood there already.
    while wanted not in plain(seen)[past:]:
        if select.select([terminal], [], [], 0.05)[0]:
            seen += os.read(terminal, 65536)
        if time.time() > deadline: sys.exit("no %r in %r" % (wanted, plain(seen)[past:]))
    past = plain(seen).index(wanted, past) + len(wanted)
    if act: seen, past = b"", 0
    if act == "key": os.write(terminal, text.encode())
    elif act == "write":
        name, content = text.split("=")
        open(name, "w").write(content)
while True:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done: break
    if select.select([terminal], [], [], 0.02)[0]:
        try: os.read(terminal, 65536)
        except OSError: pass
    if time.time() > deadline: sys.exit("it never ended")
print(os.waitstatus_to_exitcode(status), termios.tcgetattr(terminal) == before)
"#;

#[test]
fn each_key_does_what_the_status_line_says() {
    let space = Space::new(TASKS);
    space.write("good.txt", "1");
    space.write("bad.txt", "1");
    let idle = "waiting";
    let keys = "enter all, r failed, e why, q quit";
    let steps = [
        (idle, "", ""),
        ("last run failed", "", ""),
        (keys, "key", "e"),
        ("bad: its last run failed", "", ""),
        (keys, "write", "good.txt=2"),
        ("changed  `good.txt`", "", ""),
        // Only `good` ran, and `bad` is not forgotten.
        ("ok  good", "", ""),
        ("1 to mend", "", ""),
        (keys, "write", "flag="),
        ("", "key", "r"),
        ("ok  bad", "", ""),
        ("1 ran in", "", ""),
        // Nothing is left to mend.
        (keys, "key", "e"),
        ("nothing would run", "", ""),
        (keys, "key", "\r"),
        ("up to date  good", "", ""),
        (keys, "key", "q"),
    ];
    let steps = serde_json::to_string(&steps).unwrap();
    let output = Command::new("python3")
        .args(["-c", DRIVER, env!("CARGO_BIN_EXE_xtask"), &steps])
        .current_dir(space.path(""))
        .env_remove("XTASK_TOKEN")
        .env_remove("NO_COLOR")
        // Under a CI there is no status line, terminal or not.
        .env_remove("CI")
        .env_remove("GITHUB_ACTIONS")
        .output()
        .expect("python3 is needed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0 True", "{said}");
}
