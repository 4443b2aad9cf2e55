//! Words of an instruction: splitting, quotes, variables. Knows no instruction's meaning.

use std::ops::Range;

/// A word as written, and where it stands in the logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) raw: &'a str,
    pub(super) range: Range<usize>,
}

/// Splits `text` from byte `from` at white space outside quotes.
pub(super) fn split_words(text: &str, from: usize, escape: char) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < from) {
        if escaped {
            escaped = false;
            continue;
        }
        match quote {
            Some(open) if c == open => quote = None,
            Some('\'') => {}
            Some(_) => escaped = c == escape,
            None if c.is_whitespace() => {
                if let Some(begin) = start.take() {
                    words.push(Word { raw: &text[begin..at], range: begin..at });
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            None => escaped = c == escape,
        }
        start.get_or_insert(at);
    }
    if let Some(begin) = start {
        words.push(Word { raw: &text[begin..], range: begin..text.len() });
    }
    words
}

/// Expands `$X`, `${X}`, `${X:-d}`, `${X:+a}`, `${X:?m}` (with and without the colon) and removes quotes.
///
/// `get` answers the value of a variable; an unset one is empty. Errors are a text for a message.
pub(super) fn expand(word: &str, escape: char, get: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, String> {
    let mut expander = Expander { chars: word.chars().collect(), at: 0, escape, get };
    let mut out = String::new();
    expander.run(&mut out, None)?;
    Ok(out)
}

struct Expander<'g> {
    chars: Vec<char>,
    at: usize,
    escape: char,
    get: &'g mut dyn FnMut(&str) -> Option<String>,
}

impl Expander<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Up to the end, or up to `stop`, which is consumed.
    fn run(&mut self, out: &mut String, stop: Option<char>) -> Result<(), String> {
        while let Some(c) = self.next() {
            match c {
                _ if Some(c) == stop => return Ok(()),
                '\'' => loop {
                    match self.next() {
                        Some('\'') => break,
                        Some(c) => out.push(c),
                        None => return Err("has an open single quote".into()),
                    }
                },
                '"' => self.double_quoted(out)?,
                '$' => self.variable(out)?,
                _ if c == self.escape => match self.next() {
                    Some(c) => out.push(c),
                    None => out.push(c),
                },
                _ => out.push(c),
            }
        }
        if stop.is_some() { Err("has an open `${`".into()) } else { Ok(()) }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.variable(out)?,
                Some(c) if c == self.escape => match self.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => return Err("has an open double quote".into()),
                },
                Some(c) => out.push(c),
                None => return Err("has an open double quote".into()),
            }
        }
    }

    /// After the `$`.
    fn variable(&mut self, out: &mut String) -> Result<(), String> {
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&(self.get)(&name).unwrap_or_default());
            }
            return Ok(());
        }
        self.at += 1;
        let name = self.name();
        if name.is_empty() {
            return Err("has `${` without a name".into());
        }
        let value = (self.get)(&name);
        match self.next() {
            Some('}') => out.push_str(&value.unwrap_or_default()),
            Some(':') => {
                let modifier = self.next();
                self.modified(out, &name, value.filter(|value| !value.is_empty()), modifier)?;
            }
            modifier @ Some('-' | '+' | '?') => self.modified(out, &name, value, modifier)?,
            Some(c @ ('#' | '%' | '/')) => {
                return Err(format!("uses `${{{name}{c}…}}`, which is not supported here"));
            }
            Some(c) => return Err(format!("has an unexpected `{c}` in `${{{name}`")),
            None => return Err("has an open `${`".into()),
        }
        Ok(())
    }

    fn modified(
        &mut self,
        out: &mut String,
        name: &str,
        value: Option<String>,
        modifier: Option<char>,
    ) -> Result<(), String> {
        let mut word = String::new();
        self.run(&mut word, Some('}'))?;
        match (modifier, value) {
            (Some('-'), value) => out.push_str(&value.unwrap_or(word)),
            (Some('+'), Some(_)) => out.push_str(&word),
            (Some('+'), None) => {}
            (Some('?'), Some(value)) => out.push_str(&value),
            (Some('?'), None) if word.is_empty() => return Err(format!("needs a value for `{name}`")),
            (Some('?'), None) => return Err(format!("needs a value for `{name}`: {word}")),
            (c, _) => return Err(format!("has the unknown modifier `{}`", c.map(String::from).unwrap_or_default())),
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.at += 1;
                }
            }
            Some(c) if c.is_ascii_digit() => {
                while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                    name.push(c);
                    self.at += 1;
                }
            }
            Some(c @ ('@' | '*' | '#')) => {
                name.push(c);
                self.at += 1;
            }
            _ => {}
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_quotes_and_places() {
        let words = split_words(r#"COPY "a b" c\ d 'e"f'"#, 4, '\\');
        let raw: Vec<&str> = words.iter().map(|word| word.raw).collect();
        assert_eq!(raw, [r#""a b""#, r"c\ d", r#"'e"f'"#]);
        assert_eq!(words[0].range, 5..10);
    }

    #[test]
    fn variables_expand_as_builders_expand_them() {
        let cases = [
            ("$A", "one"),
            ("${A}b", "oneb"),
            ("$Ab", ""),
            ("x${E:-d}y", "xdy"),
            ("x${E-d}y", "xy"),
            ("${N-d}", "d"),
            ("${A:-d}", "one"),
            ("${A:+alt}", "alt"),
            ("${E:+alt}", ""),
            ("${E+alt}", "alt"),
            ("${N:-${A}/x}", "one/x"),
            ("${N:-\"a}b\"}", "a}b"),
            ("'$A'", "$A"),
            ("\"$A b\"", "one b"),
            (r"\$A", "$A"),
            (r#""\$A \x""#, r"$A \x"),
            ("a$$b", "a$"),
            ("$", "$"),
            ("${A:?no}", "one"),
        ];
        for (word, wanted) in cases {
            let got = expand(word, '\\', &mut |name| match name {
                "A" => Some("one".into()),
                "E" => Some(String::new()),
                _ => None,
            });
            assert_eq!(got.as_deref(), Ok(wanted), "{word}");
        }
    }

    #[test]
    fn broken_words_are_errors() {
        for word in ["${A", "${", "'a", "\"a", "${A:", "${A:*b}", "${A b}", "${N:?give it}", "${A#x}", "${A:-b"] {
            assert!(expand(word, '\\', &mut |_| None).is_err(), "{word}");
        }
    }
}
