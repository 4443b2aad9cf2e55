//! Row S1: hostile and broken YAML is refused with a place, quickly and in little memory. Knows only the parser.

use std::fmt::Write;

use super::*;

/// Seconds that this thread has had a processor, which a busy machine does not stretch.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// The message for `bytes`, which must come within a second and with a place.
fn refused(bytes: &[u8]) -> String {
    let start = cpu();
    let errors = yaml::parse("tasks.yaml", bytes).expect_err("must be refused");
    assert!(cpu() - start < 1.0, "took {:?}", cpu() - start);
    assert!(errors.0.iter().all(|error| error.places.iter().all(|(place, _)| place.line > 0)), "{errors}");
    assert!(!errors.0.is_empty() && !errors.0[0].places.is_empty());
    errors.to_string()
}

fn parsed(text: &str) -> Node {
    yaml::parse("tasks.yaml", text.as_bytes()).expect("must be accepted")
}

/// Nine levels of nine aliases each: 10⁹ values from 352 bytes.
fn alias_bomb() -> String {
    let mut text = String::from("a: &a [\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\"]\n");
    for (level, below) in ('b'..='i').zip('a'..='h') {
        let aliases = vec![format!("*{below}"); 9].join(",");
        let _ = writeln!(text, "{level}: &{level} [{aliases}]");
    }
    text
}

#[test]
fn s1_alias_bomb() {
    let text = refused(alias_bomb().as_bytes());
    assert!(text.starts_with("error: `tasks.yaml` grows too much through its aliases\n  --> tasks.yaml:4:"), "{text}");
}

#[test]
fn s1_quadratic_aliases() {
    let items = vec!["x"; 20_000].join(",");
    let aliases = vec!["*a"; 12_000].join(",");
    let text = refused(format!("a: &a [{items}]\nb: [{aliases}]\n").as_bytes());
    assert!(text.contains("grows too much"), "{text}");
    let long = format!("a: &a {}\nb: [{aliases}]\n", "x".repeat(40_000));
    assert!(refused(long.as_bytes()).contains("grows too much"));
    let small = format!("a: &a x\nb: [{aliases}]\n");
    assert!(refused(small.as_bytes()).contains("has more than 200 aliases"));
}

#[test]
fn s1_brackets() {
    let deep = "`tasks.yaml` nests lists and maps deeper than 32 levels";
    assert!(refused("[".repeat(200_000).as_bytes()).contains(deep));
    assert!(refused("{a: ".repeat(50_000).as_bytes()).contains(deep));
    assert!(refused("- ".repeat(100_000).as_bytes()).contains(deep));
    let block = (0..60).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n");
    assert!(refused(block.as_bytes()).contains(deep));
}

#[test]
fn s1_self_alias() {
    assert!(refused(b"a: &a [*a]\n").contains("has an alias to a value that holds it\n  --> tasks.yaml:1:8"));
    assert!(refused(b"a: *b\n").contains("alias to an anchor that is not defined before it"));
}

#[test]
fn s1_huge_scalar_and_file() {
    let text = refused(format!("a: {}\n", "x".repeat(10 << 20)).as_bytes());
    assert_eq!(text, "error: `tasks.yaml` has a text longer than 1 MiB\n  --> tasks.yaml:1:4");
    assert!(refused(&vec![b'#'; 17 << 20]).contains("is larger than 16 MiB"));
    // No amplification: four megabytes of values. Only its memory is bounded, not its second.
    let many = yaml::parse("tasks.yaml", format!("[{}]", "1,".repeat(2_000_000)).as_bytes()).unwrap_err();
    assert!(many.to_string().contains("holds more than 1000000 values"));
}

#[test]
fn s1_encodings() {
    assert!(refused(b"\xEF\xBB\xBFa: 1\n").contains("byte order mark"));
    assert!(refused(b"\xFF\xFEa\0:\0").contains("is UTF-16"));
    assert!(refused(b"\xFE\xFF\0a\0:").contains("is UTF-16"));
    assert_eq!(refused(b"a: 1\nb: \xFF\n"), "error: `tasks.yaml` is not UTF-8\n  --> tasks.yaml:2:4");
    assert_eq!(refused(b"a: 1\nb\0: 2\n"), "error: `tasks.yaml` holds a NUL byte\n  --> tasks.yaml:2:2");
}

#[test]
fn s1_tabs() {
    let text = refused(b"a:\n\tb: 1\n");
    assert!(text.contains("has a tab where only spaces may indent\n  --> tasks.yaml:2:"), "{text}");
}

#[test]
fn s1_keys() {
    assert!(refused(b"\"a\\0b\": 1\n").contains("key `ab…` holds a control character"));
    assert!(refused(b"\"\": 1\n").contains("has an empty key"));
    assert!(refused(b"[a]: 1\n").contains("has a list as a key, expected text"));
    assert!(refused(b"a: &a {x: 1}\nb:\n  <<: *a\n").contains("key `<<` merges maps"));
    assert_eq!(
        refused(b"a: 1\nb: {c: 1, c: 2}\na: 3\n"),
        "error: key `c` is given twice in one map\n  --> tasks.yaml:2:11\n  --> tasks.yaml:2:5    first given here\n\
         error: key `a` is given twice in one map\n  --> tasks.yaml:3:1\n  --> tasks.yaml:1:1    first given here"
    );
}

