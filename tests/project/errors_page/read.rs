//! Messages in Rust sources: what stands in `Diagnostic::error(…)`, followed through variables and through functions
//! and closures that take a text. Knows Rust only as far as texts, brackets and `let` go.

/// One source.
pub struct Source {
    pub room: String,
    /// Relative to `xtask/src`.
    pub name: String,
    pub text: String,
    /// What each byte is.
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Text,
    Comment,
}

/// A message as it stands in the source, with what its statement says to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub file: String,
    pub message: String,
    pub helps: Vec<String>,
    pub warning: bool,
    /// The exit code, if the statement itself tells.
    pub exit: Option<&'static str>,
}

/// A place that makes an error of which no message was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    pub file: String,
    pub argument: String,
}

impl Source {
    pub fn new(room: &str, name: &str, text: &str) -> Self {
        let text = text.split("\n#[cfg(test)]").next().unwrap_or(text).to_owned();
        let kinds = kinds(&text);
        Self { room: room.to_owned(), name: name.to_owned(), text, kinds }
    }

    fn is_code(&self, at: usize) -> bool {
        self.kinds.get(at) == Some(&Kind::Code)
    }

    /// Where this stands as code.
    fn all(&self, wanted: &str) -> Vec<usize> {
        let found = self.text.match_indices(wanted).map(|(at, _)| at);
        found.filter(|at| self.is_code(*at) && !self.is_part_of_word(*at)).collect()
    }

    fn is_part_of_word(&self, at: usize) -> bool {
        self.text[..at].ends_with(|one: char| one.is_alphanumeric() || one == '_')
    }

    /// The end of what is opened before `start`: the bracket, or one of `ends` outside of brackets.
    fn end(&self, start: usize, ends: &[u8]) -> usize {
        let bytes = self.text.as_bytes();
        let mut depth = 0_i32;
        for (at, byte) in bytes.iter().enumerate().skip(start) {
            if !self.is_code(at) {
                continue;
            }
            match *byte {
                one if depth == 0 && ends.contains(&one) => return at,
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' if depth == 0 => return at,
                b')' | b']' | b'}' => depth -= 1,
                _ => {}
            }
        }
        bytes.len()
    }

    /// The arguments of a call whose bracket was opened just before `start`, as ranges.
    fn arguments(&self, start: usize) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        let mut at = start;
        loop {
            let end = self.end(at, b",");
            if !self.text[at..end].trim().is_empty() {
                all.push((at, end));
            }
            if self.text.as_bytes().get(end) != Some(&b',') {
                return all;
            }
            at = end + 1;
        }
    }

    /// All texts between two places, each with where it begins.
    fn texts(&self, start: usize, end: usize) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut at = start;
        while at < end {
            if self.kinds[at] != Kind::Text {
                at += 1;
                continue;
            }
            let close = (at..self.kinds.len()).find(|at| self.kinds[*at] != Kind::Text).unwrap_or(self.kinds.len());
            found.push((at, unescaped(&self.text[at..close])));
            at = close;
        }
        found
    }

    /// The text that an expression is: a literal, or the form of a `format!`.
    fn literal(&self, (start, end): (usize, usize)) -> Option<String> {
        let (at, text) = self.texts(start, end).into_iter().next()?;
        let before = self.text[start..at].trim_matches(|c: char| c.is_whitespace() || "(&".contains(c));
        ["", "format!", "r", "r#"].contains(&before.trim_end_matches('(')).then_some(text)
    }

    /// Where the function around `at` begins.
    fn function(&self, at: usize) -> usize {
        let starts = ["\nfn ", "\npub fn ", "    fn ", "    pub fn ", "pub(super) fn ", "pub(crate) fn ", "pub(in "];
        starts.iter().filter_map(|start| self.text[..at].rfind(start)).max().unwrap_or(0)
    }
}

