//! `*` in names of tasks. Knows nothing of tasks.

/// Whether the text has a `*`.
pub fn is_wildcard(text: &str) -> bool {
    text.contains('*')
}

/// Whether `name` matches `pattern`, in which `*` stands for any run of characters, `:` included.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_run() {
        assert!(matches("push-image:*", "push-image:base"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "axxbyyc"));
        assert!(!matches("a*b", "ab-"));
        assert!(!matches("build:*", "build"));
        assert!(matches("exact", "exact"));
        assert!(!matches("aa*aa", "aaa"));
    }
}
