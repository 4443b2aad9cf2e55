//! Whole files to tasks: every attribute, groups, includes, constants. Knows only the public door `load`.

use std::time::Duration;

use super::testing::World;
use crate::model::task::*;

fn shell(task: &crate::model::Task, index: usize) -> String {
    match &task.actions[index].kind {
        ActionKind::Shell(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_attribute_is_read() {
    let task = World::of(
        r#"
version: 1
pools: {docker: 2}
tasks:
  all:
    doc: |
      Everything
      at once
    title: "all {{ changed }}"
    file_dep: [a.txt, "src/*.c", "!src/x.c", ./b//c/]
    targets: [out/a, out/dir/, {path: out/b, policy: stat, optional: true}]
    task_dep: ["img:*"]
    result_dep: [base]
    setup: [server]
    calc_dep: [scan, {depfile: out/a.d}]
    getargs: {version: base.version, whole: base, two: [base, k]}
    uptodate: [true, false, null, test -f x, {run_once: true}, {timeout: 1h}, {config_changed: {b: 1, a: x}},
      {stat: a.txt}, {stat: {path: a.txt, field: access}}, {output_of: git rev-parse HEAD}, {image: "x:1"},
      {remote_tag: "r/x:1"}, {run_once}, engine_runs, {engine_runs: {a: 1}}]
    actions:
      - echo {{ file_dep }}
      - [echo, "{{ targets }}"]
      - {cmd: make, cwd: sub, env: {A: "1"}, shell: bash, timeout: 90, ignore_error: true, save: log}
      - {cmd: [ls, -l]}
      - image_build: {image: base, target: x}
      - remove: [a, b]
    teardown: {actions: [echo down], best_effort: true}
    clean: [rm -f x]
    params: [{name: version_to, type: semver, required: true, short: v}, {name: tags, type: list, default: [a]}]
    pos_arg: rest
    verbosity: 2
    watch: [docs]
    watch_only: true
    env: {LANG: C}
    pass_env: [HOME]
    cwd: sub/dir
    shell: [bash, -euc]
    timeout: 1m30s
    retry: {times: 3, delay: 2s}
    pool: docker
    mutex: gpu
    if: test -d x
    require: [docker info, {shell: "true", message: needs true}]
    interactive: true
    delete_on_error: true
    in_out: true
    restart: true
    run: when-missing
    tags: [slow]
    meta: {owner: me}
"#,
    )
    .task("all");
    assert_eq!(task.doc, "Everything\nat once");
    assert_eq!(task.title.as_deref(), Some("all {{ changed }}"));
    let deps: Vec<(&str, bool)> = task.file_dep.iter().map(|dep| (&*dep.pattern, dep.negated)).collect();
    assert_eq!(deps, [("a.txt", false), ("src/*.c", false), ("src/x.c", true), ("b/c", false)]);
    let targets: Vec<(String, bool, TargetPolicy, bool)> = task
        .targets
        .iter()
        .map(|target| (target.path.lossy(), target.directory, target.policy, target.optional))
        .collect();
    assert_eq!(targets[0], ("out/a".to_owned(), false, TargetPolicy::Auto, false));
    assert_eq!(targets[1], ("out/dir".to_owned(), true, TargetPolicy::Auto, false));
    assert_eq!(targets[2], ("out/b".to_owned(), false, TargetPolicy::Stat, true));
    assert_eq!(task.calc_dep.len(), 2);
    assert!(matches!(&task.calc_dep[1].value, CalcDep::Depfile(path) if path.lossy() == "out/a.d"));
    let getargs: Vec<(&str, &str, Option<&str>)> =
        task.getargs.iter().map(|arg| (&*arg.name, &*arg.task, arg.key.as_deref())).collect();
    assert_eq!(getargs, [("version", "base", Some("version")), ("whole", "base", None), ("two", "base", Some("k"))]);
    assert_eq!(task.uptodate.len(), 15);
    assert_eq!(task.uptodate[5].value, Uptodate::Timeout(Duration::from_hours(1)));
    assert!(matches!(&task.uptodate[6].value, Uptodate::ConfigChanged(json) if json.text() == r#"{"a":"x","b":"1"}"#));
    assert!(matches!(&task.uptodate[8].value, Uptodate::Stat { field: StatField::Access, .. }));
    assert!(matches!(&task.uptodate[13].value, Uptodate::Named { name, .. } if &**name == "engine_runs"));
    assert_eq!(shell(&task, 0), "echo {{ file_dep }}");
    let step = &task.actions[2].step;
    assert_eq!(
        (step.cwd.as_deref(), step.timeout, step.ignore_error),
        (Some("sub"), Some(Duration::from_secs(90)), true)
    );
    assert_eq!(step.shell.as_deref(), Some(&["bash".into(), "-c".into()][..]));
    assert!(matches!(&task.actions[3].kind, ActionKind::Argv(words) if words.len() == 2));
    assert!(
        matches!(&task.actions[5].kind, ActionKind::BuiltIn { args, .. } if args.text() == r#"{"path":["a","b"]}"#)
    );
    assert!(task.teardown_best_effort && task.teardown.len() == 1);
    assert!(matches!(&task.clean, Clean::Actions(actions) if actions.len() == 1));
    assert_eq!(task.params[0].long.as_ref(), "version-to");
    assert_eq!(task.params[1].default.as_deref(), Some(r#"["a"]"#));
    assert_eq!(task.retry, Some(Retry { times: 3, delay: Duration::from_secs(2) }));
    assert_eq!(task.require[1].value.message.as_deref(), Some("needs true"));
    assert_eq!(task.run, RunMode::WhenMissing);
    assert!(task.interactive && task.delete_on_error && task.in_out && task.restart && task.watch_only);
    assert_eq!(task.meta.text(), r#"{"owner":"me"}"#);
}

#[test]
fn vars_take_environment_command_line_and_earlier_vars() {
    let mut world = World::of(
        "version: 1\nvars:\n  host: {env: REGISTRY, default: localhost}\n  registry: '{{ vars.host }}/lab'\n  plain: 2021.10\n\
         tasks:\n  t: {actions: ['push {{ vars.registry }} {{ vars.plain }}']}\n",
    );
    assert_eq!(shell(&world.task("t"), 0), "push localhost/lab 2021.10");
    world.env.insert("REGISTRY".to_owned(), "r.org:5000".to_owned());
    assert_eq!(shell(&world.task("t"), 0), "push r.org:5000/lab 2021.10");
    assert_eq!(world.load().unwrap().taskfile.env_read, ["REGISTRY".into()]);
    world.globals.insert("host".to_owned(), "my host".to_owned());
    assert_eq!(shell(&world.task("t"), 0), "push 'my host/lab' 2021.10");
}

#[test]
fn values_cannot_become_templates() {
    let mut world = World::tasks("  t: {actions: ['echo {{ vars.x }}', [echo, '{{ vars.x }}']]}\n");
    world.files.insert("tasks.yaml".to_owned(), format!("vars: {{x: {{env: X}}}}\n{}", world.files["tasks.yaml"]));
    world.env.insert("X".to_owned(), "{{ evil }}".to_owned());
    let task = world.task("t");
    assert_eq!(shell(&task, 0), r#"{{ "echo '{{ evil }}'" | raw }}"#);
    assert!(matches!(&task.actions[1].kind, ActionKind::Argv(words) if &*words[1] == r#"{{ "{{ evil }}" }}"#));
}

#[test]
fn a_shell_text_is_replaced_whole_or_not_at_all() {
    // How a value is quoted depends on what stands around it: `"` must be seen together with the value.
    let task = World::of(
        "version: 1\nvars: {a: 'x $(y)'}\ntasks:\n  t: {params: [{name: p}], actions: ['echo \"{{ vars.a }}\" {{ p }}', 'echo {{ vars.a }}']}\n",
    )
    .task("t");
    assert_eq!(shell(&task, 0), r#"{% set vars = { "a": "x $(y)" } %}echo "{{ vars.a }}" {{ p }}"#);
    assert_eq!(shell(&task, 1), "echo 'x $(y)'");
}

#[test]
fn mixed_expressions_and_blocks_keep_their_constants() {
    let task = World::of(
        "version: 1\nvars: {a: x, b: y}\ntasks:\n  t:\n    params: [{name: p}]\n    actions:\n      - echo {{ vars.a ~ p }}\n      \
         - 'echo {% for f in file_dep %}{{ f }}{{ vars.b }}{% endfor %}'\n",
    )
    .task("t");
    assert_eq!(shell(&task, 0), r#"{% set vars = { "a": "x" } %}echo {{ vars.a ~ p }}"#);
    assert_eq!(
        shell(&task, 1),
        r#"{% set vars = { "b": "y" } %}echo {% for f in file_dep %}{{ f }}{{ vars.b }}{% endfor %}"#
    );
}

#[test]
fn images_make_a_group_and_its_members() {
    let world = World::of(
        "version: 1\nstack: images/spec.yml\npools: {docker: 2}\ntasks:\n  build:\n    doc: Build {{ image.name }}\n    \
         for_each: image\n    pool: docker\n    file_dep: ['{{ image.dir }}/']\n    \
         actions: [{image_build: {image: '{{ image.name }}'}}]\n  push:\n    task_dep: ['build:*']\n",
    );
    assert_eq!(world.names(), ["build", "build:base", "build:notebook", "push"]);
    let group = world.task("build");
    assert!(group.is_group());
    assert_eq!(group.members, ["build:base".into(), "build:notebook".into()]);
    assert_eq!(group.doc, "Build <image.name>");
    let member = world.task("build:notebook");
    assert_eq!(member.group.as_deref(), Some("build"));
    assert_eq!(&*member.file_dep[0].pattern, "images/notebook");
    assert!(
        matches!(&member.actions[0].kind, ActionKind::BuiltIn { args, .. } if args.text() == r#"{"image":"notebook"}"#)
    );
}

#[test]
fn for_each_takes_lists_names_files_and_hosts() {
    let world = World::of(
        "version: 1\nhosts: {zeus: {ssh: me@zeus, root: /srv}}\ntasks:\n  a: {for_each: [x, y], actions: ['echo {{ item }}']}\n  \
         b: {for_each: {v: [1, {name: two, z: 3}]}, actions: ['echo {{ v }}']}\n  \
         c: {for_each: {files: 'sh/*'}, actions: ['sh {{ item }}']}\n  d: {for_each: host, actions: ['ping {{ host.ssh }}']}\n  \
         e: {for_each: [], actions: [echo]}\n  \
         m: {matrix: {py: [3.10, 3.11], os: [a, b], exclude: [{py: 3.10, os: b}], include: [{py: 4, os: c}]}, actions: ['{{ py }} {{ os }}']}\n",
    )
    .file("sh/x.sh", "")
    .file("sh/y.sh", "");
    assert_eq!(
        world.names(),
        [
            "a",
            "a:x",
            "a:y",
            "b",
            "b:1",
            "b:two",
            "c",
            "c:sh/x.sh",
            "c:sh/y.sh",
            "d",
            "d:zeus",
            "e",
            "m",
            "m:3.10-a",
            "m:3.11-a",
            "m:3.11-b",
            "m:4-c"
        ]
    );
    assert_eq!(shell(&world.task("d:zeus"), 0), "ping me@zeus");
    assert_eq!(shell(&world.task("m:3.10-a"), 0), "3.10 a");
    assert_eq!(shell(&world.task("c:sh/x.sh"), 0), "sh sh/x.sh");
}

#[test]
fn includes_have_namespaces_folders_and_their_own_defaults() {
    let world = World::of(
        "version: 1\nvars: {v: root}\ninclude: [{file: ci/tasks.yaml, namespace: ci}, lib/more.yaml]\ndefaults: {verbosity: 2}\n\
         tasks:\n  lint: {actions: [echo]}\n  t: {task_dep: ['ci:lint'], actions: [echo]}\n",
    )
    .file(
        "ci/tasks.yaml",
        "vars: {v: own, w: '{{ vars.v }}'}\ndefaults: {env: {A: '1', B: '1'}}\ntasks:\n  lint: {file_dep: [x.sh, ../y], actions: ['echo {{ vars.v }}']}\n  \
         all: {task_dep: [lint, ':lint', 't', 'li*'], getargs: {x: lint.out}, env: {B: '2'}, actions: [echo]}\n",
    )
    .file("lib/more.yaml", "tasks:\n  more: {actions: [echo], cwd: ..}\n");
    assert_eq!(world.names(), ["lint", "t", "ci:lint", "ci:all", "more"]);
    let lint = world.task("ci:lint");
    assert_eq!(lint.file_dep.iter().map(|dep| &*dep.pattern).collect::<Vec<_>>(), ["ci/x.sh", "y"]);
    assert_eq!((lint.cwd.as_deref(), lint.verbosity), (Some("ci"), None));
    assert_eq!(shell(&lint, 0), "echo root");
    let all = world.task("ci:all");
    assert_eq!(all.task_dep.iter().map(|at| &*at.value).collect::<Vec<_>>(), ["ci:lint", "lint", "t", "ci:li*"]);
    assert_eq!((&*all.getargs[0].task, all.getargs[0].key.as_deref()), ("ci:lint", Some("out")));
    assert_eq!(all.env.values().map(|value| &**value).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(world.task("lint").verbosity, Some(2));
    let sources = world.load().unwrap().sources;
    assert_eq!(
        sources.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
        ["tasks.yaml", "ci/tasks.yaml", "lib/more.yaml"]
    );
}
