//! The globs of `COPY` and `ADD`: one path component against `*`, `?`, `[a-z]`, `\x`. Knows nothing of the disk.

/// Whether a component has a character with a meaning.
pub fn is_glob(component: &[u8]) -> bool {
    component.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Whether the whole `name` matches. A pattern with wrong syntax matches nothing: see [`is_valid`].
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let Some(tokens) = parse(pattern) else { return false };
    let name = decode(name);
    let mut states = vec![false; tokens.len() + 1];
    states[0] = true;
    skip_stars(&tokens, &mut states);
    for c in name {
        let mut next = vec![false; tokens.len() + 1];
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| states[*at]) {
            match token {
                Token::Star if c != '/' => next[at] = true,
                Token::Any if c != '/' => next[at + 1] = true,
                Token::Char(wanted) if *wanted == c => next[at + 1] = true,
                Token::Class { negated, ranges } if in_ranges(ranges, c) != *negated => next[at + 1] = true,
                _ => {}
            }
        }
        skip_stars(&tokens, &mut next);
        states = next;
    }
    states[tokens.len()]
}

/// Whether the syntax is right: every `[` closed and not empty, no `\` at the end.
pub fn is_valid(pattern: &[u8]) -> bool {
    parse(pattern).is_some()
}

enum Token {
    Star,
    Any,
    Char(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

pub(super) fn in_ranges(ranges: &[(char, char)], c: char) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
}

fn skip_stars(tokens: &[Token], states: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        if states[at] && matches!(token, Token::Star) {
            states[at + 1] = true;
        }
    }
}

fn parse(pattern: &[u8]) -> Option<Vec<Token>> {
    let chars = decode(pattern);
    let mut tokens = Vec::new();
    let mut rest = chars.as_slice();
    while let Some((c, tail)) = rest.split_first() {
        rest = tail;
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::Char(take(&mut rest)?),
            '[' => class(&mut rest)?,
            c => Token::Char(*c),
        });
    }
    Some(tokens)
}

fn class(rest: &mut &[char]) -> Option<Token> {
    let negated = rest.first() == Some(&'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&']') && !ranges.is_empty() {
            *rest = &rest[1..];
            return Some(Token::Class { negated, ranges });
        }
        let low = class_char(rest)?;
        let mut high = low;
        if rest.first() == Some(&'-') {
            *rest = &rest[1..];
            high = class_char(rest)?;
        }
        ranges.push((low, high));
    }
}

fn class_char(rest: &mut &[char]) -> Option<char> {
    match take(rest)? {
        '-' | ']' => None,
        '\\' => take(rest),
        c => Some(c),
    }
}

fn take(rest: &mut &[char]) -> Option<char> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    Some(*first)
}

/// Characters of a name; each byte that is not UTF-8 is one replacement character.
pub(super) fn decode(bytes: &[u8]) -> Vec<char> {
    let mut chars = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chars.extend(chunk.valid().chars());
        chars.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    chars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_within_a_component() {
        let cases = [
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "ab/c", false),
            ("?", "é", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a]", "/", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"[\]]", "]", true),
            ("a", "ab", false),
            ("*.txt", ".txt", true),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), wanted, "{pattern} {name}");
        }
        assert!(matches(b"a?", b"a\xff"));
    }

    #[test]
    fn wrong_syntax_is_seen() {
        for bad in ["[", "[]", "[a", "a\\", "[a-]", "[]a]", "[^]", "[-a]"] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
        for good in ["", "[a]", "a]", "[a-z0-9]", "**", r"[\-a]"] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
    }
}
