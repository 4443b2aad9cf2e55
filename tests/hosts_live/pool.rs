//! A stack that is spread over two machines, one of which fails.

use std::process::Stdio;

use super::program::{Run, end_of, wait_for};
use super::space::{IMAGES, Space};
use crate::support::spare::Spare;

/// A space with two hosts: `ada` keeps the images, `bob` helps.
fn lab(name: &str, ada: &Spare, bob: &Spare) -> Space {
    let space = Space::new(name);
    let host = |engine: &Spare| format!("{{ docker: \"{}\", slots: 1 }}", engine.url());
    let hosts = format!("hosts:\n  ada: {}\n  bob: {}\n", host(ada), host(bob));
    space.write("tasks.yaml", &format!("{}\n{hosts}", space.read("tasks.yaml")));
    // Long enough for both hosts to be busy at once.
    for image in ["mid", "side"] {
        space.replace("images/spec.yml", &format!("/{image}, "), &format!("/{image}, network: none, "));
        space.dockerfile(image, "base", &format!("COPY note.txt /note/{image}.txt\nRUN [\"/tool\", \"sleep\", \"2\"]"));
    }
    space
}

fn id(engine: &Spare, name: &str) -> String {
    engine.says(&["image", "inspect", "--format={{.Id}}", name])
}

fn says(run: &Run, text: &str) -> bool {
    run.of("task_output").any(|one| one["text"].as_str().is_some_and(|line| line.contains(text)))
}

#[test]
fn a_stack_is_spread_over_hosts_and_the_first_keeps_it() {
    let (ada, bob) = (Spare::start(), Spare::start());
    let space = lab("pool", &ada, &bob);
    let run = space.run(&["build-stack", "--host", "ada,bob"]).fine();
    let helped: Vec<&str> = ["mid", "side"]
        .into_iter()
        .filter(|image| {
            !id(&bob, &space.name(image)).is_empty() || says(&run, &format!("image `{image}` is built on host `bob`"))
        })
        .collect();
    assert_eq!(helped.len(), 1, "one of the two that can be built at once: {}", run.stdout);
    for image in IMAGES {
        assert!(!id(&ada, &space.name(image)).is_empty(), "`{image}` is on the host that keeps all");
    }
    assert!(says(&run, "to `bob`"), "the parent is copied: {}", run.stdout);
    let back = run.of("task_output").filter_map(|one| one["text"].as_str()).find(|line| line.contains("from `bob`"));
    assert!(back.is_some_and(|line| line.contains("layers were there already")), "only new layers come back: {back:?}");
    // The parent that the child was made on is the one of the plan.
    let layers = |image: &str| ada.says(&["image", "inspect", "--format={{json .RootFS.Layers}}", &space.name(image)]);
    assert!(
        layers(helped[0]).starts_with(layers("base").trim_end_matches(']')),
        "{} {}",
        layers(helped[0]),
        layers("base")
    );
    assert_eq!(space.run(&["build-stack", "--host", "ada,bob"]).fine().started(), [""; 0], "nothing is to do");
    // What only a helper has is brought, not built.
    let name =
        ada.says(&["image", "inspect", "--format={{index .RepoTags 0}} {{index .RepoTags 1}}", &space.name(helped[0])]);
    let names: Vec<&str> = name.split(' ').collect();
    ada.says(&[&["rmi", "-f"], &names[..]].concat());
    let task = format!("build:{}", helped[0]);
    let brought = space.run(&[&task, "--host", "ada,bob"]).fine();
    assert!(!brought.built(helped[0]) && says(&brought, "from `bob`"), "{}", brought.stdout);
}

/// Has `fate` happen while both images that take long are built, one on each host. Returns the exit code and all that was
/// said.
fn in_mid_build(space: &Space, fate: impl FnOnce()) -> (Option<i32>, String) {
    for image in ["mid", "side"] {
        space.replace(&format!("images/{image}/Dockerfile.j2"), "\"2\"", "\"4\"");
    }
    let mut command = space.command(&["build-stack", "--host", "ada,bob", "--color", "never", "-v", "2"]);
    let (out, err) = (space.path("out"), space.path("err"));
    command.stdout(std::fs::File::create(&out).unwrap()).stderr(std::fs::File::create(&err).unwrap());
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let log = || {
        ["mid", "side"]
            .map(|image| std::fs::read_to_string(space.path(&format!("logs/{image}.build.log"))).unwrap_or_default())
    };
    // Both have begun, so one of them is on `bob`.
    wait_for("both are built", || log().iter().all(|log| log.contains("COPY")) || child.try_wait().unwrap().is_some());
    std::thread::sleep(std::time::Duration::from_millis(700));
    fate();
    let status = child.wait().unwrap();
    let said = std::fs::read_to_string(&err).unwrap_or_default() + &std::fs::read_to_string(&out).unwrap_or_default();
    (status.code(), said)
}

#[test]
fn a_home_that_is_killed_in_mid_build_is_left_out_and_all_is_built_on_what_is_left() {
    let (mut ada, bob) = (Spare::start(), Spare::start());
    let space = lab("home", &ada, &bob);
    let (code, said) = in_mid_build(&space, || ada.kill());
    assert_eq!(code, Some(0), "{said}");
    let moved = "warning: host `ada`, which kept the images, was lost";
    assert!(said.contains(moved) && said.contains("the run begins again on what is left: `bob`"), "{said}");
    assert!(said.contains("warning: host `ada` was left out"), "the last summary says so, too: {said}");
    for image in IMAGES {
        assert!(!id(&bob, &space.name(image)).is_empty(), "`{image}` is on `bob`: {said}");
    }
    let layers = |image: &str| bob.says(&["image", "inspect", "--format={{json .RootFS.Layers}}", &space.name(image)]);
    assert!(layers("leaf").starts_with(layers("mid").trim_end_matches(']')), "each is built on its parent");
    assert_eq!(space.run(&["build-stack", "--host", "ada,bob"]).fine().started(), [""; 0], "nothing is to do");
    // Where nobody is left, the run fails.
    drop(bob);
    let dead = space.say(&["build-stack", "--host", "ada,bob"]);
    assert_eq!(dead.code, 3, "{}", dead.stderr);
}

#[test]
fn a_host_that_is_killed_in_mid_build_is_left_out_and_its_images_are_built_elsewhere() {
    let (ada, mut bob) = (Spare::start(), Spare::start());
    let space = lab("killed", &ada, &bob);
    let (code, said) = in_mid_build(&space, || bob.kill());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning: host `bob` was left out"), "the summary says so: {said}");
    for image in IMAGES {
        assert!(!id(&ada, &space.name(image)).is_empty(), "`{image}` is there: {said}");
    }
    // It is still dead: the next run does without it from the start.
    let again = space.say(&["build-stack", "--host", "ada,bob"]).fine();
    assert!(again.stderr.contains("host `bob` was left out"), "{}", again.stderr);
    let dead = end_of(space.command(&["build-stack", "--host", "bob"]));
    assert_eq!(dead.code, 3, "{}", dead.stderr);
    assert!(dead.stderr.contains("it is the engine of host `bob`"), "{}", dead.stderr);
}
