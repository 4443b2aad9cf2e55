//! Hostile YAML, through the program: refused with a place, quickly and in little memory (row 10, S1). Knows no parser.

use std::process::Command;
use std::time::Duration;

use super::program::end_of;
use super::space::Space;

/// A list that doubles nine times nine times over, in 400 bytes.
fn alias_bomb() -> Vec<u8> {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (before, name) in ('a'..='i').zip('b'..='j') {
        text += &format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", "));
    }
    text.into_bytes()
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let utf16 = "\u{feff}version: 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("alias bomb", alias_bomb()),
        ("quadratic", format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(20_000), "*a,".repeat(10_000)).into_bytes()),
        ("brackets", vec![b'['; 200_000]),
        ("alias to itself", text("a: &a [*a]\n")),
        ("long scalar", format!("a: \"{}\"\n", "x".repeat(10_000_000)).into_bytes()),
        ("UTF-16", utf16),
        ("tab", text("version: 1\n\ttasks: {}\n")),
        ("NUL in a key", text("version: 1\n\"a\\0b\": 1\n")),
        ("duplicate key", text("version: 1\nimages: {}\nimages: {}\n")),
        ("tag", text("version: 1\ntasks: !!python/object:os.system {}\n")),
        ("second document", text("version: 1\n---\nversion: 1\n")),
        ("empty", Vec::new()),
    ]
}

/// Runs the rest of its words and says on the last line how much memory they took, in kB.
const MEASURE: &str = "import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)";

#[test]
fn hostile_yaml_is_refused_with_a_place_in_a_second_and_64_mib() {
    let space = Space::new("hostile");
    for path in ["tasks.yaml", "images/spec.yml"] {
        let good = space.read(path);
        for (name, bytes) in files() {
            std::fs::write(space.path(path), bytes).unwrap();
            let program = space.command(&["list"]);
            let mut command = Command::new("/usr/bin/python3");
            command.args(["-c", MEASURE]).arg(program.get_program()).args(program.get_args());
            command.current_dir(space.root());
            let run = end_of(command);
            let what = format!("{name} as {path}: {}", run.stderr);
            assert_eq!(run.code, 3, "{what}");
            assert!(run.stderr.starts_with("error: "), "{what}");
            assert!(run.stderr.contains(&format!("\n  --> {path}:")), "{what}");
            assert!(run.stderr.len() < 2_000, "{what}");
            let memory: u64 = run.stdout.trim().parse().expect("kB");
            assert!(memory < 64 << 10, "{memory} kB for {what}");
            // Python's own start is in it, and a machine may be busy.
            assert!(run.time < Duration::from_secs(3), "{:?} for {what}", run.time);
        }
        space.write(path, &good);
    }
}
