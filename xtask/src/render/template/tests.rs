//! What templates render to, and what they refuse. Knows nothing of the engine behind them.

use std::fs;
use std::time::Instant;

use serde_json::json;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn render(&self, values: &serde_json::Value) -> Result<Rendered, Diagnostic> {
        render(self.0.path(), Path::new("images/a/Dockerfile.j2"), &[PathBuf::from("images")], values)
    }
}

fn one(template: &str, values: &serde_json::Value) -> Result<String, String> {
    let folder = Folder::new(&[("images/a/Dockerfile.j2", template)]);
    folder.render(values).map(|rendered| rendered.text).map_err(|error| error.to_string())
}

const MACROS: &str = "{% macro apt(packages) -%}\nRUN apt-get install \\\n{% for package in packages | sort %}\n    {{ package \
                      }} \\\n{% endfor %}\n    && true\n{%- endmacro %}\n";

#[test]
fn macros_of_another_file_are_found_and_named_as_inputs() {
    let folder = Folder::new(&[
        ("images/macros.j2", MACROS),
        (
            "images/a/Dockerfile.j2",
            "{% import \"macros.j2\" as m %}\n{# a comment #}\nFROM {{ base }}\n\n\n{{ m.apt([\"b\", \"a\"]) }}  \n\n",
        ),
    ]);
    let rendered = folder.render(&json!({"base": "debian:12"})).unwrap();
    assert_eq!(rendered.text, "FROM debian:12\n\nRUN apt-get install \\\n    a \\\n    b \\\n    && true\n");
    assert_eq!(rendered.files_read, [PathBuf::from("images/a/Dockerfile.j2"), PathBuf::from("images/macros.j2")]);
}

#[test]
fn comments_and_spacing_of_a_template_change_nothing() {
    let plain = one("FROM a\nRUN b\n", &json!({})).unwrap();
    for other in [
        "{# x #}\nFROM a\nRUN b\n",
        "FROM a\n{# x\n y #}\nRUN b",
        "\n\nFROM a{# x #}  \nRUN b\n\n\n",
        "{%- set x = 1 %}\nFROM a\n{% if x %}\nRUN b\n{% endif %}\n",
    ] {
        assert_eq!(one(other, &json!({})).unwrap(), plain, "{other:?}");
    }
    assert_eq!(one("FROM a\nRUN <<E\nx \n\n\ny\nE\n", &json!({})).unwrap(), "FROM a\nRUN <<E\nx \n\n\ny\nE\n");
}

#[test]
fn values_stay_within_their_instruction() {
    let template = "FROM a\nLABEL x={{ x }}\nRUN true\n";
    for bad in ["a\nRUN evil", "a\rb", "a\u{1b}[0m", "a\\", "a\\  ", "a`", "<<EOF", "a\0"] {
        let error = one(template, &json!({"x": bad})).unwrap_err();
        assert!(error.contains("Dockerfile.j2:2:12"), "{bad:?} {error}");
    }
    for good in ["a b", "$X", "\"q\"", "# x", "a\tb", "é"] {
        assert_eq!(one(template, &json!({"x": good})).unwrap(), format!("FROM a\nLABEL x={good}\nRUN true\n"));
    }
    assert!(one("FROM a\n{{ x | raw }}\n", &json!({"x": "RUN a\nRUN b"})).unwrap().contains("RUN b"));
    assert!(one("FROM a\n{{ x | lines }}\n", &json!({"x": ["RUN a", "RUN b"]})).unwrap().contains("RUN b"));
    assert!(one("FROM a\n{{ x | lines }}\n", &json!({"x": ["RUN a\nb"]})).is_err());
    assert!(one("FROM a\n{{ x }}\n", &json!({"x": ["b"]})).unwrap_err().contains("writes a list"));
    assert!(one("FROM a\n{{ x | replace('b', 'c\n') }}\n", &json!({"x": "b"})).is_err());
}

#[test]
fn an_undefined_name_is_told_with_its_place() {
    let folder = Folder::new(&[
        ("images/macros.j2", "{% macro f() %}\nRUN {{ vresion }}\n{% endmacro %}\n"),
        ("images/a/Dockerfile.j2", "{% from \"macros.j2\" import f with context %}\nFROM a\n  {{ f() }}\n"),
    ]);
    let error = folder.render(&json!({"version": 1, "name": 2})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: `images/a/Dockerfile.j2` uses `vresion`, which is not defined\n  --> \
         images/macros.j2:2:8\n  help: a name with a similar name exists: `version`"
    );
    let error = one("FROM {{ a.b.c }}", &json!({"a": {"b": {}}})).unwrap_err();
    assert!(error.contains("uses `a.b.c`, which is not defined\n  --> images/a/Dockerfile.j2:1:9"), "{error}");
}

#[test]
fn templates_outside_the_folders_are_not_read() {
    let folder = Folder::new(&[("secret.j2", "x"), ("images/a/Dockerfile.j2", "{% include '../../secret.j2' %}")]);
    let error = folder.render(&json!({})).unwrap_err().to_string();
    assert!(error.contains("leaves its folder"), "{error}");
    let folder = Folder::new(&[("secret.j2", "x"), ("images/a/Dockerfile.j2", "{% include 'link.j2' %}")]);
    std::os::unix::fs::symlink("../secret.j2", folder.0.path().join("images/link.j2")).unwrap();
    assert!(folder.render(&json!({})).unwrap_err().to_string().contains("link out of its folder"));
    let folder = Folder::new(&[("images/macros.j2", ""), ("images/a/Dockerfile.j2", "{% include 'macro.j2' %}")]);
    let error = folder.render(&json!({})).unwrap_err().to_string();
    assert!(error.contains("which is not in `images/a` or `images`; a template with a similar name"), "{error}");
}

#[test]
fn runaway_templates_end_within_a_second() {
    let cases = [
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'Dockerfile.j2' %}",
        "{% for a in range(9999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
         xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}",
        "FROM {{ 'x' * 999999999 }}",
        "{{ [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ];
    for template in cases {
        let start = Instant::now();
        assert!(one(template, &json!({})).is_err(), "{template}");
        assert!(start.elapsed().as_secs_f64() < 1.0, "{template} took {:?}", start.elapsed());
    }
}

#[test]
fn syntax_errors_have_a_place() {
    let error = one("FROM a\nRUN {{ x \n", &json!({})).unwrap_err();
    assert!(error.starts_with("error: `images/a/Dockerfile.j2` has a syntax error: "), "{error}");
    assert!(error.contains("--> images/a/Dockerfile.j2:"), "{error}");
    let error = one("FROM {{ x | nofilter }}", &json!({"x": 1})).unwrap_err();
    assert!(error.contains("nofilter") && error.contains("--> images/a/Dockerfile.j2:1"), "{error}");
}
