//! Builds that succeed: nothing stale, nothing leaked, nothing sent twice.

use std::collections::BTreeMap;
use std::fs::{File, FileTimes};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use xtask::docker::{BuildEvent, Builder, StepState};
use xtask::model::{ImageRef, Secret, StopToken};

use crate::support::{Lab, output};

const PLAIN: &str = "FROM scratch\nCOPY tool /tool\nCOPY data /data\nCMD [\"/tool\", \"cat\", \"/data/f\"]\n";

/// Contents of one size and one mtime: both builders are known to serve the old one.
fn never_stale(builder: Builder, rounds: usize) {
    let mut lab = Lab::new("stale", builder);
    let when = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let base = lab.build("FROM scratch\nCOPY tool /tool\n").unwrap().image;
    // BuildKit takes a parent by name only, the classic builder is quicker with one step.
    let text = match builder {
        Builder::Classic => format!("FROM {base}\nCOPY data /data\n"),
        _ => PLAIN.to_owned(),
    };
    let mut stale = 0;
    for round in 0..rounds {
        let content = format!("content {round:04}\n");
        lab.folder.write("data/f", &content);
        File::options().write(true).open(lab.folder.path().join("data/f")).unwrap().set_times(when).unwrap();
        let built = lab.build(&text).unwrap();
        stale += usize::from(crate::support::content(&lab.docker, &built.image, "/data/f") != content);
    }
    assert_eq!(stale, 0, "of {rounds}");
}

#[test]
fn buildkit_never_serves_stale_content() {
    never_stale(Builder::BuildKit, 12);
}

#[test]
fn the_classic_builder_never_serves_stale_content() {
    never_stale(Builder::Classic, 4);
}

/// The same through a second name: the classic builder takes hard links for equal.
fn hard_links_are_two_files(builder: Builder) {
    let mut lab = Lab::new("hardlink", builder);
    lab.folder.write("data/f", "one\n");
    std::fs::hard_link(lab.folder.path().join("data/f"), lab.folder.path().join("data/g")).unwrap();
    lab.build(PLAIN).unwrap();
    std::fs::write(lab.folder.path().join("data/g"), "two\n").unwrap();
    let built = lab.build(PLAIN).unwrap();
    assert_eq!(output(&built.image, &["cat", "/data/f", ",", "cat", "/data/g"]), "two\ntwo\n");
}

#[test]
fn hard_links_are_two_files_in_buildkit() {
    hard_links_are_two_files(Builder::BuildKit);
}

#[test]
fn hard_links_are_two_files_in_the_classic_builder() {
    hard_links_are_two_files(Builder::Classic);
}

/// A repetition is cached and moves nothing, and gives the same image; a changed file is the only one that moves.
#[test]
fn only_what_changed_travels() {
    let mut lab = Lab::new("sync", Builder::BuildKit);
    for number in 0..3000 {
        lab.folder.write(&format!("data/{}/{number}", number % 50), format!("file {number}\n").repeat(10));
    }
    let first = lab.build(PLAIN).unwrap();
    assert!(first.sent > 300_000, "{first:?}");
    let again = lab.build(PLAIN).unwrap();
    assert_eq!((again.image.as_str(), again.sent, again.cached), (first.image.as_str(), 0, again.steps));
    lab.folder.write("data/7/7", "changed");
    let changed = lab.build(PLAIN).unwrap();
    assert_eq!(changed.sent, 7);
    assert_eq!(output(&changed.image, &["cat", "/data/7/7", ",", "count", "/data"]), "changed50\n");
    let cached = lab.events.iter().filter(|e| matches!(e, BuildEvent::Step { state: StepState::Cached, .. })).count();
    assert!(cached >= 1, "COPY tool is cached: {:?}", lab.events);
}

/// `COPY` of one file asks for that file alone.
#[test]
fn only_what_is_copied_travels() {
    let mut lab = Lab::new("follow", Builder::BuildKit);
    lab.folder.write("data/big", vec![1; 5_000_000]);
    lab.folder.write("data/real/f", "followed\n");
    std::os::unix::fs::symlink("data/real", lab.folder.path().join("link")).unwrap();
    let tool = std::fs::metadata(crate::support::tool()).unwrap().len();
    let built = lab.build("FROM scratch\nCOPY tool /tool\nCOPY link/? /x/\nCOPY dat[a-z]/real/f /y\n").unwrap();
    assert!(built.sent < tool + 1000, "{built:?}");
    assert_eq!(output(&built.image, &["cat", "/x/f", ",", "cat", "/y"]), "followed\nfollowed\n");
}

