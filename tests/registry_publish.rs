//! Pushing a set of images: nothing half-published, nothing sent twice, versions never move. Row K10.
//!
//! The engine is played by our own uploads; the registry is the one that misbehaves on demand.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::PathBuf;

use xtask::model::{Diagnostic, Digest};
use xtask::registry::publish::{Applied, Identity, Journal, Plan, Step, Wanted, WantedTag, apply, observe, plan_push};
use xtask::registry::testing::{Endpoint, FakeRegistry, Fault, RealRegistry, SampleImage, push_sample, sample};
use xtask::registry::{CredentialsSource, Options, Registries};

const IMAGES: [&str; 3] = ["base", "mid", "leaf"];

struct Scene {
    host: String,
    registries: Registries,
    images: HashMap<String, SampleImage>,
    uploads: Cell<usize>,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new(host: &str, content: &str) -> Self {
        let image = |name: &str| (name.to_owned(), sample(format!("{content} of {name}").as_bytes(), &[]));
        Self {
            host: host.to_owned(),
            registries: Registries::new(CredentialsSource::none(), Options::default()),
            images: IMAGES.map(image).into_iter().collect(),
            uploads: Cell::new(0),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn wanted(&self, version: &str) -> Vec<Wanted> {
        let wanted = |name: &str| {
            let id = Digest::of(&self.images[name].config);
            Wanted {
                image: name.to_owned(),
                name: format!("{}/lab/{name}", self.host),
                identity: Identity::Local(id),
                anchor: format!("k-{}", id.short()),
                labels: std::collections::BTreeMap::new(),
                tested: None,
                tags: [(version, true), ("2026.4-abc", false), ("latest", false)]
                    .map(|(tag, immutable)| WantedTag { tag: tag.to_owned(), immutable })
                    .to_vec(),
            }
        };
        IMAGES.iter().map(|name| wanted(name)).collect()
    }

    fn plan(&self, version: &str) -> Result<Plan, Vec<Diagnostic>> {
        let wanted = self.wanted(version);
        plan_push(&wanted, &observe(&wanted, &self.registries).unwrap())
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("push.jsonl")
    }

    fn upload(&self, step: &Step) -> Result<Digest, Diagnostic> {
        let Step::Upload { image, to, .. } = step else { panic!("{step}") };
        self.uploads.set(self.uploads.get() + 1);
        let reference = xtask::model::ImageRef::parse(to).unwrap();
        let repository = self.registries.open(&reference)?;
        Ok(push_sample(&repository, &self.images[image], &[reference.tag.as_deref().unwrap()])?)
    }

    fn run(&self, plan: &Plan, mut journal: Journal) -> Result<Vec<Applied>, Diagnostic> {
        apply(plan, &self.registries, &mut |step| self.upload(step), &mut journal, &mut |_, _| {})
    }

    fn push(&self, version: &str) -> Result<Vec<Applied>, Diagnostic> {
        let plan = self.plan(version).unwrap();
        self.run(&plan, Journal::create(&self.journal(), &plan).unwrap())
    }

    fn digest(&self, name: &str) -> Digest {
        self.images[name].manifest.digest
    }
}

#[test]
fn push_again_and_push_changed_content_on_the_real_registry() {
    let registry = RealRegistry::start().unwrap();
    let scene = Scene::new(registry.host(), "first");
    let applied = scene.push("1.0.0").unwrap();
    assert_eq!((applied.len(), scene.uploads.get()), (3 + 9, 3));
    assert!(applied.iter().all(|one| one.changed));
    for name in IMAGES {
        let repository = scene.registries.open(&scene.wanted("1.0.0")[0].repository()).unwrap();
        let repository = repository.client().repository(&format!("lab/{name}"));
        for tag in ["1.0.0", "2026.4-abc", "latest"] {
            assert_eq!(repository.manifest(tag).unwrap(), scene.images[name].manifest);
        }
    }
    // The same again: all done, no upload, nothing changes.
    let plan = scene.plan("1.0.0").unwrap();
    assert!(plan.is_done());
    let applied = scene.run(&plan, Journal::create(&scene.journal(), &plan).unwrap()).unwrap();
    assert!(applied.iter().all(|one| !one.changed));
    assert_eq!(scene.uploads.get(), 3);

    // Other content under the same version: all three are named, nothing is sent.
    let changed = Scene::new(registry.host(), "second");
    let refused = changed.plan("1.0.0").unwrap_err();
    assert_eq!(refused.len(), 3);
    // Under a new version the moving tags move.
    changed.push("1.0.1").unwrap();
    let repository = changed.registries.open(&changed.wanted("1")[2].repository()).unwrap();
    assert_eq!(repository.digest("latest").unwrap(), Some(changed.digest("leaf")));
    assert_eq!(repository.digest("1.0.0").unwrap(), Some(scene.digest("leaf")));
}

#[test]
fn a_new_version_of_old_content_needs_no_upload() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host(), "same");
    scene.push("1.0.0").unwrap();
    fake.clear_log();
    scene.push("1.0.1").unwrap();
    assert_eq!(scene.uploads.get(), 3, "only those of the first push");
    assert_eq!(fake.count(Endpoint::UploadPost), 0);
    assert_eq!(fake.count(Endpoint::ManifestPut), 3);
}

