//! `.dockerignore`: which paths of a context no builder sees. Knows nothing of the disk, except where the file stands.
//!
//! The last pattern that matches a path or one of its directories decides; patterns are anchored at the context.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::glob::is_valid;
use super::pattern::Pattern;
use crate::model::{Diagnostic, Diagnostics, Place};

/// The rules of one ignore file.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
    /// Whether a pattern brings back what an earlier one took.
    any_kept: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    /// `!pattern`
    keep: bool,
    text: Vec<u8>,
    pattern: Pattern,
}

/// What the rules say about one path; needed again for what lies below it.
#[derive(Clone, Debug, Default)]
pub struct Matched {
    pub ignored: bool,
    by: Vec<bool>,
}

impl Ignore {
    /// Rules that ignore nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Reads the text of an ignore file, whose place in messages is `file`.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, Diagnostics> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut found = Self::default();
        let mut errors = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.starts_with(b"#") || line.trim_ascii().is_empty() {
                continue;
            }
            let (keep, pattern) = normalise(line.trim_ascii());
            let rule = Some(&pattern)
                .filter(|pattern| is_valid(pattern) && !(keep && pattern.is_empty()))
                .and_then(|pattern| Pattern::new(pattern));
            match rule {
                Some(rule) => {
                    found.any_kept |= keep;
                    found.rules.push(Rule { keep, text: pattern, pattern: rule });
                }
                None => errors.push(wrong(file, index as u32 + 1, line)),
            }
        }
        if errors.is_empty() { Ok(found) } else { Err(Diagnostics(errors)) }
    }

    /// What the rules say about `path` (relative to the context, `/` between its parts), given what they said
    /// about the directory that holds it; `None` for a path at the top.
    pub fn check(&self, path: &[u8], parent: Option<&Matched>) -> Matched {
        let mut ignored = false;
        let mut by = vec![false; self.rules.len()];
        for (at, rule) in self.rules.iter().enumerate() {
            let inherited = parent.is_some_and(|parent| parent.by.get(at).copied().unwrap_or_default());
            // A rule that could not change the answer is not tried; builders do the same, and what lies below
            // then inherits "no match" from it.
            by[at] = inherited || (rule.keep == ignored && rule.pattern.matches(path));
            if by[at] {
                ignored = !rule.keep;
            }
        }
        Matched { ignored, by }
    }

    /// Whether an ignored directory need not be entered, because no rule can bring back what is in it.
    pub fn can_skip(&self, directory: &[u8]) -> bool {
        if !self.any_kept {
            return true;
        }
        !self.rules.iter().filter(|rule| rule.keep).any(|rule| {
            let plain_end = rule.text.iter().position(|byte| b"*?[\\".contains(byte));
            match plain_end {
                // With wildcards, anything below their directory may come back.
                Some(end) => {
                    let start = rule.text[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                    within(&rule.text[..start], directory) || within(directory, &rule.text[..start])
                }
                None => within(&rule.text, directory),
            }
        })
    }

    /// Whether a single path is ignored, its directories considered.
    pub fn ignores(&self, path: &[u8]) -> bool {
        let mut parent: Option<Matched> = None;
        for end in path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]) {
            parent = Some(self.check(&path[..end], parent.as_ref()));
        }
        parent.is_some_and(|matched| matched.ignored)
    }
}

/// Whether `path` is `directory` or below it.
fn within(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path == directory
        || (path.starts_with(directory) && path.get(directory.len()) == Some(&b'/'))
}

/// The ignore file that counts: `<Dockerfile>.dockerignore` beside the Dockerfile, else `.dockerignore` in the context.
pub fn ignore_file(context: &Path, dockerfile: &Path) -> Option<PathBuf> {
    let mut own = OsString::from(dockerfile.as_os_str());
    own.push(".dockerignore");
    [PathBuf::from(own), context.join(".dockerignore")].into_iter().find(|path| path.is_file())
}

/// Whether the pattern brings back, and its cleaned text; empty where there is nothing to match.
///
/// Builders clean twice, once as they read the file and once as they compile, and the second time sees what the
/// first one left: `dir/ /` is `dir`, and `./!x` brings back.
fn normalise(line: &[u8]) -> (bool, Vec<u8>) {
    let (mark, text) = match line.strip_prefix(b"!") {
        Some(rest) => (b"!".as_slice(), rest.trim_ascii()),
        None => (b"".as_slice(), line),
    };
    let mut read = mark.to_vec();
    if !text.is_empty() {
        let cleaned = clean(text);
        read.extend_from_slice(cleaned.strip_prefix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(&cleaned));
    }
    let compiled = clean(read.trim_ascii());
    match compiled.strip_prefix(b"!") {
        Some(rest) => (true, rest.to_vec()),
        None => (false, compiled),
    }
}

