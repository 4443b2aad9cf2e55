//! Moving `stable`: the whole set or nothing, the same bytes, checked, undone, recorded, rolled back. Row K12.

use std::collections::HashMap;
use std::path::PathBuf;

use xtask::model::{Diagnostic, Digest, ImageRef};
use xtask::registry::promote::{Action, Log, Member, Promotion, Rules, State, plan_promotion, plan_rollback, promote};
use xtask::registry::testing::{Endpoint, FakeRegistry, Fault, RealRegistry, push_sample, sample};
use xtask::registry::{CredentialsSource, Options, Registries};

const IMAGES: [(&str, &[&str]); 4] = [("leaf", &["mid"]), ("base", &[]), ("mid", &["base"]), ("side", &["base"])];

struct Scene {
    host: String,
    registries: Registries,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new(host: &str) -> Self {
        let registries = Registries::new(CredentialsSource::none(), Options::default());
        Self { host: host.to_owned(), registries, dir: tempfile::tempdir().unwrap() }
    }

    fn repository(&self, image: &str) -> xtask::registry::Repository {
        self.registries.open(&ImageRef::parse(&format!("{}/lab/{image}", self.host)).unwrap()).unwrap()
    }

    /// Publishes the whole set under a version, each child labelled with its parent's key.
    fn publish(&self, version: &str) -> HashMap<String, Digest> {
        let key = |image: &str| format!("key-{image}-{version}");
        let publish = |(image, parents): (&str, &[&str])| {
            let parent = parents.first().map(|parent| key(parent)).unwrap_or_default();
            let labels = [("dev.xtask.key", key(image)), ("dev.xtask.parent-key", parent)];
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            let sample = sample(format!("{image} {version}").as_bytes(), &labels);
            (image.to_owned(), push_sample(&self.repository(image), &sample, &[version]).unwrap())
        };
        IMAGES.into_iter().map(publish).collect()
    }

    fn members(&self, version: &str) -> Vec<Member> {
        let member = |(image, parents): (&str, &[&str])| Member {
            image: image.to_owned(),
            name: format!("{}/lab/{image}", self.host),
            from: version.to_owned(),
            to: "stable".to_owned(),
            parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
            key: Some(format!("key-{image}-{version}")),
            tested: true,
        };
        IMAGES.into_iter().map(member).collect()
    }

    fn plan(&self, version: &str) -> Promotion {
        plan_promotion(&self.members(version), Rules::default(), &self.registries).unwrap()
    }

    fn refusals(&self, members: &[Member]) -> Vec<String> {
        let refused = plan_promotion(members, Rules::default(), &self.registries).unwrap_err();
        refused.iter().map(|one| one.message.replace(&self.host, "HOST")).collect()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("promotions.jsonl")
    }

    fn log(&self) -> Log {
        Log::open(&self.log_path(), "ann", || jiff::Timestamp::from_second(1_700_000_000).unwrap()).unwrap()
    }

    fn run(&self, promotion: &Promotion) -> Result<usize, Diagnostic> {
        promote(promotion, &self.registries, &mut self.log(), &mut |_| {}).map_err(|failed| failed.to_diagnostic())
    }

    fn roll_back(&self) -> Result<usize, Diagnostic> {
        let mut log = self.log();
        let promotion = plan_rollback(&log, &self.registries).unwrap();
        promote(&promotion, &self.registries, &mut log, &mut |_| {}).map_err(|failed| failed.to_diagnostic())
    }

    fn stable(&self) -> HashMap<String, Digest> {
        let tag =
            |(image, _): (&str, &[&str])| Some((image.to_owned(), self.repository(image).digest("stable").unwrap()?));
        IMAGES.into_iter().filter_map(tag).collect()
    }
}

