//! The smallest action, case by case. Knows only Dockerfiles and lists of files.

use super::*;
use crate::render::dockerfile::BuildOptions;

fn snapshot(files: &[&str]) -> Snapshot {
    let files = files.iter().map(|text| {
        let (path, value) = text.split_once('=').unwrap();
        (path.to_owned(), value.to_owned())
    });
    Snapshot { frame: "f".into(), files: files.collect() }
}

/// What the change means, with each copy as `path to:mode`.
fn act(dockerfile: &str, old: &[&str], new: &[&str]) -> Result<Vec<String>, String> {
    act_in(dockerfile, old, new, old)
}

/// The same in a container whose image was made of `image`.
fn act_in(dockerfile: &str, old: &[&str], new: &[&str], image: &[&str]) -> Result<Vec<String>, String> {
    let read = Dockerfile::read("Dockerfile", dockerfile, &BuildOptions::default()).unwrap();
    match Map::new(&read, "/opt/app").act(&snapshot(old), &snapshot(new), Some(&snapshot(image))) {
        Act::Nothing => Ok(vec![]),
        Act::Copy(moves) => {
            let put = moves.put.iter().map(|one| {
                let into = one.name_in_folder.as_ref().map(|name| format!("[/{name}]")).unwrap_or_default();
                format!("{} {}{into}", one.path, one.to)
            });
            Ok(put.chain(moves.remove.iter().map(|one| format!("-{} {}", one.path, one.to))).collect())
        }
        Act::Build(why) => Err(why),
    }
}

#[track_caller]
fn copies(dockerfile: &str, old: &[&str], new: &[&str], wanted: &[&str]) {
    assert_eq!(act(dockerfile, old, new).unwrap(), wanted);
}

#[track_caller]
fn builds(dockerfile: &str, old: &[&str], new: &[&str], why: &str) {
    let found = act(dockerfile, old, new).unwrap_err();
    assert!(found.contains(why), "{found}");
}

#[test]
fn a_copy_maps_files_folders_and_globs() {
    let text = "FROM scratch\nRUN setup\nCOPY app /srv/app\nCOPY one.txt /etc/\nCOPY *.conf /conf/\nWORKDIR /w\nCOPY two .\nCOPY three /three\n";
    copies(text, &["app=", "app/x=1"], &["app=", "app/x=2"], &["app/x /srv/app/x"]);
    copies(
        text,
        &["one.txt=1", "a.conf=1"],
        &["one.txt=2", "a.conf=2"],
        &["a.conf /conf/a.conf", "one.txt /etc/one.txt"],
    );
    copies(text, &["two=1"], &["two=2"], &["two /w/two"]);
    // Only the image knows whether this is a folder.
    copies(text, &["three=1"], &["three=2"], &["three /three[/three]"]);
    // New files and folders.
    copies(text, &["app="], &["app=", "app/d=", "app/d/y=1"], &["app/d /srv/app/d", "app/d/y /srv/app/d/y"]);
    // Executable now, with the same content.
    copies(text, &["app/x=1"], &["app/x=1x"], &["app/x /srv/app/x"]);
    copies(text, &["app/x=1"], &["app/x=1"], &[]);
    copies("FROM busybox\nCOPY . .\n", &["a/b=1"], &["a/b=2"], &["a/b /opt/app/a/b"]);
}

#[test]
fn what_a_later_instruction_may_have_used_is_built() {
    let run = "FROM scratch\nCOPY app /app\nRUN make -C /app\n";
    builds(run, &["app/x=1"], &["app/x=2"], "the `RUN` of line 3 may have read `app/x`");
    let over = "FROM scratch AS made\nRUN true\nFROM scratch\nCOPY app /app\nCOPY --from=made /out /app/out\n";
    copies(over, &["app/x=1"], &["app/x=2"], &["app/x /app/x"]);
    builds(over, &["app/out=1"], &["app/out=2"], "may replace `/app/out`");
    builds(&over.replace("/app/out", "/"), &["app/x=1"], &["app/x=2"], "may replace");
    let other = "FROM scratch AS made\nCOPY src /src\nFROM scratch\nCOPY --from=made /src /b\nCOPY src /app\n";
    builds(other, &["src/x=1"], &["src/x=2"], "line 2 of the Dockerfile reads `src/x`, too");
    let bind = "FROM scratch\nRUN --mount=type=bind,source=src,target=/s true\nCOPY src /app\n";
    builds(bind, &["src/x=1"], &["src/x=2"], "line 2 of the Dockerfile reads");
    // A stage that the final one starts from is part of it.
    let chain = "FROM scratch AS base\nRUN true\nCOPY src /src\nFROM base\nCOPY app /app\n";
    copies(chain, &["src/x=1"], &["src/x=2"], &["src/x /src/x"]);
    builds(&format!("{chain}RUN true\n"), &["src/x=1"], &["src/x=2"], "the `RUN` of line 6");
}

