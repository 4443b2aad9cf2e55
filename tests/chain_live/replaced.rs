//! A file with other content but the same size and time is another file: row 5. Builders alone get this wrong.

use std::fs::{File, FileTimes};
use std::time::SystemTime;

use super::space::Space;

const NOTE: &str = "images/base/note.txt";

/// Writes the note with a time of its own; all texts here are equally long.
fn write(space: &Space, text: &str, time: SystemTime) {
    let file = File::options().write(true).truncate(true).open(space.path(NOTE)).expect("the note");
    std::io::Write::write_all(&mut &file, text.as_bytes()).expect("its text");
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time)).expect("its time");
}

fn facts(space: &Space) -> (u64, SystemTime) {
    let meta = std::fs::metadata(space.path(NOTE)).expect("the note");
    (meta.len(), meta.modified().expect("its time"))
}

fn replaced_with(builder: &str) {
    let space = Space::new(&format!("replaced-{builder}"));
    let action = "image_build: { image: \"{{ image.name }}\"";
    space.replace("tasks.yaml", action, &format!("{action}, builder: {builder}"));
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let mark = &space.prefix;
    let text = |word: &str| format!("{word} of {mark}");
    write(&space, &text("first"), time);
    let before = facts(&space);
    space.run(&["build:base"]).fine();
    assert_eq!(space.cat("base", "/note/base.txt"), text("first"));

    write(&space, &text("other"), time);
    assert_eq!(facts(&space), before, "the same size and time, in the same inode");
    let run = space.run(&["build:base"]).fine();
    assert!(run.built("base"), "{:?}", run.outcomes());
    assert_eq!(space.cat("base", "/note/base.txt"), text("other"));

    // Another inode moves into its place, as editors do it.
    let aside = space.path("aside");
    std::fs::rename(space.path(NOTE), &aside).unwrap();
    std::fs::write(space.path(NOTE), text("third")).unwrap();
    write(&space, &text("third"), time);
    assert_eq!(facts(&space), before, "the same size and time, in another inode");
    space.run(&["build:base"]).fine();
    assert_eq!(space.cat("base", "/note/base.txt"), text("third"));
    assert_eq!(space.run(&["build:base"]).fine().started(), [""; 0]);
}

#[test]
fn buildkit_builds_the_new_content() {
    replaced_with("buildkit");
}

#[test]
fn the_classic_builder_builds_the_new_content() {
    replaced_with("classic");
}
