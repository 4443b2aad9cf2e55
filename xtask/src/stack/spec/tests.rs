//! Reads every sample in `tests/data/specs` and compares what comes out with `tests/data/specs/expected`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::stack::{Stack, types::Args};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/specs")
}

/// Every folder that a sample may name exists, except `absent`; `empty` holds no Dockerfile.
fn sample_folders(text: &str) -> Vec<Folder> {
    let names = "base base-notebook collector datascience debian-base leaf python-base r-notebook rstudio scipy self";
    let named =
        |name: &&str| text.lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{name}:")));
    let mut folders: Vec<Folder> =
        names.split(' ').filter(named).map(|name| Folder { path: name.to_owned(), has_dockerfile: true }).collect();
    folders.push(Folder { path: "empty".to_owned(), has_dockerfile: false });
    folders
}

fn read(name: &str) -> Result<Stack, crate::model::Diagnostics> {
    let text = std::fs::read_to_string(data().join(format!("{name}.yml"))).unwrap();
    parse(&Source { file: "images/spec.yml", text: &text, folders: sample_folders(&text), change_ignore: None })
}

/// What matters of a stack, one line per thing.
fn shown(stack: &Stack) -> String {
    let mut text = format!("form {:?}, tag suffix {:?}\n", stack.form, stack.suffix);
    for plan in &stack.plans {
        let _ = writeln!(
            text,
            "plan {} prefix {:?} stable {:?} args {:?}",
            plan.name, plan.tag_prefix, plan.stable_postfix, plan.build_args
        );
    }
    for base in &stack.bases {
        let _ = writeln!(text, "base {} {:?} {:?}", base.reference, base.policy, base.bootstrap);
    }
    for image in &stack.images {
        let parents: Vec<&str> = image.depend_on.iter().map(|parent| &*parent.value).collect();
        let _ = writeln!(text, "image {} = {} in {} on {parents:?}", image.key, image.image_name, image.dir);
        let _ = writeln!(
            text,
            "  info {:?} prune {} prepull {} integration {:?}",
            image.info_cmds, image.prune, image.prepull, image.integration_tests
        );
        for plan in stack.plans.iter().filter(|plan| image.is_in(&plan.name)) {
            let _ = writeln!(text, "  in {}: {:?}", plan.name, stack.build_args(image, plan, &Args::new()));
        }
        if !(image.platforms.is_empty() && image.secrets.is_empty() && image.ssh.is_empty() && image.labels.is_empty())
        {
            let _ = writeln!(text, "  {:?} {:?} {:?} {:?}", image.platforms, image.secrets, image.ssh, image.labels);
        }
    }
    for cmd in &stack.info_cmds {
        let _ = writeln!(text, "info {} {:?}: {}", cmd.name, cmd.description, cmd.command);
    }
    let _ = writeln!(text, "{:?}", stack.change);
    for warning in &stack.warnings {
        let _ = writeln!(text, "{warning}");
    }
    text
}

