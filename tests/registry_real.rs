//! The registry client against the real registry program, with and without a login. Knows nothing of engines.

use std::sync::Arc;
use std::time::Duration;

use xtask::model::{Digest, ImageRef, Secret};
use xtask::registry::testing::{CutProxy, Direction, RealRegistry, TestClock, push_sample, sample};
use xtask::registry::{
    Client, CredentialsSource, ErrorKind, Manifest, Options, Registries, RegistryError, Repository, copy_image,
    delete_tags, from_config_json, join_platforms, list_tags, media, plan_deletion,
};

#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "other tests spoil in other ways")]
mod proxy;

use proxy::{Proxy, Spoil};

fn open(registry: &RealRegistry) -> Client {
    Client::new(registry.host(), CredentialsSource::none(), Options::default()).unwrap()
}

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

#[test]
fn an_image_goes_round_with_the_same_bytes() {
    let registry = RealRegistry::start().unwrap();
    let repository = open(&registry).repository("lab/base");
    assert_eq!(repository.digest("1.0.0").unwrap(), None, "the repository does not even exist");
    assert_eq!(repository.tags().unwrap(), Vec::<String>::new());

    let image = sample(b"layer", &[("dev.xtask.key", "abc")]);
    let digest = push_sample(&repository, &image, &["1.0.0", "latest"]).unwrap();
    assert_eq!(repository.digest("1.0.0").unwrap(), Some(digest));
    assert_eq!(repository.digest("2.0.0").unwrap(), None);
    assert_eq!(repository.manifest("latest").unwrap(), image.manifest, "bytes, type and digest");
    assert_eq!(repository.tags().unwrap(), ["1.0.0", "latest"]);

    let read = repository.image("1.0.0", None).unwrap();
    assert_eq!(read.labels["dev.xtask.key"], "abc");
    assert_eq!((read.platform.as_str(), read.id), ("linux/amd64", Digest::of(&image.config)));
}

#[test]
fn blobs_are_uploaded_whole_in_pieces_and_only_once() {
    let registry = RealRegistry::start().unwrap();
    let content = bytes(300_000, 7);
    for chunk in [None, Some(100_000), Some(99_999), Some(300_000)] {
        let options = Options { chunk, ..Options::default() };
        let client = Client::new(registry.host(), CredentialsSource::none(), options).unwrap();
        let repository = client.repository(&format!("lab/chunk{}", chunk.unwrap_or(0)));
        let digest = Digest::of(&content);
        assert!(!repository.has_blob(digest).unwrap());
        assert!(repository.put_blob(digest, 300_000, &&content[..]).unwrap());
        assert!(!repository.put_blob(digest, 300_000, &&content[..]).unwrap(), "there already");
        assert_eq!(repository.blob(digest).unwrap(), content);
        let mut tail = Vec::new();
        std::io::Read::read_to_end(&mut repository.blob_reader(digest, 299_990).unwrap(), &mut tail).unwrap();
        assert_eq!(tail, content[299_990..]);
    }
}

#[test]
fn a_file_that_ends_early_is_our_fault_and_not_repeated() {
    let registry = RealRegistry::start().unwrap();
    let repository = open(&registry).repository("lab/short");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    std::fs::write(&path, b"short").unwrap();
    let error = repository.put_blob(Digest::of(b"short"), 100, &path).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Source { .. }), "{error:?}");
    assert_eq!(error.tries, 1);
    assert!(repository.put_blob(Digest::of(b"short"), 5, &path).unwrap());
}

