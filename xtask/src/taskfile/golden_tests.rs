//! Every sample of `tests/data/taskfiles` gives exactly the messages that stand beside it. Knows only files.

use std::path::Path;

use super::testing::World;

/// Files are compared; with `UPDATE_GOLDEN` in the environment they are written.
#[test]
fn samples_give_their_messages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/taskfiles");
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    names.sort();
    assert!(names.len() > 10, "{} samples", names.len());
    let mut wrong = String::new();
    for path in names {
        let text = std::fs::read_to_string(&path).unwrap();
        let found = World::of(&text).refused() + "\n";
        let golden = path.with_extension("err");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if expected != found {
            wrong = format!("{wrong}--- {}\nexpected:\n{expected}found:\n{found}\n", path.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
