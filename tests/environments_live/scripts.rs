//! What a script is given and gives: every byte of it, its words, variables and streams.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::lab::{Lab, docker};

#[test]
fn every_byte_of_a_script_arrives() {
    let lab = Lab::new("bytes");
    // Quotes, newlines, NUL, no UTF-8, and more than fits into a command line.
    let mut tail: Vec<u8> = (0..=255_u8).cycle().take(3 << 20).collect();
    tail.extend_from_slice(b"'\"`$(exit 9)\\ \r\n%s \xff\x00 end");
    let mut script = b"#!/bin/sh\ntail -n +3 \"$0\" | sha256sum; exit 0\n".to_vec();
    script.extend_from_slice(&tail);
    lab.write("script with a space'.sh", &script);
    let said = lab.run(&["script with a space'.sh"]).fine();
    let digest = xtask::model::Digest::of(&tail).hex();
    assert_eq!(said.text().split_whitespace().next(), Some(&*digest));
}

#[test]
fn words_reach_the_script_as_they_are_written() {
    let lab = Lab::new("words");
    let awkward = ["a b", "'", "\"", "$(touch /tmp/evil)", "`id`", "", "-n", "é\n\t", "*"];
    let text = "for word; do printf '%s\\0' \"$word\"; done";
    let said = lab.run(&[&["-c", text, "--"], &awkward[..]].concat()).fine();
    let got: Vec<&[u8]> = said.out.split(|byte| *byte == 0).collect();
    let wanted: Vec<&[u8]> = awkward.iter().map(|word| word.as_bytes()).chain([&b""[..]]).collect();
    assert_eq!(got, wanted);
    let command = lab.run(&["--", "printf", "%s|", "a b", "$HOME"]).fine();
    assert_eq!(command.text(), "a b|$HOME|");
}

