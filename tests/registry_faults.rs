//! The registry client against a registry that misbehaves at every stage. Rows K7, K8 and K9 of the fault table.

use std::sync::Arc;
use std::time::Duration;

use xtask::model::{Digest, Secret};
use xtask::registry::testing::{Endpoint, FakeRegistry, Fault, Login, TestClock, push_sample, sample};
use xtask::registry::{Client, CredentialsSource, ErrorKind, Options, RegistryError, Repository, Stage};

/// Every endpoint that a verb depends on, with the stage that must be named.
const STAGES: [(Endpoint, Stage); 11] = [
    (Endpoint::Ping, Stage::Ping),
    (Endpoint::ManifestHead, Stage::ManifestHead),
    (Endpoint::ManifestGet, Stage::ManifestGet),
    (Endpoint::ManifestPut, Stage::ManifestPut),
    (Endpoint::ManifestDelete, Stage::ManifestDelete),
    (Endpoint::TagList, Stage::TagList),
    (Endpoint::BlobHead, Stage::BlobHead),
    (Endpoint::BlobGet, Stage::BlobGet),
    (Endpoint::UploadPost, Stage::UploadStart),
    (Endpoint::UploadPatch, Stage::UploadChunk),
    (Endpoint::UploadPut, Stage::UploadFinish),
];

const PASSWORD: &str = "s3cret-pass";

struct Scene {
    fake: FakeRegistry,
    clock: Arc<TestClock>,
    repository: Repository,
    digest: Digest,
}

/// No machine is so busy that a registry within it is silent for so long.
const PATIENCE: Duration = Duration::from_secs(20);

fn scene(login: Login, credentials: CredentialsSource) -> Scene {
    scene_with(login, credentials, PATIENCE)
}

fn scene_with(login: Login, credentials: CredentialsSource, stall: Duration) -> Scene {
    let clock = Arc::new(TestClock::default());
    let fake = FakeRegistry::with(login, clock.clone()).unwrap();
    let image = sample(b"layer", &[]);
    let user = CredentialsSource::fixed("ann", Secret::new(PASSWORD));
    let setup = Client::new(fake.host(), user, Options::default()).unwrap();
    push_sample(&setup.repository("lab/base"), &image, &["1.0"]).unwrap();
    fake.clear_log();
    let options = Options { clock: clock.clone(), stall, commit: stall, chunk: Some(50_000), ..Options::default() };
    let client = Client::new(fake.host(), credentials, options).unwrap();
    Scene { repository: client.repository("lab/base"), fake, clock, digest: image.manifest.digest }
}

fn open_scene() -> Scene {
    scene(Login::Open, CredentialsSource::none())
}

impl Scene {
    /// Runs the verb that needs this endpoint, and checks its result.
    fn drive(&self, endpoint: Endpoint) -> Result<(), RegistryError> {
        let repository = &self.repository;
        match endpoint {
            Endpoint::Ping => repository.client().ping(),
            Endpoint::ManifestHead => repository.digest("1.0").map(|digest| assert_eq!(digest, Some(self.digest))),
            Endpoint::ManifestGet => repository.manifest("1.0").map(|got| assert_eq!(got.digest, self.digest)),
            Endpoint::ManifestPut => {
                let manifest = repository.manifest("1.0")?;
                repository.put_manifest("new", &manifest)?;
                assert_eq!(self.fake.tags("lab/base")["new"], self.digest);
                Ok(())
            }
            Endpoint::ManifestDelete => repository.delete(self.digest, &["1.0"]).map(|gone| assert_eq!(gone, ["1.0"])),
            Endpoint::TagList => repository.tags().map(|tags| assert_eq!(tags, ["1.0"])),
            Endpoint::BlobHead => repository.has_blob(Digest::of(b"layer")).map(|has| assert!(has)),
            Endpoint::BlobGet => repository.blob(Digest::of(b"layer")).map(|blob| assert_eq!(blob, b"layer")),
            _ => {
                let blob: Vec<u8> = (0..120_000_u32).map(|number| (number * 7 / 3) as u8).collect();
                let digest = repository.put_bytes(&blob)?;
                assert_eq!(repository.blob(digest)?, blob);
                Ok(())
            }
        }
    }
}

