//! The commonest globs, without a regular expression: text in which `*` stands for any run of bytes but `/`. Knows
//! nothing of the disk.

/// A pattern whose only wildcard is a single `*`, any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stars<'a> {
    pattern: &'a [u8],
}

impl<'a> Stars<'a> {
    /// `None` if the pattern has anything else than `*` that may mean more than itself.
    pub fn new(pattern: &'a str) -> Option<Self> {
        let other = pattern.contains(['?', '[', ']', '{', '}', '\\', '!', ',']) || pattern.contains("**");
        (!other).then_some(Self { pattern: pattern.as_bytes() })
    }

    /// Whether the whole path matches.
    pub fn is_match(&self, path: &[u8]) -> bool {
        let (mut at, mut star) = (0, None);
        let mut index = 0;
        while index < path.len() {
            match self.pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, index));
                    at += 1;
                }
                Some(byte) if *byte == path[index] => {
                    at += 1;
                    index += 1;
                }
                // The last star takes one byte more, unless that is a `/`.
                _ => match &mut star {
                    Some((back, taken)) if path[*taken] != b'/' => {
                        *taken += 1;
                        (at, index) = (*back + 1, *taken);
                    }
                    _ => return false,
                },
            }
        }
        self.pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_match_like_the_full_globs() {
        let patterns =
            ["*", "*.txt", "a/*.txt", "a/*", "*/b", "a*b*c", "*a", "a/*/c*", "src/1/*.txt", "a", "*b*", "*/*"];
        let paths = [
            "",
            "a",
            "b",
            "a.txt",
            ".txt",
            "a/.txt",
            "a/b.txt",
            "a/b/c.txt",
            "a/b",
            "x/b",
            "abc",
            "aXbYc",
            "aXbYcZ",
            "a/c",
            "a/b/c",
            "a/b/cd",
            "a/b/d",
            "src/1/0.txt",
            "src/1/0.txt.x",
            "src/1/x/0.txt",
            "aa",
            "ba",
            "ab/ba",
            "a//b",
            "/",
        ];
        for pattern in patterns {
            let full = globset::GlobBuilder::new(pattern).literal_separator(true).build().unwrap().compile_matcher();
            let stars = Stars::new(pattern).unwrap();
            for path in paths {
                assert_eq!(stars.is_match(path.as_bytes()), full.is_match(path), "`{pattern}` on `{path}`");
            }
        }
        for pattern in ["a?", "[ab]", "**/a", "a/**", "{a,b}", r"a\*"] {
            assert_eq!(Stars::new(pattern), None);
        }
    }
}
