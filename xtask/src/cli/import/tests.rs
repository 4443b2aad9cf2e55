//! Files of others, imported, and what this program says of the result.

use super::*;

fn imported(name: &str, text: &str) -> (u8, String, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), text).unwrap();
    let (world, captured) = World::captured(dir.path().to_owned(), crate::exec::environment::Variables::new());
    let exit = crate::run(["import", name], &world);
    (exit, captured.out(), captured.err())
}

/// Runs a command where the imported text is the file.
fn with_file(file: &str, text: &str, others: &[(&str, &str)], line: &str) -> (u8, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in others.iter().chain(&[(file, text)]) {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let env = [("PATH".into(), std::env::var_os("PATH").unwrap())].into();
    let (world, captured) = World::captured(dir.path().to_owned(), env);
    let exit = crate::run(line.split_whitespace(), &world);
    (exit, captured.out() + &captured.err())
}

#[test]
fn tasks_of_doit_run_here() {
    let dump = r#"[
      {"name": "words", "doc": "Count words", "actions": ["wc -w < %(dependencies)s > %(targets)s; echo 100%%"],
       "file_dep": ["a.txt"], "targets": ["n.txt"], "clean": true, "verbosity": 2},
      {"name": "shout", "actions": [["echo", "it's {{ braces }}"]], "task_dep": ["words"], "uptodate": [false],
       "params": [{"name": "loud", "short": "l", "type": "int", "default": 3, "help": "How loud"}]},
      {"name": "group", "actions": [], "task_dep": ["group:one"]},
      {"name": "group:one", "actions": [{"python": "build_one"}], "uptodate": ["<function run_once>"]}
    ]"#;
    let (exit, text, open) = imported("tasks.json", dump);
    assert_eq!(exit, 0, "{open}");
    assert!(open.contains("task `group:one` has an action in Python, `build_one`"), "{open}");
    assert!(open.contains("`uptodate` of task `group:one`"), "{open}");
    let (exit, said) = with_file("tasks.yaml", &text, &[("a.txt", "one two")], "run -v words shout");
    assert!(exit == 0 && said.contains("100%") && said.contains("it's {{ braces }}"), "{said}\n{text}");
    let (exit, said) = with_file("tasks.yaml", &text, &[("a.txt", "")], "group");
    assert!(exit == 1 && said.contains("build_one"), "{said}");
}

#[test]
fn images_of_compose_and_bake_become_a_spec() {
    let compose = "services:\n  web:\n    image: lab/web:1\n    build:\n      context: ./web\n      args: { V: 1 }\n      target: run\n  db: { image: \"postgres:16\" }\n";
    let (exit, text, open) = imported("compose.yaml", compose);
    assert!(exit == 0 && open.contains("service `db` builds nothing"), "{open}");
    let (exit, said) = with_file(
        "spec.yml",
        &text,
        &[("web/Dockerfile", "FROM scratch AS run\n"), ("tasks.yaml", "version: 1\nstack: spec.yml\n")],
        "spec check",
    );
    assert!(exit == 0 && said.contains("is fine: 1 image"), "{said}\n{text}");
    let bake = r#"{"group": {"default": {"targets": ["base", "app"]}}, "target": {
      "base": {"context": "base", "dockerfile": "Dockerfile", "tags": ["reg.io:5000/lab/base:1.0"]},
      "app": {"context": "app", "contexts": {"parent": "target:base"}, "args": {"X": "y"}, "platforms": ["linux/amd64"], "tags": ["lab/app"]}}}"#;
    let (exit, text, open) = imported("bake.json", bake);
    assert!(exit == 0 && open.contains("FROM parent"), "{open}");
    let value = serde_yaml_value(&text);
    assert_eq!(value["images"]["base"]["image_name"], "reg.io:5000/lab/base");
    assert_eq!(value["images"]["app"]["depend_on"], "base");
    assert_eq!(value["images"]["app"]["platforms"][0], "linux/amd64");
    assert_eq!(imported("x.yaml", "a: 1").0, 3);
}

fn serde_yaml_value(text: &str) -> Value {
    yaml::parse("text", text.as_bytes()).unwrap().json()
}

