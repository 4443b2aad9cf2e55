//! Push and pull through the engine, with the real registry and with one that misbehaves.

use std::sync::Arc;

use xtask::docker::{Builder, Credentials, DockerError, TransferEvent};
use xtask::model::{ImageRef, Secret, StopToken};
use xtask::registry::testing::RealRegistry;
use xtask::registry::{Client, CredentialsSource, Options};

use crate::support::Lab;
use crate::support::proxy::{Proxy, Spoil};

/// An image of its own that bears a name in this registry.
fn named(host: &str, content: &str) -> (Lab, ImageRef, String) {
    let mut lab = Lab::new("push", Builder::BuildKit);
    let name = ImageRef::parse(&format!("{host}/lab/{}:1.0.0", lab.request.tags[0].name)).unwrap();
    lab.request.tags = vec![name.clone()];
    lab.folder.write("data", content);
    let image = lab.build("FROM scratch\nCOPY data /data\nCMD [\"/data\"]\n").unwrap().image;
    (lab, name, image)
}

#[test]
fn an_image_goes_to_a_registry_and_comes_back_by_digest() {
    let registry = RealRegistry::start().unwrap();
    let (lab, name, image) = named(registry.host(), "one");
    let docker = &lab.docker;
    let mut events = Vec::new();
    let digest = docker.push(&name, None, &mut |event| events.push(event), &StopToken::new()).unwrap();
    let client = Client::new(registry.host(), CredentialsSource::none(), Options::default()).unwrap();
    let there = client.repository(name.repository()).digest("1.0.0").unwrap().expect("a tag");
    assert_eq!(digest, there.to_string());
    assert_eq!(docker.image(&image).unwrap().digest_in(&name.name), Some(digest.as_str()));
    let told = |events: &[TransferEvent], wanted: &str| {
        events.iter().any(|event| matches!(event, TransferEvent::Layer { status, .. } if status == wanted))
    };
    assert!(told(&events, "Pushed"), "{events:?}");
    events.clear();
    let again = docker.push(&name, None, &mut |event| events.push(event), &StopToken::new()).unwrap();
    assert_eq!(again, digest);
    assert!(told(&events, "Layer already exists") && !told(&events, "Pushed"), "{events:?}");

    docker.remove_image(&image, true).unwrap();
    let by_digest = ImageRef { tag: None, digest: Some(digest), ..name.clone() };
    let pulled = docker.pull(&by_digest, None, None, &mut |_| {}, &StopToken::new()).unwrap();
    assert_eq!(pulled, image);
    assert_eq!(docker.image(&image).unwrap().tags, Vec::<String>::new());
    assert_eq!(docker.pull(&name, None, None, &mut |_| {}, &StopToken::new()).unwrap(), image);
    let missing = name.with_tag("2.0.0");
    for error in [
        docker.pull(&missing, None, None, &mut |_| {}, &StopToken::new()).unwrap_err(),
        docker.push(&missing, None, &mut |_| {}, &StopToken::new()).unwrap_err(),
    ] {
        assert!(error.is_not_found(), "{error:?}");
    }
}

/// A password whose base64 differs between alphabets; a base image that needs it, in both builders.
#[test]
fn logins_are_needed_and_work() {
    let password = ">>>???~~~";
    let registry = RealRegistry::with_login("ann", password).unwrap();
    let (mut lab, name, image) = named(registry.host(), "private");
    let docker = lab.docker.clone();
    let login = |password: &str| Credentials::Password { user: "ann".to_owned(), password: Secret::new(password) };
    let wrong = login("wrong");
    for credentials in [None, Some(&wrong)] {
        let error = docker.push(&name, credentials, &mut |_| {}, &StopToken::new()).unwrap_err();
        assert!(matches!(error, DockerError::Denied { .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong"));
    }
    docker.push(&name, Some(&login(password)), &mut |_| {}, &StopToken::new()).unwrap();
    docker.remove_image(&image, true).unwrap();
    let error = docker.pull(&name, None, None, &mut |_| {}, &StopToken::new()).unwrap_err();
    assert!(matches!(error, DockerError::Denied { .. }), "{error:?}");
    assert_eq!(docker.pull(&name, None, Some(&login(password)), &mut |_| {}, &StopToken::new()).unwrap(), image);

    let host = registry.host().to_owned();
    lab.request.tags.clear();
    for builder in [Builder::BuildKit, Builder::Classic] {
        docker.remove_image(&image, true).unwrap();
        lab.request.builder = builder;
        lab.request.credentials = None;
        let text = format!("FROM {name}\nENV BUILDER={builder:?}\n");
        assert!(lab.build(&text).is_err(), "{builder:?} without a login");
        let (host, login) = (host.clone(), login(password));
        lab.request.credentials = Some(Arc::new(move |asked| (asked == host).then(|| login.clone())));
        lab.build(&text).unwrap_or_else(|error| panic!("{builder:?} with a login: {error:?}"));
        if docker.find_image(&image).unwrap().is_none() {
            docker
                .pull(
                    &name,
                    None,
                    Some(&Credentials::from_pair("ann".to_owned(), Secret::new(password))),
                    &mut |_| {},
                    &StopToken::new(),
                )
                .unwrap();
        }
    }
}

#[test]
fn passing_problems_are_tried_again_and_others_are_not() {
    let registry = RealRegistry::start().unwrap();
    let proxy = Proxy::before(registry.host());
    let (lab, name, _) = named(&proxy.host, "faults");
    let push = || {
        let mut retries = Vec::new();
        let mut note = |event| {
            if let TransferEvent::Retry { problem, .. } = event {
                retries.push(problem);
            }
        };
        (lab.docker.push(&name, None, &mut note, &StopToken::new()), retries)
    };
    for spoil in [Spoil::Status(503), Spoil::Status(429), Spoil::Cut, Spoil::CutAnswer] {
        proxy.spoil(spoil);
        let (pushed, retries) = push();
        assert!(pushed.is_ok() && retries.len() == 1, "{spoil:?}: {retries:?}, {pushed:?}");
    }
    proxy.spoil(Spoil::Status(405));
    let (pushed, retries) = push();
    // Newer engines keep the status to themselves, so it is tried again.
    let is_untold = retries.iter().all(|problem| problem.ends_with("unknown:")) && retries.len() == 1;
    let is_refused = matches!(&pushed, Err(DockerError::Refused { .. })) && retries.is_empty();
    assert!(is_refused || is_untold && pushed.is_ok(), "{retries:?} {pushed:?}");
    proxy.spoil(Spoil::Status(403));
    let (pushed, retries) = push();
    assert!(matches!(&pushed, Err(DockerError::Denied { .. })) && retries.is_empty(), "{retries:?} {pushed:?}");
    assert!(push().0.is_ok());
}
