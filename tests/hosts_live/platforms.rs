//! Images of several platforms, built, tested and pushed in one run by hosts of these platforms. An engine that says of
//! itself that it is another machine stands for one: what it builds is marked so, and what it runs are programs of this
//! machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::Value;
use xtask::registry::testing::RealRegistry;

use super::program::Run;
use super::space::{IMAGES, Space, docker};
use crate::support::spare::Spare;

/// The socket of an engine that tells another architecture: that of its answer to `/version`.
fn disguised(engine: &Spare) -> PathBuf {
    let (path, to) = (engine.dir().join("arm.sock"), engine.socket());
    let listener = UnixListener::bind(&path).expect("a socket");
    // It ends with the test's process.
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let to = to.clone();
            thread::spawn(move || pass_on(near, &to));
        }
    });
    path
}

fn pass_on(mut near: UnixStream, to: &Path) {
    let Ok(mut far) = UnixStream::connect(to) else { return };
    let mut first = vec![0; 8192];
    let Ok(length) = near.read(&mut first) else { return };
    let line = String::from_utf8_lossy(&first[..length]).lines().next().unwrap_or_default().to_owned();
    let _ = far.write_all(&first[..length]);
    let (mut up, mut back) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
    thread::spawn(move || {
        let _ = std::io::copy(&mut up, &mut far);
        let _ = far.shutdown(std::net::Shutdown::Write);
    });
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = back.read(&mut bytes) {
        let mut part = bytes[..length].to_vec();
        if line.contains("/version ") {
            for at in 0..part.len().saturating_sub(4) {
                if &part[at..at + 5] == b"amd64" {
                    part[at..at + 5].copy_from_slice(b"arm64");
                }
            }
        }
        if near.write_all(&part).is_err() {
            break;
        }
    }
    let _ = near.shutdown(std::net::Shutdown::Both);
}

/// The architectures that an index lists; none if it is not there.
fn platforms(registry: &RealRegistry, image: &str, tag: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(registry.host()).expect("the registry");
    let accept = "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json";
    let head =
        format!("GET /v2/{image}/manifests/{tag} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", registry.host());
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let body = text.split_once("\r\n\r\n").expect("a head").1;
    let index: Value = serde_json::from_str(body).expect("JSON");
    let listed = index["manifests"].as_array().into_iter().flatten();
    listed.map(|one| one["platform"]["architecture"].as_str().expect("its platform").to_owned()).collect()
}

fn says(run: &Run, text: &str) -> bool {
    run.of("task_output").any(|one| one["text"].as_str().is_some_and(|line| line.contains(text)))
}

#[test]
fn each_platform_is_built_and_tested_by_its_own_host_and_all_are_pushed_as_one() {
    let registry = RealRegistry::start().expect("a registry");
    let mut engine = Spare::start();
    let mut space = Space::new("two-machines");
    let arm = disguised(&engine);
    let hosts = format!(
        "hosts:\n  home: {{ docker: \"unix:///var/run/docker.sock\" }}\n  arm: {{ docker: \"unix://{}\" }}\n",
        arm.display()
    );
    space.write("tasks.yaml", &format!("{}\n{hosts}", space.read("tasks.yaml")));
    space.env.insert("STACK_REGISTRY".into(), registry.host().to_owned());
    space.replace("images/spec.yml", "labels: {", "platforms: [linux/amd64, linux/arm64], labels: {");
    space.replace("images/spec.yml", "/mid, ", "/mid, network: none, ");
    space.replace("images/spec.yml", "/base, ", "/base, taggers: [tool], ");
    let tagger =
        r#"taggers: { tool: { command: "/tool say 'tool v1.2.3'", pattern: 'v(\d+\.\d+)', tags: ["tool-$1"] } }"#;
    space.write("images/spec.yml", &format!("{}{tagger}\n", space.read("images/spec.yml")));
    space.dockerfile("mid", "base", "COPY note.txt /note/mid.txt\nRUN [\"/tool\", \"say\", \"here\"]");

    let run = space.run(&["push", "--version", "1.0.0", "--host", "arm,home"]).fine();
    assert!(says(&run, "image `mid` is built on host `arm`"), "{}", run.stdout);
    for image in IMAGES {
        for tag in ["1.0.0", "latest", "tool-1.2"] {
            assert_eq!(platforms(&registry, image, tag), ["amd64", "arm64"], "{image}:{tag}: {}", run.stdout);
        }
        let name = format!("{}-linux-arm64", space.name(image));
        assert_eq!(docker(&["image", "inspect", "--format={{.Architecture}}", &name]), "arm64", "home has {name}");
        assert!(engine.says(&["images", "--quiet", &format!("{}/{image}", space.prefix)]).len() >= 12, "{image}");
    }
    assert!(space.path("artifacts/leaf/tests.default@linux-arm64.xml").exists(), "it was tested, too");
    let again = space.run(&["push", "--version", "1.0.0", "--host", "arm,home"]).fine();
    assert_eq!(again.started(), [""; 0], "nothing is to do");

    // Without that machine nothing tests the new image for it, and what people pull stays whole.
    engine.kill();
    space.append("images/leaf/note.txt", "another line");
    let alone = space.run(&["push", "--version", "1.1.0", "--host", "arm,home"]).fine();
    assert!(says(&alone, "missing: leaf (linux/arm64): it was not tested"), "{}", alone.stdout);
    assert!(!alone.stdout.contains("missing: side"), "what did not change was tested: {}", alone.stdout);
    assert_eq!(platforms(&registry, "leaf", "1.1.0"), [""; 0]);
    assert_eq!(platforms(&registry, "leaf", "latest"), ["amd64", "arm64"]);
}