/// A file in HCL as people write it: variables, functions, heirs, a matrix, groups.
const HCL: &str = r#"
variable "TAG" { default = "1.4" }
variable "REGISTRY" { default = "reg.io:5000/lab" }
variable "NODE" {}
RUBY = add(2, 1)

function "named" {
  params = [name]
  result = "${REGISTRY}/${name}:${TAG}"
}

group "default" { targets = ["base", "app", "lint"] }
group "release" { targets = ["app"] }

target "_common" {
  args   = { NODE = NODE, RUBY = RUBY, LEVEL = "${TAG == "1.4" ? "high" : "low"}" }
  labels = { "org.lab.tag" = upper("v${TAG}") }
  secret = ["id=token,env=TOKEN"]
}

target "base" {
  inherits = ["_common"]
  context  = "base"
  tags     = [named("base"), "${REGISTRY}/base:latest"]
}

target "app" {
  inherits  = ["_common"]
  context   = "./app"
  args      = { LEVEL = "own" }
  contexts  = { parent = "target:base", alpine = "docker-image://alpine:3.20" }
  platforms = ["linux/amd64"]
  tags      = [named("app")]
  cache-from = ["type=registry,ref=reg.io:5000/lab/app:cache", "type=gha"]
  secret    = [{ id = "key", src = "key.pem" }]
  attest    = ["type=sbom"]
  output    = ["type=image,push=true"]
  dockerfile-inline = <<EOT
FROM parent
RUN true
EOT
}

target "lint" {
  matrix  = { tool = ["ruff", "mypy"] }
  name    = "lint-${tool}"
  context = "lint"
  target  = tool
  tags    = ["reg.io:5000/lab/lint:${tool}"]
}
"#;

