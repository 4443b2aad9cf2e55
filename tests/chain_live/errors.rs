//! What people read when something is wrong: row 8. Whole messages lie in tests/data/golden, with the exit code above.
//!
//! `UPDATE_GOLDEN=1` writes them. Names that differ from run to run are replaced.

use std::path::Path;
use std::process::Command;

use super::program::{Run, end_of};
use super::space::Space;

impl Space {
    /// A name in no way unique to the run.
    fn redacted(&self, text: &str) -> String {
        let text = text.replace(&*self.root().to_string_lossy(), "ROOT").replace(&self.prefix, "STACK");
        let replaced = |text: &str, pattern: &str, with: &str| {
            regex_lite::Regex::new(pattern).expect("a pattern").replace_all(text, with).into_owned()
        };
        let text = replaced(&text, r"\bk-[0-9a-f]{12}\b", "k-KEY");
        // A line may be cut in the middle of the number of the process.
        replaced(&replaced(&text, r"\d+(\.\d+)?s", "TIME"), r"\d+…", "…")
    }

    #[track_caller]
    fn check(&self, name: &str, run: &Run) {
        let found = format!("exit {}\n{}", run.code, self.redacted(&run.stderr));
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/data/golden/{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).expect("a golden file");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{name}");
        assert_eq!(run.stdout, "", "errors are no data");
    }
}

/// Nothing else on the screen, one task after the other: the order is always the same.
const CALM: [&str; 2] = ["--quiet", "--jobs=1"];

fn calm(words: &[&'static str]) -> Vec<&'static str> {
    [words, &CALM].concat()
}

#[test]
fn no_engine() {
    let mut space = Space::new("no-engine");
    space.env.insert("DOCKER_HOST".to_owned(), "unix:///nonexistent/docker.sock".to_owned());
    space.check("no-engine", &space.say(&calm(&["build:base"])));
}

#[test]
fn no_registry() {
    let mut space = Space::new("no-registry");
    // Nothing listens on port 1.
    space.env.insert("STACK_REGISTRY".to_owned(), "127.0.0.1:1/lab".to_owned());
    space.check("no-registry", &space.say(&calm(&["stable"])));
    space.check("no-registry-push", &space.say(&calm(&["push-image:base", "--version=1.0.0"])));
}

/// Root reads everything; without these capabilities it cannot.
fn as_a_mortal(space: &Space, words: &[&str]) -> Run {
    let program = space.command(&[words, &["--color", "never"]].concat());
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.arg("--bounding-set=-dac_override,-dac_read_search");
    }
    command.arg(program.get_program()).args(program.get_args()).current_dir(space.root());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    end_of(command)
}

fn lock_away(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).expect("a file");
}

#[test]
fn unreadable_files() {
    for (name, path) in [
        ("unreadable-context", "images/base/note.txt"),
        ("unreadable-template", "images/base/Dockerfile.j2"),
        ("unreadable-spec", "images/spec.yml"),
        ("unreadable-tasks", "tasks.yaml"),
    ] {
        let space = Space::new(name);
        lock_away(&space.path(path));
        space.check(name, &as_a_mortal(&space, &calm(&["stage:base"])));
    }
}

#[test]
fn bad_yaml() {
    let space = Space::new("bad-yaml");
    let tasks = space.read("tasks.yaml");
    space.write("tasks.yaml", "version: 1\ntasks:\n  one: { actions: [\"true\" }\n");
    space.check("bad-yaml-tasks", &space.say(&["one"]));
    space.write("tasks.yaml", &tasks);
    space.append("images/spec.yml", "plans: [");
    space.check("bad-yaml-spec", &space.say(&["build-stack"]));
}

#[test]
fn unknown_names() {
    let space = Space::new("unknown");
    space.check("unknown-task", &space.say(&["build-stak"]));
    space.check("unknown-option", &space.say(&["build-stack", "--jbs=1"]));
    let tasks = space.read("tasks.yaml");
    space.replace("tasks.yaml", "task_dep: [\"test:*\"]", "task_deps: [\"test:*\"]");
    space.check("unknown-key-tasks", &space.say(&["build-stack"]));
    space.write("tasks.yaml", &tasks);
    space.replace("images/spec.yml", "image_name:", "imagename:");
    space.check("unknown-key-spec", &space.say(&["build-stack"]));
}

#[test]
fn cycles() {
    let space = Space::new("cycle");
    let tasks = space.read("tasks.yaml");
    let one = |name: &str, other: &str| format!("  {name}: {{ task_dep: [{other}], actions: [\"true\"] }}\n");
    space.write("tasks.yaml", &format!("{tasks}{}{}", one("chicken", "egg"), one("egg", "chicken")));
    space.check("cycle-tasks", &space.say(&["chicken"]));
    space.write("tasks.yaml", &tasks);
    space.dockerfile("base", "leaf", "COPY note.txt /note/base.txt");
    space.check("cycle-images", &space.say(&["build-stack"]));
}

#[test]
fn missing_parents() {
    let space = Space::new("parent");
    space.replace("images/leaf/Dockerfile.j2", "{{ images.mid.image_name }}", &format!("{}/midd", space.prefix));
    space.check("missing-parent", &space.say(&["build-stack"]));
    space.write("images/leaf/Dockerfile.j2", "FROM xtask-test-never-made:1\n");
    space.check("missing-base", &space.say(&calm(&["build:leaf"])));
}

#[test]
fn errors_in_a_rendered_dockerfile_are_those_of_its_templates() {
    let space = Space::new("origin");
    let text =
        "{% macro fetch(what) -%}\nRUN [\"/tool\", \"say\", \"{{ what }}\"]\n  COPPY {{ what }} /x\n{%- endmacro %}\n";
    space.write("images/macros.j2", text);
    let head = "{% import \"macros.j2\" as m %}\n{# why\n   it is #}\nFROM {{ images.mid.image_name }}\n\n{{ m.fetch(\"one\") }}\n";
    space.write("images/leaf/Dockerfile.j2", &format!("{head}COPY note.txt /note/leaf.txt\nCOPY nothing.txt /\n"));
    space.check("error-in-macro", &space.say(&["build-stack"]));
    space.replace("images/macros.j2", "COPPY {{ what }} /x", "ENV X={{ what }}");
    space.check("error-in-template", &space.say(&calm(&["build:leaf"])));
    // The engine tells of the end of a step and of its last words in any order, unless there is time between them.
    let words = "\"cry\", \"no {{ what }}\", \",\", \"sleep\", \"1\", \",\", \"exit\", \"3\"";
    let fails = format!("ENV X={{{{ what }}}}\nRUN [\"/tool\", {words}]");
    space.replace("images/macros.j2", "ENV X={{ what }}", &fails);
    space.replace("images/leaf/Dockerfile.j2", "COPY nothing.txt /\n", "");
    space.check("failing-step", &space.say(&calm(&["build:leaf"])));
}

#[test]
fn bad_versions() {
    let space = Space::new("version");
    space.check("bad-version", &space.say(&["push", "--version", "1.0"]));
    space.check("no-version", &space.say(&["push"]));
}