#[test]
fn s1_tags_documents_directives() {
    assert!(
        refused(b"a: !!python/object:os.system x\n")
            .contains("has a YAML tag, which is not supported\n  --> tasks.yaml:1:4")
    );
    assert!(refused(b"a: 1\n---\nb: 2\n").contains("has a second document, expected one\n  --> tasks.yaml:2:1"));
    assert!(refused(b"%YAML 1.1\n---\na: 1\n").contains("directive"));
}

#[test]
fn s1_empty() {
    for empty in ["", "\n\n", "# only a comment\n"] {
        assert_eq!(
            refused(empty.as_bytes()),
            "error: `tasks.yaml` is empty\n  --> tasks.yaml:1:1\n  help: begin with the line `version: 1`"
        );
    }
}

#[test]
fn s1_memory_stays_small() {
    // Linux counts the peak per process; nextest gives each test its own.
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = peak();
    refused(alias_bomb().as_bytes());
    refused("[".repeat(200_000).as_bytes());
    refused(format!("a: &a [{}]\nb: [{}]\n", vec!["x"; 20_000].join(","), vec!["*a"; 12_000].join(",")).as_bytes());
    refused(format!("a: {}\n", "x".repeat(10 << 20)).as_bytes());
    let grown = peak() - before;
    assert!(grown < 64 << 10, "grew by {grown} KiB");
}

#[test]
fn conflict_markers_are_named() {
    let text = refused(b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> topic\n");
    assert_eq!(
        text,
        "error: `tasks.yaml` has an unresolved merge conflict\n  --> tasks.yaml:2:1    <<<<<<< HEAD\n  \
         --> tasks.yaml:4:1    =======\n  --> tasks.yaml:6:1    >>>>>>> topic\n  \
         help: keep one side of each conflict, then: git add tasks.yaml"
    );
}

#[test]
fn scalars_stay_as_written() {
    let node = parsed("a: 2021.10\nb: 012\nc: 1_000\nd: no\ne: 'true'\nf: ~\ng: |\n  two\n  lines\n");
    let text = |key: &str| node.get(key).and_then(Node::text).map(|text| text.to_string());
    assert_eq!(text("a").as_deref(), Some("2021.10"));
    assert_eq!(text("b").as_deref(), Some("012"));
    assert_eq!(text("c").as_deref(), Some("1_000"));
    assert_eq!(text("d").as_deref(), Some("no"));
    assert_eq!(node.get("e").and_then(Node::boolean), None);
    assert!(node.get("f").is_some_and(Node::is_null));
    assert_eq!(text("g").as_deref(), Some("two\nlines\n"));
}

#[test]
fn places_and_ranges_are_exact() {
    let source = "tasks:\n  é: [a, 'b c']\n";
    let node = parsed(source);
    let (key, list) = &node.get("tasks").unwrap().map().unwrap()[0];
    assert_eq!(key.place.to_string(), "tasks.yaml:2:3");
    assert_eq!(list.place.to_string(), "tasks.yaml:2:6");
    let second = &list.list().unwrap()[1];
    assert_eq!(second.place.to_string(), "tasks.yaml:2:10");
    assert_eq!(&source[second.range.0 as usize..second.range.1 as usize], "'b c'");
}

#[test]
fn aliases_within_the_budget_are_copies() {
    let node = parsed("x-env: &env {A: 1}\ntasks:\n  t: {env: *env}\n");
    let env = node.get("tasks").unwrap().get("t").unwrap().get("env").unwrap();
    assert_eq!(env.get("A").and_then(Node::text).map(|text| &**text), Some("1"));
    assert_eq!(env.place.to_string(), "tasks.yaml:3:12");
}

#[test]
fn written_yaml_reads_back() {
    let value = serde_json::json!({"a": "no", "b": ["2021.10", "x: y"], "c": {"d": true, "e": null}});
    assert_eq!(parsed(&yaml::write(&value)).json(), value);
}

#[test]
fn ten_thousand_tasks_are_quick() {
    let mut text = String::from("version: 1\ntasks:\n");
    for task in 0..10_000 {
        let _ = write!(
            text,
            "  t{task}:\n    file_dep: ['src/{task}/*.txt', 'out/1', 'out/2']\n    targets: ['out/{task}']\n    \
             actions: ['head -qc 16 src/{task}/0.txt out/1 out/2 > out/{task}']\n"
        );
    }
    let start = cpu();
    parsed(&text);
    // A quiet machine needs a fifth of this; the bound only catches growth that is not linear.
    assert!(cpu() - start < 1.0, "took {:?}", cpu() - start);
}