#[test]
fn k7_rate_limits_are_waited_for() {
    let writes = [Endpoint::UploadPost, Endpoint::UploadPatch, Endpoint::UploadPut, Endpoint::ManifestPut];
    for endpoint in writes {
        for (header, least) in [(None, 1), (Some("7"), 7), (Some("Thu, 01 Jan 1970 00:02:00 GMT"), 0)] {
            for times in [1, 2, 4] {
                let scene = open_scene();
                let fault = header.map_or(Fault::status(429), Fault::limited);
                scene.fake.fail(endpoint, times, fault);
                scene.drive(endpoint).unwrap();
                assert_paced(&scene, least, &format!("{endpoint:?} {header:?} × {times}"));
            }
            let scene = open_scene();
            scene.fake.fail(endpoint, 5, header.map_or(Fault::status(429), Fault::limited));
            let error = scene.drive(endpoint).unwrap_err();
            assert_eq!((error.class(), error.tries, error.status()), ("limit", 5, Some(429)), "{endpoint:?}");
        }
    }
}

/// After a refusal nothing is sent for as long as was asked, and at most one request per second until it is lifted.
fn assert_paced(scene: &Scene, least: u64, context: &str) {
    let log = scene.fake.log();
    for pair in log.windows(2).filter(|pair| pair[0].status == 429) {
        let pause = pair[1].at.checked_sub(pair[0].at).unwrap();
        assert!(pause >= Duration::from_secs(least.max(1)), "{context}: {pause:?}");
    }
    if least == 0 {
        // A date: two minutes after the epoch of the test's clock.
        let after = log.iter().skip_while(|seen| seen.status != 429).nth(1).unwrap();
        assert!(after.at >= Duration::from_mins(2), "{context}: {after:?}");
    }
}

#[test]
fn k7_a_limit_beyond_patience_is_reported_and_not_waited_for() {
    let scene = open_scene();
    scene.fake.fail(Endpoint::ManifestHead, 1, Fault::limited("3600"));
    let error = scene.drive(Endpoint::ManifestHead).unwrap_err();
    assert_eq!((error.class(), error.tries), ("limit", 1));
    assert_eq!(scene.clock.sleeps(), Vec::<Duration>::new());
    let text = error.to_diagnostic().to_string();
    assert!(text.contains("the registry asks to wait 3600 seconds"), "{text}");
}

#[test]
fn k7_threads_share_the_pace() {
    let scene = open_scene();
    let options = Options {
        clock: scene.clock.clone(),
        policy: xtask::registry::Policy { tries: 1, ..Default::default() },
        ..Options::default()
    };
    let client = Client::new(scene.fake.host(), CredentialsSource::none(), options).unwrap();
    let repository = client.repository("lab/base");
    scene.fake.fail(Endpoint::ManifestHead, 1, Fault::limited("5"));
    assert_eq!(repository.digest("1.0").unwrap_err().class(), "limit");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(repository.digest("1.0").unwrap(), Some(scene.digest)));
        }
    });
    let log = scene.fake.log();
    assert_eq!(log.len(), 5);
    for seen in &log[1..] {
        assert!(seen.at.checked_sub(log[0].at).unwrap() >= Duration::from_secs(5), "{log:?}");
    }
}

/// The ways in which a request can be lost, with the class that must be named when it never comes through.
fn losses() -> Vec<(&'static str, Fault, &'static str)> {
    vec![
        ("500", Fault::status(500), "registry"),
        ("503", Fault::status(503), "registry"),
        ("cut before anything", Fault::CutRequest(0), "network"),
        ("cut in the request", Fault::CutRequest(100), "network"),
        ("done, then cut before the answer", Fault::CutResponse(0), "network"),
        ("done, then cut in the answer's head", Fault::CutResponse(25), "network"),
        ("30 s stall", Fault::Stall(Duration::from_secs(30)), "network"),
    ]
}

#[test]
fn k8_losses_at_every_stage_succeed_or_fail_with_class_and_stage() {
    // Side by side, since the stalls take real time.
    std::thread::scope(|scope| {
        for (endpoint, stage) in STAGES {
            scope.spawn(move || {
                for (name, fault, class) in losses() {
                    for times in [1, 2, 5] {
                        lose(endpoint, stage, (name, &fault, class), times);
                    }
                }
            });
        }
    });
}