#[test]
fn images_and_indexes_are_copied_within_and_between_registries() {
    let (one, two) = (RealRegistry::start().unwrap(), RealRegistry::start().unwrap());
    let from = open(&one).repository("lab/base");
    let first = sample(&bytes(200_000, 1), &[]);
    let second = sample(b"other", &[]);
    push_sample(&from, &first, &["amd"]).unwrap();
    push_sample(&from, &second, &["arm"]).unwrap();
    let entry = |manifest: &Manifest, architecture: &str| {
        serde_json::json!({"mediaType": manifest.media_type, "digest": manifest.digest.to_string(), "size": manifest.bytes.len(),
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX,
        "manifests": [entry(&first.manifest, "amd64"), entry(&second.manifest, "arm64")]});
    let index = Manifest::new(index.to_string().into_bytes(), media::OCI_INDEX);
    from.put_manifest("both", &index).unwrap();

    for to in [open(&one).repository("other/place"), open(&two).repository("lab/base")] {
        assert_eq!(copy_image(&from, "both", &to, &["stable", "1.0"]).unwrap(), index.digest);
        assert_eq!(to.manifest("stable").unwrap(), index);
        assert_eq!(to.manifest(&first.manifest.digest.to_string()).unwrap(), first.manifest);
        assert_eq!(to.blob(Digest::of(&first.layer)).unwrap(), first.layer);
        assert_eq!(to.image("1.0", Some("linux/arm64")).unwrap().id, Digest::of(&second.config));
        let error = to.image("1.0", Some("linux/riscv64")).unwrap_err();
        assert!(error.to_string().contains("no image for `linux/riscv64`"), "{error}");
    }
}

#[test]
fn deleting_first_says_who_else_points_there() {
    let registry = RealRegistry::start().unwrap();
    let repository = open(&registry).repository("lab/base");
    let image = sample(b"layer", &[]);
    let other = sample(b"other", &[]);
    let digest = push_sample(&repository, &image, &["1.0.0", "stable", "old"]).unwrap();
    push_sample(&repository, &other, &["2.0.0"]).unwrap();
    assert_eq!(repository.pointed_by(digest).unwrap().tags, ["1.0.0", "old", "stable"]);

    let error = repository.delete(digest, &["old"]).unwrap_err();
    assert!(matches!(&error.kind, ErrorKind::Shared { tags, .. } if tags == &["1.0.0", "stable"]), "{error:?}");
    assert_eq!(repository.digest("old").unwrap(), Some(digest), "nothing was deleted");

    assert!(!repository.delete_tag("old").unwrap(), "this registry cannot delete a single tag");
    let gone = repository.delete(digest, &["old", "1.0.0", "stable"]).unwrap();
    assert_eq!(gone, ["1.0.0", "old", "stable"]);
    assert_eq!(repository.digest("stable").unwrap(), None);
    assert_eq!(repository.tag_digests().unwrap(), [("2.0.0".to_owned(), other.manifest.digest)]);
}

#[test]
fn a_login_is_needed_given_and_refused() {
    let registry = RealRegistry::with_login("ann", "s3cret-pass").unwrap();
    let with = |credentials| Client::new(registry.host(), credentials, Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let auths = serde_json::json!({"auths": {registry.host(): {"username": "ann", "password": "s3cret-pass"}}});
    std::fs::write(&path, auths.to_string()).unwrap();

    let repository = with(from_config_json(&path)).repository("lab/base");
    repository.client().ping().unwrap();
    let image = sample(&bytes(200_000, 3), &[]);
    let digest = push_sample(&repository, &image, &["1.0.0"]).unwrap();
    assert_eq!(repository.digest("1.0.0").unwrap(), Some(digest));

    let wrong = CredentialsSource::fixed("ann", Secret::new("wr0ng-pass"));
    for credentials in [CredentialsSource::none(), wrong] {
        let repository = with(credentials).repository("lab/base");
        // Neither of these may pass for "not there".
        for error in [repository.digest("9.9.9").unwrap_err(), repository.tags().unwrap_err()] {
            assert!(matches!(error.kind, ErrorKind::Unauthorized { .. }), "{error:?}");
            assert_eq!(error.tries, 1);
            let text = error.to_diagnostic().to_string();
            assert!(text.contains(&format!("help: docker login {}", registry.host())), "{text}");
            assert!(!text.contains("wr0ng-pass"), "{text}");
        }
    }
}

#[test]
fn nothing_listens_is_said_at_once() {
    let host = {
        let registry = RealRegistry::start().unwrap();
        registry.host().to_owned()
    };
    let image = ImageRef::parse(&format!("{host}/lab/base:1.0")).unwrap();
    let registries = Registries::new(CredentialsSource::none(), Options::default());
    let start = std::time::Instant::now();
    let error = registries.open(&image).unwrap().digest("1.0").unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Unreachable { .. }), "{error:?}");
    assert_eq!(error.class(), "network");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn something_else_that_answers_404_is_not_an_absent_tag() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        for _ in 0..2 {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    let client = Client::new(&host, CredentialsSource::none(), Options::default()).unwrap();
    let repository: Repository = client.repository("lab/base");
    let error = Arc::new(repository).digest("1.0").unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotARegistry { status: 404 });
    thread.join().unwrap();
}