/// Order in which tags may appear: no moving tag before every version is there.
fn assert_order(fake: &FakeRegistry, context: &str) {
    let has = |name: &str, tag: &str| fake.tags(&format!("lab/{name}")).contains_key(tag);
    if IMAGES.iter().any(|name| has(name, "latest") || has(name, "2026.4-abc")) {
        assert!(IMAGES.iter().all(|name| has(name, "1.0.0")), "{context}");
    }
    let versions: Vec<bool> = IMAGES.iter().map(|name| has(name, "1.0.0")).collect();
    assert!(versions.windows(2).all(|pair| pair[0] || !pair[1]), "{context}: parents first, {versions:?}");
}

/// Every tag that was written, the anchors left out.
fn tags_written(fake: &FakeRegistry) -> usize {
    let log = fake.log();
    log.iter().filter(|seen| seen.endpoint == Endpoint::ManifestPut && !seen.path.contains("/k-")).count()
}

#[test]
fn k10_a_push_that_ends_anywhere_is_finished_by_resume_and_sends_only_what_is_missing() {
    let mut ended = 0;
    for run in 0..200 {
        let fake = FakeRegistry::start().unwrap();
        let scene = Scene::new(fake.host(), "content");
        let plan = scene.plan("1.0.0").unwrap();
        // The run ends at the n-th request of some kind, with that request done or not done.
        let (endpoint, most) = [
            (Endpoint::ManifestPut, 12),
            (Endpoint::ManifestHead, 39),
            (Endpoint::UploadPut, 6),
            (Endpoint::ManifestGet, 15),
        ][run % 4];
        let at = (run / 4) % most;
        let context = format!("run {run}: {endpoint:?} {at}");
        fake.fail_at(endpoint, "", at, 1, Fault::status(400));
        let first = scene.run(&plan, Journal::create(&scene.journal(), &plan).unwrap());
        assert_order(&fake, &context);
        fake.behave();
        if first.is_ok() {
            continue;
        }
        ended += 1;
        let there: usize = IMAGES.iter().map(|name| fake.tags(&format!("lab/{name}")).len()).sum();
        let anchors = IMAGES.iter().map(|name| fake.tags(&format!("lab/{name}")));
        let anchors = anchors.flat_map(HashMap::into_keys).filter(|tag| tag.starts_with("k-")).count();
        let tags_there = there - anchors;
        fake.clear_log();

        let unfinished = Journal::resume(&scene.journal()).unwrap().expect("the push was not finished");
        assert_eq!(unfinished.plan, plan, "{context}");
        scene.run(&unfinished.plan, unfinished.journal).unwrap();
        assert_eq!(tags_written(&fake), 9 - tags_there, "{context}");
        for name in IMAGES {
            for tag in ["1.0.0", "2026.4-abc", "latest"] {
                assert_eq!(fake.tags(&format!("lab/{name}"))[tag], scene.digest(name), "{context}");
            }
        }
        assert!(Journal::resume(&scene.journal()).unwrap().is_none(), "{context}: finished");
    }
    assert!(ended > 150, "the faults hardly ever hit: {ended}");
}

#[test]
fn a_tag_that_somebody_else_moves_after_the_plan_is_not_overwritten() {
    let fake = FakeRegistry::start().unwrap();
    let old = Scene::new(fake.host(), "old");
    old.push("1.0.0").unwrap();
    let scene = Scene::new(fake.host(), "new");
    let plan = scene.plan("2.0.0").unwrap();
    let foreign = Scene::new(fake.host(), "foreign");
    foreign.push("3.0.0").unwrap();
    let error = scene.run(&plan, Journal::create(&scene.journal(), &plan).unwrap()).unwrap_err();
    assert!(error.message.contains("was moved by somebody else meanwhile"), "{error}");
    assert_eq!(fake.tags("lab/leaf")["latest"], foreign.digest("leaf"));
    // The next plan sees it and moves the tag.
    scene.push("2.0.0").unwrap();
    assert_eq!(fake.tags("lab/leaf")["latest"], scene.digest("leaf"));
}

#[test]
fn an_upload_that_brings_something_else_is_caught() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host(), "right");
    let wrong = Scene::new(fake.host(), "wrong");
    let plan = scene.plan("1.0.0").unwrap();
    let mut journal = Journal::create(&scene.journal(), &plan).unwrap();
    let error =
        apply(&plan, &scene.registries, &mut |step| wrong.upload(step), &mut journal, &mut |_, _| {}).unwrap_err();
    assert!(error.message.contains("is not what was uploaded"), "{error}");
    assert_eq!(fake.tags("lab/base").len(), 1, "only the anchor");
}

#[test]
fn a_plan_is_not_made_on_doubtful_answers() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host(), "content");
    fake.fail(Endpoint::ManifestHead, 1, Fault::status(403));
    let error = observe(&scene.wanted("1.0.0"), &scene.registries).unwrap_err();
    assert_eq!(error.status(), Some(403));
}
