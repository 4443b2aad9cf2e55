//! The tools that are compared: where each is, and how it is told to build. Knows nothing of what is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::graph::Graph;
use crate::measure::Call;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Xtask,
    Ninja,
    Doit,
    Task,
}

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Self::Xtask => "xtask",
            Self::Ninja => "ninja",
            Self::Doit => "doit",
            Self::Task => "task",
        }
    }

    /// Its package on PyPI.
    fn package(self) -> &'static str {
        match self {
            Self::Task => "go-task-bin",
            tool => tool.name(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub tool: Tool,
    pub program: PathBuf,
}

/// Those in `PATH`, else installed into a virtual environment below `folder`.
pub fn find(folder: &Path) -> Vec<Peer> {
    let tools = [Tool::Ninja, Tool::Doit, Tool::Task];
    tools
        .into_iter()
        .map(|tool| Peer { tool, program: in_path(tool).unwrap_or_else(|| install(tool, folder)) })
        .collect()
}

/// A wrapper of pyenv costs more than what is measured: the program itself is wanted.
fn in_path(tool: Tool) -> Option<PathBuf> {
    let dirs = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&dirs).map(|dir| dir.join(tool.name())).find(|file| file.is_file())?;
    if !found.components().any(|part| part.as_os_str() == "shims") {
        return Some(found);
    }
    let told = Command::new("pyenv").args(["which", tool.name()]).output().ok()?;
    let path = PathBuf::from(String::from_utf8(told.stdout).ok()?.trim());
    path.is_file().then_some(path)
}

fn install(tool: Tool, folder: &Path) -> PathBuf {
    let venv = folder.join("venv");
    let program = venv.join("bin").join(tool.name());
    if !program.exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().expect("python3");
        let pip = Command::new(venv.join("bin/pip")).args(["install", "-q", tool.package()]).status().expect("pip");
        assert!(made.success() && pip.success(), "`{}` cannot be installed", tool.package());
    }
    program
}

impl Peer {
    /// Its command line for everything, or for one task and what that needs.
    pub fn build(&self, graph: &Graph, one: Option<usize>) -> Call {
        let words = match (self.tool, one) {
            (Tool::Xtask, None) => vec!["run".to_owned(), "-q".into(), "t*".into()],
            (Tool::Xtask, Some(task)) => vec!["run".to_owned(), "-q".into(), format!("t{task}")],
            (Tool::Ninja, None) => vec!["--quiet".into()],
            (Tool::Ninja, Some(task)) => vec!["--quiet".into(), format!("out/{task}")],
            (Tool::Doit, None) => vec!["-v0".into(), "-n2".into()],
            (Tool::Doit, Some(task)) => vec!["-v0".into(), format!("t:{task}")],
            (Tool::Task, None) => Vec::new(),
            (Tool::Task, Some(task)) => vec![format!("t{task}")],
        };
        let words = std::iter::once(self.program.display().to_string()).chain(words).collect();
        Call { words, dir: graph.dir.clone() }
    }

    /// What `--self-profile` says of one run of everything.
    pub fn profile(&self, graph: &Graph) -> String {
        let words = ["run", "-q", "--self-profile", "t*"];
        let told = Command::new(&self.program).args(words).current_dir(&graph.dir).output().expect("our program");
        String::from_utf8_lossy(&told.stderr).into_owned()
    }
}
