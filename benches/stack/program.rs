//! Command lines of the program and of its peer, and folders whose images go away again. Knows nothing of what is measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::measure::{Call, Cost, run};

/// Marks every image that the benchmark makes.
pub const LABEL: &str = "xtask.bench";

/// The docker command line: one that can do BuildKit.
pub fn docker() -> String {
    let plain = std::env::var("DOCKER").unwrap_or_else(|_| "docker".into());
    // Since 23 it needs buildx beside it; Debian's own does not.
    let works = |docker: &str| {
        let version = Command::new(docker).arg("--version").output();
        let text = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let major = text.split("version ").nth(1).and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        let mut buildx = Command::new(docker);
        buildx.args(["buildx", "version"]).stdout(Stdio::null()).stderr(Stdio::null());
        major.is_some_and(|major| major < 23) || buildx.status().is_ok_and(|status| status.success())
    };
    [plain.as_str(), "/usr/bin/docker"]
        .into_iter()
        .find(|docker| works(docker))
        .expect("a docker command line with BuildKit: name one in DOCKER")
        .to_owned()
}

pub fn peer_version() -> String {
    let output = Command::new(docker()).arg("--version").output().expect("the docker command line");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The program with these words in a folder, with nothing of the caller's settings.
pub fn xtask(dir: &Path, words: &[&str]) -> Call {
    let built = || env!("CARGO_BIN_EXE_xtask").to_owned();
    let program = std::env::var("STACK_BENCH_PROGRAM").unwrap_or_else(|_| built());
    let mut line = vec!["env".to_owned()];
    for (name, _) in std::env::vars() {
        if name.starts_with("XTASK_") || name.starts_with("STACK_") {
            line.extend(["-u".to_owned(), name]);
        }
    }
    line.push(program);
    line.extend(words.iter().map(|word| (*word).to_owned()));
    Call { words: line, dir: dir.to_owned() }
}

/// Runs it once and says what came of it where it fails.
pub fn must(call: &Call) -> Cost {
    let output =
        Command::new(&call.words[0]).args(&call.words[1..]).current_dir(&call.dir).stdin(Stdio::null()).output();
    let output = output.expect("the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{:?}:\n{}{}", call.words, text(&output.stdout), text(&output.stderr));
    Cost::default()
}

/// A script for `sh`, with BuildKit.
pub fn script(dir: &Path, text: &str) -> Call {
    let words = ["env", "DOCKER_BUILDKIT=1", "sh", "-ec", text];
    Call { words: words.into_iter().map(str::to_owned).collect(), dir: dir.to_owned() }
}

/// Compiles the only program of the images.
pub fn tool(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/support/tool.c");
    let done = Command::new("gcc").args(["-static", "-Os", "-s", "-o"]).arg(to).arg(&from).status();
    assert!(done.expect("gcc").success(), "gcc -static works");
}

/// A folder below `target` in which a stack lies; on drop, its images go.
pub struct Place {
    pub dir: PathBuf,
    /// Begins the name of every image, and is the value of its label.
    pub prefix: String,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/stack-bench").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a folder");
        let place = Self { dir: dir.canonicalize().expect("the folder"), prefix: format!("xtask-bench-{name}") };
        place.remove_images();
        place
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    pub fn remove_images(&self) {
        let list = format!("docker images --all --no-trunc --quiet --filter label={LABEL}={}", self.prefix);
        run(&script(Path::new("/"), &format!("{list} | awk '!seen[$0]++' | xargs -r docker rmi --force >/dev/null")));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove_images();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// One line of a table: what, ours, theirs, the ratio, and the limit that it should hold.
pub fn row(scene: &str, ours: &Cost, theirs: Option<&Cost>, limit: &str) {
    let theirs = theirs.map_or_else(
        || format!("{:>10} {:>8}", "", ""),
        |theirs| format!("{:>10.3} {:>8.3}", theirs.wall, ours.wall / theirs.wall),
    );
    println!("  {scene:<48} {:>10.3} {theirs}   {limit}", ours.wall);
}
