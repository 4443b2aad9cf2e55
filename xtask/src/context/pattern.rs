//! One pattern of an ignore file against whole paths, with the builders' own reading of `**`, `*` and `[…]`.
//!
//! Knows nothing of negation, order and parent directories: that is `ignore`.

use super::glob::{decode, in_ranges};

/// A pattern, ready to match.
///
/// Builders turn a pattern into a regular expression, and its corners follow from that (a `*` inside brackets, a
/// negated class that takes a `/`). So does this: text → regular expression → nodes.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Exact(Vec<u8>),
    /// `text**`
    Prefix(Vec<u8>),
    /// `**text`
    Suffix(Vec<u8>),
    Nodes {
        nodes: Vec<Node>,
        /// Bytes that every match begins and ends with: most paths are told apart by these alone.
        first: Vec<u8>,
        last: Vec<u8>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    atom: Atom,
    star: bool,
}

#[derive(Clone, Debug)]
enum Atom {
    Char(char),
    /// Everything but a newline.
    Any,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Nothing, or anything up to a `/`.
    Dirs,
    /// The start of the path.
    Start,
}

impl Pattern {
    /// `None` if the pattern has no meaning for the builders either.
    pub(super) fn new(cleaned: &[u8]) -> Option<Self> {
        let (kind, regex) = translate(&decode(cleaned));
        Some(match kind {
            Kind::Exact => Self::Exact(cleaned.to_vec()),
            Kind::Prefix => Self::Prefix(cleaned[..cleaned.len() - 2].to_vec()),
            Kind::Suffix => Self::Suffix(cleaned[2..].to_vec()),
            Kind::Regex => {
                let nodes = nodes(&regex)?;
                let (first, last) = (literal(nodes.iter()), literal(nodes.iter().rev()));
                let last = last.chars().rev().collect::<String>().into_bytes();
                Self::Nodes { nodes, first: first.into_bytes(), last }
            }
        })
    }

    /// Whether the whole path matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text),
            Self::Suffix(text) => path.ends_with(text) || text.strip_prefix(b"/").is_some_and(|rest| rest == path),
            Self::Nodes { nodes, first, last } => {
                path.starts_with(first) && path.ends_with(last) && run(nodes, &decode(path))
            }
        }
    }
}

/// The plain characters up to the first node of another kind. A replacement character may stand for any broken byte.
fn literal<'n>(nodes: impl Iterator<Item = &'n Node>) -> String {
    let plain = nodes.map_while(|node| match node {
        Node { atom: Atom::Char(c), star: false } if *c != char::REPLACEMENT_CHARACTER => Some(*c),
        _ => None,
    });
    plain.collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

fn translate(pattern: &[char]) -> (Kind, Vec<char>) {
    let mut kind = Kind::Exact;
    let mut regex = Vec::new();
    let mut rest = pattern.iter().copied().peekable();
    let mut first = true;
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                // `**/` is `**`.
                rest.next_if_eq(&'/');
                if rest.peek().is_some() {
                    regex.extend("(.*/)?".chars());
                    kind = Kind::Regex;
                } else if kind == Kind::Exact {
                    kind = Kind::Prefix;
                } else {
                    regex.extend(".*".chars());
                    kind = Kind::Regex;
                }
                if first {
                    kind = Kind::Suffix;
                }
            }
            '*' => {
                regex.extend("[^/]*".chars());
                kind = Kind::Regex;
            }
            '?' => {
                regex.extend("[^/]".chars());
                kind = Kind::Regex;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => regex.extend(['\\', c]),
            '\\' => match rest.next() {
                Some(next) => {
                    regex.extend(['\\', next]);
                    kind = Kind::Regex;
                }
                None => regex.push('\\'),
            },
            '[' | ']' => {
                regex.push(c);
                kind = Kind::Regex;
            }
            _ => regex.push(c),
        }
        first = false;
    }
    (kind, regex)
}