fn kinds(text: &str) -> Vec<Kind> {
    let bytes = text.as_bytes();
    let mut kinds = vec![Kind::Code; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let (kind, length) = if rest.starts_with(b"//") {
            (Kind::Comment, rest.iter().position(|one| *one == b'\n').unwrap_or(rest.len()))
        } else if rest.starts_with(b"r#\"") {
            (Kind::Text, find(&rest[3..], b"\"#").map_or(rest.len(), |end| end + 5))
        } else if rest[0] == b'"' {
            (Kind::Text, quoted(rest))
        } else if rest[0] == b'\'' {
            // A letter in quotes, not the name of a lifetime.
            let length = if rest.get(1) == Some(&b'\\') { 4 } else { 3 };
            let letter = text[at + 1..].chars().next().map_or(1, char::len_utf8);
            let is_letter = rest.get(1 + letter) == Some(&b'\'') || rest.get(1) == Some(&b'\\');
            (Kind::Comment, if is_letter { length.max(2 + letter) } else { 1 })
        } else {
            (Kind::Code, 1)
        };
        let end = (at + length).min(bytes.len());
        kinds[at..end].fill(kind);
        at = end.max(at + 1);
    }
    kinds
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The inside of a literal, its escapes undone.
fn unescaped(literal: &str) -> String {
    if let Some(raw) = literal.strip_prefix("r#\"") {
        return raw.trim_end_matches("\"#").to_owned();
    }
    let mut out = String::new();
    let mut chars = literal.trim_start_matches('"').strip_suffix('"').unwrap_or(literal).chars();
    while let Some(one) = chars.next() {
        match one {
            '\\' => match chars.next() {
                Some('n') => out.push(' '),
                Some('\n') => chars = chars.as_str().trim_start().chars(),
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

/// A message says something by itself if it has two words of its own.
pub fn speaks(message: &str) -> bool {
    let is_word = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_lowercase() || ",.:".contains(c));
    message.split(' ').filter(is_word).count() >= 2
}

/// Names between braces.
fn placeholders(message: &str) -> Vec<String> {
    message.split('{').skip(1).filter_map(|part| Some(part.split([':', '}', '.']).next()?.to_owned())).collect()
}

pub struct Reader<'a> {
    pub sources: &'a [Source],
    pub found: Vec<Found>,
    pub missed: Vec<Missed>,
}

impl<'a> Reader<'a> {
    pub fn read(sources: &'a [Source]) -> Self {
        let mut reader = Self { sources, found: Vec::new(), missed: Vec::new() };
        for source in sources {
            for (opening, warning) in [
                ("Diagnostic::error(", false),
                ("Self::error(", false),
                ("Diagnostic::warning(", true),
                ("#[error(", false),
            ] {
                if opening == "Self::error("
                    && source.name != "model/diagnostic.rs"
                    && !source.text.contains("impl Failure")
                {
                    continue;
                }
                for at in source.all(opening) {
                    reader.place(source, at, at + opening.len(), warning);
                }
            }
        }
        reader
    }

    fn place(&mut self, source: &'a Source, at: usize, inside: usize, warning: bool) {
        let Some(argument) = source.arguments(inside).into_iter().next() else { return };
        let words = source.text[argument.0..argument.1].trim();
        if ["transparent", "message"].contains(&words) && source.text[at..].starts_with("#[error") {
            return;
        }
        let messages = self.messages(source, argument, 6);
        if messages.is_empty() {
            let argument = words.split_whitespace().collect::<Vec<_>>().join(" ");
            self.missed.push(Missed { file: source.name.clone(), argument });
        }
        let helps = helps(source, inside);
        let exit = exit(source, at);
        for (file, message) in messages {
            self.found.push(Found { file, message, helps: helps.clone(), warning, exit });
        }
    }

    /// All messages that an expression may be, each with the file in which it stands.
    fn messages(&self, source: &'a Source, (start, end): (usize, usize), depth: usize) -> Vec<(String, String)> {
        if depth == 0 {
            return Vec::new();
        }
        if let Some(form) = source.literal((start, end)) {
            if speaks(&form) {
                return vec![(source.name.clone(), form)];
            }
            let filled = self.filled(source, start, &form, depth);
            // One word of its own is enough where nothing else is known.
            let has_word = form.split(' ').any(|word| word.len() > 3 && word.chars().all(char::is_lowercase));
            return if filled.is_empty() && has_word { vec![(source.name.clone(), form)] } else { filled };
        }
        let words = source.text[start..end].trim().trim_start_matches('&');
        let name: String = words.chars().take_while(|one| one.is_alphanumeric() || *one == '_').collect();
        let rest = &words[name.len()..];
        if name.is_empty() || !["", ".clone()", ".into()", ".as_str()", ".to_owned()"].contains(&rest) {
            // A `match` or an `if` has its messages within.
            return if words.starts_with("match ") || words.starts_with("if ") {
                self.within(source, (start, end), depth)
            } else {
                Vec::new()
            };
        }
        let bound = self.bound(source, start, &name, depth);
        if bound.is_empty() { self.given(source, start, &name, depth) } else { bound }
    }

    /// A form that has no words of its own: what its parts may be.
    fn filled(&self, source: &'a Source, at: usize, form: &str, depth: usize) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let depth = depth.saturating_sub(1);
        if depth == 0 {
            return all;
        }
        for name in placeholders(form).into_iter().filter(|name| !name.is_empty()) {
            let mut parts = self.bound(source, at, &name, depth);
            if parts.is_empty() {
                parts = self.given(source, at, &name, depth);
            }
            let whole = |(file, part): (String, String)| (file, form.replace(&format!("{{{name}}}"), &part));
            all.extend(parts.into_iter().map(whole).filter(|(_, message)| speaks(message)));
        }
        all
    }

    /// What `let NAME = …` above says.
    fn bound(&self, source: &'a Source, at: usize, name: &str, depth: usize) -> Vec<(String, String)> {
        let first = source.function(at);
        let mut found = Vec::new();
        for start in source.all("let ").into_iter().filter(|start| (first..at).contains(start)).rev() {
            let Some(equals) = source.text[start..at].find(" =").map(|sign| start + sign) else { continue };
            let pattern = &source.text[start + 4..equals];
            let names: Vec<&str> =
                pattern.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
            if !names.contains(&name) || pattern.len() > 60 {
                continue;
            }
            let range = (equals + 2, source.end(equals + 2, b";"));
            if source.text[range.0..range.1].trim_start().starts_with('|') {
                continue;
            }
            found = match source.literal(range) {
                Some(_) => self.messages(source, range, depth),
                None => self.within(source, range, depth),
            };
            break;
        }
        found
    }

    /// Texts within a larger expression that may be messages.
    fn within(&self, source: &'a Source, (start, end): (usize, usize), depth: usize) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (at, text) in source.texts(start, end) {
            let before = source.text[start..at].trim_end_matches("format!(").trim_end();
            // What follows a comma within a pair is its help.
            let is_second = [",", ".help(", "help ="].iter().any(|end| before.ends_with(end));
            if is_second || text.len() < 8 {
                continue;
            }
            if speaks(&text) {
                found.push((source.name.clone(), text));
            } else {
                found.extend(self.filled(source, at, &text, depth));
            }
        }
        found
    }

    /// What callers give for a param of the closure or function around `at`.
    fn given(&self, source: &'a Source, at: usize, name: &str, depth: usize) -> Vec<(String, String)> {
        let first = source.function(at);
        // A closure: `let refuse = |what: &str, …| …`
        for start in source.all("let ").into_iter().filter(|start| (first..at).contains(start)).rev() {
            let Some(bar) = source.text[start..at].find(" = |").map(|sign| start + sign + 4) else { continue };
            if source.text[start..bar].contains('\n') || source.end(bar, b";") < at {
                continue;
            }
            let Some(close) = source.text[bar..].find('|').map(|close| bar + close) else { continue };
            let params = params(&source.text[bar..close]);
            if let Some(place) = params.iter().position(|param| param == name) {
                let called = source.text[start + 4..bar - 4].trim().to_owned();
                let last = source.text[at..].find("\n}\n").map_or(source.text.len(), |end| at + end);
                return self.calls(source, &format!("{called}("), (bar, last), place, depth);
            }
        }
        // A function: `fn refuse(&self, what: &str, …)`
        let Some(start) = source.text[first..at].find("fn ").map(|fun| first + fun + 3) else { return Vec::new() };
        let Some(open) = source.text[start..].find('(').map(|open| start + open + 1) else { return Vec::new() };
        let close = source.end(open, b"");
        let params = params(&source.text[open..close]);
        let has_self = params.first().is_some_and(|param| param == "self");
        let Some(place) = params.iter().position(|param| param == name) else { return Vec::new() };
        let called = source.text[start..open - 1].split('<').next().unwrap_or_default().to_owned();
        let mut found = Vec::new();
        for other in self.sources {
            let is_near = other.room == source.room && other.text.contains(&called);
            if is_near || (other.room != source.room && other.text.contains(&format!(".{called}("))) {
                let place = place - usize::from(has_self);
                found.extend(self.calls(other, &format!("{called}("), (0, other.text.len()), place, depth));
            }
        }
        found
    }

    fn calls(
        &self,
        source: &'a Source,
        call: &str,
        (first, last): (usize, usize),
        place: usize,
        depth: usize,
    ) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for at in source.all(call).into_iter().filter(|at| (first..last).contains(at)) {
            if source.text[..at].ends_with("fn ") {
                continue;
            }
            let arguments = source.arguments(at + call.len());
            if let Some(argument) = arguments.get(place) {
                match source.literal(*argument) {
                    Some(text) => found.push((source.name.clone(), text)),
                    None => found.extend(self.messages(source, *argument, depth.saturating_sub(1))),
                }
            }
        }
        found
    }
}

/// Texts in the body of a function that other places put behind a subject, in that form.
pub fn of_function(source: &Source, function: &str, form: &str) -> Vec<Found> {
    let Some(start) = source.text.find(&format!("fn {function}(")) else { return Vec::new() };
    let open = start + source.text[start..].find('{').unwrap_or(0) + 1;
    let texts = source.texts(open, source.end(open, b"")).into_iter().map(|(_, text)| text);
    let is_message = |text: &String| text.split(' ').filter(|word| word.len() > 1).count() >= 2;
    let found = |text: String| Found {
        file: source.name.clone(),
        message: form.replace("{}", &text),
        helps: Vec::new(),
        warning: false,
        exit: None,
    };
    texts.filter(is_message).map(found).collect()
}

fn params(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![String::new()];
    for one in text.chars() {
        match one {
            '(' | '<' | '[' => depth += 1,
            ')' | '>' | ']' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ => {}
        }
        if let Some(name) = names.last_mut() {
            name.push(one);
        }
    }
    let name = |param: &String| {
        let name = param.split(':').next().unwrap_or_default().trim().trim_start_matches(['&', ',']);
        name.trim().trim_start_matches("mut ").trim().to_owned()
    };
    names.iter().map(name).filter(|name| !name.is_empty()).collect()
}

/// What the statement around `at` wraps the error into: a failure of the work, or one that kept it from being tried.
fn exit(source: &Source, at: usize) -> Option<&'static str> {
    let start = source.text[..at].rfind(";\n").map_or(0, |end| end + 1).max(source.function(at));
    for (wrapper, code) in [("Failure::error(", "2"), ("Failure::failed(", "1")] {
        let around = source.all(wrapper).into_iter().filter(|open| (start..at).contains(open));
        if around.map(|open| open + wrapper.len()).any(|open| source.end(open, b"") > at) {
            return Some(code);
        }
    }
    None
}

/// What the statement at `at` says to do.
fn helps(source: &Source, at: usize) -> Vec<String> {
    let end = source.text[at..].find(";\n").map_or(source.text.len(), |end| at + end).min(at + 900);
    let end = (end..source.text.len()).find(|end| source.text.is_char_boundary(*end)).unwrap_or(source.text.len());
    let end = source.text[at..end].find("Diagnostic::").map_or(end, |next| at + next);
    let mut helps = Vec::new();
    for start in source.all(".help(").into_iter().filter(|start| (at..end).contains(start)) {
        if let Some(help) = source.arguments(start + 6).first().and_then(|argument| source.literal(*argument))
            && !helps.contains(&help)
        {
            helps.push(help);
        }
    }
    helps
}