#[test]
fn k8_connections_cut_at_any_byte_do_no_harm_to_the_real_registry() {
    let registry = RealRegistry::with_login("ann", "s3cret-pass").unwrap();
    let mut cuts = 0;
    for seed in 0..24_u64 {
        let proxy = CutProxy::start(registry.host()).unwrap();
        let clock = Arc::new(TestClock::default());
        let chunk = [None, Some(70_000)][seed as usize % 2];
        let options = Options { clock, chunk, ..Options::default() };
        let login = CredentialsSource::fixed("ann", Secret::new("s3cret-pass"));
        let client = Client::new(proxy.host(), login, options).unwrap();
        let repository = client.repository(&format!("lab/cut{seed}"));
        let mut random = bytes(16, seed * 2 + 1).into_iter().map(u64::from);
        let mut draw = |most: u64| (random.next().unwrap() * 256 + random.next().unwrap()) * most / 65_536;
        // An upload and its answers: some 200 kB there, some 4 kB back.
        proxy.cut_after(Direction::ToServer, 1 + draw(150_000));
        proxy.cut_after(Direction::ToClient, 1 + draw(1_500));
        proxy.cut_after(Direction::ToServer, 1 + draw(40_000));
        let image = sample(&bytes(200_000, seed), &[("seed", &seed.to_string())]);
        let digest = push_sample(&repository, &image, &["1.0", "latest"]).unwrap();
        assert_eq!(repository.digest("latest").unwrap(), Some(digest), "seed {seed}");
        assert_eq!(repository.manifest("1.0").unwrap(), image.manifest, "seed {seed}");
        assert_eq!(repository.blob(Digest::of(&image.layer)).unwrap(), image.layer, "seed {seed}");
        assert_eq!(repository.delete(digest, &["1.0", "latest"]).unwrap(), ["1.0", "latest"], "seed {seed}");
        cuts += proxy.cuts();
    }
    assert!(cuts >= 48, "only {cuts} cuts were made");
}

/// Every kind of request, by what its first line has, with the verb that needs it.
const CALLS: [(&str, &str, Verb); 10] = [
    ("HEAD ", "/manifests/", |scene| {
        scene.repository.digest("1.0").map(|digest| assert_eq!(digest, Some(scene.digest)))
    }),
    ("GET ", "/manifests/", |scene| scene.repository.manifest("1.0").map(|got| assert_eq!(got.digest, scene.digest))),
    ("PUT ", "/manifests/", |scene| {
        let manifest = scene.repository.manifest("1.0")?;
        scene.repository.put_manifest("new", &manifest)?;
        assert_eq!(scene.plain.digest("new").unwrap(), Some(scene.digest));
        Ok(())
    }),
    ("DELETE ", "/manifests/", |scene| {
        assert_eq!(scene.repository.delete(scene.digest, &["1.0"])?, ["1.0"]);
        assert_eq!(scene.plain.digest("1.0").unwrap(), None);
        Ok(())
    }),
    ("GET ", "/tags/list", |scene| scene.repository.tags().map(|tags| assert_eq!(tags, ["1.0"]))),
    ("HEAD ", "/blobs/", |scene| scene.repository.has_blob(Digest::of(&scene.layer)).map(|has| assert!(has))),
    ("GET ", "/blobs/", |scene| {
        scene.repository.blob(Digest::of(&scene.layer)).map(|got| assert_eq!(got, scene.layer))
    }),
    ("POST ", "/blobs/uploads/", upload),
    ("PATCH ", "/blobs/uploads/", upload),
    ("PUT ", "/blobs/uploads/", upload),
];

type Verb = fn(&Spoiled) -> Result<(), RegistryError>;

/// One image in a repository of its own, seen through a proxy and directly.
struct Spoiled {
    repository: Repository,
    plain: Repository,
    clock: Arc<TestClock>,
    digest: Digest,
    layer: Vec<u8>,
}