#[test]
fn k12_the_promoted_manifests_are_bit_identical_and_nothing_is_pulled() {
    let registry = RealRegistry::start().unwrap();
    let scene = Scene::new(registry.host());
    let first = scene.publish("1.0.0");
    let promotion = scene.plan("1.0.0");
    let order: Vec<&str> = promotion.moves.iter().map(|one| one.image.as_str()).collect();
    assert_eq!(order, ["base", "mid", "leaf", "side"], "parents first");
    assert_eq!(scene.stable(), HashMap::new(), "a plan writes nothing");
    assert_eq!(scene.run(&promotion).unwrap(), 4);
    assert_eq!(scene.stable(), first);
    for (image, _) in IMAGES {
        let repository = scene.repository(image);
        assert_eq!(repository.manifest("stable").unwrap(), repository.manifest("1.0.0").unwrap());
    }
    assert_eq!(scene.run(&scene.plan("1.0.0")).unwrap(), 0, "again: nothing to do");
    assert_eq!(scene.log().records().len(), 2, "and nothing recorded");

    let second = scene.publish("2.0.0");
    assert_eq!(scene.run(&scene.plan("2.0.0")).unwrap(), 4);
    assert_eq!(scene.stable(), second);
    assert_eq!(scene.roll_back().unwrap(), 4);
    assert_eq!(scene.stable(), first);
}

#[test]
fn k12_only_manifests_travel() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    let digests = scene.publish("1.0.0");
    let promotion = scene.plan("1.0.0");
    fake.clear_log();
    scene.run(&promotion).unwrap();
    let blobs = fake.log().iter().filter(|seen| seen.path.contains("/blobs/")).count();
    assert_eq!(blobs, 0);
    for (image, digest) in digests {
        assert_eq!(fake.tags(&format!("lab/{image}"))["stable"], digest);
        assert_eq!(Digest::of(&fake.manifest(&format!("lab/{image}"), digest).unwrap()), digest);
    }
}

#[test]
fn everything_that_speaks_against_the_set_is_said_at_once_and_nothing_moves() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    scene.publish("1.0.0");
    scene.publish("2.0.0");
    fake.clear_log();
    let mut members = scene.members("1.0.0");
    members[0].tested = false; // leaf
    members[2].from = "2.0.0".to_owned(); // mid: another one than leaf was built on, and another key than expected
    members[3].from = "9.9.9".to_owned(); // side
    assert_eq!(
        scene.refusals(&members),
        [
            "`HOST/lab/side:9.9.9` is not in the registry",
            "`HOST/lab/leaf:1.0.0` is untested",
            "`HOST/lab/leaf:1.0.0` was built on another `mid` than the one in the set",
            "`HOST/lab/mid:2.0.0` has another content key than image `mid`",
            "`HOST/lab/mid:2.0.0` was built on another `base` than the one in the set",
        ]
    );
    assert_eq!(fake.count(Endpoint::ManifestPut), 0);
}

#[test]
fn a_base_digest_label_decides_where_there_is_no_key() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    let base = sample(b"base", &[]);
    let digest = push_sample(&scene.repository("base"), &base, &["1"]).unwrap().to_string();
    let id = Digest::of(&base.config).to_string();
    let mut members = scene.members("1");
    members.truncate(3);
    members.remove(0);
    for member in &mut members {
        member.key = None;
    }
    let label = "org.opencontainers.image.base.digest";
    let check = |labels: &[(&str, &str)], rules: Rules| {
        push_sample(&scene.repository("mid"), &sample(b"mid", labels), &["1"]).unwrap();
        plan_promotion(&members, rules, &scene.registries).map(|_| ()).map_err(|all| all[0].message.clone())
    };
    assert_eq!(check(&[(label, &digest)], Rules::default()), Ok(()));
    assert_eq!(check(&[(label, &id)], Rules::default()), Ok(()), "the id, where the parent was never pushed");
    let other = Digest::of(b"other").to_string();
    assert!(check(&[(label, &other)], Rules::default()).unwrap_err().contains("built on another `base`"));
    assert!(check(&[], Rules::default()).unwrap_err().contains("does not say which `base`"));
    assert_eq!(check(&[], Rules { allow_unlabelled: true, ..Rules::default() }), Ok(()));
}

#[test]
fn members_that_are_parents_of_one_another_are_refused() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    scene.publish("1.0.0");
    let mut members = scene.members("1.0.0");
    members[1].parents = vec!["leaf".to_owned()];
    assert_eq!(
        scene.refusals(&members),
        ["`stable` cannot order `leaf`, `base`, `mid` and `side`: they are parents of one another"]
    );
}

