//! The live display on a real terminal (tmux) that changes its size while tasks run: nothing is torn, nothing stays.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::space::Space;

const TASKS: &str = "version: 1
config: { jobs: 3 }
tasks:
  work:
    matrix: { part: [one, two, three, four, five, six, seven, eight, nine] }
    run: always
    actions: [\"for i in 1 2 3 4 5 6; do echo 'a rather long line of output that fills a terminal of many columns from edge to edge and more' $i; sleep 0.3; done\"]
";

/// Frames of the spinner, which no line that stays has.
const SPINNER: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

/// A server of tmux of our own; it ends with the test.
struct Terminal {
    socket: std::path::PathBuf,
}

impl Terminal {
    fn start(root: &Path, columns: u16, command: &str) -> Self {
        let terminal = Self { socket: root.join("tmux") };
        let (columns, rows) = (columns.to_string(), "30");
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            rows,
            "-c",
            &root.display().to_string(),
            command,
        ]);
        terminal
    }

    #[track_caller]
    fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(words).env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
        for name in ["TMUX", "CI", "GITHUB_ACTIONS", "NO_COLOR"] {
            command.env_remove(name);
        }
        let output = command.output().expect("tmux is needed: apt-get install tmux");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// All lines, those that went by included; with `joined`, lines that the terminal has folded are one.
    fn lines(&self) -> Vec<String> {
        let text = self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]);
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until what is shown is as wanted.
    #[track_caller]
    fn wait_for(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let lines = self.lines();
            if is_so(&lines) {
                return lines;
            }
            assert!(Instant::now() < end, "in vain: {what}:\n{}", lines.join("\n"));
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

fn totals(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.contains("/9 ") && line.contains(" running")).count()
}

fn spinners(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.starts_with(|first| SPINNER.contains(first))).count()
}

#[test]
fn a_terminal_that_changes_its_size_is_not_torn() {
    let space = Space::new();
    space.write("tasks.yaml", TASKS);
    let program = env!("CARGO_BIN_EXE_xtask");
    // As in the middle of a day: the terminal is full. (What tmux folds at its upper edge is out of everybody's reach.)
    let command = format!("seq 100 140; env -u CI -u GITHUB_ACTIONS '{program}' -n 3 work; echo END$?; sleep 60");
    let terminal = Terminal::start(space.root(), 120, &command);
    terminal.wait_for("three tasks run", |lines| spinners(lines) == 3 && totals(lines) == 1);
    for columns in ["60", "200", "40", "100"] {
        // tmux tells a size that follows another within a quarter of a second that much later than it shows it.
        std::thread::sleep(Duration::from_millis(300));
        terminal.tmux(&["resize-window", "-x", columns, "-y", "30"]);
        let wide = columns.parse::<usize>().expect("a number") - 1;
        terminal.wait_for(&format!("one whole picture of {columns} columns"), |lines| {
            let rows = lines.iter().filter(|line| line.starts_with(|first| SPINNER.contains(first)));
            let is_fitting = spinners(lines) == 3 && rows.clone().all(|line| line.chars().count() == wide);
            let is_over = lines.iter().any(|line| line.starts_with("END"));
            is_over || (is_fitting && totals(lines) == 1)
        });
    }
    let lines = terminal.wait_for("the end", |lines| lines.iter().any(|line| line.starts_with("END")));
    let text = lines.join("\n");
    assert!(text.contains("END0"), "{text}");
    for part in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"] {
        let told = lines.iter().filter(|line| line.trim_start().starts_with(&format!("ok  work:{part} "))).count();
        assert_eq!(told, 1, "`work:{part}` is told once:\n{text}");
    }
    assert_eq!((totals(&lines), spinners(&lines)), (0, 0), "nothing of the pictures stays:\n{text}");
}