#[test]
fn streams_are_apart_and_the_exit_code_is_the_script_s() {
    let lab = Lab::new("streams");
    let said = lab.run(&["-c", "printf out; printf err >&2; exit 7"]);
    assert_eq!((said.code, said.text().as_str()), (7, "out"));
    assert!(said.err.contains("err"), "{}", said.err);
    assert!(said.err.contains("error: script `command` ended with exit code 7"), "{}", said.err);
    let quiet = lab.run(&["--quiet", "-c", "printf err >&2; exit 7"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (7, "err"));
    let inaccurate = lab.run(&["-c", "exit 2"]);
    assert_eq!(inaccurate.code, 2);
    assert!(inaccurate.err.contains("warning: script `command` ended with exit code 2: its result is inaccurate"));
    let binary = lab.run(&["-c", "head -c 300000 /dev/zero; printf '\\377\\0\\n'"]).fine();
    assert_eq!((binary.out.len(), &binary.out[300_000..]), (300_003, &b"\xff\0\n"[..]));
    assert_eq!(lab.run(&["-c", "cat"]).fine().text(), "", "there is no input");
}

#[test]
fn s10_the_script_sees_the_image_s_variables_and_what_is_declared() {
    let mut lab = Lab::new("variables");
    lab.env.insert("FROM_HERE".into(), "taken".into());
    lab.env.insert("NOT_DECLARED".into(), "hidden".into());
    let said = lab.run(&["--env", "A=b=c d", "-e", "FROM_HERE", "-c", "env"]).fine();
    let mut names: Vec<String> =
        said.text().lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
    names.sort();
    // The shell sets the last three.
    let mut wanted =
        ["A", "FROM_HERE", "HOME", "HOSTNAME", "PATH", "RUN_ID", "RUN_RESULT_DIR", "XTASK_EXEC", "PWD", "SHLVL"];
    wanted.sort_unstable();
    names.retain(|name| name != "OLDPWD" && name != "_");
    assert_eq!(names, wanted);
    assert!(said.text().contains("\nA=b=c d\n") && said.text().contains("FROM_HERE=taken"), "{}", said.text());
}

#[test]
fn s6_a_secret_is_used_and_nowhere_seen() {
    let mut lab = Lab::new("secrets");
    let canary = format!("canary-{}-{}", std::process::id(), "51a7c0ffee");
    lab.env.insert("TOKEN".into(), canary.clone());
    let text = "printf %s \"$TOKEN\" | sha256sum; echo \"it is $TOKEN\"; echo \"$TOKEN\" >&2; sleep 1; exit 3";
    let said = lab.run(&["--secret", "TOKEN", "-c", text]);
    assert_eq!(said.code, 3);
    let digest = xtask::model::Digest::of(canary.as_bytes()).hex();
    assert!(said.text().starts_with(&digest) && said.text().contains("it is ***"), "{}", said.text());
    assert!(!said.text().contains(&canary) && !said.err.contains(&canary), "{}{}", said.text(), said.err);
    let found = Command::new("grep").args(["-rl", &canary]).arg(lab.root()).output().expect("grep");
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
    let kept = lab.kept();
    let id = kept[0]["id"].as_str().expect("a container");
    assert!(!docker(&["inspect", id]).contains(&canary));
    let short = lab.run(&["--secret", "SHORT", "-c", "true"]);
    assert_eq!(short.code, 3, "{}", short.err);
    lab.env.insert("SHORT".into(), "1234567".into());
    let short = lab.run(&["--secret", "SHORT", "-c", "true"]);
    assert!(short.code == 3 && short.err.contains("too short to be hidden"), "{}", short.err);
    let value = lab.run(&["--secret", &format!("TOKEN={canary}"), "-c", "true"]);
    assert!(value.code == 3 && !value.err.contains(&canary), "{}", value.err);
}

#[test]
fn everything_wrong_with_the_words_is_told_before_anything_is_built() {
    let lab = Lab::new("usage");
    let said = lab.run(&[
        "missing.py",
        "--memory",
        "64x",
        "--cpus",
        "many",
        "--timeout",
        "soon",
        "--mount",
        "nowhere:/data",
        "--env",
        "1=2",
        "--upload",
        "nothing",
        "--download",
        "x",
        "--user",
        "me",
        "--workdir",
        "here",
    ]);
    assert_eq!(said.code, 3);
    for wanted in [
        "`--memory`",
        "`--cpus`",
        "`--timeout`",
        "`--mount`",
        "`--env`",
        "`--upload`",
        "`--download`",
        "`--user`",
        "`--workdir`",
        "script `missing.py` cannot be read",
    ] {
        assert!(said.err.contains(wanted), "{wanted}\n--\n{}", said.err);
    }
    assert_eq!(docker(&["images", "--quiet", "--filter", &format!("label=dev.xtask.environment={}", lab.name())]), "");
    let nothing = lab.run(&[]);
    assert!(nothing.code == 3 && nothing.err.contains("has nothing to run"), "{}", nothing.err);
    let much = lab.run(&["--memory", "900t", "-c", "true"]);
    assert!(much.code == 125 && much.err.contains("but the engine's machine has"), "{}", much.err);
    let unknown = lab.say(&["env", "run", "no_environment", "-c", "true"]);
    assert!(unknown.code == 3 && unknown.err.contains("environment `no_environment` does not exist"));
}

#[test]
fn a_python_script_runs_with_the_python_of_the_image() {
    let lab = Lab::new("python");
    // A stand-in shows what it is given; `python.rs` has a real one.
    let name = lab.name();
    let file = format!("environments/{name}/Dockerfile_{name}");
    let text = std::fs::read_to_string(lab.path(&file)).expect("a Dockerfile");
    let python = "RUN printf '#!/bin/sh\\necho python \"$@\"; cat \"$1\"' > /bin/python && chmod +x /bin/python\n";
    lab.write(&file, format!("{text}{python}"));
    lab.write("a.py", "print('''x''')\n");
    let said = lab.run(&["a.py", "--", "--year", "2026"]).fine();
    let lines: Vec<String> = said.text().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("python /xtask/runs/") && lines[0].ends_with("/script/a.py --year 2026"), "{lines:?}");
    assert_eq!(lines[1], "print('''x''')");
    let inline = lab.run(&["--language", "python", "-c", "print(1)"]).fine();
    assert!(inline.text().ends_with("print(1)"), "{}", inline.text());
}

#[test]
fn the_program_s_own_input_is_left_alone() {
    let lab = Lab::new("input");
    let mut command = lab.command(&["env", "run", &lab.name(), "-c", "cat; echo done"]);
    command.arg0("xtask").stdin(std::process::Stdio::piped());
    let child = command.stdout(std::process::Stdio::piped()).spawn().expect("the program");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
}
