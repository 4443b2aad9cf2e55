//! Completion in real shells: what Tab makes of a begun line. Knows the program only as a shell does.

use std::process::{Command, Output};

use crate::space::Space;

const TASKS: &str = "version: 1
stack: images/spec.yml
vars: { region: north }
hosts: { zeus: { ssh: me@zeus, root: /srv/stack } }
tasks:
  build: { for_each: image, actions: [\"echo {{ image.name }}\"] }
  deploy:
    doc: \"Put it there: now\"
    params:
      - { name: level, type: enum, choices: [high, low], default: low, help: How far }
      - { name: from_file, type: path }
      - { name: dry, type: bool, inverse: wet }
    actions: [\"true\"]
  push:
    for_each: image
    params: [{ name: only, long: image, member: true }]
    actions: [\"true\"]
  lint-shell: { actions: [\"true\"] }
  _hidden-one: { actions: [\"true\"] }
";

fn project() -> Space {
    let space = Space::new();
    space.write("tasks.yaml", TASKS);
    space.write("images/spec.yml", "version: 1\nimages:\n  bottom: { image_name: lab/bottom }\n");
    space.write("images/bottom/Dockerfile", "FROM scratch\n");
    space.write("settings.toml", "");
    space
}

fn script(shell: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["completions", shell]).output().expect("the program");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

/// Lines as typed, and what they must become. Cutting at `:` and `=` is where shells differ.
const CASES: &[(&str, &str)] = &[
    ("cargo xtask lint-sh", "cargo xtask lint-shell "),
    ("cargo xtask expl", "cargo xtask explain "),
    ("cargo xtask build:bo", "cargo xtask build:bottom "),
    ("cargo xtask build:", "cargo xtask build:bottom "),
    ("cargo xtask deploy --lev", "cargo xtask deploy --level "),
    ("cargo xtask deploy --level h", "cargo xtask deploy --level high "),
    ("cargo xtask deploy --level=h", "cargo xtask deploy --level=high "),
    ("cargo xtask deploy --from-file sett", "cargo xtask deploy --from-file settings.toml "),
    ("cargo xtask deploy --we", "cargo xtask deploy --wet "),
    ("cargo xtask push --image bo", "cargo xtask push --image bottom "),
    ("cargo xtask -n 2 build lint-sh", "cargo xtask -n 2 build lint-shell "),
    ("cargo xtask run --reporter js", "cargo xtask run --reporter json "),
    ("cargo xtask explain build:bo", "cargo xtask explain build:bottom "),
    ("cargo xtask _hi", "cargo xtask _hidden-one "),
    ("xtask forget lint-sh", "xtask forget lint-shell "),
];

fn press_tab(space: &Space, shell: &[&str], setup: &str) {
    let output: Output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/project/press_tab.py"))
        .args([serde_json::to_string(shell).expect("JSON"), setup.to_owned()])
        .arg(serde_json::to_string(CASES).expect("JSON"))
        .current_dir(space.root())
        .env_remove("XTASK_FILE")
        .env("HOME", space.root())
        .output()
        .expect("python3 is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn bash_completes_commands_tasks_params_and_choices() {
    let space = project();
    space.write(".setup", &script("bash"));
    press_tab(&space, &["bash", "--norc", "--noprofile", "-i"], "source ./.setup");
}

#[test]
fn zsh_completes_commands_tasks_params_and_choices() {
    let space = project();
    space.write(".setup", &script("zsh"));
    press_tab(&space, &["zsh", "-f", "-i"], "autoload -U compinit; compinit -D -u; source ./.setup");
}

#[test]
fn fish_completes_commands_tasks_params_and_choices() {
    let space = project();
    space.write(".setup", &script("fish"));
    for (typed, wanted) in CASES {
        let wanted = wanted.trim_end().rsplit(' ').next().expect("a word");
        let output = Command::new("fish")
            .args(["--no-config", "-c", &format!("source .setup; complete -C '{typed}'")])
            .current_dir(space.root())
            .env("HOME", space.root())
            .env_remove("XTASK_FILE")
            .output()
            .expect("fish is needed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = text.lines().any(|line| line.split('\t').next() == Some(wanted));
        assert!(found, "`{typed}` gave\n{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Elvish says on a terminal only what it would offer: cutting it down to what was typed is its own affair.
#[test]
fn elvish_completes_commands_tasks_params_and_choices() {
    let space = project();
    space.write(".setup", &script("elvish"));
    let mut asked = "eval (slurp < .setup)\n".to_owned();
    for (typed, _) in CASES {
        let words: Vec<String> = typed.split(' ').map(|word| format!("'{word}'")).collect();
        asked += &format!("$edit:completion:arg-completer[{}] {} | to-lines >> .said\n", words[0], words.join(" "));
        asked += "echo === >> .said\n";
    }
    space.write(".ask.elv", &(asked + "exit\n"));
    let output = Command::new("script")
        .args(["--quiet", "--command", "elvish -rc .ask.elv", "/dev/null"])
        .current_dir(space.root())
        .env("HOME", space.root())
        .env("TERM", "xterm")
        .env_remove("XTASK_FILE")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script is needed");
    let said = std::fs::read_to_string(space.path(".said")).unwrap_or_default();
    let answers: Vec<&str> = said.split("===\n").collect();
    assert_eq!(answers.len(), CASES.len() + 1, "{said}{}", String::from_utf8_lossy(&output.stdout));
    for ((typed, wanted), answer) in CASES.iter().zip(answers) {
        // A value that is joined to its option, and a path, are completed as they stand.
        let wanted = wanted.trim_end().rsplit(' ').next().expect("a word");
        assert!(answer.lines().any(|line| line == wanted), "`{typed}` gave\n{answer}");
    }
}

/// PowerShell itself is in no package archive that a test could use. What can be shown without it: the script is of its
/// language, and what it asks, by the words that it would make of a line, is answered as in the other shells. That the
/// shell then does with the answer what it should is not shown here.
#[test]
fn the_script_for_powershell_is_of_its_language_and_calls_nothing_unknown() {
    let text = script("powershell");
    let mut parser = tree_sitter::Parser::new();
    parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).expect("the grammar");
    let tree = parser.parse(&text, None).expect("a tree");
    assert!(!tree.root_node().has_error(), "{}", tree.root_node().to_sexp());
    let broken = parser.parse(text.replacen('{', "", 1), None).expect("a tree");
    assert!(broken.root_node().has_error(), "the grammar accepts anything");
    let mut open = vec![tree.root_node()];
    let mut called = std::collections::BTreeSet::new();
    let mut set = std::collections::BTreeSet::new();
    while let Some(node) = open.pop() {
        let said = &text[node.byte_range()];
        match node.kind() {
            "command_name" => drop(called.insert(said.to_owned())),
            "variable" if said.starts_with("$env:") => drop(set.insert(said.to_owned())),
            _ => {}
        }
        open.extend((0..node.child_count()).filter_map(|at| node.child(u32::try_from(at).expect("few"))));
    }
    let known = ["ForEach-Object", "Register-ArgumentCompleter", "Select-Object", "Where-Object"];
    assert!(known.iter().all(|name| called.contains(*name)), "{called:?}");
    let program = env!("CARGO_BIN_EXE_xtask");
    let unknown: Vec<&String> =
        called.iter().filter(|name| !known.contains(&name.as_str()) && !name.contains(program)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(set.into_iter().collect::<Vec<_>>(), ["$env:XTASK_COMPLETE", "$env:XTASK_COMPLETE_WORDS"]);
}

#[test]
fn what_powershell_asks_is_answered_with_and_without_empty_words() {
    let space = project();
    for (typed, wanted) in
        CASES.iter().chain(&[("cargo xtask explain ", "build:bottom"), ("xtask deploy --level ", "low")])
    {
        let words: Vec<&str> = typed.trim_start_matches("cargo ").split(' ').collect();
        // Before 7.3 the shell drops an empty argument, and only the number tells of it.
        let given: &[&str] = words.strip_suffix(&[""]).unwrap_or(&words);
        for given in [given, &words] {
            let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
                .arg("--")
                .args(given)
                .current_dir(space.root())
                .env("XTASK_COMPLETE", "powershell")
                .env("XTASK_COMPLETE_WORDS", words.len().to_string())
                .env_remove("XTASK_FILE")
                .output()
                .expect("the program");
            let text = String::from_utf8(output.stdout).expect("text");
            let wanted = wanted.trim_end().rsplit(' ').next().expect("a word");
            assert!(text.lines().any(|line| line.split('\t').next() == Some(wanted)), "`{typed}` gave\n{text}");
        }
    }
}

/// What the program answers to a script.
fn answer(space: &Space, shell: &str, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["--", "xtask"])
        .args(words)
        .current_dir(space.root())
        .env("XTASK_COMPLETE", shell)
        .env_remove("XTASK_FILE")
        .output()
        .expect("the program");
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_shell_gets_its_form_of_the_answer() {
    let space = project();
    assert_eq!(answer(&space, "powershell", &["depl"]), "deploy\tPut it there: now\n");
    assert_eq!(answer(&space, "elvish", &["depl"]), "deploy\n");
    assert_eq!(answer(&space, "zsh", &["depl"]), "deploy:Put it there: now\n");
    assert_eq!(answer(&space, "zsh", &["build:bo"]), "build\\:bottom\n");
    assert_eq!(answer(&space, "bash", &["lint-shell", "regi"]), "region=\n");
    assert!(!answer(&space, "bash", &[""]).contains("_hidden-one"));
    assert!(answer(&space, "bash", &["deploy", "--"]).contains("--from-file\n"));
    // A file that cannot be read gives no tasks, and no noise.
    space.write("tasks.yaml", "version: [\n");
    assert_eq!(answer(&space, "bash", &["expl"]), "explain\n");
    assert!(!space.path(".xtask").exists(), "completion wrote something");
}

#[test]
fn a_slip_of_the_finger_is_answered_with_what_was_meant() {
    let space = project();
    for (words, wanted) in [
        (&["explian", "deploy"][..], "a command with a similar name exists: `explain`"),
        (&["lint-shel"], "a task with a similar name exists: `lint-shell`"),
        (&["deploy", "--levl", "low"], "an option with a similar name exists: `--level`"),
        (&["deploy", "--alwys"], "a run has an option with a similar name: `--always`"),
        (&["deploy", "--level", "hihg"], "`high`"),
        (&["deploy", "--reporter", "jsno"], "a reporter with a similar name exists: `json`"),
        (&["regon=south"], "`region`"),
        (
            &["list", "--statsu"],
            "`cargo xtask list` has no option `--statsu`\n  help: an option with a similar name exists: `--status`",
        ),
        (&["graph", "--format", "htlm"], "exists: `html`\n  help: see the options: cargo xtask graph --help"),
        (
            &["spec", "chek"],
            "`cargo xtask spec` has no command `chek`\n  help: a command with a similar name exists: `check`",
        ),
        (&["run", "--conitnue", "deploy"], "a run has an option with a similar name: `--continue`"),
        (&["deploy", "--host", "zues"], "a host with a similar name exists: `zeus`"),
        (&["schema", "taks"], "`of` is `taks`, expected one of `tasks`, `spec` and `reference`"),
        (&["history", "--compare", "a", "b"], "option `--compare` is `a`, expected a number"),
        (&["sync", "--to", "x"], "`cargo xtask sync` needs"),
    ] {
        let ran = space.command(words, "");
        assert!(ran.exit == 3 && ran.err.contains(wanted), "{words:?} ({}): {}", ran.exit, ran.err);
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let space = Space::new();
    let ran = space.command(&["man", "pages"], "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    for (name, wanted) in
        [("cargo-xtask.1", "explain"), ("cargo-xtask-run.1", "what"), ("cargo-xtask-explain.1", "json")]
    {
        let page = std::fs::read_to_string(space.path("pages").join(name)).expect(name);
        assert!(page.contains(".TH") && page.contains(wanted), "{name}:\n{page}");
    }
}
