//! What texts of tasks expand to. The payloads are handed to a real shell.

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use super::*;

fn shell(template: &str, scope: &serde_json::Value) -> String {
    expand_text(template, scope, Quote::Shell).unwrap_or_else(|error| panic!("{template}: {error}"))
}

#[test]
fn values_in_a_shell_text_are_quoted_where_they_stand() {
    let scope =
        json!({"x": "a b", "q": "it's", "list": ["a b", "c", ""], "n": 3, "d": "$HOME `x` \"q\" \\", "flag": true});
    let cases = [
        ("echo {{ x }}", "echo 'a b'"),
        ("echo {{ q }}", r"echo 'it'\''s'"),
        ("cp {{ list }} dir", "cp 'a b' c '' dir"),
        ("n={{ n }} {{ flag }}", "n=3 true"),
        ("echo \"{{ d }}\"", r#"echo "\$HOME \`x\` \"q\" \\""#),
        ("echo '{{ q }}'", r"echo 'it'\''s'"),
        ("echo $(cat {{ x }})", "echo $(cat 'a b')"),
        ("echo \"$(cat {{ x }}) {{ x }}\"", "echo \"$(cat 'a b') a b\""),
        ("echo # it's {{ x }}", "echo # it's a b"),
        ("echo a#b {{ x }}", "echo a#b 'a b'"),
        ("cat <<E; echo {{ x }}\nit's\nE\necho {{ x }}", "cat <<E; echo 'a b'\nit's\nE\necho 'a b'"),
        ("cat <<<{{ x }}", "cat <<<'a b'"),
        ("echo $(( {{ n }} + 1 )) {{ x }}", "echo $(( 3 + 1 )) 'a b'"),
        ("echo `date` {{ x }}", "echo `date` 'a b'"),
        ("case a in (a) echo {{ x }};; b) echo {{ x }};; esac", "case a in (a) echo 'a b';; b) echo 'a b';; esac"),
        ("echo {{ x | raw }}", "echo a b"),
        ("echo {{ list | raw }}", "echo a b c "),
        ("echo {{ list | join(',') }}", "echo 'a b,c,'"),
        ("{% for i in list %}echo {{ i }};{% endfor %}", "echo 'a b';echo c;echo '';"),
        ("{% set y %}{{ x }}{% endset %}echo {{ y }}", "echo 'a b'"),
        ("echo {{ nope | default('z') }}", "echo z"),
        ("echo {{ x | quote }}", "echo 'a b'"),
        ("echo {{ '/a/b.tar.gz' | basename }} {{ '/a/b' | dirname }}", "echo b.tar.gz /a"),
        ("no template", "no template"),
    ];
    for (template, wanted) in cases {
        assert_eq!(shell(template, &scope), wanted, "{template}");
    }
}

#[test]
fn constants_set_in_front_are_quoted_where_they_stand() {
    let text = r#"{% set vars = { "x": "a $(b)", "none": none } %}echo "{{ vars.x }}" {{ vars.x }} {{ p }}"#;
    assert_eq!(shell(text, &json!({"p": "c d"})), r#"echo "a \$(b)" 'a $(b)' 'c d'"#);
    assert_eq!(shell(r#"{{ "echo '{{ x }}'" | raw }}"#, &json!({})), "echo '{{ x }}'");
    let paths: Vec<String> =
        paths_used("{{ vars.x ~ p }} {% for f in list %}{{ f }}{{ range(3) }}{% endfor %}").into_iter().collect();
    assert_eq!(paths, ["list", "p", "vars.x"]);
}

#[test]
fn places_where_quoting_cannot_help_are_refused() {
    let scope = json!({"x": "a b", "map": {"a": 1}, "none": null, "nul": "a\0b"});
    for template in [
        "echo `cat {{ x }}`",
        "cat <<E\n{{ x }}\nE\n",
        "cat <<{{ x }}\n",
        "echo $'{{ x }}'",
        "echo $(( {{ x }} ))",
        "echo \\{{ x }}",
        "echo {{ map }}",
        "echo {{ none }}",
        "echo {{ nul }}",
        "echo {{ missing }}",
        "echo {{ x",
        "{% set y %}{{ x }}{% endset %}{{ y | upper | replace('0', '7') }}",
    ] {
        assert!(expand_text(template, &scope, Quote::Shell).is_err(), "{template}");
    }
}

#[test]
fn no_value_injects_into_a_real_shell() {
    let dir = tempfile::tempdir().unwrap();
    let canary = dir.path().join("canary");
    let touch = format!("touch {}", canary.display());
    let mut payloads: Vec<String> = Vec::new();
    for open in [
        "", "'", "\"", "\\", "\\'", "\\\"", "a'b\"", "$'", "'\"'\"'", "}", ")", "))", "\n", "#\n", "E\n", "*/", "]]",
        ";;",
    ] {
        for middle in [
            format!("; {touch} ;"),
            format!("$({touch})"),
            format!("`{touch}`"),
            format!("| {touch} |"),
            format!("&& {touch} &&"),
            format!("\n{touch}\n"),
            format!("& {touch} &"),
            format!("${{x:-$({touch})}}"),
        ] {
            for close in ["", "'", "\"", "#", "\\"] {
                payloads.push(format!("{open}{middle}{close}"));
            }
        }
    }
    assert!(payloads.len() > 500);
    let templates = [
        "printf '%s\\n' {{ x }}",
        "printf '%s\\n' \"{{ x }}\"",
        "printf '%s\\n' '{{ x }}'",
        "printf '%s\\n' \"$(printf '%s' {{ x }}x)\" | sed '$ s/x$//'",
        "printf '%s\\n' {{ x }} # {{ x }}",
        "(y={{ x }}; printf '%s\\n' \"$y\")",
    ];
    for template in templates {
        // One shell for many payloads, with a line between them that no payload has.
        for chunk in payloads.chunks(120) {
            let script: Vec<String> = chunk.iter().map(|text| shell(template, &json!({"x": text}))).collect();
            let out = Command::new("sh").arg("-c").arg(script.join("\necho =====\n")).output().unwrap();
            let out = String::from_utf8_lossy(&out.stdout).into_owned();
            let wanted: Vec<String> = chunk.iter().map(|text| format!("{text}\n")).collect();
            assert_eq!(out, wanted.join("=====\n"), "{template}");
            assert!(!canary.exists(), "{template}");
        }
    }
}

#[test]
fn plain_texts_take_values_as_they_are() {
    let scope = json!({"x": "a b", "list": [1, 2]});
    assert_eq!(expand_text("[{{ x }}]", &scope, Quote::Plain).unwrap(), "[a b]");
    assert_eq!(expand_text("{{ list | json }}", &scope, Quote::Plain).unwrap(), "[1,2]");
    assert!(expand_text("{{ list }}", &scope, Quote::Plain).is_err());
}

#[test]
fn a_list_is_many_words_of_an_argv() {
    let scope = json!({"x": "a b", "list": ["a b", "c"], "empty": []});
    let words = |template: &str| expand_words(template, &scope).unwrap();
    assert_eq!(words("{{ list }}"), ["a b", "c"]);
    assert_eq!(words("{{- list -}}"), ["a b", "c"]);
    assert_eq!(words("{{ empty }}"), Vec::<String>::new());
    assert_eq!(words("{{ x }}"), ["a b"]);
    assert_eq!(words("-o{{ x }}"), ["-oa b"]);
    assert_eq!(words("{{ x }}-{{ x }}"), ["a b-a b"]);
    assert_eq!(words("{{ list | sort | join(':') }}"), ["a b:c"]);
    assert!(expand_words("-{{ list }}", &scope).is_err());
}

#[test]
fn errors_name_what_is_missing() {
    let error = expand_text("echo {{ imgae.name }}", &json!({"image": {}}), Quote::Shell).unwrap_err();
    assert_eq!(error.message, "uses `imgae.name`, which is not defined");
    assert_eq!((error.undefined.as_deref(), error.offset), (Some("imgae"), Some(8)));
    assert_eq!(error.help.as_deref(), Some("a name with a similar name exists: `image`"));
}

#[test]
fn names_are_found_without_running() {
    let names = |template: &str| names_used(template).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(names("{{ a.b }} {% for i in c %}{{ i }}{{ range(d) }}{% endfor %}"), "a c d");
    assert_eq!(names("plain"), "");
    assert_eq!(check_syntax("{{ a }}"), Ok(()));
    assert!(check_syntax("{{ a").is_err());
}

#[test]
fn ten_thousand_texts_are_quick() {
    let files: Vec<String> = (0..1000).map(|n| format!("file-{n}")).collect();
    let scope = json!({"file_dep": files, "name": "x", "image": {"name": "y"}});
    let start = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(expand_text("build {{ image.name }}", &scope, Quote::Shell).unwrap(), "build y");
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 5.0, "10 000 texts took {seconds} s");
}