#[test]
fn a_failure_at_any_tag_puts_every_tag_back() {
    for (fault, name) in [(Fault::status(403), "refused"), (Fault::CutResponse(0), "answer lost")] {
        for at in 0..4 {
            let fake = FakeRegistry::start().unwrap();
            let mut scene = Scene::new(fake.host());
            let policy = xtask::registry::Policy { tries: 1, ..Default::default() };
            scene.registries = Registries::new(CredentialsSource::none(), Options { policy, ..Options::default() });
            let first = scene.publish("1.0.0");
            scene.run(&scene.plan("1.0.0")).unwrap();
            scene.publish("2.0.0");
            let promotion = scene.plan("2.0.0");
            fake.fail_at(Endpoint::ManifestPut, "/stable", at, 1, fault.clone());
            let error = scene.run(&promotion).unwrap_err();
            assert_eq!(scene.stable(), first, "{name} at {at}: {error}");
            let log = scene.log();
            assert_eq!(log.records().last().unwrap().state, State::Undone, "{name} at {at}");
            assert_eq!(log.last_standing().unwrap().moves[0].from, "1.0.0");
            let put_back = at + usize::from(name == "answer lost");
            assert_eq!(error.to_string().matches("lab/").count(), 1 + put_back, "{name} at {at}: {error}");
        }
    }
}

#[test]
fn a_tag_that_did_not_exist_is_removed_or_reported() {
    for deletes in [true, false] {
        let fake = FakeRegistry::start().unwrap();
        let scene = Scene::new(fake.host());
        scene.publish("1.0.0");
        if deletes {
            fake.delete_tags();
        }
        fake.fail_at(Endpoint::ManifestPut, "/stable", 2, 1, Fault::status(400));
        let error = scene.run(&scene.plan("1.0.0")).unwrap_err().to_string();
        let state = scene.log().records().last().unwrap().state;
        if deletes {
            assert_eq!((scene.stable().len(), state), (0, State::Undone));
        } else {
            assert_eq!((scene.stable().len(), state), (2, State::Stuck));
            assert_eq!(error.matches("could not be put back").count(), 2, "{error}");
            assert!(error.contains("its registry cannot delete a tag"), "{error}");
        }
    }
}

#[test]
fn a_tag_that_somebody_else_moves_meanwhile_is_left_alone() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    scene.publish("1.0.0");
    let other = scene.publish("2.0.0");
    let promotion = scene.plan("1.0.0");
    fake.set_tag("lab/leaf", "stable", other["leaf"]);
    fake.delete_tags();
    let error = scene.run(&promotion).unwrap_err();
    assert!(error.message.contains("was moved by somebody else meanwhile"), "{error}");
    assert_eq!(scene.stable(), HashMap::from([("leaf".to_owned(), other["leaf"])]));
}

#[test]
fn a_killed_promotion_is_completed_by_the_next_and_rolled_back_as_one() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    let first = scene.publish("1.0.0");
    scene.run(&scene.plan("1.0.0")).unwrap();
    let second = scene.publish("2.0.0");
    for survives in 0..4 {
        // Killed after some tags: nothing is undone, the log has no end.
        let promotion = scene.plan("2.0.0");
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut moved = 0;
            let mut progress = |_: &_| {
                moved += 1;
                assert!(moved <= survives, "killed");
            };
            let _ = promote(&promotion, &scene.registries, &mut scene.log(), &mut progress);
        }));
        assert!(killed.is_err());
        assert!(scene.log().killed().is_some());
        scene.run(&scene.plan("2.0.0")).unwrap();
        assert_eq!(scene.stable(), second);
        assert!(scene.log().killed().is_none());
        scene.roll_back().unwrap();
        assert_eq!(scene.stable(), first, "killed after {survives}");
    }
}

#[test]
fn k11_two_promotions_at_once_leave_the_whole_set_of_one_of_them() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    let versions = ["1.0.0", "2.0.0", "3.0.0"].map(|version| (version, scene.publish(version)));
    scene.run(&scene.plan("1.0.0")).unwrap();
    let mut won = [0; 2];
    for round in 0..50 {
        // Both are planned against the same state, and started side by side; each waits its turn of the log.
        let plans = [scene.plan("2.0.0"), scene.plan("3.0.0")];
        let results: Vec<bool> = std::thread::scope(|scope| {
            let scene = &scene;
            let start = |plan| scope.spawn(move || promote_when_free(scene, plan));
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            let threads = order.map(|at| (at, start(&plans[at])));
            let mut results = vec![false; 2];
            for (at, thread) in threads {
                results[at] = thread.join().unwrap();
            }
            results
        });
        let stable = scene.stable();
        let now = versions.iter().find(|(_, digests)| *digests == stable).map(|(version, _)| *version);
        // Whoever comes second finds another state than it planned with, and leaves it alone.
        assert_eq!(results.iter().filter(|done| **done).count(), 1, "round {round}: {results:?}");
        let winner = usize::from(results[1]);
        assert_eq!(now, Some(["2.0.0", "3.0.0"][winner]), "round {round}: the set is whole, and the winner's");
        won[winner] += 1;
        scene.run(&scene.plan("1.0.0")).unwrap();
    }
    assert_eq!(won[0] + won[1], 50);
}

