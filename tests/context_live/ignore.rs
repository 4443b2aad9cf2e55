//! Row F8: `.dockerignore` says the same to us and to the docker command line, for made and for generated patterns.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xtask::context::Ignore;

use crate::cli::sent_files;

/// A tree with the names that patterns are apt to confuse.
const FILES: [&str; 36] = [
    "file",
    "a.txt",
    "b.c",
    "README.md",
    "abc",
    "a c",
    ".hidden",
    "-dash",
    "[x]",
    "a*b",
    "a?b",
    "back\\slash",
    "é.txt",
    "dir/file",
    "dir/a.txt",
    "dir/sub/file",
    "dir/sub/b.txt",
    "dir/sub/deep/c.txt",
    "dir/.git/x",
    "dir2/file",
    "dir2/dir/file",
    "dir2/dir/sub/a.txt",
    "a/b/c/d",
    "a/b/c.txt",
    "a/dir/b.txt",
    "a/e",
    "ab/c",
    "x/y/z/file",
    "x/y/z.txt",
    "x.y/file",
    "src/main.c",
    "src/lib/a.c",
    "src/lib/a.h",
    "dist/p-1.0+g8.whl",
    "a$b(c)|d{e}^f",
    "s p/q r",
];

const HAND_MADE: [&str; 78] = [
    "",
    "file",
    "*",
    "**",
    "**/",
    "**/**",
    "/",
    ".",
    "./",
    "!",
    "!*",
    "*\n!*",
    "*\n!file",
    "*\n!dir",
    "*\n!dir/sub",
    "dir",
    "dir/",
    "/dir",
    "./dir",
    "dir/.",
    "dir//sub",
    "dir/../a",
    "../dir",
    "dir/*",
    "dir/**",
    "dir/**/*",
    "**/dir",
    "**/dir/",
    "**/dir/*",
    "**/sub/**",
    "**/file",
    "**file",
    "**.txt",
    "**/*.txt",
    "*.txt",
    "*/*.txt",
    "a/**/*.txt",
    "a/*/*.txt",
    "a**/*.txt",
    "?",
    "???",
    "a?c",
    "a[ b]c",
    "[a-c]*",
    "[^a]*",
    "[!a]*",
    "*[.]*",
    "\\[x\\]",
    "[[]x]",
    "a\\*b",
    "a\\?b",
    "back\\\\slash",
    "é*",
    "a$b(c)|d{e}^f",
    "a$*",
    "dist/p-1.0+g8.whl",
    "dist/*.whl",
    "  file  ",
    "#file",
    "# file\nfile",
    "s p",
    "s p/q r",
    "\tfile\t",
    "file\r",
    "\u{feff}file",
    "dir\n!dir/sub",
    "dir\n!dir/sub\ndir/sub/deep",
    "dir\n!dir/file\ndir",
    "*\n!**/file",
    "*\n!*/file",
    "**\n!dir/**",
    "dir*\n!dir2",
    "*.md\n!README*",
    "!README.md\n*.md",
    "README.md\nfile\n!README.md",
    "**/sub\n!dir/sub/b.txt",
    "a/b\n!a/b/c*",
    "src/**/*.h\n!**/*.c",
];

#[derive(Default)]
struct Tally {
    files: usize,
    refused: usize,
    /// Refused by us alone.
    odd: usize,
    /// Files below an ignored directory that a wildcard brings back: the classic walk does not look there.
    brought_back: usize,
}

fn compare(context: &Path, rules: &str, tally: &mut Tally) {
    fs::write(context.join(".dockerignore"), rules).expect("rules");
    let sent = sent_files(context);
    let ours = Ignore::parse(".dockerignore", rules.as_bytes());
    let (sent, ours) = match (sent, ours) {
        (Ok(sent), Ok(ours)) => (sent, ours),
        (Err(_), Err(_)) => return tally.refused += 1,
        // Docker compiles a pattern when it first needs it, checks syntax only in part, and takes a `\b` for the border
        // of a word. Nobody means what follows from that: refusing is kinder.
        (Ok(_), Err(_)) => return tally.odd += 1,
        (Err(sent), Ok(_)) => panic!("{rules:?}: only docker refuses: {sent}"),
    };
    for file in FILES {
        let is_sent = sent.contains(file.as_bytes());
        let is_seen = !ours.ignores(file.as_bytes());
        tally.files += 1;
        if is_sent == is_seen {
            continue;
        }
        let parents: Vec<&str> = file.match_indices('/').map(|(at, _)| &file[..at]).collect();
        let skipped = parents.iter().any(|parent| ours.ignores(parent.as_bytes()));
        let wild = rules.lines().any(|line| line.trim().starts_with('!') && line.contains(['*', '?', '[']));
        assert!(is_seen && skipped && wild, "{rules:?}: `{file}` is sent: {is_sent}, seen: {is_seen}");
        tally.brought_back += 1;
    }
    // Whatever is sent is known: the tree has no other file but the two that always travel.
    let known: BTreeSet<&[u8]> = FILES.iter().map(|file| file.as_bytes()).collect();
    for name in sent {
        assert!(known.contains(name.as_slice()) || name == b"Dockerfile" || name == b".dockerignore");
    }
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for file in FILES {
        let path = dir.path().join("context").join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, "").expect("a file");
    }
    fs::write(dir.path().join("context/Dockerfile"), "FROM scratch\nCOPY . /\n").expect("a file");
    dir
}

#[test]
fn f8_hand_made_patterns_mean_the_same_to_docker() {
    let dir = tree();
    let mut tally = Tally::default();
    for rules in HAND_MADE {
        compare(&dir.path().join("context"), rules, &mut tally);
    }
    assert_eq!(tally.odd, 0);
    assert!(tally.files > 2500 && tally.refused >= 1, "{} {}", tally.files, tally.refused);
}

/// A small generator with a fixed seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn pattern(&mut self) -> String {
        const PIECES: [&str; 34] = [
            "*", "**", "?", "/", "/", "/", "**/", "/**", "a", "b", "dir", "dir2", "sub", "file", ".txt", "*.txt", "c",
            "x", "y", "z", "src", "lib", "[a-d]", "[^a]", "[a-", "]", "\\", "\\*", ".", "..", " ", "$", "+", "^",
        ];
        let keep = if self.below(4) == 0 { "!" } else { "" };
        let length = 1 + self.below(5);
        let body: String = (0..length).map(|_| PIECES[self.below(PIECES.len())]).collect();
        format!("{keep}{body}")
    }
}

#[test]
fn f8_generated_patterns_mean_the_same_to_docker() {
    let dir = tree();
    let count: usize = std::env::var("XTASK_TEST_PATTERNS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tally = Tally::default();
    for _ in 0..count {
        let rules: Vec<String> = (0..=random.below(4)).map(|_| random.pattern()).collect();
        compare(&dir.path().join("context"), &rules.join("\n"), &mut tally);
    }
    assert!(tally.odd * 20 <= count, "{} refused by us alone", tally.odd);
    assert!(tally.files > count * FILES.len() / 4, "most patterns are valid: {}", tally.files);
}
