//! Registries that speak TLS: trusted authorities, and nothing in clear text where TLS is due.
//!
//! The address `::ffff:127.0.0.1` leads to this machine and is not taken for loopback, for which plain HTTP is fine.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::model::Secret;
use xtask::registry::testing::{FakeRegistry, RealRegistry, push_sample, sample};
use xtask::registry::{Client, CredentialsSource, ErrorKind, Options};

fn openssl(dir: &Path, arguments: &str) {
    let made = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().unwrap();
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

/// An authority (`ca.pem`) and a certificate by it (`leaf.pem`, `leaf.key`).
fn certificates(dir: &Path) {
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(dir, &format!("req -x509 {curve} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"));
    openssl(dir, &format!("req {curve} -keyout leaf.key -out leaf.csr -subj /CN=registry"));
    std::fs::write(dir.join("names"), "subjectAltName=IP:::ffff:127.0.0.1\n").unwrap();
    let sign = "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out leaf.pem";
    openssl(dir, sign);
}

/// The same port under an address that is not taken for loopback.
fn elsewhere(host: &str) -> String {
    host.replace("127.0.0.1", "[::ffff:127.0.0.1]")
}

fn client(host: &str, ca_bundle: Option<PathBuf>) -> Client {
    let login = CredentialsSource::fixed("ann", Secret::new("s3cret-pass"));
    Client::new(&elsewhere(host), login, Options { ca_bundle, ..Options::default() }).unwrap()
}

#[test]
fn an_authority_of_one_s_own_is_trusted_where_it_is_named_and_only_there() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let registry = RealRegistry::with_tls(&dir.path().join("leaf.pem"), &dir.path().join("leaf.key")).unwrap();
    let repository = client(registry.host(), Some(dir.path().join("ca.pem"))).repository("lab/base");
    let digest = push_sample(&repository, &sample(b"layer", &[]), &["1.0"]).unwrap();
    assert_eq!(repository.digest("1.0").unwrap(), Some(digest));

    let error = client(registry.host(), None).repository("lab/base").digest("1.0").unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Tls { .. }), "{error:?}");
    assert_eq!((error.class(), error.tries), ("network", 1), "waiting does not make a certificate better");
}

#[test]
fn nothing_is_sent_in_clear_text_to_another_machine() {
    let fake = FakeRegistry::start().unwrap();
    let error = client(fake.host(), None).repository("lab/base").digest("1.0").unwrap_err();
    assert_eq!(error.class(), "network", "{error:?}");
    assert!(fake.log().iter().all(|seen| seen.authorization.is_none() && seen.method != "HEAD"), "{:?}", fake.log());

    // Unless its operator says so.
    let host = elsewhere(fake.host());
    let options = Options { insecure: vec![host.clone()], ..Options::default() };
    let client = Client::new(&host, CredentialsSource::none(), options).unwrap();
    assert_eq!(client.repository("lab/base").digest("1.0").unwrap(), None);
}

#[test]
fn a_broken_bundle_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.pem");
    let options = Options { ca_bundle: Some(missing.clone()), ..Options::default() };
    let error = Client::new("hub.example.org", CredentialsSource::none(), options).err().unwrap();
    let text = error.to_diagnostic().to_string();
    assert!(text.contains(&format!("the certificates in `{}` cannot be read", missing.display())), "{text}");
}