/// A second of silence is taken for a stall: long enough for a busy machine, short enough for a test.
fn lose(endpoint: Endpoint, stage: Stage, (name, fault, class): (&str, &Fault, &str), times: usize) {
    let context = format!("{endpoint:?}: {name} × {times}");
    let stall = if matches!(fault, Fault::Stall(_)) { Duration::from_secs(1) } else { PATIENCE };
    let scene = scene_with(Login::Open, CredentialsSource::none(), stall);
    scene.fake.fail(endpoint, times, fault.clone());
    match scene.drive(endpoint) {
        Ok(()) => {
            assert!(times < 5 || lost_answer_is_found(endpoint, fault), "{context}");
            // Only an upload whose opening nobody heard of may be left for the registry to clear.
            let unheard = endpoint == Endpoint::UploadPost && matches!(fault, Fault::CutResponse(_));
            assert!(unheard || scene.fake.open_uploads() == 0, "{context}");
        }
        Err(error) => {
            assert_eq!(times, 5, "{context}: {error:?}");
            assert_eq!((error.class(), error.stage, error.tries), (class, stage, 5), "{context}: {error:?}");
            assert!(error.to_string().contains(scene.fake.host()), "{context}: {error}");
        }
    }
    let longest: Duration = scene.clock.sleeps().iter().sum();
    assert!(longest <= Duration::from_secs(1 + 2 + 4 + 8), "{context}: {longest:?}");
}

/// Work that was done although its answer was lost is noticed where one can ask for it.
fn lost_answer_is_found(endpoint: Endpoint, fault: &Fault) -> bool {
    matches!(fault, Fault::CutResponse(_)) && matches!(endpoint, Endpoint::UploadPut | Endpoint::UploadPatch)
}

#[test]
fn k8_a_body_cut_in_the_middle_is_read_again() {
    let scene = open_scene();
    scene.fake.fail(Endpoint::ManifestGet, 2, Fault::CutResponse(400));
    scene.fake.fail(Endpoint::BlobGet, 2, Fault::CutResponse(45));
    scene.drive(Endpoint::ManifestGet).unwrap();
    scene.drive(Endpoint::BlobGet).unwrap();
    assert_eq!(scene.fake.count(Endpoint::ManifestGet), 3);
    assert_eq!(scene.fake.count(Endpoint::BlobGet), 3);
}

#[test]
fn k9_refusals_are_not_repeated_and_name_the_registry_and_the_way_in() {
    for (endpoint, stage) in STAGES {
        for status in [400, 401, 403, 404] {
            let question = matches!(endpoint, Endpoint::ManifestHead | Endpoint::BlobHead | Endpoint::TagList);
            let gone = endpoint == Endpoint::ManifestDelete;
            if status == 404 && (question || gone) {
                continue;
            }
            let context = format!("{endpoint:?} {status}");
            let scene = open_scene();
            let body = format!(r#"{{"errors":[{{"code":"NO","message":"you sent {PASSWORD}"}}]}}"#);
            scene.fake.fail(endpoint, 99, Fault::Status { status, retry_after: None, body });
            let error = scene.drive(endpoint).unwrap_err();
            assert_eq!((error.stage, error.tries, error.status()), (stage, 1, Some(status)), "{context}: {error:?}");
            assert_eq!(scene.fake.count(endpoint), 1, "{context}");
            assert_eq!(scene.clock.sleeps(), Vec::<Duration>::new(), "{context}");
            let text = error.to_diagnostic().to_string();
            assert!(text.contains(scene.fake.host()), "{context}: {text}");
            let login = text.contains(&format!("help: docker login {}", scene.fake.host()));
            assert_eq!(login, matches!(status, 401 | 403), "{context}: {text}");
        }
    }
}

#[test]
fn k9_secrets_that_a_registry_repeats_are_not_printed() {
    let token = Login::Token { user: "ann".into(), password: PASSWORD.into(), lifetime: Duration::from_mins(5) };
    for login in [Login::Basic("ann".into(), PASSWORD.into()), token] {
        let scene = scene(login, CredentialsSource::fixed("ann", Secret::new(PASSWORD)));
        scene.drive(Endpoint::ManifestHead).unwrap();
        let sent: Vec<String> = scene.fake.log().iter().filter_map(|seen| seen.authorization.clone()).collect();
        assert!(!sent.is_empty());
        let body = format!("{PASSWORD} {}", sent.join(" "));
        for status in [400, 401, 403, 500] {
            scene.fake.fail(Endpoint::ManifestGet, 5, Fault::Status { status, retry_after: None, body: body.clone() });
            let error = scene.drive(Endpoint::ManifestGet).unwrap_err();
            let text = format!("{} {error:?}", error.to_diagnostic());
            let secrets = sent.iter().filter_map(|header| header.split(' ').nth(1)).chain([PASSWORD]);
            for secret in secrets {
                assert!(!text.contains(secret), "{status}: {text}");
            }
            scene.fake.behave();
        }
    }
}

#[test]
fn k9_a_wrong_password_costs_one_try_and_is_not_an_absent_tag() {
    let token = Login::Token { user: "ann".into(), password: PASSWORD.into(), lifetime: Duration::from_mins(5) };
    for (login, stage) in [(Login::Basic("ann".into(), PASSWORD.into()), Stage::ManifestHead), (token, Stage::Token)] {
        let scene = scene(login, CredentialsSource::fixed("ann", Secret::new("wr0ng-pass")));
        let error = scene.repository.digest("no-such-tag").unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Unauthorized { .. }), "{error:?}");
        assert_eq!((error.stage, error.tries), (stage, 1));
        assert!(scene.fake.log().len() <= 3, "{:?}", scene.fake.log());
    }
}