#[test]
fn what_is_copied_over_is_not_copied_under() {
    let text = "FROM scratch\nCOPY a /app\nCOPY b /app\n";
    copies(text, &["a/x=1", "b/x=1"], &["a/x=2", "b/x=1"], &[]);
    copies(text, &["a/x=1", "b/x=1"], &["a/x=1", "b/x=2"], &["b/x /app/x"]);
    let twice = "FROM scratch\nCOPY a /one/\nCOPY a /two/\n";
    copies(twice, &["a/x=1"], &["a/x=2"], &["a/x /one/x", "a/x /two/x"]);
}

/// A file that came after the build and went again is taken away; one that the image was built with is not.
#[test]
fn what_came_later_may_go_again() {
    let text = "FROM busybox\nRUN true\nCOPY app /srv\n";
    let image = ["app/x=1"];
    let had = ["app/d=", "app/d/z=1", "app/x=1", "app/y=1"];
    let wanted = ["-app/d /srv/d", "-app/d/z /srv/d/z", "-app/y /srv/y"];
    assert_eq!(act_in(text, &had, &image, &image).unwrap(), wanted);
    let both = act_in(text, &["app/x=1", "app/y=1"], &["app/x=2"], &image).unwrap();
    assert_eq!(both, ["app/x /srv/x", "-app/y /srv/y"]);
    assert!(act_in(text, &had, &["app/y=1"], &image).unwrap_err().contains("`app/x` is gone, and what was there"));
    // A link, a place that another `COPY` fills, a place that may be a folder, a `RUN` behind it.
    assert!(act_in(text, &["app/x=1", "app/y=-> x"], &image, &image).unwrap_err().contains("`app/y` is a link"));
    let over = "FROM busybox\nCOPY a /app\nCOPY b /app\n";
    let problem = act_in(over, &["a/x=1", "b/x=1"], &["a/x=1"], &["a/y=1"]).unwrap_err();
    assert!(problem.contains("something else may belong to `/app/x`"), "{problem}");
    let one = "FROM busybox\nCOPY a* /app\n";
    assert!(act_in(one, &["a1=1"], &[], &[]).unwrap_err().contains("may belong to `/app`"));
    let run = format!("{text}RUN make\n");
    assert!(act_in(&run, &["app/x=1", "app/y=1"], &image, &image).unwrap_err().contains("may have read `app/y`"));
}

#[test]
fn what_is_unsure_is_built() {
    let text = "FROM scratch\nCOPY . /app\n";
    builds(text, &["x=1", "y=1"], &["x=1"], "`y` is gone");
    builds(text, &["x=1"], &["x=-> y"], "`x` is a link");
    builds(text, &["x=1"], &["x="], "was a folder and is a file");
    builds("FROM scratch\nADD x /x\n", &["x=1"], &["x=2"], "line 2 of the Dockerfile reads `x`, too");
    builds("FROM scratch\nCOPY --chown=me x /x\n", &["x=1"], &["x=2"], "no `COPY` of the final stage names `x`");
    builds("FROM busybox\nCOPY x y/\nWORKDIR /w\n", &["x=1"], &["x=2"], "which is not known");
    let read = Dockerfile::read("Dockerfile", text, &BuildOptions::default()).unwrap();
    let other = Snapshot { frame: "g".into(), ..snapshot(&["x=1"]) };
    let act = Map::new(&read, "/").act(&snapshot(&["x=1"]), &other, None);
    assert_eq!(act.tell(), "build: the Dockerfile, its build args or its base changed");
}
