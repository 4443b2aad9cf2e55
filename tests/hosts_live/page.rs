//! The commands of `docs/hosts.md`, in their order, with two engines and an ssh server. Knows nothing of what they do.

use std::path::Path;
use std::process::Command;

use super::program::end_of;
use super::space::Space;
use crate::support::spare::Spare;
use crate::support::sshd::Sshd;

const METADATA: &str = "key: TOOLS\ntype: environment_specification\nname: tools_environment\n\
    short_description: For the page\nversion: 0.1.0\ncreator: the tests\neditor_list: []\ncreation_date: 2026-11-26\n\
    external_references: []\ntag_list: []\nnotes:\n";
const DOCKERFILE: &str = "FROM scratch\nCOPY busybox /bin/busybox\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nRUN mkdir -m 1777 /tmp\nENV PATH=/bin\n";

#[test]
fn the_commands_of_the_page_about_hosts_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/hosts.md")).expect("the page");
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("    cargo xtask ")).collect();
    assert!(commands.len() >= 5, "only {} commands were found", commands.len());
    let (sshd, zeus, hera) = (Sshd::start(""), Spare::start(), Spare::start());
    let copies = tempfile::tempdir().expect("a folder");
    let mut space = Space::new("page");
    let address = format!("docker: \"ssh://127.0.0.1:{}{}\"", sshd.port, zeus.socket().display());
    let far = sshd.host(&format!("{address}, root: \"{}/stack\"", copies.path().display()));
    let hosts = format!("hosts:\n  zeus: {far}\n  hera: {{ docker: \"{}\" }}\n", hera.url());
    space.write("tasks.yaml", &format!("{}\n{hosts}", space.read("tasks.yaml")));
    space.write("scripts/lint.sh", "true\n");
    space.write("count.sh", "echo one two three\n");
    space.write("environments/tools_environment/metadata.yml", METADATA);
    space.write("environments/tools_environment/Dockerfile_tools_environment", DOCKERFILE);
    std::fs::copy("/bin/busybox", space.path("environments/tools_environment/busybox"))
        .expect("busybox-static is installed");
    space.env.insert("PATH".into(), sshd.search_path());
    space.env.insert("XTASK_CACHE_DIR".into(), space.path("cache").display().to_string());
    for command in commands {
        // The shell takes the words apart, as it does for people.
        let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {command}")]).output().expect("a shell");
        let words = String::from_utf8(words.stdout).expect("text");
        let run = end_of(space.command(&words.lines().collect::<Vec<_>>()));
        assert_eq!(run.code, 0, "`{command}` failed:\n{}{}", run.stdout, run.stderr);
    }
    assert!(copies.path().join("stack/scripts/lint.sh").exists(), "the folders are on the host");
}