#[test]
fn hcl_becomes_a_spec_and_what_is_lost_is_told_with_its_place() {
    let (exit, text, open) = imported("docker-bake.hcl", HCL);
    assert_eq!(exit, 0, "{open}");
    insta::assert_snapshot!(text, @r#"
    version: 1
    images:
      base:
        image_name: reg.io:5000/lab/base
        build_args:
          RUBY: '3'
          LEVEL: high
        labels:
          org.lab.tag: V1.4
        secrets:
          token:
            env: TOKEN
      app:
        image_name: reg.io:5000/lab/app
        dockerfile: Dockerfile.app
        platforms:
        - linux/amd64
        build_args:
          RUBY: '3'
          LEVEL: own
        labels:
          org.lab.tag: V1.4
        depend_on: base
        cache_from:
        - reg.io:5000/lab/app:cache
        secrets:
          token:
            env: TOKEN
          key:
            file: key.pem
      lint-ruff:
        image_name: reg.io:5000/lab/lint
        dir: lint
        target: ruff
        variant: ruff
      lint-mypy:
        image_name: reg.io:5000/lab/lint
        dir: lint
        target: mypy
        variant: mypy
    "#);
    insta::assert_snapshot!(open, @r##"
    warning: target `_common` is only inherited, and became no image
      --> docker-bake.hcl:15:1
    warning: the Dockerfile of target `app` has no file yet
      --> docker-bake.hcl:38:3
      help: mkdir -p app && printf '%s\n' 'FROM parent' 'RUN true' > app/Dockerfile.app
    warning: target `app` is built FROM parent, which is the image `base`
      --> docker-bake.hcl:31:3
      help: call the Dockerfile Dockerfile.j2, and write {{ images["base"].image_name }} for parent
    warning: target `app` is built FROM alpine, which is `alpine:3.20`
      --> docker-bake.hcl:31:3
      help: write alpine:3.20 for alpine in the Dockerfile
    warning: a part of `cache-from` of target `app` was left out
      --> docker-bake.hcl:34:3
    warning: `attest` of target `app` was left out
      --> docker-bake.hcl:36:3
    warning: `lint-ruff` and `lint-mypy` share the repository `reg.io:5000/lab/lint`, so each has a `variant` that leads its tags
      --> docker-bake.hcl:44:1
    warning: group `lint` is no part of a spec
      --> docker-bake.hcl:44:1
      help: in tasks.yaml: lint: { task_dep: ["build:lint-mypy", "build:lint-ruff"] }
    warning: group `release` is no part of a spec
      --> docker-bake.hcl:13:1
      help: in tasks.yaml: release: { task_dep: ["build:app"] }
    warning: tags were left out: `1.4`, `latest`, `mypy` and `ruff`
      note: tags are made from plans, versions and commits
    "##);
    let files = [
        ("base/Dockerfile", "ARG LEVEL\nARG RUBY\nFROM scratch\n"),
        ("app/Dockerfile.app", "ARG LEVEL\nARG RUBY\nFROM reg.io:5000/lab/base\n"),
        ("lint/Dockerfile", "FROM scratch AS ruff\nFROM scratch AS mypy\n"),
        ("tasks.yaml", "version: 1\nstack: spec.yml\n"),
    ];
    let (exit, said) = with_file("spec.yml", &text, &files, "spec check");
    assert!(exit == 0 && said.contains("is fine: 4 images"), "{said}\n{text}");
}

#[test]
fn hcl_that_cannot_be_evaluated_is_an_error_with_place_and_help() {
    for (text, wanted) in [
        (
            "target \"a\" {\n  tags = [TGA]\n}\nvariable \"TAG\" {}\n",
            "`tags` of target `a` uses undefined `TGA`\n  --> docker-bake.hcl:2:3\n  help: a variable with a similar name exists: `TAG`",
        ),
        ("target \"a\" { tags = [uper(\"a\")] }", "a function with a similar name exists: `upper`"),
        ("target \"a\" { tags = [\"x:${timestamp()}\"] }", "calls function `timestamp`, which is not known here"),
        (
            "target \"a\" { args = { B = target.b.args.C } }",
            "docker buildx bake --file docker-bake.hcl --print > bake.json",
        ),
        ("target \"a\" { inherits = [\"bse\"] }\ntarget \"base\" {}", "a target with a similar name exists: `base`"),
        ("target \"a\" { inherits = [\"a\"] }", "target `a` inherits itself"),
        ("target \"a\" { matrix = { x = [1, 2] } }", "target `a` has a matrix and no `name`"),
        ("target \"a\" {\n matrix = { x = [1, 2] }\n name = \"b\"\n}", "two targets are called `b`"),
        ("target \"a\" {\n matrix = { x = 1 }\n name = \"b\"\n}", "`matrix` of target `a` has `x`, expected a list"),
        ("targt \"a\" {}", "a block with a similar name exists: `target`"),
        ("target {}", "block `target` needs one name"),
        ("target \"a\" {\n  args {\n  }\n}", "target `a` has a block `args`, expected fields only"),
        (
            "variable \"A\" { default = B }\nvariable \"B\" { default = A }",
            "variables need each other in a cycle: `A` and `B`",
        ),
        (
            "function \"f\" {\n params = [x]\n result = f(x)\n}\ntarget \"a\" { tags = [f(1)] }",
            "function `f` calls itself",
        ),
        (
            "function \"f\" {\n params = [x]\n result = x\n}\ntarget \"a\" { tags = [f(1, 2)] }",
            "function `f` has 2 arguments, expected 1",
        ),
        ("function \"f\" {\n params = [x]\n}", "function `f` has no `result`"),
        ("group \"g\" { targets = [\"ap\"] }\ntarget \"app\" {}", "group `g` names unknown target `ap`"),
        ("target \"a\" { tags = [substr(\"x\", 0.5, 1)] }", "`tags` of target `a` cannot be evaluated"),
        ("target \"a\" {\n  tags = [\n}\n", "`docker-bake.hcl` is not valid HCL"),
    ] {
        let (exit, _, said) = imported("docker-bake.hcl", text);
        assert!(exit == 3 && said.contains(wanted) && said.contains("docker-bake.hcl:"), "{text}\n{said}");
    }
}

#[test]
fn expressions_of_hcl_give_what_bake_gives() {
    for (expression, wanted) in [
        ("join(\"-\", [\"a\", 2], [\"c\"])", "a-2-c"),
        ("format(\"%s-%d%%-%q\", \"a\", 3, \"b\")", "a-3%-\"b\""),
        ("replace(trimprefix(\"refs/heads/a.b\", \"refs/heads/\"), \".\", \"_\")", "a_b"),
        ("regex_replace(\"v1.2.3\", \"^v([0-9]+).*\", \"$1\")", "1"),
        ("substr(\"0123456789\", 2, 3)", "234"),
        ("element(split(\",\", \"a,b,c\"), 4)", "b"),
        ("lookup({ a = 1 }, \"b\", \"none\")", "none"),
        ("notequal(\"\", \"x\") ? \"yes\" : \"no\"", "yes"),
        ("divide(7, 2)", "3.5"),
        ("multiply(3, 2)", "6"),
        ("[for x in range(5): x if x > 2][1]", "4"),
        ("length(distinct(concat([1, 1], [2])))", "2"),
        ("sanitize(\"a/b.c\")", "a_b_c"),
        ("join(\",\", keys(merge({ b = 1 }, { a = 2 })))", "a,b"),
        ("twice(twice(\"a\"))", "aaaa"),
        ("all(\"-\", 1, 2)", "1-2"),
        ("join(\",\", [for x in [\"a\", \"b\"]: twice(x)])", "aa,bb"),
    ] {
        let text = format!(
            "function \"twice\" {{\n  params = [x]\n  result = \"${{x}}${{x}}\"\n}}\n\
             function \"all\" {{\n  params = [by]\n  variadic_params = rest\n  result = join(by, rest)\n}}\n\
             target \"a\" {{\n  context = \"a\"\n  args = {{ V = {expression} }}\n}}\n"
        );
        let (exit, out, said) = imported("docker-bake.hcl", &text);
        assert_eq!(exit, 0, "{expression}: {said}");
        assert_eq!(serde_yaml_value(&out)["images"]["a"]["build_args"]["V"], wanted, "{expression}");
    }
}

#[test]
fn bake_files_of_json_have_variables_and_heirs_too() {
    let bake = "{\n\t\"variable\": { \"TAG\": { \"default\": \"1\" } },\n\t\"target\": {\n\t\t\"base\": { \"args\": { \"A\": \"${TAG}\", \"N\": 3 } },\n\t\t\"app\": { \"inherits\": [\"base\"], \"context\": \"app\", \"tags\": [\"lab/app:${TAG}\"] }\n\t}\n}\n";
    let (exit, text, open) = imported("bake.json", bake);
    assert!(exit == 0 && open.contains("target `base` is only inherited"), "{open}");
    let value = serde_yaml_value(&text);
    assert_eq!(value["images"]["app"]["build_args"], serde_json::json!({ "A": "1", "N": "3" }));
    let (exit, _, said) = imported("bake.json", &bake.replace("app:${TAG}", "app:${TGA}"));
    assert!(exit == 3 && said.contains("bake.json:5:") && said.contains("`TAG`"), "{said}");
}

#[test]
fn compose_files_keep_their_variables_secrets_and_contexts() {
    let compose = "services:\n  base:\n    build: ./base\n  web:\n    image: lab/web:${TAG:-1}\n    platform: linux/arm64\n    ports: [\"80:80\"]\n    build:\n      context: web\n      args: [\"LEVEL=$${x}${LEVEL-2}\", \"ALONE\"]\n      additional_contexts: [\"parent=service:base\"]\n      secrets: [token]\n      shm_size: 1gb\nsecrets:\n  token: { file: ./token.txt }\n";
    let (exit, text, open) = imported("compose.yaml", compose);
    assert_eq!(exit, 0, "{open}");
    let web = &serde_yaml_value(&text)["images"]["web"];
    assert_eq!(web["build_args"], serde_json::json!({ "LEVEL": "${x}2" }));
    assert_eq!((web["depend_on"].as_str(), web["platforms"][0].as_str()), (Some("base"), Some("linux/arm64")));
    assert_eq!(web["secrets"]["token"]["file"], "token.txt");
    for wanted in [
        "`shm_size` of service `web` was left out",
        "left out was `ports`",
        "compose.yaml:7:5",
        "tags were left out: `1`",
    ] {
        assert!(open.contains(wanted), "{wanted}: {open}");
    }
    let (exit, _, said) = imported("compose.yaml", &compose.replace(":-1", ":?none"));
    assert!(exit == 3 && said.contains("compose.yaml:5:12") && said.contains("docker compose config"), "{said}");
}
