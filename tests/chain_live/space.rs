//! A small stack in a folder of its own, and what the engine holds of it. Knows nothing of what is tested.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{LABEL, tool, unique};

/// Parents first: `mid` and `side` are built on `base`, `leaf` on `mid`.
pub const IMAGES: [&str; 4] = ["base", "mid", "leaf", "side"];

const TASKS: &str = include_str!("tasks.yaml");

/// The folder; on drop it and all images of the stack go away.
pub struct Space {
    dir: tempfile::TempDir,
    /// Begins every image's name, and is the value of a label of each.
    pub prefix: String,
    /// Variables of the program.
    pub env: BTreeMap<String, String>,
}

impl Space {
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("xtask-chain-").tempdir().expect("a folder");
        let space = Self { dir, prefix: unique(name), env: BTreeMap::new() };
        let mut spec = "version: 1\ntag: { prefix: t }\nimages:\n".to_owned();
        for image in IMAGES {
            spec += &format!("  {image}: {{ image_name: {0}/{image}, labels: {{ {LABEL}: {0} }} }}\n", space.prefix);
            // Unique to the test: the build cache of the engine is shared, and equal images would be one.
            space.write(&format!("images/{image}/note.txt"), &format!("note of {image} in {}\n", space.prefix));
            space.write(&format!("images/{image}/test/test_{image}.py"), &format!("def test_{image}():\n    pass\n"));
        }
        space.write("images/spec.yml", &spec);
        space.write("tasks.yaml", TASKS);
        space.write("images/tests_common/test_common.py", include_str!("test_common.py"));
        space.write("images/leaf/test/test_leaf.py", include_str!("test_leaf.py"));
        std::fs::copy(tool(), space.path("images/base/tool")).expect("the tool");
        space.write(
            "images/base/Dockerfile.j2",
            "{# A comment. #}\nFROM scratch\nCOPY tool /tool\nCOPY note.txt /note/base.txt\n",
        );
        for (image, parent) in [("mid", "base"), ("leaf", "mid"), ("side", "base")] {
            space.dockerfile(image, parent, &format!("COPY note.txt /note/{image}.txt"));
        }
        space
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).expect("a file")
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    pub fn append(&self, path: &str, line: &str) {
        self.write(path, &format!("{}{line}\n", self.read(path)));
    }

    pub fn replace(&self, path: &str, old: &str, new: &str) {
        let text = self.read(path);
        assert!(text.contains(old), "`{old}` is in {path}");
        self.write(path, &text.replace(old, new));
    }

    pub fn dockerfile(&self, image: &str, parent: &str, line: &str) {
        let text = format!("FROM {{{{ images.{parent}.image_name }}}}\n{line}\n");
        self.write(&format!("images/{image}/Dockerfile.j2"), &text);
    }

    /// The name that moves to the image that was built last.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}:t", self.prefix)
    }

    pub fn id(&self, image: &str) -> String {
        docker(&["image", "inspect", "--format={{.Id}}", &self.name(image)])
    }

    pub fn ids(&self) -> BTreeMap<&'static str, String> {
        IMAGES.into_iter().map(|image| (image, self.id(image))).collect()
    }

    pub fn label(&self, image: &str, name: &str) -> String {
        let format = format!("--format={{{{index .Config.Labels \"{name}\"}}}}");
        docker(&["image", "inspect", &format, &self.name(image)])
    }

    pub fn layers(&self, image: &str) -> Vec<String> {
        let text = docker(&["image", "inspect", "--format={{json .RootFS.Layers}}", &self.name(image)]);
        serde_json::from_str(&text).expect("layers")
    }

    /// A file of an image, printed by a container of it.
    pub fn cat(&self, image: &str, path: &str) -> String {
        docker(&["run", "--rm", "--network=none", &self.name(image), "/tool", "cat", path])
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let filter = format!("label={LABEL}={}", self.prefix);
        let listed = docker(&["images", "--all", "--no-trunc", "--quiet", "--filter", &filter]);
        // Children are newer, so they come first; an image with two names comes twice, which is no harm.
        for id in listed.lines() {
            let _ = Command::new("docker").args(["rmi", "--force", id]).output();
        }
    }
}

/// What the docker command line prints: not the code under test. Empty if it fails.
pub fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().expect("the docker command line");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
