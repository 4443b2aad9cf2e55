//! Parents that a registry has reach the hosts of a pool by their digest. Knows nothing of engines' archives.

use std::net::{TcpListener, TcpStream};
use std::thread;

use xtask::registry::testing::RealRegistry;

use super::space::Space;
use crate::support::spare::Spare;

/// Passes connections to a port of this machine's loopback on, from an address that others reach.
fn pass_on(address: std::net::Ipv4Addr, to: &str) -> String {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let to = to.to_owned();
    // It ends with the test's process.
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(&to) else { continue };
            for (mut from, mut to) in [(&near, &far), (&far, &near)]
                .map(|(from, to)| (from.try_clone().expect("a socket"), to.try_clone().expect("a socket")))
            {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    host
}

#[test]
fn an_unchanged_parent_reaches_every_host_by_its_digest_from_the_registry() {
    let registry = RealRegistry::start().expect("a registry");
    let first = Spare::start();
    let host = pass_on(first.connect(0), registry.host());
    let mut space = Space::new("digest");
    let hosts = |engines: &[(&str, &Spare)]| -> String {
        let lines = engines.iter().map(|(name, engine)| format!("  {name}: {{ docker: \"{}\" }}\n", engine.url()));
        format!("hosts:\n{}", lines.collect::<String>())
    };
    let tasks = space.read("tasks.yaml");
    space.write("tasks.yaml", &format!("{tasks}\n{}", hosts(&[("first", &first)])));
    space.env.insert("STACK_REGISTRY".into(), host.clone());
    space.env.insert("XTASK_INSECURE_REGISTRIES".into(), host.clone());
    space.run(&["build-stack", "--host", "first"]).fine();
    space.run(&["push", "--version", "1.0.0", "--host", "first"]).fine();
    drop(first);
    // Two others, which have nothing yet. The registry's address goes with its wire, so it gets a new one.
    let (ada, bob) = (Spare::start(), Spare::start());
    let host = pass_on(ada.connect(1), registry.host());
    bob.connect(2);
    space.write("tasks.yaml", &format!("{tasks}\n{}", hosts(&[("ada", &ada), ("bob", &bob)])));
    for variable in ["STACK_REGISTRY", "XTASK_INSECURE_REGISTRIES"] {
        space.env.insert(variable.into(), host.clone());
    }
    for image in ["mid", "side"] {
        space.replace("images/spec.yml", &format!("/{image}, "), &format!("/{image}, network: none, "));
        space.dockerfile(image, "base", &format!("COPY note.txt /note/{image}.txt\nRUN [\"/tool\", \"sleep\", \"2\"]"));
    }
    let run = space.run(&["build-stack", "--host", "ada,bob"]).fine();
    assert!(!run.built("base") && run.built("mid") && run.built("side"), "{}", run.stdout);
    for engine in [&ada, &bob] {
        let digests = engine.says(&["images", "--digests", "--format", "{{.Repository}} {{.Digest}}"]);
        let wanted = format!("{host}/base sha256:");
        assert!(digests.lines().any(|line| line.starts_with(&wanted)), "pulled by digest: {digests}\n{}", run.stdout);
    }
}