/// Lexically, as Go's `filepath.Clean`.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => _ = parts.pop(),
            b".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/".as_slice(), &joined].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

fn wrong(file: &str, line: u32, text: &[u8]) -> Diagnostic {
    let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
    let help = if matches!(text.as_str(), "!" | "!/") {
        "write a pattern after the `!`, or remove the line"
    } else {
        "close every `[` with a `]`; write a plain `[` or `\\` as `\\[` or `\\\\`, and a letter without a `\\`"
    };
    Diagnostic::error(format!("`{text}` is not a pattern")).at(Place::new(file, line, 1)).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignores(patterns: &str, path: &str) -> bool {
        Ignore::parse(".dockerignore", patterns.as_bytes()).unwrap().ignores(path.as_bytes())
    }

    #[test]
    fn patterns_match_as_builders_match_them() {
        let cases = [
            ("**", "file", true),
            ("**", "a/b", true),
            ("**/", "a/b", true),
            ("**/**", "a/b", true),
            ("dir/**", "dir/a/b", true),
            ("dir/**", "dir", false),
            ("**/dir", "dir", true),
            ("**/dir", "x/dir/y", true),
            ("**/dir2/*", "dir/dir2/f", true),
            ("**file", "a/file", true),
            ("**/*.txt", "a.txt", true),
            ("**/*.txt", "a/b.txt", true),
            ("a**/*.txt", "a/dir/b.txt", true),
            ("a/*.txt", "a/dir/b.txt", false),
            ("a/*/*.txt", "a/dir/b.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[^b]e", "a/e", true),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            (
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                true,
            ),
            ("dist/*.whl", "dist/x.whl", true),
            ("a.c", "abc", false),
            ("a?c", "a/c", false),
            ("*", "a/b", true),
            ("x", "a/x", false),
            ("/x", "x", true),
            ("./x/", "x/y", true),
            ("a/../x", "x", true),
            ("  x  ", "x", true),
            ("# x\n", "# x", false),
            ("x\n!x/keep", "x/keep", false),
            ("x\n!x/keep", "x/other", true),
            ("!x\nx", "x", true),
            ("*\n!*.md\nREADME.md", "README.md", true),
            ("*\n!*.md\nREADME.md", "OTHER.md", false),
            ("dir\n!dir/f\ndir", "dir/f", false),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("a^b", "a^b", true),
            ("a^b*", "a^b", false),
            ("[a-z]**", "m/n", true),
        ];
        for (patterns, path, wanted) in cases {
            assert_eq!(ignores(patterns, path), wanted, "{patterns:?} {path}");
        }
    }

    #[test]
    fn wrong_patterns_are_all_told() {
        let errors = Ignore::parse("x/.dockerignore", b"ok\n[\n!\na\\\n[z-a]\n!/\n").unwrap_err();
        let lines: Vec<u32> = errors.0.iter().map(|error| error.places[0].0.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6]);
        assert!(errors.to_string().starts_with("error: `[` is not a pattern\n  --> x/.dockerignore:2:1"), "{errors}");
    }

    #[test]
    fn directories_are_skipped_only_without_loss() {
        let skip = |patterns: &str, dir: &str| Ignore::parse("", patterns.as_bytes()).unwrap().can_skip(dir.as_bytes());
        assert!(skip("a", "a"));
        assert!(!skip("a\n!a/b/c", "a"));
        assert!(!skip("a\n!a/b/c", "a/b"));
        assert!(skip("a\n!a/b/c", "a/x"));
        assert!(!skip("*\n!**/keep", "deep/er"));
        assert!(skip("*\n!src/*.c", "docs"));
    }

    #[test]
    fn the_own_ignore_file_wins() {
        let dir = tempfile::tempdir().unwrap();
        let dockerfile = dir.path().join("Dockerfile");
        assert_eq!(ignore_file(dir.path(), &dockerfile), None);
        std::fs::write(dir.path().join(".dockerignore"), "").unwrap();
        assert_eq!(ignore_file(dir.path(), &dockerfile), Some(dir.path().join(".dockerignore")));
        std::fs::write(dir.path().join("Dockerfile.dockerignore"), "").unwrap();
        assert_eq!(ignore_file(dir.path(), &dockerfile), Some(dir.path().join("Dockerfile.dockerignore")));
    }
}
