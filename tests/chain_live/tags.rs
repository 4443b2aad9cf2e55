//! The command `tags` against two real registries, one with a login. Knows nothing of the stack.

use std::process::Command;

use base64::Engine;
use xtask::model::Secret;
use xtask::registry::testing::{RealRegistry, push_sample, sample};
use xtask::registry::{Client, CredentialsSource, Options};

use super::program::{Run, end_of};

/// The program without a stack, a state or an engine; `home` has the logins.
fn tags(home: &std::path::Path, words: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("tags").args(words).current_dir(home).env("HOME", home).env("DOCKER_HOST", "unix:///nonexistent.sock");
    command.env_remove("DOCKER_CONFIG");
    end_of(command)
}

#[test]
fn tags_are_listed_added_copied_and_deleted_without_an_engine() {
    let open = RealRegistry::start().expect("a registry");
    let closed = RealRegistry::with_login("ann", "s3cret-pass").expect("a registry");
    let home = tempfile::tempdir().expect("a folder");
    let client = Client::new(open.host(), CredentialsSource::none(), Options::default()).expect("a client");
    let image = sample(b"layer", &[("team", "lab")]);
    let digest = push_sample(&client.repository("lab/base"), &image, &["1.0", "latest"]).expect("an image");
    let other = push_sample(&client.repository("lab/base"), &sample(b"other", &[]), &["2.0"]).expect("an image");
    let base = format!("{}/lab/base", open.host());
    let run = |words: &[&str]| tags(home.path(), words);

    let list = run(&["list", &base]).fine();
    let lines: Vec<Vec<&str>> = list.stdout.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    let (digest, other) = (digest.to_string(), other.to_string());
    assert_eq!(lines, [["1.0", &digest], ["2.0", &other], ["latest", &digest]]);
    assert!(run(&["list", &base, "--json"]).fine().stdout.contains(r#""team":"lab""#));
    assert_eq!(run(&["digest", &format!("{base}:1.0")]).fine().stdout.trim(), digest);
    let absent = run(&["digest", &format!("{base}:9.9")]);
    assert_eq!((absent.code, absent.stdout.as_str()), (1, ""));

    let taken = run(&["retag", &format!("{base}:1.0"), "new", "2.0"]);
    assert_eq!(taken.code, 3);
    assert!(taken.stderr.contains("lab/base:2.0` exists with other content"), "{}", taken.stderr);
    assert_eq!(run(&["digest", &format!("{base}:new")]).code, 1, "none is written if one is refused");
    run(&["retag", &format!("{base}:1.0"), "new", "2.0", "--replace"]).fine();
    assert_eq!(run(&["digest", &format!("{base}:2.0")]).fine().stdout.trim(), digest);

    run(&["copy", &format!("{base}:1.0"), &format!("{}/lab/copy:1.0", open.host())]).fine();
    let there = format!("{}/lab/there:1.0", closed.host());
    let refused = run(&["copy", &format!("{base}@{digest}"), &there]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains(&format!("docker login {}", closed.host())), "{}", refused.stderr);
    std::fs::create_dir(home.path().join(".docker")).expect("a folder");
    let login = base64::engine::general_purpose::STANDARD.encode("ann:s3cret-pass");
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"{login}"}}}}}}"#, closed.host());
    std::fs::write(home.path().join(".docker/config.json"), config).expect("logins");
    run(&["copy", &format!("{base}@{digest}"), &there]).fine();
    let ann = CredentialsSource::fixed("ann", Secret::new("s3cret-pass"));
    let client = Client::new(closed.host(), ann, Options::default()).expect("a client");
    assert_eq!(client.repository("lab/there").manifest("1.0").expect("the copy"), image.manifest);

    let asked = run(&["delete", &format!("{base}:new")]);
    assert_eq!(asked.code, 3);
    assert!(asked.stdout.contains("which also bears `1.0`, `2.0` and `latest`"), "{}", asked.stdout);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    let alone = run(&["delete", &format!("{base}:new"), "--yes"]);
    assert!(alone.stderr.contains("cannot be deleted alone in this registry"), "{}", alone.stderr);
    assert_eq!(run(&["list", &base]).fine().stdout.lines().count(), 4, "nothing is gone");
    let all: Vec<String> = ["1.0", "2.0", "latest", "new"].map(|tag| format!("{base}:{tag}")).to_vec();
    let mut words: Vec<&str> = all.iter().map(String::as_str).collect();
    words.insert(0, "delete");
    words.push("--yes");
    run(&words).fine();
    assert_eq!(run(&["list", &base]).fine().stdout, "");
}