/// Owner, mode, time and links are those of the manifest, not of the work tree.
fn shown_as_the_manifest_says(builder: Builder) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let mut lab = Lab::new("shown", builder);
    lab.folder.write("data/f", "x");
    lab.folder.write("data/sh", "y");
    symlink("../tool", lab.folder.path().join("data/l")).unwrap();
    for (name, mode) in [("data/f", 0o640), ("data/sh", 0o700)] {
        std::fs::set_permissions(lab.folder.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let built = lab.build(PLAIN).unwrap();
    let manifest = crate::support::manifest(lab.folder.path());
    let time = |path: &str| manifest.entries.iter().find(|e| e.path == path.as_bytes()).unwrap().mtime().0;
    let wanted = format!("644 0 0 {}\n755 0 0 {}\n777 0 0 ", time("data/f"), time("data/sh"));
    let seen = output(&built.image, &["stat", "/data/f", ",", "stat", "/data/sh", ",", "stat", "/data/l"]);
    assert!(seen.starts_with(&wanted), "{seen} for {wanted}");
}

#[test]
fn buildkit_is_shown_the_manifest() {
    shown_as_the_manifest_says(Builder::BuildKit);
}

#[test]
fn the_classic_builder_is_shown_the_manifest() {
    shown_as_the_manifest_says(Builder::Classic);
}

/// Arguments, labels, target and several tags arrive, in both builders.
fn options_arrive(builder: Builder) {
    let mut lab = Lab::new("options", builder);
    lab.folder.write("data/f", "x");
    let second = ImageRef::parse(&format!("{}:two", lab.request.tags[0].name)).unwrap();
    lab.request.tags.push(second.clone());
    lab.request.build_args = BTreeMap::from([("WORD".to_owned(), "a&b \"ü\"".to_owned())]);
    lab.request.labels.insert("k".to_owned(), "v=ü".to_owned());
    lab.request.target = Some("first".to_owned());
    let text = "FROM scratch AS first\nARG WORD\nCOPY tool /tool\nENV WORD=$WORD\nFROM first\nENV WORD=no\n";
    let built = lab.build(text).unwrap();
    let image = lab.docker.image(&second.to_string()).unwrap();
    assert_eq!(image.id, built.image);
    assert_eq!(image.labels.get("k").map(String::as_str), Some("v=ü"));
    assert!(image.env.contains(&"WORD=a&b \"ü\"".to_owned()), "{:?}", image.env);
    assert_eq!((image.tags.len(), image.layers.len()), (2, 1));
    let history = lab.docker.history(&built.image).unwrap();
    assert!(history.iter().any(|layer| layer.size > 1000 && layer.created_by.contains("COPY")), "{history:?}");
    lab.docker.untag(&second).unwrap();
    assert_eq!(lab.docker.find_image(&second.to_string()).unwrap(), None);
    // A child by the id of its parent.
    if builder == Builder::Classic {
        lab.request.target = None;
        let child = lab.build(&format!("FROM {}\nENV CHILD=1\n", built.image)).unwrap();
        let child = lab.docker.image(&child.image).unwrap();
        assert_eq!(child.layers, image.layers);
    }
}

#[test]
fn options_arrive_in_buildkit() {
    options_arrive(Builder::BuildKit);
}

#[test]
fn options_arrive_in_the_classic_builder() {
    options_arrive(Builder::Classic);
}

/// A secret is there for the step that mounts it and nowhere else.
#[test]
fn secrets_leave_no_trace() {
    let mut lab = Lab::new("secret", Builder::BuildKit);
    let value = "s3cr3t-5f1b";
    lab.request.secrets = vec![("token".to_owned(), Secret::new(value))];
    lab.request.no_cache = true;
    let built = lab
        .build("FROM scratch\nCOPY tool /tool\nRUN --mount=type=secret,id=token [\"/tool\", \"stat\", \"/run/secrets/token\"]\nENV A=1\n")
        .unwrap();
    assert!(lab.log().contains("400 0 0"), "it was mounted: {}", lab.log());
    let saved = Command::new("docker").args(["save", &built.image]).output().unwrap();
    assert!(saved.status.success());
    let hit = saved.stdout.windows(value.len()).any(|window| window == value.as_bytes());
    assert!(!hit, "the secret is in no layer and no configuration");
    let events = format!("{:?} {:?}", lab.events, lab.docker.history(&built.image).unwrap());
    assert!(!events.contains(value) && !format!("{:?}", lab.request.secrets).contains(value));
}

/// What others need to use an image as a cache is in it; a cache that is not there stops nothing.
#[test]
fn caches_are_written_and_may_be_missing() {
    let mut lab = Lab::new("cache", Builder::BuildKit);
    lab.request.inline_cache = true;
    lab.request.cache_from = vec![format!("127.0.0.1:1/{}:none", lab.request.tags[0].name)];
    let built = lab.build("FROM scratch\nCOPY tool /tool\nENV A=1\n").unwrap();
    let mut archive = Vec::new();
    lab.docker.save(&[&built.image], &mut archive, &StopToken::new()).unwrap();
    let mark = b"moby.buildkit.cache.v0";
    assert!(archive.windows(mark.len()).any(|window| window == mark), "the cache is in the configuration");
}

/// Networks and hosts of the build are those that were asked for.
fn network_options_arrive(builder: Builder) {
    let mut lab = Lab::new("network", builder);
    lab.request.no_cache = true;
    lab.request.network = Some("none".to_owned());
    lab.request.extra_hosts = vec!["one.example:10.0.0.1".to_owned(), "two.example:10.0.0.2".to_owned()];
    let words = r#"["/tool", "ls", "/sys/class/net", ",", "cat", "/etc/hosts"]"#;
    lab.build(&format!("FROM scratch\nCOPY tool /tool\nRUN {words}\n")).unwrap();
    let log = lab.log();
    assert!(log.contains("lo\n") && !log.contains("eth0"), "{log}");
    assert!(log.contains("10.0.0.1\tone.example") && log.contains("10.0.0.2\ttwo.example"), "{log}");
}

#[test]
fn network_options_arrive_in_buildkit() {
    network_options_arrive(Builder::BuildKit);
}

#[test]
fn network_options_arrive_in_the_classic_builder() {
    network_options_arrive(Builder::Classic);
}

/// A step speaks to the agent of this machine, if it was given to the build.
#[test]
fn an_ssh_agent_is_reached_from_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, key) = (folder.path().join("agent"), folder.path().join("key"));
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !socket.exists() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let added = Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status().unwrap();
    let mut lab = Lab::new("ssh", Builder::BuildKit);
    lab.request.no_cache = true;
    let text = "FROM scratch\nCOPY tool /tool\nRUN --mount=type=ssh,required [\"/tool\", \"keys\"]\n";
    let without = lab.build(text);
    lab.request.ssh_agent = Some(socket);
    let with = lab.build(text);
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(added.success() && without.is_err(), "{without:?}");
    with.unwrap();
    assert!(lab.log().contains("1 keys"), "{}", lab.log());
}