/// Runs a promotion as soon as no other has the log; whether it succeeded.
fn promote_when_free(scene: &Scene, plan: &Promotion) -> bool {
    let end = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        match Log::open(&scene.log_path(), "me", jiff::Timestamp::now) {
            Ok(mut log) => return promote(plan, &scene.registries, &mut log, &mut |_| {}).is_ok(),
            Err(busy) => assert!(busy.message.contains("is in use by another promotion"), "{busy}"),
        }
        assert!(std::time::Instant::now() < end, "the log is never free");
        std::thread::yield_now();
    }
}

#[test]
fn the_log_is_appended_to_and_says_who_when_what() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    let digests = scene.publish("1.0.0");
    scene.run(&scene.plan("1.0.0")).unwrap();
    let before = std::fs::read_to_string(scene.log_path()).unwrap();
    scene.publish("2.0.0");
    scene.run(&scene.plan("2.0.0")).unwrap();
    scene.roll_back().unwrap();
    let text = std::fs::read_to_string(scene.log_path()).unwrap();
    assert!(text.starts_with(&before), "append-only");

    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<&str> = lines.iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["started", "done", "started", "done", "started", "done"]);
    let done = &lines[1];
    assert_eq!((done["who"].as_str(), done["time"].as_str()), (Some("ann"), Some("2023-11-14T22:13:20Z")));
    assert_eq!(done["tool"], concat!("xtask ", env!("CARGO_PKG_VERSION")));
    assert_eq!(done["moves"][0]["image"], "base");
    assert_eq!(done["moves"][0]["new"], digests["base"].to_string());
    assert_eq!(done["moves"][0]["old"], serde_json::Value::Null);
    assert_eq!(done["moves"][0]["key"], "key-base-1.0.0");
    let log = scene.log();
    assert_eq!(log.records()[5].action, Action::Rollback(log.records()[3].id.clone()));

    // One more rollback goes back beyond the first promotion, where there was no tag.
    fake.delete_tags();
    drop(log);
    scene.roll_back().unwrap();
    assert_eq!(scene.stable(), HashMap::new());
    let none = plan_rollback(&scene.log(), &scene.registries).unwrap_err();
    assert!(none[0].message.contains("no promotion in the log"), "{}", none[0]);
}

#[test]
fn a_rollback_does_not_trample_on_later_moves() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    scene.publish("1.0.0");
    scene.run(&scene.plan("1.0.0")).unwrap();
    let foreign = scene.publish("3.0.0");
    fake.set_tag("lab/mid", "stable", foreign["mid"]);
    let refused = plan_rollback(&scene.log(), &scene.registries).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].message.contains("lab/mid:stable` was moved since promotion"), "{}", refused[0]);
}

#[test]
fn one_promotion_at_a_time_and_a_broken_log_is_not_overwritten() {
    let fake = FakeRegistry::start().unwrap();
    let scene = Scene::new(fake.host());
    let held = scene.log();
    let now = || jiff::Timestamp::UNIX_EPOCH;
    let error = Log::open(&scene.log_path(), "bob", now).err().unwrap();
    assert!(error.message.contains("is in use by another promotion"), "{error}");
    drop(held);
    scene.publish("1.0.0");
    scene.run(&scene.plan("1.0.0")).unwrap();
    let whole = std::fs::read_to_string(scene.log_path()).unwrap();
    // Cut within its last line, as by a crash: read as a killed promotion.
    std::fs::write(scene.log_path(), &whole[..whole.len() - 20]).unwrap();
    assert!(scene.log().killed().is_some());
    std::fs::write(scene.log_path(), format!("{{\"v\":\"what\"}}\n{whole}")).unwrap();
    let error = Log::open(&scene.log_path(), "bob", now).err().unwrap();
    assert!(error.message.contains("line 1 is not the record of a promotion"), "{error}");
}
