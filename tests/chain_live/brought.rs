//! Files of the repository that a template brings into an image: what they cost and what they rebuild.

use super::space::Space;

#[test]
fn a_project_from_elsewhere_is_built_in_and_an_edit_of_it_costs_its_own_layer() {
    let space = Space::new("brought");
    space.write("libs/app/main.txt", "one\n");
    space.write("libs/app/lock.txt", "locked\n");
    space.write("libs/app/notes.md", "not for the image\n");
    space.write("libs/app/__pycache__/x.pyc", "noise\n");
    space.write(
        "images/leaf/Dockerfile.j2",
        "{% import \"xtask.j2\" as x %}\nFROM {{ images.mid.image_name }}\n\
         {{ x.copy(\"libs/app\", \"/app/\", only=[\"lock.txt\"]) }}\n\
         RUN [\"/tool\", \"cat\", \"/app/lock.txt\"]\n\
         {{ x.install(\"libs/app\", \"/app\", kind=\"source\", exclude=[\"*.md\"]) }}\nCOPY note.txt /note/leaf.txt\n",
    );
    space.build();
    assert_eq!(space.cat("leaf", "/app/main.txt"), "one");
    assert_eq!(space.cat("leaf", "/app/notes.md"), "", "excluded");
    assert_eq!(space.cat("leaf", "/app/__pycache__/x.pyc"), "", "noise of a project in development");
    assert_eq!(space.build().started(), [""; 0]);

    // What is not brought rebuilds nothing; what is, rebuilds the image from that layer on.
    space.write("libs/app/notes.md", "other notes\n");
    assert_eq!(space.build().started(), [""; 0]);
    let before = space.layers("leaf");
    space.write("libs/app/main.txt", "two\n");
    assert_eq!(space.build().started(), ["build:leaf", "stage:leaf", "test:leaf"]);
    assert_eq!(space.cat("leaf", "/app/main.txt"), "two");
    let after = space.layers("leaf");
    let same = before.iter().zip(&after).take_while(|(old, new)| old == new).count();
    let from_end = before.len() - same;
    assert_eq!(
        (after.len(), from_end),
        (before.len(), 2),
        "the layers of the source and of the note: {before:?} {after:?}"
    );

    let text = space.say(&["affected", "--files", "libs/app/main.txt", "--explain"]).fine().stdout;
    assert!(text.contains("leaf") && !text.contains("side"), "{text}");
    let text = space.say(&["affected", "--files", "libs/app/notes.md"]).fine().stdout;
    assert!(!text.contains("leaf"), "{text}");

    std::fs::remove_dir_all(space.path("libs")).unwrap();
    let run = space.run(&["build-stack"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("brings `libs/app`, which is not there"), "{}", run.stderr);
}
