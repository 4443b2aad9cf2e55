//! What a spec may ask of the builder, through the program: agents, mounts, targets, networks; and what is told of its
//! steps. Knows nothing of the builder's own protocol.

use std::process::{Child, Command, Stdio};

use super::program::wait_for;
use super::space::Space;

/// An ssh agent with one key; ended on drop.
struct Agent {
    process: Child,
    folder: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (socket, key) = (folder.path().join("agent"), folder.path().join("key"));
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.expect("ssh-keygen").success());
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let agent = Self { process: process.expect("ssh-agent"), folder };
        wait_for("the agent listens", || socket.exists());
        let added = Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status();
        assert!(added.expect("ssh-add").success());
        agent
    }

    fn socket(&self) -> String {
        self.folder.path().join("agent").to_string_lossy().into_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_step_speaks_to_the_ssh_agent_if_the_spec_lets_it() {
    let mut space = Space::new("agent");
    let line = "COPY note.txt /note/side.txt\nRUN --mount=type=ssh,required [\"/tool\", \"keys\"]";
    space.dockerfile("side", "base", line);
    let run = space.run(&["build:side"]);
    assert_eq!(run.code, 2, "{}", run.stdout);
    assert!(
        run.problem("build:side").ends_with("wants the ssh agent `default`, which it is not given"),
        "{}",
        run.stdout
    );
    space.replace("images/spec.yml", "/side,", "/side, ssh: [default],");
    space.env.insert("SSH_AUTH_SOCK".to_owned(), String::new());
    let run = space.run(&["build:side"]);
    assert!(run.problem("build:side").ends_with("`SSH_AUTH_SOCK` is not set"), "{}", run.stdout);
    let agent = Agent::start();
    space.env.insert("SSH_AUTH_SOCK".to_owned(), agent.socket());
    let run = space.run(&["build:side"]).fine();
    assert!(run.stdout.contains("1 keys"), "{}", run.stdout);
    space.env.insert("SSH_AUTH_SOCK".to_owned(), "/another/place".to_owned());
    assert_eq!(space.run(&["build:side"]).fine().started(), [""; 0], "who is asked is no part of the image");
}

#[test]
fn caches_targets_and_networks_of_the_spec_reach_the_builder() {
    let space = Space::new("options");
    let mount = format!("--mount=type=cache,id={},target=/kept", space.prefix);
    let words = "[\"/tool\", \"ls\", \"/kept\", \",\", \"ls\", \"/sys/class/net\", \",\", \"write\", \"/kept/was-here\", \"x\"]";
    let text = format!("COPY note.txt /note/side.txt\nRUN {mount} {words}");
    let stages = format!(
        "FROM {{{{ images.base.image_name }}}} AS wanted\n{text}\nFROM wanted\nRUN [\"/tool\", \"exit\", \"3\"]\n"
    );
    space.write("images/side/Dockerfile.j2", &stages);
    space.replace("images/spec.yml", "/side,", "/side, target: wanted, network: none,");
    let first = space.run(&["build:side"]).fine();
    assert!(first.stdout.contains("    lo\"") && !first.stdout.contains("eth0"), "{}", first.stdout);
    assert!(!first.stdout.contains("    was-here"), "{}", first.stdout);
    space.append("images/side/note.txt", "changed");
    let second = space.run(&["build:side"]).fine();
    assert!(second.stdout.contains("    was-here"), "the cache mount is kept: {}", second.stdout);
    let run = space.say(&["explain", "build:side"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told = "the first that was not: `COPY note.txt /note/side.txt`: `note.txt`: ";
    let told = run.stdout.contains(told) || run.stdout.contains(&told.replace("COPY", "[wanted 2/3] COPY"));
    assert!(told, "{}", run.stdout);
    let data = space.say(&["explain", "build:side", "--json"]).fine();
    let data: serde_json::Value = serde_json::from_str(data.stdout.trim()).expect("JSON");
    let build = &data["last_build"]["default"];
    assert!(build["cached"].as_u64() < build["steps"].as_u64(), "{data}");
    assert!(build["because"][0].as_str().is_some_and(|why| why.starts_with("`note.txt`: ")), "{data}");
}
