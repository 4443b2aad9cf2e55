//! A small repository with environments made of busybox, and the program run in it. Knows nothing of what is tested.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{LABEL, unique};

/// One environment without a stack.
pub const TASKS: &str = "version: 1
tasks:
  build-env:
    for_each: environment
    actions: [{ environment_build: { environment: \"{{ environment.name }}\" } }]
";

/// The folder; on drop it goes away with all images and containers of its environments.
pub struct Lab {
    dir: tempfile::TempDir,
    /// Begins every environment's name.
    pub word: String,
    /// Variables of the program.
    pub env: BTreeMap<String, String>,
}

/// What the program said.
pub struct Said {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn fine(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.text(), self.err);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: output.stdout, err: String::from_utf8_lossy(&output.stderr).into_owned() }
    }
}

impl Lab {
    /// With one environment, `<word>_environment`.
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("xtask-env-").tempdir().expect("a folder");
        let word = unique(name).replace('-', "_");
        let cache = dir.path().join("cache");
        let env = BTreeMap::from([("XTASK_CACHE_DIR".to_owned(), cache.display().to_string())]);
        let lab = Self { dir, word, env };
        lab.write("tasks.yaml", TASKS);
        lab.add(&lab.name(), "TESTE", "");
        lab
    }

    /// The first environment's name.
    pub fn name(&self) -> String {
        format!("{}_environment", self.word)
    }

    /// Adds an environment of busybox; `more` are lines of its metadata.
    pub fn add(&self, name: &str, key: &str, more: &str) {
        let metadata = format!(
            "key: {key}\ntype: environment_specification\nname: {name}\nshort_description: For tests\nversion: 0.1.0\n\
             creator: the tests\neditor_list: []\ncreation_date: 2026-11-21\nexternal_references: []\n\
             tag_list: [shell]\nnotes:\n{more}"
        );
        self.write(&format!("environments/{name}/metadata.yml"), metadata);
        // Unique to the test: equal images would be one.
        self.write(&format!("environments/{name}/note.txt"), format!("note of {name}\n"));
        let dockerfile = format!(
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
             COPY note.txt /note.txt\nCOPY passwd group /etc/\nRUN mkdir -m 1777 /tmp\nLABEL {LABEL}={}\nENV PATH=/bin\n",
            self.word
        );
        self.write(&format!("environments/{name}/passwd"), "root:x:0:0::/:/bin/sh\n");
        self.write(&format!("environments/{name}/group"), "root:x:0:\n");
        self.write(&format!("environments/{name}/Dockerfile_{name}"), dockerfile);
        let busybox = self.path(&format!("environments/{name}/busybox"));
        std::fs::copy("/bin/busybox", busybox).expect("busybox-static is installed");
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    /// The program with these words, with nothing of the caller's settings.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).current_dir(self.root()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("XTASK_") || name.starts_with("STACK_") {
                command.env_remove(&*name);
            }
        }
        command.envs(&self.env);
        command
    }

    /// `env run` in the first environment.
    pub fn run(&self, words: &[&str]) -> Said {
        let name = self.name();
        let (before, after) = words.split_at(words.iter().position(|word| *word == "--").unwrap_or(words.len()));
        self.say(&[&["env", "run", &name], before, after].concat())
    }

    /// The containers that the program says it keeps.
    pub fn kept(&self) -> Vec<serde_json::Value> {
        let said = self.say(&["env", "ps", "--json"]).fine();
        serde_json::from_slice(&said.out).expect("JSON")
    }

    pub fn say(&self, words: &[&str]) -> Said {
        self.command(words).output().expect("the program").into()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let word = &self.word;
        let environment = format!("label={LABEL}={word}");
        for id in docker(&["ps", "--all", "--quiet", "--filter", &environment]).lines() {
            let _ = Command::new("docker").args(["rm", "--force", "--volumes", id]).output();
        }
        for id in docker(&["images", "--all", "--no-trunc", "--quiet", "--filter", &environment]).lines() {
            let _ = Command::new("docker").args(["rmi", "--force", id]).output();
        }
    }
}

/// What the docker command line prints: not the code under test. Empty if it fails.
pub fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().expect("the docker command line");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// All containers, ended ones too, that were made for the environment.
pub fn containers_of(name: &str) -> Vec<String> {
    let filter = format!("label=dev.xtask.env.name={name}");
    docker(&["ps", "--all", "--no-trunc", "--quiet", "--filter", &filter]).lines().map(str::to_owned).collect()
}

/// Waits for something with a limit that a busy machine keeps, too.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
}
