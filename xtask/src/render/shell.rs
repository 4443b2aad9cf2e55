//! Puts values into a shell text so that each stays one value, wherever in the text it stands.
//!
//! Knows nothing of templates: it gets a text with marks and the values that belong there.

use std::fmt::Write as _;

/// Begins a mark; a private character, so no command has it.
const OPEN: char = '\u{f8f0}';
const CLOSE: char = '\u{f8f1}';

/// The mark of the value with this number.
pub(super) fn mark(number: usize) -> String {
    format!("{OPEN}{number}{CLOSE}")
}

/// Whether a text has a character that only marks may have.
pub(super) fn has_mark(text: &str) -> bool {
    text.contains([OPEN, CLOSE])
}

/// Where in a shell text one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Plain,
    Double,
    Single,
    /// `$'…'`
    AnsiC,
    Comment,
    Backtick,
    /// `$((…))`, with how many parentheses are open.
    Arithmetic,
}

/// Replaces the marks in `text` by their `values`, each value a list of words.
///
/// Errors: a value where no quoting helps (in backticks, in a here-document, in arithmetic), or with a zero byte.
pub(super) fn fill(text: &str, values: &[Vec<String>]) -> Result<String, String> {
    let mut filler =
        Filler { out: String::with_capacity(text.len()), stack: Vec::new(), at: At::Plain, heredocs: vec![] };
    let chars: Vec<char> = text.chars().collect();
    let mut index = 0;
    while index < chars.len() {
        if chars[index] == OPEN {
            let digits: String = chars[index + 1..].iter().take_while(|c| c.is_ascii_digit()).collect();
            let value = digits.parse::<usize>().ok().and_then(|number| values.get(number));
            let closed = chars.get(index + 1 + digits.len()) == Some(&CLOSE);
            let Some(value) = value.filter(|_| closed) else {
                return Err("changes a text after a value was put into it: apply filters to the value itself".into());
            };
            filler.value(value)?;
            index += digits.len() + 2;
        } else {
            index += filler.text(&chars[index..])?;
        }
    }
    Ok(filler.out)
}

struct Filler {
    out: String,
    /// What encloses the current place, each with the number of `(` open in it.
    stack: Vec<(At, usize)>,
    at: At,
    /// Ends of here-documents whose bodies begin at the next line.
    heredocs: Vec<(String, bool)>,
}

impl Filler {
    fn value(&mut self, words: &[String]) -> Result<(), String> {
        if words.iter().any(|word| word.contains('\0')) {
            return Err("writes a value with a zero byte, which no command can take".into());
        }
        let joined = words.join(" ");
        match self.at {
            At::Plain => {
                let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
                self.out.push_str(&quoted.join(" "));
            }
            At::Double => {
                for c in joined.chars() {
                    if matches!(c, '"' | '$' | '`' | '\\') {
                        self.out.push('\\');
                    }
                    self.out.push(c);
                }
            }
            At::Single => self.out.push_str(&joined.replace('\'', r"'\''")),
            At::Comment => self.out.push_str(&joined.replace(['\n', '\r'], " ")),
            At::Arithmetic if joined.parse::<i64>().is_ok() => self.out.push_str(&joined),
            At::Arithmetic => return Err(outside("arithmetic, where only whole numbers are safe")),
            At::Backtick => return Err(outside("backticks: write `$(…)` instead")),
            At::AnsiC => return Err(outside("`$'…'`: use plain quotes")),
        }
        Ok(())
    }