impl Spoiled {
    fn new(registry: &RealRegistry, host: &str, name: &str, credentials: &CredentialsSource) -> Self {
        let plain = Client::new(registry.host(), credentials.clone(), Options::default()).unwrap().repository(name);
        let layer = bytes(500, name.len() as u64);
        let digest = push_sample(&plain, &sample(&layer, &[("name", name)]), &["1.0"]).unwrap();
        let clock = Arc::new(TestClock::default());
        let options = Options { clock: clock.clone(), chunk: Some(50_000), ..Options::default() };
        let repository = Client::new(host, credentials.clone(), options).unwrap().repository(name);
        Self { repository, plain, clock, digest, layer }
    }
}

fn upload(scene: &Spoiled) -> Result<(), RegistryError> {
    let blob = bytes(120_000, scene.layer.len() as u64);
    let digest = scene.repository.put_bytes(&blob)?;
    assert_eq!(scene.plain.blob(digest).unwrap(), blob);
    Ok(())
}

/// With and without a login.
fn registries() -> [(RealRegistry, CredentialsSource); 2] {
    let login = CredentialsSource::fixed("ann", Secret::new("s3cret-pass"));
    [
        (RealRegistry::start().unwrap(), CredentialsSource::none()),
        (RealRegistry::with_login("ann", "s3cret-pass").unwrap(), login),
    ]
}

#[test]
fn k7_k8_k9_every_call_to_the_real_registry_is_refused_limited_broken_and_cut() {
    for (auth, (registry, credentials)) in registries().iter().enumerate() {
        let proxy = Proxy::before(registry.host());
        for (at, (method, path, verb)) in CALLS.iter().enumerate() {
            for status in [401, 403] {
                let context = format!("login {auth}, {method}{path} {status}");
                let scene = Spoiled::new(registry, &proxy.host, &format!("refused/{auth}-{at}-{status}"), credentials);
                proxy.spoil_all(&[method, path], Spoil::Status(status));
                let error = verb(&scene).unwrap_err();
                proxy.behave();
                assert_eq!((error.class(), error.tries, error.status()), ("login", 1, Some(status)), "{context}");
                assert_eq!(scene.clock.sleeps(), [], "{context}: a refusal is final");
                let text = error.to_diagnostic().to_string();
                assert!(text.contains(&format!("docker login {}", proxy.host)), "{context}: {text}");
                assert!(!text.contains("s3cret"), "{context}: {text}");
            }
            let passing = [Spoil::Status(429), Spoil::Status(500), Spoil::Cut, Spoil::CutAnswer];
            for (number, spoil) in passing.into_iter().enumerate() {
                let context = format!("login {auth}, {method}{path} {spoil:?}");
                let scene = Spoiled::new(registry, &proxy.host, &format!("passing/{auth}-{at}-{number}"), credentials);
                proxy.spoil_some(&[method, path], 2, spoil);
                verb(&scene).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                proxy.behave();
                let waited: Duration = scene.clock.sleeps().iter().sum();
                assert!(waited <= Duration::from_secs(20), "{context}: {waited:?}");
            }
        }
    }
}

#[test]
fn k8_every_call_to_the_real_registry_is_cut_at_byte_n() {
    // Each request of a login costs the registry a slow hash.
    let places: [&[u64]; 2] = [&[1, 60, 300], &[60]];
    for (auth, (registry, credentials)) in registries().iter().enumerate() {
        let mut cuts = 0;
        for (at, (method, path, verb)) in CALLS.iter().enumerate() {
            for (direction, name) in [(Direction::ToServer, "there"), (Direction::ToClient, "back")] {
                for byte in places[auth].iter().copied() {
                    let proxy = CutProxy::start(registry.host()).unwrap();
                    let name = format!("cut/{auth}-{at}-{name}-{byte}");
                    let scene = Spoiled::new(registry, proxy.host(), &name, credentials);
                    proxy.cut_after(direction, byte);
                    verb(&scene).unwrap_or_else(|error| panic!("{method}{path} of {name}: {error:?}"));
                    cuts += proxy.cuts();
                }
            }
        }
        let most = CALLS.len() * 2 * places[auth].len();
        assert!(cuts * 3 >= most * 2, "only {cuts} of {most} cuts were made");
    }
}

