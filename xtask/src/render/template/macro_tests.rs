//! The macros that are shipped, and what they bring into a context. Knows nothing of builds.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;

/// A repository with one template and projects beside it.
fn repository(template: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files.iter().chain([&("images/a/Dockerfile.j2", template)]) {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn rendered(template: &str, files: &[(&str, &str)]) -> Rendered {
    let text = format!("{{% import \"xtask.j2\" as x %}}\nFROM a\n{template}\n");
    let dir = repository(&text, files);
    render(dir.path(), Path::new("images/a/Dockerfile.j2"), &[], &json!({})).unwrap()
}

fn error(template: &str, files: &[(&str, &str)]) -> String {
    let text = format!("{{% import \"xtask.j2\" as x %}}\nFROM a\n{template}\n");
    let dir = repository(&text, files);
    render(dir.path(), Path::new("images/a/Dockerfile.j2"), &[], &json!({})).unwrap_err().to_string()
}

/// The instructions, with a name for each thing that was brought.
fn instructions(rendered: &Rendered) -> Vec<String> {
    let mut text = rendered.text.clone();
    for one in &rendered.brought {
        let with = if one.exclude.is_empty() { String::new() } else { format!(" [{}]", one.exclude.join(" ")) };
        text = text.replace(&one.path(), &format!("<{}{with}>", one.from));
    }
    let lines = text.lines().filter(|line| !line.starts_with("# brought"));
    lines
        .filter(|line| !line.starts_with(' ') && !line.is_empty())
        .map(|line| line.trim_end_matches(" \\").to_owned())
        .collect()
}

#[test]
fn m01_blocks_of_packages_are_one_instruction_each() {
    let found = rendered("{{ x.apt([\"r-base\", \"curl=7.*\"]) }}\n{{ x.pip([\"numpy>=2\"]) }}", &[]);
    assert!(
        found.text.contains("install --yes --no-install-recommends \\\n        'curl=7.*' \\\n        r-base\n"),
        "{}",
        found.text
    );
    assert!(found.text.contains("install --quiet \\\n        'numpy>=2'\n"), "{}", found.text);
    assert_eq!(dockerfile_instructions(&found.text), 3);
}

fn dockerfile_instructions(text: &str) -> usize {
    instruction_count(text)
}

#[test]
fn m02_m03_a_folder_of_the_repository_is_brought_under_a_fixed_name() {
    let files = [("libs/one/a.txt", "1")];
    let found = rendered("{{ x.copy(\"libs/one\", \"/opt/one/\", exclude=[\"*.md\", \"!keep.md\"]) }}", &files);
    assert_eq!(instructions(&found)[1], "COPY <libs/one [*.md !keep.md]>/ /opt/one/");
    let again = rendered("{{ x.copy(\"./libs/one/\", \"/opt/one/\", exclude=[\"*.md\", \"!keep.md\"]) }}", &files);
    assert_eq!(found.brought, again.brought, "another spelling of the same");
    assert_eq!(super::brought::parse(&found.text), found.brought);
    let file = rendered("{{ x.copy(\"libs/one/a.txt\", \"/a\", chown=\"1:1\") }}", &files);
    assert_eq!(instructions(&file)[1], "COPY --chown=1:1 <libs/one/a.txt>/a.txt /a");
    assert!(error("{{ x.copy(\"../x\", \"/x\") }}", &[]).contains("`../x`, which lies outside the repository"));
    assert!(error("{{ x.copy(\"libs/two\", \"/x\") }}", &files).contains("`libs/two`, which is not there"));
}

#[test]
fn m11_scripts_and_entrypoints_arrive_line_by_line() {
    let found = rendered("{{ x.entrypoint([\"echo 'it''s' \\\"$HOME\\\"\"]) }}", &[]);
    let step = "RUN printf '%s\\n' \\\n        '#!/bin/sh' \\\n        'set -eu' \\\n";
    assert!(found.text.contains(step), "{}", found.text);
    assert!(
        found
            .text
            .contains("'exec \"$@\"' \\\n        > /usr/local/bin/entrypoint && chmod 755 /usr/local/bin/entrypoint\n")
    );
    assert!(found.text.ends_with("ENTRYPOINT [\"/usr/local/bin/entrypoint\"]\n"), "{}", found.text);
}

#[test]
fn m26_m27_an_edit_of_the_source_comes_after_the_locked_dependencies() {
    for (files, locked) in [
        (&[("p/pyproject.toml", "[project]\n"), ("p/uv.lock", "")][..], "!pyproject.toml !uv.lock"),
        (&[("p/requirements.txt", "six\n")][..], "!requirements.txt"),
        (&[("p/setup.py", "")][..], "!setup.py"),
        (
            &[("p/pyproject.toml", "[tool.rye]\n"), ("p/requirements.lock", "")][..],
            "!requirements.lock !pyproject.toml",
        ),
    ] {
        let found = rendered("{{ x.install(\"p\", \"/app\") }}", files);
        let lines = instructions(&found);
        assert_eq!(lines[1], format!("COPY <p [** {locked}]>/ /app/"));
        assert_eq!(lines[2], "WORKDIR /app");
        assert!(lines[3].starts_with("RUN --mount=type=cache"), "{lines:?}");
        assert!(lines[4].starts_with("COPY <p [**/.git **/.venv"), "{lines:?}");
        let locks: Vec<PathBuf> = files.iter().map(|(name, _)| PathBuf::from(name)).collect();
        assert!(locks.iter().all(|lock| found.files_read.contains(lock)), "{:?}", found.files_read);
    }
    let source = rendered("{{ x.install(\"p\", \"/app\", kind=\"source\", exclude=[\"big\"]) }}", &[("p/a.c", "")]);
    assert!(instructions(&source)[1].contains("big]>/ /app/"));
    let data = rendered("{{ x.install(\"p\", \"/data\", kind=\"resource\") }}", &[("p/a.bin", "")]);
    assert_eq!(instructions(&data)[1..], ["COPY <p>/ /data/"]);
}

#[test]
fn m22_a_mix_of_kinds_is_told_where_it_is_asked() {
    let text = error("{{ x.install(\"p\", \"/app\") }}", &[("p/setup.py", ""), ("p/requirements.txt", "")]);
    assert!(text.contains("installs `p`, which has `setup.py` and `requirements.txt`: say which one counts"), "{text}");
    assert!(text.contains("--> images/a/Dockerfile.j2:3:14"), "{text}");
}
