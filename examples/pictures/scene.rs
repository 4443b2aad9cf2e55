//! A repository with a small stack, and terminals on which the program works in it. Knows nothing of pictures.

use std::cell::Cell;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Nothing that is shown takes longer.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the repository is called.
const NAME: &str = "pictures";

/// When the picture is taken.
pub enum Moment {
    /// A second after these words are there.
    Shows(&'static str),
    End,
    /// When the watch waits, this is done; the picture is taken when an image is built again.
    AfterEdit(&'static str),
}

/// One picture.
pub struct Scene {
    pub name: &'static str,
    /// Behind `cargo xtask`.
    pub words: &'static str,
    pub columns: u16,
    /// Shell commands that change the stack first.
    pub before: &'static str,
    /// In place of what is around this program.
    pub env: &'static [(&'static str, &'static str)],
    /// Whether every image has to be built.
    pub is_new: bool,
    pub when: Moment,
}

impl Scene {
    /// The stack is built on a wide terminal.
    pub const STACK: Self =
        Self { name: "", words: "build-stack", columns: 110, before: "", env: &[], is_new: true, when: Moment::End };
}

/// The repository, and the program.
pub struct Studio {
    dir: tempfile::TempDir,
    program: PathBuf,
    stack: PathBuf,
    taken: Cell<u32>,
}

impl Studio {
    /// Makes the repository by `init`, with the stack of this folder in it.
    pub fn open(root: &Path) -> Self {
        let example = std::env::current_exe().expect("a program");
        let program = example.with_file_name("../xtask");
        assert!(program.exists(), "there is no program: cargo build -p xtask");
        let studio = Self {
            dir: tempfile::tempdir().expect("a folder"),
            program: program.canonicalize().expect("a path"),
            stack: root.join("examples/pictures/stack").canonicalize().expect("a folder"),
            taken: Cell::new(0),
        };
        std::fs::create_dir(studio.path("")).expect("a folder");
        studio.sh("git init --quiet . && xtask init . >&2 && mkdir scripts && sed -i '$a\\' images/base/Dockerfile");
        studio.sh(&format!("cp '{}' scripts/", root.join("scripts/bootstrap-base").display()));
        studio.renew();
        studio.sh("xtask base >&2");
        studio
    }

    /// Lays the stack anew, each time with other content, so that everything is to be built.
    pub fn renew(&self) {
        self.taken.set(self.taken.get() + 1);
        self.sh(&format!("cp -r '{}'/. .", self.stack.display()));
        let nonce = format!("{}-{}", std::process::id(), self.taken.get());
        let line = format!("RUN echo {nonce} > /etc/picture");
        self.sh(&format!("sed -i '/picture$/d' images/base/Dockerfile && echo '{line}' >> images/base/Dockerfile"));
    }

    fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.program.parent().unwrap_or(Path::new("."));
        let mut command = Command::new(program);
        command.current_dir(self.path("")).env("PATH", format!("{}:{path}", bin.display()));
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        for name in ["CI", "GITHUB_ACTIONS", "NO_COLOR", "TMUX"] {
            command.env_remove(name);
        }
        command
    }

    /// A file of the repository.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(NAME).join(name)
    }

    #[track_caller]
    pub fn sh(&self, text: &str) {
        let status = self.command("sh").args(["-ec", text]).status().expect("a shell");
        assert!(status.success(), "{text}");
    }

    /// What the terminal shows at the moment of the scene.
    pub fn shoot(&self, scene: &Scene) -> vt100::Screen {
        if scene.is_new {
            self.renew();
        }
        if !scene.before.is_empty() {
            self.sh(scene.before);
        }
        let mut terminal = Terminal::start(self, scene);
        match scene.when {
            Moment::Shows(words) => {
                terminal.wait_for(words);
                terminal.read_for(Duration::from_secs(1));
            }
            Moment::End => terminal.read_to_end(),
            Moment::AfterEdit(act) => {
                terminal.wait_for("waiting");
                terminal.read_for(Duration::from_millis(500));
                self.sh(act);
                terminal.wait_for("Fetching tornado");
            }
        }
        terminal.parser.screen().clone()
    }
}

impl Drop for Studio {
    /// The images of the pictures go.
    fn drop(&mut self) {
        let _ = self
            .command("sh")
            .args(["-c", "for name in base tools notebook report; do docker images -q pictures/$name; done | sort -u | xargs -r docker rmi -f >/dev/null"])
            .status();
    }
}

/// The program at work on a terminal that script(1) makes.
struct Terminal {
    child: Child,
    bytes: Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Terminal {
    fn start(studio: &Studio, scene: &Scene) -> Self {
        let rows = 48;
        let shell = format!("stty cols {} rows {rows}; exec xtask {}", scene.columns, scene.words);
        let mut child = studio
            .command("script")
            .args(["--quiet", "--flush", "--return", "--command", &shell, "/dev/null"])
            .envs(scene.env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script(1) is needed");
        let mut out = child.stdout.take().expect("a pipe");
        let (send, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                let _ = send.send(buffer[..count].to_vec());
            }
        });
        Self { child, bytes, parser: vt100::Parser::new(rows, scene.columns, 0) }
    }

    #[track_caller]
    fn wait_for(&mut self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.parser.screen().contents().contains(words) {
            let chunk = self.bytes.recv_timeout(end.saturating_duration_since(Instant::now()));
            let chunk = chunk.unwrap_or_else(|_| panic!("{words}: in vain\n{}", self.parser.screen().contents()));
            self.parser.process(&chunk);
        }
    }

    fn read_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(chunk) = self.bytes.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.parser.process(&chunk);
        }
    }

    fn read_to_end(&mut self) {
        self.read_for(PATIENCE);
    }
}

impl Drop for Terminal {
    /// As a person would: Ctrl-C, and wait.
    fn drop(&mut self) {
        if let Some(mut keys) = self.child.stdin.take() {
            let _ = keys.write_all(b"\x03").and_then(|()| keys.flush());
            let _ = self.child.wait();
        }
    }
}