    /// Takes in text up to the next possible mark; gives how many characters it took.
    fn text(&mut self, rest: &[char]) -> Result<usize, String> {
        let c = rest[0];
        let next = rest.get(1).copied();
        let mut taken = 1;
        match (self.at, c) {
            (At::Single | At::AnsiC, '\'') | (At::Backtick, '`') => self.leave(),
            (At::Comment, '\n') => {
                self.leave();
                return self.newline(rest);
            }
            (At::Single | At::Comment, _) => {}
            (_, '\\') if next.is_some_and(|next| next != OPEN) => taken = 2,
            (_, '\\') if next == Some(OPEN) => {
                return Err("writes a value right after a `\\`: remove the `\\`, values are quoted already".into());
            }
            (At::AnsiC | At::Backtick, _) => {}
            (_, '`') => self.enter(At::Backtick),
            (_, '$') if rest.starts_with(&['$', '(', '(']) => {
                self.enter(At::Arithmetic);
                taken = 3;
            }
            (_, '$') if next == Some('(') => {
                self.enter(At::Plain);
                taken = 2;
            }
            (At::Plain, '$') if next == Some('\'') => {
                self.enter(At::AnsiC);
                taken = 2;
            }
            (At::Double, '"') => self.leave(),
            (At::Double, _) => {}
            (At::Arithmetic, ')') if self.parentheses() == 0 => {
                self.leave();
                taken = if next == Some(')') { 2 } else { 1 };
            }
            (_, '(') => self.count(1),
            (At::Plain, ')') if self.parentheses() == 0 && !self.stack.is_empty() => self.leave(),
            (_, ')') => self.count(-1),
            (At::Arithmetic, _) => {}
            (At::Plain, '"') => self.enter(At::Double),
            (At::Plain, '\'') => self.enter(At::Single),
            (At::Plain, '#') if self.at_word_start() => self.enter(At::Comment),
            (At::Plain, '<') if next == Some('<') => taken = self.heredoc(rest)?,
            (At::Plain, '\n') => return self.newline(rest),
            (At::Plain, _) => {}
        }
        self.out.extend(&rest[..taken]);
        Ok(taken)
    }

    fn enter(&mut self, at: At) {
        self.stack.push((self.at, 0));
        // The count belongs to the new level; the one below keeps its own.
        self.at = at;
    }

    fn leave(&mut self) {
        self.at = self.stack.pop().map_or(At::Plain, |(at, _)| at);
    }

    fn parentheses(&self) -> usize {
        self.stack.last().map_or(0, |(_, open)| *open)
    }

    fn count(&mut self, by: isize) {
        if let Some((_, open)) = self.stack.last_mut() {
            *open = open.saturating_add_signed(by);
        }
    }

    fn at_word_start(&self) -> bool {
        self.out.chars().next_back().is_none_or(|c| c.is_whitespace() || ";&|()".contains(c))
    }

    /// `<<END` or `<<-END`; `<<<` is no here-document.
    fn heredoc(&mut self, rest: &[char]) -> Result<usize, String> {
        if rest.get(2) == Some(&'<') {
            return Ok(3);
        }
        let cut_tabs = rest.get(2) == Some(&'-');
        let start = 2 + usize::from(cut_tabs);
        let start = start + rest[start..].iter().take_while(|c| matches!(c, ' ' | '\t')).count();
        let length = rest[start..].iter().take_while(|c| !c.is_whitespace() && !";&|()<>".contains(**c)).count();
        let word = &rest[start..start + length];
        if word.contains(&OPEN) {
            return Err(outside("the end of a here-document"));
        }
        let name: String = word.iter().filter(|c| !matches!(c, '"' | '\'' | '\\')).collect();
        self.heredocs.push((name, cut_tabs));
        Ok(start + length)
    }

    /// A line end: bodies of here-documents follow. Gives how many characters it took.
    fn newline(&mut self, rest: &[char]) -> Result<usize, String> {
        let mut taken = 1;
        for (name, cut_tabs) in std::mem::take(&mut self.heredocs) {
            loop {
                let line: Vec<char> = rest[taken..].iter().take_while(|c| **c != '\n').copied().collect();
                if line.contains(&OPEN) {
                    return Err(outside("a here-document: pass it through `| raw` if its text may be anything"));
                }
                let text: String = line.iter().collect();
                taken = (taken + line.len() + 1).min(rest.len());
                if (if cut_tabs { text.trim_start_matches('\t') } else { &text }) == name || taken == rest.len() {
                    break;
                }
            }
        }
        self.out.extend(&rest[..taken]);
        Ok(taken)
    }
}

fn outside(place: &str) -> String {
    format!("writes a value into {place}")
}

/// One word for a shell: as it is if nothing in it has a meaning, else in single quotes.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_^".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('=') {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    let _ = write!(quoted, "'{}'", word.replace('\'', r"'\''"));
    quoted
}
