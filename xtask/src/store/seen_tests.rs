//! The file of what was seen: written, read, damaged.

use super::*;
use crate::store::sight::Holds;

fn path(text: &str) -> RepoPath {
    RepoPath::from_root(text).unwrap()
}

fn stat() -> StatTuple {
    StatTuple { size: 3, mtime_ns: -5, ctime_ns: 7, inode: 9, mode: 0o100_644 }
}

fn written(file: &Path) {
    let mut writer = SeenWriter::default();
    let a = writer.file(&path("a"), || Proof::Stat(stat()));
    let b = writer.file(&path("d/\u{e4}"), || Proof::Content(stat(), Digest::of(b"x")));
    assert_eq!(writer.file(&path("a"), || Proof::Missing), a);
    let list = writer.sight(&Sight { path: b"d", proof: Proof::Listing(Digest::of(b"y")) });
    assert_eq!(writer.sight(&Sight { path: b"d", proof: Proof::Listing(Digest::of(b"y")) }), list);
    let flags = Flags { known: true, verbosity: Some(0), ..Flags::default() };
    writer.task("one", flags, 0.5, [].into_iter(), &[a]);
    let group = Flags { known: true, group: true, hidden: true, takes_words: true, ..Flags::default() };
    writer.task("two", group, f64::NAN, [0].into_iter(), &[a, b, list]);
    let head =
        Head { stamp: -7, jobs: Some(3), sources: vec![("tasks.yaml".into(), Digest::of(b"z"))], ..Head::default() };
    writer.write(&head, file).unwrap();
}

#[test]
fn written_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seen.bin");
    written(&file);
    let seen = Seen::read(&file).unwrap();
    assert_eq!((seen.len(), seen.sight_count(), seen.head.stamp, seen.head.jobs), (2, 3, -7, Some(3)));
    let (one, two) = (seen.task(0).unwrap(), seen.task(1).unwrap());
    assert_eq!((one.name, one.seconds, one.flags.verbosity), ("one", 0.5, Some(0)));
    assert!(one.flags.known && !one.flags.group && two.flags.takes_words && two.seconds.is_nan());
    assert_eq!(seen.find("two"), Some(1));
    assert_eq!(seen.needs(&one).count(), 0);
    assert_eq!(seen.needs(&two).collect::<Vec<_>>(), [0]);
    let sights: Vec<Sight<'_>> = seen.sights(&two).map(|index| seen.sight(index).unwrap()).collect();
    assert_eq!(sights[0], Sight { path: b"a", proof: Proof::Stat(stat()) });
    assert_eq!(sights[1], Sight { path: "d/\u{e4}".as_bytes(), proof: Proof::Content(stat(), Digest::of(b"x")) });
    assert_eq!(sights[2].proof, Proof::Listing(Digest::of(b"y")));
    assert!(seen.task(2).is_none() && seen.sight(3).is_none());
}

#[test]
fn a_settled_sight_is_written_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seen.bin");
    written(&file);
    let mut seen = Seen::read(&file).unwrap();
    seen.settle(1, Proof::Stat(StatTuple { size: 4, ..stat() }));
    seen.write(&file).unwrap();
    let again = Seen::read(&file).unwrap();
    assert_eq!(again.sight(1).unwrap().proof, Proof::Stat(StatTuple { size: 4, ..stat() }));
    assert_eq!(again.sight(0), seen.sight(0));
    assert_eq!(again.head, seen.head);
}

#[test]
fn any_damage_makes_it_absent() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seen.bin");
    written(&file);
    let whole = std::fs::read(&file).unwrap();
    for length in 0..whole.len() {
        assert!(Seen::parse(whole[..length].to_vec()).is_none(), "cut at {length}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert!(Seen::parse(damaged).is_none(), "bit flipped at {at}");
    }
}

#[test]
fn sights_hold_until_something_changes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir(root.join("d")).unwrap();
    std::fs::write(root.join("d/f"), "1").unwrap();
    let fd = crate::store::files::open_root(root).unwrap();
    let (listing, _) = crate::store::glob::Listing::new(root, &path("d"));
    let mut files = crate::store::Files::open(root).unwrap();
    files.observe([&path("d/f"), &path("d/none")]);
    let proof = |name: &str| Proof::of(files.standing(&path(name)).unwrap()).unwrap();
    let sights = [
        (&b"d/f"[..], proof("d/f")),
        (b"d/none", proof("d/none")),
        (b"d", Proof::of_listing(&listing)),
        (b"e", Proof::NoListing),
    ];
    // Just made: only the content tells.
    assert!(matches!(sights[0].1, Proof::Content(..)) && matches!(sights[2].1, Proof::Listing(_)));
    let holds = || sights.map(|(path, proof)| Sight { path, proof }.holds(root, &fd));
    assert_eq!(holds(), [Holds::Yes; 4]);
    std::fs::write(root.join("d/f"), "2").unwrap();
    assert_eq!(holds()[0], Holds::No);
    std::fs::write(root.join("d/none"), "").unwrap();
    assert_eq!(holds()[1..3], [Holds::No, Holds::No]);
    std::fs::create_dir(root.join("e")).unwrap();
    assert_eq!(holds()[3], Holds::No);
}