fn nodes(regex: &[char]) -> Option<Vec<Node>> {
    let mut found: Vec<Node> = Vec::new();
    let mut at = 0;
    while let Some(c) = regex.get(at).copied() {
        at += 1;
        let atom = match c {
            '(' => {
                at += "(.*/)?".len() - 1;
                Atom::Dirs
            }
            '.' => Atom::Any,
            '^' => Atom::Start,
            '*' => {
                found.last_mut()?.star = true;
                continue;
            }
            '\\' => escaped(regex, &mut at)?,
            '[' => class(regex, &mut at)?,
            c => Atom::Char(c),
        };
        found.push(Node { atom, star: false });
    }
    Some(found)
}

fn escaped(regex: &[char], at: &mut usize) -> Option<Atom> {
    let c = *regex.get(*at)?;
    *at += 1;
    let word = || vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
    let space = || vec![('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];
    Some(match c {
        'd' | 'D' => Atom::Class { negated: c == 'D', ranges: vec![('0', '9')] },
        'w' | 'W' => Atom::Class { negated: c == 'W', ranges: word() },
        's' | 'S' => Atom::Class { negated: c == 'S', ranges: space() },
        _ => Atom::Char(plain_escape(c)?),
    })
}

fn plain_escape(c: char) -> Option<char> {
    Some(match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        c if c.is_ascii_punctuation() => c,
        _ => return None,
    })
}

fn class(regex: &[char], at: &mut usize) -> Option<Atom> {
    let negated = regex.get(*at) == Some(&'^');
    *at += usize::from(negated);
    let mut ranges = Vec::new();
    let mut first = true;
    loop {
        let c = *regex.get(*at)?;
        if c == ']' && !first {
            *at += 1;
            return Some(Atom::Class { negated, ranges });
        }
        // A `-` may stand first or last, not in between.
        if c == '-' && !first && regex.get(*at + 1) != Some(&']') {
            return None;
        }
        if c == '[' && regex.get(*at + 1) == Some(&':') {
            return None;
        }
        first = false;
        let low = class_char(regex, at)?;
        let mut high = low;
        if regex.get(*at) == Some(&'-') && regex.get(*at + 1).is_some_and(|next| *next != ']') {
            *at += 1;
            high = class_char(regex, at)?;
        }
        if low > high {
            return None;
        }
        ranges.push((low, high));
    }
}

fn class_char(regex: &[char], at: &mut usize) -> Option<char> {
    let c = *regex.get(*at)?;
    *at += 1;
    if c != '\\' {
        return Some(c);
    }
    let c = *regex.get(*at)?;
    *at += 1;
    plain_escape(c)
}

/// Runs the nodes over the path, all possibilities side by side, so that no pattern takes exponential time.
fn run(nodes: &[Node], path: &[char]) -> bool {
    // State 2i stands before node i; 2i + 1 inside a `Dirs` node i.
    let end = 2 * nodes.len();
    let mut states = vec![false; end + 2];
    states[0] = true;
    close(nodes, &mut states, true);
    for c in path.iter().copied() {
        let mut next = vec![false; end + 2];
        for (at, node) in nodes.iter().enumerate() {
            let after = if node.star { 2 * at } else { 2 * at + 2 };
            let taken = match &node.atom {
                Atom::Char(wanted) => *wanted == c,
                Atom::Any => c != '\n',
                Atom::Class { negated, ranges } => in_ranges(ranges, c) != *negated,
                Atom::Dirs | Atom::Start => false,
            };
            if states[2 * at] && taken {
                next[after] = true;
            }
            if states[2 * at + 1] && c != '\n' {
                next[2 * at + 1] = true;
                next[2 * at + 2] |= c == '/';
            }
        }
        close(nodes, &mut next, false);
        states = next;
    }
    states[end]
}

/// Follows the steps that take no character.
fn close(nodes: &[Node], states: &mut [bool], at_start: bool) {
    for (at, node) in nodes.iter().enumerate() {
        if !states[2 * at] {
            continue;
        }
        match node.atom {
            Atom::Dirs => {
                states[2 * at + 1] = true;
                states[2 * at + 2] = true;
            }
            Atom::Start => states[2 * at + 2] |= at_start,
            _ => states[2 * at + 2] |= node.star,
        }
    }
}
