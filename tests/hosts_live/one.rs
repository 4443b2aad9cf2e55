//! A stack that is built, tested and kept on another machine, which only ssh reaches.

use super::space::{IMAGES, Space};
use crate::support::spare::Spare;
use crate::support::sshd::Sshd;

/// A space with a host that ssh reaches.
fn lab(name: &str, sshd: &Sshd, engine: &Spare) -> Space {
    let mut space = Space::new(name);
    let address = format!("docker: \"ssh://127.0.0.1:{}{}\"", sshd.port, engine.socket().display());
    let hosts = format!("hosts:\n  lab: {}\n", sshd.host(&address));
    space.write("tasks.yaml", &format!("{}\n{hosts}", space.read("tasks.yaml")));
    space.env.insert("PATH".into(), sshd.search_path());
    space
}

fn names(engine: &Spare, space: &Space) -> usize {
    let listed = engine.says(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    IMAGES.iter().filter(|image| listed.lines().any(|line| line == space.name(image))).count()
}

#[test]
fn a_stack_is_built_tested_and_kept_on_another_machine() {
    let (sshd, engine) = (Sshd::start(""), Spare::start());
    let space = lab("one", &sshd, &engine);
    let first = space.run(&["build-stack", "--host", "lab"]).fine();
    assert!(IMAGES.iter().all(|image| first.built(image)), "{}", first.stdout);
    assert_eq!(names(&engine, &space), 4, "all are there");
    assert!(space.id("base").is_empty(), "and none here");
    assert_eq!(sshd.logins(), 1, "one connection serves the whole run: {}", sshd.log());
    let again = space.run(&["build-stack", "--host", "lab"]).fine();
    assert_eq!(again.started(), [""; 0], "nothing is to do");
    let mut command = space.command(&["build-stack", "--reporter", "json"]);
    command.env("XTASK_DOCKER_CONTEXT", "lab");
    let by_variable = super::program::end_of(command).fine();
    assert_eq!(by_variable.started(), [""; 0], "the variable means the same host");
    space.replace("tasks.yaml", "config:\n", "config:\n  host: lab\n");
    assert_eq!(space.run(&["build-stack"]).fine().started(), [""; 0], "and so does the file");
    let unknown = space.say(&["build-stack", "--host", "lob"]);
    assert_eq!(unknown.code, 3, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("a host with a similar name exists: `lab`"), "{}", unknown.stderr);
}

#[test]
fn where_no_socket_is_forwarded_the_command_line_of_the_host_is_used() {
    let engine = Spare::start();
    let sshd = Sshd::start(&format!("AllowStreamLocalForwarding no\nSetEnv DOCKER_HOST={}", engine.url()));
    let mut space = Space::new("dial");
    space.write("tasks.yaml", &format!("{}\nhosts:\n  lab: {}\n", space.read("tasks.yaml"), sshd.host("slots: 2")));
    space.env.insert("PATH".into(), sshd.search_path());
    let first = space.run(&["build:base", "--host", "lab"]).fine();
    assert!(first.built("base"), "{}", first.stdout);
    assert_eq!((names(&engine, &space), sshd.logins()), (1, 1), "{}", sshd.log());
    assert!(space.id("base").is_empty());
}
