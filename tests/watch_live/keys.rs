//! The status line and the keys of a watch on a real terminal, while it waits and while tasks and services run. Knows
//! the screen as text only.

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

/// With a service that says how often it was started. SECONDS marks its sleeper.
const SERVICE: &str = r#"
version: 1
config: { default_tasks: [all], jobs: 4, grace: 1s }
tasks:
  all: { task_dep: [serve, good, bad] }
  serve: { restart: true, file_dep: [config], actions: ["echo start >> starts; sleep SECONDS"] }
  good: { file_dep: [good.txt], actions: ["cat good.txt"] }
  bad: { file_dep: [bad.txt], actions: ["test -e flag"] }
"#;

const KEYS: &str = "enter all, r failed, e why, q quit";

type Step<'a> = (&'a str, &'a str, &'a str);

/// Runs these words on a terminal and acts by what is to be seen; what the person tells of the end.
#[track_caller]
fn person(space: &Space, program: &[&str], steps: &[Step<'_>]) -> String {
    let (program, steps) = (serde_json::to_string(program).unwrap(), serde_json::to_string(steps).unwrap());
    let output = Command::new("python3")
        .args(["-c", include_str!("person.py"), &program, &steps])
        .current_dir(space.path(""))
        .env_remove("XTASK_TOKEN")
        .env_remove("NO_COLOR")
        // Under a CI there is no status line, terminal or not.
        .env_remove("CI")
        .env_remove("GITHUB_ACTIONS")
        .output()
        .expect("python3 is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn watch(space: &Space, steps: &[Step<'_>]) -> String {
    person(space, &[env!("CARGO_BIN_EXE_xtask"), "watch"], steps)
}

fn space(tasks: &str) -> Space {
    let space = Space::new(tasks);
    for file in ["good.txt", "bad.txt", "config", "in"] {
        space.write(file, "1\n");
    }
    space.write("modes.sh", "stty -a | tr ' ;' '\\n\\n' | grep -xE -- '-?(icanon|echo)' | xargs echo modes\n");
    space
}

#[test]
fn each_key_does_what_the_status_line_says() {
    let space = space(TASKS);
    let steps = [
        ("waiting", "", ""),
        ("last run failed", "", ""),
        (KEYS, "key", "e"),
        ("bad: its last run failed", "", ""),
        // What an editor leaves beside a file is not worth a word.
        (KEYS, "write", ".good.swp=2"),
        ("", "write", "good.txt=2"),
        ("changed  `good.txt`", "", ""),
        // Only `good` ran, and `bad` is not forgotten.
        ("ok  good", "", ""),
        ("1 to mend  changed `good.txt`", "", ""),
        (KEYS, "write", "flag="),
        ("", "key", "r"),
        ("ok  bad", "", ""),
        ("1 ran in", "", ""),
        // Nothing is left to mend.
        (KEYS, "key", "r"),
        ("nothing  no task failed", "", ""),
        (KEYS, "key", "e"),
        ("nothing would run", "", ""),
        (KEYS, "key", "\r"),
        ("up to date  good", "", ""),
        (KEYS, "key", "q"),
    ];
    assert_eq!(watch(&space, &steps), "0 True []");
}

/// A number that no other sleeper of this machine has.
fn seconds(number: usize) -> String {
    format!("7{number}{:05}.5", std::process::id() % 100_000)
}

fn is_asleep(seconds: &str) -> bool {
    let found = Command::new("pgrep").args(["-f", "-x", &format!("sleep {seconds}")]).status().expect("pgrep");
    found.success()
}

#[test]
fn beside_a_service_each_key_does_the_same_and_the_service_goes_on() {
    let seconds = seconds(1);
    let space = space(&SERVICE.replace("SECONDS", &seconds));
    let steps = [
        ("failed  bad", "", ""),
        ("failed  1 failed, 1 ran in", "", ""),
        ("1 running", "", ""),
        ("watching  last run failed, 1 to mend", "", ""),
        (KEYS, "key", "e"),
        ("running  serve", "", ""),
        ("would run  bad               its last run failed", "", ""),
        (KEYS, "write", "good.txt=2"),
        ("ok  good", "", ""),
        (KEYS, "write", "flag="),
        ("", "key", "r"),
        ("ok  bad", "", ""),
        ("done  1 ran in", "", ""),
        ("watching  last run done", "key", "r"),
        ("nothing  no task failed", "key", "e"),
        ("nothing else would run", "", ""),
        (KEYS, "key", "\r"),
        ("up to date", "", ""),
        ("up to date", "modes", ""),
        ("", "key", "q"),
        ("interrupted  serve", "", ""),
    ];
    assert_eq!(watch(&space, &steps), "0 True [[false, false]]");
    assert_eq!(std::fs::read_to_string(space.path("starts")).unwrap(), "start\n");
    assert!(!is_asleep(&seconds));
}

#[test]
fn during_a_run_keys_wait_for_its_end_and_q_ends_it() {
    let space = space(
        "version: 1\n\
         config: { default_tasks: [next], grace: 1s }\n\
         tasks:\n  \
           slow: { file_dep: [in], actions: [\"until test -e go; do sleep 0.02; done; rm go\"] }\n  \
           next: { task_dep: [slow], file_dep: [good.txt], actions: [[cat, good.txt]] }\n",
    );
    let steps = [
        ("1 running", "", ""),
        (KEYS, "key", "e"),
        ("running  slow", "", ""),
        ("waiting  1 task for what they need", "write", "in=2"),
        ("", "key", "\r\rr"),
        ("queued  a look at everything, after this run", "", ""),
        // The news of a change may come later than the key.
        ("queued  the failed tasks, after this run", "insist", "e"),
        ("next round  `in` changed", "write", "go="),
        ("ok  slow", "", ""),
        // The next round: `in` has changed.
        ("ok  next", "", ""),
        ("1 running", "write", "go="),
        ("ok  slow", "", ""),
        ("waiting  last run done", "", ""),
        (KEYS, "write", "in=3"),
        ("1 running", "", ""),
        (KEYS, "key", "q"),
        ("interrupted  slow", "", ""),
    ];
    assert_eq!(watch(&space, &steps), "0 True []");
}

#[test]
fn an_interactive_task_has_the_terminal_to_itself() {
    let space = space(
        "version: 1\n\
         config: { default_tasks: [ask] }\n\
         tasks:\n  \
           ask: { interactive: true, file_dep: [in], actions: [[sh, modes.sh], [sh, ask.sh], [sh, ask.sh]],\n    \
                  teardown: [[sh, last.sh]] }\n",
    );
    space.write("ask.sh", "echo asks; read line; echo got $line; stty raw -echo\n");
    space.write("last.sh", "echo the last; read line; echo got $line\n");
    let steps = [
        ("modes icanon echo", "", ""),
        ("asks", "key", "reply q\n"),
        ("got reply q", "", ""),
        ("asks", "key", "e\n"),
        ("got e", "", ""),
        ("the last", "key", "q\n"),
        ("got q", "", ""),
        (KEYS, "modes", ""),
        ("", "key", "e"),
        ("nothing would run", "key", "q"),
    ];
    assert_eq!(watch(&space, &steps), "0 True [[false, false]]");
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    for (number, (act, words, code)) in [("key", "\x03", "130"), ("signal", "SIGTERM", "143")].into_iter().enumerate() {
        let seconds = seconds(2 + number);
        let space = space(&SERVICE.replace("SECONDS", &seconds));
        let steps = [("1 running", "", ""), (KEYS, "modes", ""), ("", act, words), ("interrupted  serve", "", "")];
        assert_eq!(watch(&space, &steps), format!("{code} True [[false, false]]"));
        assert!(!is_asleep(&seconds));
    }
}

/// Ctrl-Z and `fg`, in a shell that leaves the settings of the terminal alone.
#[test]
fn while_it_is_suspended_the_terminal_is_the_shells() {
    let seconds = seconds(4);
    let space = space(&SERVICE.replace("SECONDS", &seconds));
    let start = format!("{} watch\n", env!("CARGO_BIN_EXE_xtask"));
    let steps = [
        ("", "key", "PS1='sh''ell> '\n"),
        ("shell> ", "key", &*start),
        ("1 running", "", ""),
        (KEYS, "key", "\x1a"),
        ("Stopped", "key", "sh modes.sh\n"),
        ("modes icanon echo", "key", "fg\n"),
        ("1 running", "", ""),
        (KEYS, "modes", ""),
        ("", "key", "q"),
        ("interrupted  serve", "", ""),
        ("shell> ", "key", "exit 7\n"),
    ];
    let told = person(&space, &["bash", "--noprofile", "--norc", "--noediting", "-i"], &steps);
    assert_eq!(told, "7 True [[false, false]]");
    assert!(!is_asleep(&seconds));
}
