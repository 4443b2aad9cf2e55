//! Images reach the hosts of a pool by their digest: parents that were published, and others through a repository that is
//! named for that. Knows nothing of engines' archives.

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

/// What the registry says to a question of its API, as JSON.
fn asked(registry: &RealRegistry, path: &str) -> serde_json::Value {
    let url = format!("http://{}/v2/{path}", registry.host());
    let output = std::process::Command::new("curl").args(["-s", &url]).output().expect("curl");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[test]
fn images_that_were_never_published_are_handed_on_by_digest_where_a_repository_is_named_for_it() {
    let registry = RealRegistry::start().expect("a registry");
    let (ada, bob) = (Spare::start(), Spare::start());
    let host = pass_on(ada.connect(1), registry.host());
    bob.connect(2);
    let mut space = Space::new("exchange");
    let hosts = format!("hosts:\n  ada: {{ docker: \"{}\" }}\n  bob: {{ docker: \"{}\" }}\n", ada.url(), bob.url());
    space.write("tasks.yaml", &format!("{}\n{hosts}", space.read("tasks.yaml")));
    space.replace("tasks.yaml", "config:\n", &format!("config:\n  transfer: {host}/lab/transfer\n"));
    space.env.insert("XTASK_INSECURE_REGISTRIES".into(), host.clone());
    for image in ["mid", "side"] {
        space.replace("images/spec.yml", &format!("/{image}, "), &format!("/{image}, network: none, "));
        space.dockerfile(image, "base", &format!("COPY note.txt /note/{image}.txt\nRUN [\"/tool\", \"sleep\", \"2\"]"));
    }
    let run = space.run(&["build-stack", "--host", "ada,bob"]).fine();
    let texts: Vec<&str> = run.of("task_output").filter_map(|one| one["text"].as_str()).collect();
    let copied = |way: &str| -> Vec<&str> {
        texts.iter().filter(|text| text.starts_with("copied ") && text.contains(way)).copied().collect()
    };
    let by_digest = format!("by digest: {host}/lab/transfer@sha256:");
    for way in ["to `bob`", "from `bob`"] {
        let lines = copied(way);
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.contains(&by_digest)),
            "{way}: {lines:?}\n{}",
            run.stdout
        );
    }
    for image in super::space::IMAGES {
        assert!(!ada.says(&["image", "inspect", "--format={{.Id}}", &space.name(image)]).is_empty(), "{image}");
    }
    for engine in [&ada, &bob] {
        let names = engine.says(&["images", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}"]);
        assert!(!names.contains("lab/transfer:"), "no name of the repository is left on an engine: {names}");
    }
    // Nothing is published: the only repository is the one for this, and no image is looked for there.
    assert_eq!(asked(&registry, "_catalog")["repositories"], serde_json::json!(["lab/transfer"]));
    let tags = asked(&registry, "lab/transfer/tags/list")["tags"].clone();
    let public =
        tags.as_array().into_iter().flatten().filter(|tag| !tag.as_str().unwrap_or_default().starts_with("x-"));
    assert_eq!(public.count(), 0, "{tags}");
    // A registry that is not there costs a line, not the run.
    space.replace("tasks.yaml", &format!("{host}/lab"), "10.213.255.254:5000/lab");
    for image in ["mid", "side"] {
        space.append(&format!("images/{image}/note.txt"), "again");
    }
    for engine in [&ada, &bob] {
        let base = engine.says(&["images", "--quiet", "--filter", &format!("reference={}/base", space.prefix)]);
        assert_ne!(base, "", "the parent is on both");
    }
    let run = space.run(&["build-stack", "--host", "ada,bob"]).fine();
    assert!(run.stdout.contains("goes from engine to engine: "), "{}", run.stdout);
}