#[test]
fn k9_credentials_that_cannot_be_looked_up_are_an_error() {
    let login = Login::Basic("ann".into(), PASSWORD.into());
    let scene = scene(login, CredentialsSource::new(|_| Err("the helper is missing".to_owned())));
    let error = scene.repository.digest("1.0").unwrap_err();
    assert_eq!((error.class(), error.tries), ("login", 1));
    assert!(error.to_diagnostic().to_string().contains("caused by: the helper is missing"), "{error}");
}

#[test]
fn tokens_are_fetched_once_per_scope_and_again_when_they_end() {
    let lifetime = Duration::from_mins(5);
    let login = Login::Token { user: "ann".into(), password: PASSWORD.into(), lifetime };
    let scene = scene(login, CredentialsSource::fixed("ann", Secret::new(PASSWORD)));
    for _ in 0..3 {
        scene.drive(Endpoint::ManifestHead).unwrap();
    }
    assert_eq!(scene.fake.count(Endpoint::Token), 1);
    assert_eq!(scene.fake.count(Endpoint::ManifestHead), 4, "one challenge, then no more");
    scene.drive(Endpoint::ManifestPut).unwrap();
    assert_eq!(scene.fake.count(Endpoint::Token), 2, "pushing is another scope");
    scene.clock.advance(lifetime);
    scene.drive(Endpoint::ManifestHead).unwrap();
    assert_eq!(scene.fake.count(Endpoint::Token), 3);

    // A token that the registry drops early is replaced within the same try.
    scene.fake.fail_at(Endpoint::ManifestHead, "", 0, 1, Fault::status(401));
    let error = scene.drive(Endpoint::ManifestHead).unwrap_err();
    assert_eq!(error.status(), Some(401), "a refusal without a challenge is final");
    scene.drive(Endpoint::ManifestHead).unwrap();
    assert_eq!(scene.fake.count(Endpoint::Token), 4);
}

#[test]
fn an_identity_token_logs_in() {
    let login = Login::Token { user: "x".into(), password: PASSWORD.into(), lifetime: Duration::from_mins(5) };
    let clock = Arc::new(TestClock::default());
    let fake = FakeRegistry::with(login, clock).unwrap();
    let credentials = CredentialsSource::fixed("<token>", Secret::new(PASSWORD));
    let client = Client::new(fake.host(), credentials, Options::default()).unwrap();
    let image = sample(b"layer", &[]);
    push_sample(&client.repository("lab/base"), &image, &["1.0"]).unwrap();
    assert_eq!(fake.tags("lab/base")["1.0"], image.manifest.digest);
}

#[test]
fn tags_come_in_pages() {
    let scene = open_scene();
    let manifest = scene.repository.manifest("1.0").unwrap();
    for number in 1..10 {
        scene.repository.put_manifest(&format!("1.{number}"), &manifest).unwrap();
    }
    let tags = scene.repository.tags().unwrap();
    assert_eq!(tags.len(), 10);
    assert!(scene.fake.count(Endpoint::TagList) > 3, "the fake gives three per page");
    assert_eq!(scene.repository.pointed_by(scene.digest).unwrap().tags, tags);
}

#[test]
fn a_stop_ends_the_waiting() {
    let scene = open_scene();
    let stop = xtask::model::StopToken::new();
    stop.request(xtask::model::stop::Stop::Gently);
    let options = Options { stop, ..Options::default() };
    let client = Client::new(scene.fake.host(), CredentialsSource::none(), options).unwrap();
    let error = client.repository("lab/base").digest("1.0").unwrap_err();
    assert_eq!((error.class(), scene.fake.log().len()), ("interrupted", 0));
}