#[test]
fn samples_of_every_generation_and_every_trap() {
    let mut names: Vec<String> = std::fs::read_dir(data())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().unwrap().strip_suffix(".yml").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 20, "the samples are found: {names:?}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(data().join("expected"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in names {
        let result = read(&name);
        assert_eq!(result.is_err(), name.starts_with("trap") && !is_harmless(&name), "{name}: {result:?}");
        let text = result.map_or_else(|errors| errors.to_string(), |stack| shown(&stack));
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

fn is_harmless(name: &str) -> bool {
    name == "trap-contained-names"
}

#[test]
fn a_folder_without_a_key_is_named() {
    let folders = ["base", "leaf"].map(|name| Folder { path: name.to_owned(), has_dockerfile: true }).into();
    let text = "version: 1\nimages: {base: {}}\n";
    let stack = parse(&Source { file: "images/spec.yml", text, folders, change_ignore: None }).unwrap();
    assert!(stack.warnings.iter().any(|warning| {
        warning.message == "the folder `images/leaf` holds a Dockerfile, but `images` has no key `leaf`"
    }));
}

#[test]
fn change_ignore_json_is_read() {
    let text = "version: 1\nimages: {base: {}}\n";
    let folders = || vec![Folder { path: "base".to_owned(), has_dockerfile: true }];
    let json = "{\"ChangeIgnore\": [\"README.md\"], \"BuildAll\": [\"spec.yml\"]}";
    let source = Source { file: "images/spec.yml", text, folders: folders(), change_ignore: Some(json) };
    let change = parse(&source).unwrap().change;
    assert_eq!((change.ignore, change.build_all), (vec!["README.md".to_owned()], vec!["spec.yml".to_owned()]));
    let source = Source { change_ignore: Some("{\"BuildAl\": []}"), ..source };
    let errors = parse(&source).unwrap_err().to_string();
    insta::assert_snapshot!(errors, @r"
    error: `images/change_ignore.json` has unknown field `BuildAl`
      --> images/change_ignore.json:1:2
      help: a field with a similar name exists: `BuildAll`
    ");
}

#[test]
fn the_command_line_wins_over_the_image_over_the_plan_over_all() {
    let stack = read("current").unwrap();
    let (image, plan) = (stack.image("python-base").unwrap(), stack.plan("next").unwrap());
    let args = |command_line: &[(&str, &str)]| {
        let args = command_line.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        stack
            .build_args(image, plan, &args)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(args(&[]), ["A=c", "MIRROR=none", "R_VERSION=4.5"]);
    assert_eq!(args(&[("A", "d"), ("R_VERSION", "5")]), ["A=d", "MIRROR=none", "R_VERSION=5"]);
}

#[test]
fn the_disk_is_read() {
    let root = tempfile::tempdir().unwrap();
    let images = root.path().join("images");
    std::fs::create_dir_all(images.join("base/cuda")).unwrap();
    std::fs::write(images.join("base/Dockerfile.j2"), "FROM scratch\n").unwrap();
    std::fs::write(images.join("spec.yml"), "version: 1\nimages: {base: {image_name: lab/base}}\n").unwrap();
    let spec = crate::model::RepoPath::from_root("images/spec.yml").unwrap();
    let stack = load(root.path(), &spec).unwrap();
    assert_eq!(stack.images[0].dir.lossy(), "images/base");
    assert_eq!(stack.warnings, []);
    let absent = crate::model::RepoPath::from_root("spec.yml").unwrap();
    let error = load(root.path(), &absent).unwrap_err().to_string();
    assert!(error.starts_with("error: the spec `spec.yml` does not exist"), "{error}");
}

#[test]
fn a_folder_without_a_spec_is_read_from_its_dockerfiles() {
    let root = tempfile::tempdir().unwrap();
    let write = |folder: &str, text: &str| {
        let dir = root.path().join("images").join(folder);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("Dockerfile"), text).unwrap();
    };
    let from = |base: &str| {
        format!("ARG REGISTRY=h.example.org\nARG OWNER=lab\nARG BASE_IMAGE=$REGISTRY/$OWNER/{base}\nFROM $BASE_IMAGE\n")
    };
    write("leaf", &from("mid"));
    write("leaf/cuda12", &from("mid"));
    write("foundation", "ARG ROOT_IMAGE=ubuntu:24.04\nFROM $ROOT_IMAGE\n");
    write("mid", &from("foundation"));
    let dir = crate::model::RepoPath::from_root("images").unwrap();
    let stack = load(root.path(), &dir).unwrap();
    let shown: Vec<String> =
        stack.images.iter().map(|image| format!("{} {} {:?}", image.key, image.image_name, image.variant)).collect();
    assert_eq!(
        shown,
        [
            "foundation h.example.org/lab/foundation None",
            "leaf h.example.org/lab/leaf None",
            "leaf-cuda12 h.example.org/lab/leaf Some(\"cuda12\")",
            "mid h.example.org/lab/mid None",
        ]
    );
    write("mid", "FROM\n");
    let error = load(root.path(), &dir).unwrap_err().to_string();
    assert!(error.contains("images/mid/Dockerfile:1"), "{error}");
    let empty = crate::model::RepoPath::from_root("images/mid").unwrap();
    let error = load(root.path(), &empty).unwrap_err().to_string();
    assert!(error.starts_with("error: no folder in `images/mid` holds a Dockerfile"), "{error}");
}

/// The stack without what only the file it came from can have: places and warnings.
fn without_places(mut stack: Stack) -> String {
    stack.warnings.clear();
    stack.form = crate::stack::Form::Current;
    for image in &mut stack.images {
        // What the older forms named in vain is left out of the new one.
        let known: Vec<String> = stack.info_cmds.iter().map(|cmd| cmd.name.clone()).collect();
        image.info_cmds.retain(|name| known.contains(name));
    }
    let text = format!("{stack:?}");
    regex_lite::Regex::new(r"Place \{[^}]*\}").unwrap().replace_all(&text, "_").into_owned()
}

#[test]
fn the_current_form_of_every_sample_reads_as_the_same_stack() {
    let names =
        "current one-plan no-plan generation-tag generation-plans older-tags-list older-tags-map trap-contained-names";
    for name in names.split(' ') {
        let text = std::fs::read_to_string(data().join(format!("{name}.yml"))).unwrap();
        let stack = read(name).unwrap();
        let written = to_current_form(&stack);
        let source =
            Source { file: "images/spec.yml", text: &written, folders: sample_folders(&text), change_ignore: None };
        let again = parse(&source).unwrap_or_else(|errors| panic!("{name}:\n{written}\n{errors}"));
        assert_eq!(without_places(again.clone()), without_places(stack), "{name}:\n{written}");
        assert_eq!(again.warnings, [], "{name}:\n{written}");
        assert_eq!(to_current_form(&again), written, "{name}");
    }
}

#[test]
fn the_current_form_looks_like_this() {
    insta::assert_snapshot!(to_current_form(&read("older-tags-map").unwrap()), @r"
    version: 1
    plans:
      PYTHON38:
        tag_prefix: '2021.2'
    images:
      base:
        image_name: lab/base
    all_info_cmds:
      OS:
        description: OS Name
        command: uname -o
    change_policy:
      mode: last_commit
      build_all:
      - tests_common
      - spec.yml
      - change_ignore.json
      - conftest.py
      - scripts/**
      - model/**
      - dodo.py
      - .github/workflows/**
      full_rebuild_message: null
    ");
}