#[test]
fn platforms_are_joined_in_the_registry() {
    let (one, two) = (RealRegistry::start().unwrap(), RealRegistry::start().unwrap());
    let to = open(&one).repository("lab/base");
    let arm_place = open(&two).repository("arm/base");
    let amd = sample(b"amd", &[]);
    push_sample(&to, &amd, &["1.0-amd64"]).unwrap();
    let mut arm = sample(b"arm", &[]);
    arm.config = String::from_utf8(arm.config).unwrap().replace("amd64", "arm64").into_bytes();
    let text = String::from_utf8(arm.manifest.bytes).unwrap();
    let text = text.replace(&Digest::of(&sample(b"arm", &[]).config).to_string(), &Digest::of(&arm.config).to_string());
    arm.manifest = Manifest::new(text.into_bytes(), media::DOCKER_MANIFEST);
    push_sample(&arm_place, &arm, &["1.0"]).unwrap();
    let parts = [(to.clone(), "1.0-amd64".to_owned()), (arm_place, "1.0".to_owned())];

    let declared = ["linux/amd64", "linux/arm64"];
    let problems = join_platforms(&["linux/amd64", "linux/s390x"], &parts, &to, &["1.0"]).unwrap_err();
    assert!(problems[0].message.contains("no image for the declared platform `linux/s390x`"), "{}", problems[0]);
    assert_eq!(to.digest("1.0").unwrap(), None, "nothing was written");

    let digest = join_platforms(&declared, &parts, &to, &["1.0", "latest"]).unwrap();
    assert_eq!(join_platforms(&declared, &parts, &to, &["1.0"]).unwrap(), digest, "again: the same");
    assert_eq!(to.digest("latest").unwrap(), Some(digest));
    assert_eq!(to.image("1.0", Some("linux/arm64")).unwrap().id, Digest::of(&arm.config));
    assert_eq!(to.blob(Digest::of(&arm.layer)).unwrap(), arm.layer);

    let error = to.delete(arm.manifest.digest, &[]).unwrap_err();
    assert!(matches!(&error.kind, ErrorKind::Shared { tags, .. } if tags == &["1.0", "latest"]), "{error:?}");
}

#[test]
fn tags_are_listed_and_deleted_after_saying_what_they_share() {
    let registry = RealRegistry::start().unwrap();
    let repository = open(&registry).repository("lab/base");
    let old = push_sample(&repository, &sample(b"old", &[("dev.xtask.key", "o")]), &["1.0", "k-o"]).unwrap();
    let new = push_sample(&repository, &sample(b"new", &[("dev.xtask.key", "n")]), &["2.0"]).unwrap();
    let listed = list_tags(&repository).unwrap();
    let seen: Vec<_> = listed.iter().map(|one| (one.tag.as_str(), one.labels["dev.xtask.key"].as_str())).collect();
    assert_eq!(seen, [("1.0", "o"), ("2.0", "n"), ("k-o", "o")]);
    assert_eq!(listed[0].created, "2026-01-02T03:04:05Z");

    let unknown = plan_deletion(&repository, &["1.1", "9.9"]).unwrap_err();
    assert_eq!(unknown.len(), 2);
    assert!(unknown[0].to_string().contains("help: a tag with a similar name exists: `1.0`"), "{}", unknown[0]);

    let alone = plan_deletion(&repository, &["1.0"]).unwrap();
    assert_eq!(alone[0].to_string(), format!("delete `1.0` ({}), which also bears `k-o`", old.short()));
    let refused = delete_tags(&repository, &alone[0]).unwrap_err().to_string();
    assert!(refused.contains("note: its digest also bears `k-o`"), "{refused}");
    assert_eq!(repository.digest("1.0").unwrap(), Some(old));

    let both = plan_deletion(&repository, &["1.0", "k-o"]).unwrap();
    assert_eq!((both.len(), both[0].shared.len()), (1, 0));
    delete_tags(&repository, &both[0]).unwrap();
    assert_eq!(repository.tag_digests().unwrap(), [("2.0".to_owned(), new)]);
}