/// The official frontend is passed over, as nothing can be fetched here.
#[test]
fn a_syntax_line_does_not_fetch() {
    let mut lab = Lab::new("syntax", Builder::Auto);
    lab.build("# syntax=docker/dockerfile:1\nFROM scratch\nCOPY tool /tool\n").unwrap();
    assert!(matches!(&lab.events[0], BuildEvent::Warning { text } if text.contains("docker/dockerfile:1")));
}

/// Names that are not UTF-8 go through the tar, and are refused by name before BuildKit sees them.
#[test]
fn odd_names_are_kept_or_refused() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"od\xffd");
    let mut lab = Lab::new("odd", Builder::Classic);
    lab.folder.write("data/sub/f", "x");
    std::fs::write(lab.folder.path().join("data").join(odd), "odd content").unwrap();
    std::fs::write(lab.folder.path().join("data").join("n".repeat(200)), "long").unwrap();
    let built = lab.build(PLAIN).unwrap();
    let output = Command::new("docker")
        .args(["run", "--rm", "--network=none", &built.image, "/tool", "ls", "/data"])
        .output()
        .unwrap();
    assert_eq!(output.stdout, [&b"n".repeat(200)[..], b"\nod\xffd\nsub\n"].concat());
    lab.request.builder = Builder::BuildKit;
    let message = lab.build(PLAIN).unwrap_err().to_string();
    assert!(message.contains(r"`data/od\xffd`"), "{message}");
}

/// `COPY .` sees the context and nothing of ours.
#[test]
fn nothing_is_added_to_the_context() {
    for builder in [Builder::BuildKit, Builder::Classic] {
        let mut lab = Lab::new("whole", builder);
        lab.folder.write("data/f", "x");
        let text = "FROM scratch\nCOPY . /all\nCOPY tool /tool\n";
        let built = lab.build(text).unwrap();
        assert_eq!(output(&built.image, &["count", "/all"]), "2\n", "{builder:?}");
        lab.folder.write(".dockerignore", "other");
        let built = lab.build(text).unwrap();
        assert_eq!(output(&built.image, &["count", "/all"]), "3\n", "{builder:?}");
    }
}

/// Four builds at once take little longer than one.
#[test]
fn builds_run_side_by_side() {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let mut lab = Lab::new("parallel", Builder::BuildKit);
                let text =
                    format!("FROM scratch\nCOPY tool /tool\nENV N={number}\nRUN [\"/tool\", \"sleep\", \"1.5\"]\n");
                lab.request.no_cache = true;
                lab.build(&text).unwrap();
            });
        }
    });
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
