//! One graph of tasks, written for every tool: layers of 50 tasks, each with ten files of its own and two needs in the
//! layer before. Knows nothing of who runs it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const LAYER: usize = 50;
const FILES: usize = 10;
const BYTES: usize = 200;

pub struct Graph {
    pub dir: PathBuf,
    pub tasks: usize,
}

impl Graph {
    /// Makes the folder anew, unless it holds the same graph: then only what was built is removed.
    pub fn new(dir: &Path, tasks: usize) -> Self {
        let graph = Self { dir: dir.to_owned(), tasks };
        let done = dir.join(".made");
        if !done.exists() {
            let _ = fs::remove_dir_all(dir);
            (0..tasks).for_each(|task| graph.sources(task));
            fs::write(&done, "").expect("a mark");
        }
        for built in [".xtask", ".task", "out"] {
            let _ = fs::remove_dir_all(dir.join(built));
        }
        for built in [".ninja_log", ".ninja_deps", ".doit.db", ".doit.db.dat", ".doit.db.dir", ".doit.db.bak"] {
            let _ = fs::remove_file(dir.join(built));
        }
        fs::create_dir_all(dir.join("out")).expect("a folder");
        graph.files();
        graph
    }

    fn sources(&self, task: usize) {
        let folder = self.dir.join(format!("src/{task}"));
        fs::create_dir_all(&folder).expect("a folder");
        for file in 0..FILES {
            let start = format!("{task:08} {file:06} ");
            fs::write(folder.join(format!("{file}.txt")), format!("{start:x<BYTES$}")).expect("a source");
        }
    }

    /// Another content in the file that the task's command reads.
    pub fn edit(&self, task: usize) {
        let path = self.dir.join(format!("src/{task}/0.txt"));
        let text = fs::read_to_string(&path).expect("a source");
        let flipped: String = text.chars().enumerate().map(|(at, c)| if at == 0 { flip(c) } else { c }).collect();
        fs::write(path, flipped).expect("a source");
    }

    fn needs(task: usize) -> Vec<usize> {
        let Some(above) = (task / LAYER).checked_sub(1) else { return Vec::new() };
        let mut needs = vec![above * LAYER + task % LAYER, above * LAYER + (task * 7 + 3) % LAYER];
        needs.sort_unstable();
        needs.dedup();
        needs
    }

    fn files(&self) {
        let (mut ninja, mut xtask) = ("rule r\n  command = $cmd\n".to_owned(), "version: 1\ntasks:\n".to_owned());
        let mut task_file = "version: '3'\nsilent: true\ntasks:\n  default:\n    deps: [".to_owned();
        let last: Vec<String> =
            (self.tasks - LAYER.min(self.tasks)..self.tasks).map(|task| format!("t{task}")).collect();
        task_file += &format!("{}]\n", last.join(", "));
        for task in 0..self.tasks {
            let needs = Self::needs(task);
            let outs: String = needs.iter().fold(String::new(), |text, need| text + &format!(" out/{need}"));
            let own: String = (0..FILES).fold(String::new(), |text, file| text + &format!(" src/{task}/{file}.txt"));
            let command = format!("head -qc 16 src/{task}/0.txt{outs} > out/{task}");
            let listed: String = needs.iter().fold(String::new(), |text, need| text + &format!(", 'out/{need}'"));
            let _ = writeln!(ninja, "build out/{task}: r{own}{outs}\n  cmd = {command}");
            let _ = writeln!(
                xtask,
                "  t{task}:\n    file_dep: ['src/{task}/*.txt'{listed}]\n    targets: ['out/{task}']\n    actions: ['{command}']"
            );
            let deps: Vec<String> = needs.iter().map(|need| format!("t{need}")).collect();
            let _ = writeln!(
                task_file,
                "  t{task}:\n    run: once\n    deps: [{}]\n    sources: ['src/{task}/*.txt'{listed}]\n    generates: ['out/{task}']\n    cmds: ['{command}']",
                deps.join(", ")
            );
        }
        let doit = format!(
            "N, W, F = {}, {LAYER}, {FILES}\ndef needs(k):\n    if k < W: return []\n    b = (k // W - 1) * W\n    return sorted({{b + k % W, b + (k * 7 + 3) % W}})\ndef task_t():\n    for k in range(N):\n        outs = [f'out/{{p}}' for p in needs(k)]\n        own = [f'src/{{k}}/{{j}}.txt' for j in range(F)]\n        yield dict(name=str(k), file_dep=own + outs, targets=[f'out/{{k}}'],\n                   actions=['head -qc 16 ' + ' '.join(own[:1] + outs) + f' > out/{{k}}'])\n",
            self.tasks
        );
        for (name, text) in
            [("build.ninja", ninja), ("tasks.yaml", xtask), ("Taskfile.yml", task_file), ("dodo.py", doit)]
        {
            fs::write(self.dir.join(name), text).expect("a graph");
        }
    }
}

fn flip(c: char) -> char {
    if c == '0' { '1' } else { '0' }
}
