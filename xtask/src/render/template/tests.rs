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
fn values_at_the_start_of_a_line_make_and_unmake_no_instruction() {
    let template = "FROM a\nRUN b \\\n    {{ x }}\nRUN c\n";
    for bad in ["# x", ""] {
        let error = one(template, &json!({"x": bad})).unwrap_err();
        assert!(error.contains(&format!("writes the value `{bad}`, which changes the instructions")), "{error}");
    }
    assert!(one(template, &json!({"x": "&& d # x"})).is_ok());
    assert!(one("FROM a\n{{ x }}\nRUN c\n", &json!({"x": "# x"})).is_err());
    assert_eq!(one("FROM a\n{{ x | raw }}\nRUN c\n", &json!({"x": ""})).unwrap(), "FROM a\n\nRUN c\n");
    // A template that looks a value up by what it wrote is no error.
    let lookup = "{% set k %}{{ x }}{% endset %}FROM {{ m[k] }}\n";
    assert_eq!(one(lookup, &json!({"x": "a", "m": {"a": "b"}})).unwrap(), "FROM b\n");
}

#[test]
fn the_shipped_templates_render_and_are_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = ["debian-base", "python-base", "base-notebook", "datascience-notebook", "r-notebook"];
    let images: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({"image_name": format!("lab/{name}")}))).collect();
    let mut rendered = 0;
    for name in names {
        let template = PathBuf::from(format!("images/{name}/Dockerfile.j2"));
        if !root.join(&template).exists() {
            continue;
        }
        let got = render(&root, &template, &[PathBuf::from("images")], &json!({"images": images})).unwrap();
        assert!(got.files_read.contains(&PathBuf::from("images/macros.j2")), "{name}");
        let options = crate::render::dockerfile::BuildOptions::default();
        let file = crate::render::dockerfile::Dockerfile::read("Dockerfile", &got.text, &options).unwrap();
        assert!(file.uses_mount && !file.uses_heredoc, "{name}");
        rendered += 1;
    }
    assert!(rendered >= 4);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 400, failure_persistence: None, ..Default::default() })]

    /// Row S3: the template alone says how many instructions there are.
    #[test]
    fn s3_no_value_changes_the_number_of_instructions(
        a in "([#\\\\`\"'<>$A-C \n\r\t{}%]|EOF|<<|RUN ){0,6}",
        b in "\\PC{0,8}",
        list in proptest::collection::vec("[a-z# \\\\]{0,3}", 0..4),
        shape in proptest::collection::vec(0..7_usize, 1..6),
    ) {
        let pieces = [
            "RUN echo {{ a }}\n",
            "LABEL x=\"{{ b }}\" y={{ a }}\n",
            "ENV A={{ a }} \\\n    B={{ b }}\n",
            "RUN install \\\n{% for i in list %}\n    {{ i }} \\\n{% endfor %}\n    && true\n",
            "{% set t %}{{ a }}-{{ b }}{% endset %}WORKDIR /{{ t }}\n",
            "COPY {{ list | join(' ') }} {{ a }} /x/\n",
            "# {{ b }}\nCMD [\"{{ a }}\"]\n",
        ];
        let template: String = std::iter::once("FROM a\n").chain(shape.iter().map(|at| pieces[*at])).collect();
        if let Ok(text) = one(&template, &json!({"a": a, "b": b, "list": list})) {
            proptest::prop_assert_eq!(crate::render::dockerfile::instruction_count(&text), 1 + shape.len(), "{}", text);
        }
    }

    /// Whatever a template is, it ends with a text or an error.
    #[test]
    fn s3_no_template_panics(template in "(\\{\\{|\\}\\}|\\{%|%\\}| for x in a | endfor | if a | a |\\||raw|\\(|'|x|\n|\\PC){0,12}") {
        let _ = one(&template, &json!({"a": [1, "b"]}));
        let _ = crate::render::task_text::expand_text(&template, &json!({"a": "b"}), crate::render::task_text::Quote::Shell);
    }

    /// Whatever a Dockerfile is, it is read or refused with a place; pinning nothing changes nothing.
    #[test]
    fn s3_no_dockerfile_panics(text in "(FROM |RUN |COPY |ARG |ENV |ONBUILD |--from=|--mount=|type=bind,|\\$\\{?|\\}|a|=|:|/|\\\\\n|\n|<<E|E\n|#|\"|'|\\[|\\]|,| |\\PC){0,25}") {
        use crate::render::dockerfile::{BuildOptions, Dockerfile};
        match Dockerfile::read("Dockerfile", &text, &BuildOptions::default()) {
            Ok(file) => proptest::prop_assert_eq!(file.pin(&std::collections::HashMap::new()), text),
            Err(errors) => proptest::prop_assert!(errors.0.iter().all(|error| !error.places.is_empty())),
        }
    }
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
