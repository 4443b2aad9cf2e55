//! Bytes to a tree of nodes within tight budgets, and values to YAML: the only module that knows YAML's libraries.
//! Knows nothing of tasks.
//!
//! Everything in YAML that hides what a file means is refused: tags, merge keys, duplicate keys, keys that are not
//! text, a second document. Aliases are allowed, but what they add up to is bounded, so that a small file stays
//! small. The one syntax error that the parser stops at is told; duplicate keys and the like are all told.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::node::shorten;
use super::{Errors, Node, Scalar, Style, Value};
use crate::model::{Diagnostic, Diagnostics, Place};

/// No file may be larger.
pub const MAX_BYTES: usize = 16 << 20;
/// No single text may be longer.
const MAX_SCALAR: usize = 1 << 20;
/// Values in one file.
const MAX_NODES: usize = 1_000_000;
/// Lists and maps within one another.
const MAX_DEPTH: usize = 32;
/// Aliases in one file.
const MAX_ALIASES: usize = 200;
/// Values that all anchors and aliases together may stand for.
const MAX_ALIAS_NODES: usize = 10_000;
/// Bytes of text that all aliases together may stand for.
const MAX_ALIAS_BYTES: usize = 1 << 20;

/// Reads a file. `file_name` is relative to the root and only used for places.
///
/// The tree's keys are text, without duplicates, not empty and without control characters.
pub fn parse(file_name: &str, bytes: &[u8]) -> Result<Node, Diagnostics> {
    let file: Arc<str> = file_name.into();
    let text = decode(&file, bytes)?;
    conflict_markers(&file, text)?;
    let mut builder = Builder::new(file);
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                let diagnostic = syntax_error(&builder.file, &error);
                builder.errors.push(diagnostic);
                break;
            }
        }
    }
    builder.finish()
}

/// Writes a value as YAML, keys in their order, with a final newline.
///
/// A value that came from JSON can always be written; an empty text would be a bug of the library.
pub fn write(value: &serde_json::Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default()
}

/// Checks size and encoding of the file of this name, before anything else is done with its text.
///
/// # Errors
/// It is too large, or something else than UTF-8 without NUL bytes and byte order mark.
pub fn decode<'a>(file: &Arc<str>, bytes: &'a [u8]) -> Result<&'a str, Diagnostics> {
    let start = Place { file: file.clone(), line: 1, column: 1 };
    let refuse = |what: &str, at: Place| Diagnostics::from(Diagnostic::error(format!("`{file}` {what}")).at(at));
    if bytes.len() > MAX_BYTES {
        return Err(refuse(&format!("is larger than {} MiB", MAX_BYTES >> 20), start));
    }
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err(refuse("starts with a byte order mark, expected plain UTF-8", start));
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(refuse("is UTF-16, expected UTF-8", start));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| refuse("is not UTF-8", place_of(file, bytes, error.valid_up_to())))?;
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(refuse("holds a NUL byte", place_of(file, bytes, at)));
    }
    Ok(text)
}

/// Line and column of the byte `at`, of which everything before is UTF-8.
pub fn place_of(file: &Arc<str>, bytes: &[u8], at: usize) -> Place {
    let before = &bytes[..at];
    let line = before.split(|byte| *byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    Place { file: file.clone(), line: line as u32, column: column as u32 }
}

/// No line of a valid file starts with a marker of git, so they are looked for first: the parser's words would
/// only puzzle.
fn conflict_markers(file: &Arc<str>, text: &str) -> Result<(), Diagnostics> {
    if !text.contains("<<<<<<< ") && !text.contains(">>>>>>> ") {
        return Ok(());
    }
    let mut found = Diagnostic::error(format!("`{file}` has an unresolved merge conflict"));
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("<<<<<<< ") || line == "=======" || line.starts_with(">>>>>>> ") {
            found = found.at_because(Place::new(file, index as u32 + 1, 1), line.to_owned());
        }
    }
    if found.places.is_empty() {
        return Ok(());
    }
    found.places.truncate(12);
    Err(found.help(format!("keep one side of each conflict, then: git add {file}")).into())
}

fn syntax_error(file: &Arc<str>, error: &ScanError) -> Diagnostic {
    let mut place = place(file, *error.marker());
    if matches!(error.kind(), ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation) {
        // The parser stands behind the tab.
        place.column = place.column.saturating_sub(1).max(1);
    }
    let refuse = |what: &str| Diagnostic::error(format!("`{file}` {what}")).at(place.clone());
    match error.kind() {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation => {
            refuse("has a tab where only spaces may indent").help("replace the tab with spaces")
        }
        ErrorKind::UnknownAnchor => refuse("has an alias to an anchor that is not defined before it"),
        ErrorKind::DirectiveDisallowed => {
            refuse("has a YAML directive, which is not supported").help("remove the line")
        }
        ErrorKind::RecursionLimitExceeded => too_deep(file, place.clone()),
        other => refuse(&format!("is not valid YAML: {}", other.to_string().to_lowercase())),
    }
}

fn too_deep(file: &Arc<str>, place: Place) -> Diagnostic {
    Diagnostic::error(format!("`{file}` nests lists and maps deeper than {MAX_DEPTH} levels")).at(place)
}

fn place(file: &Arc<str>, mark: Marker) -> Place {
    Place { file: file.clone(), line: mark.line().max(1) as u32, column: mark.col() as u32 + 1 }
}

/// A list or map that is not closed yet.
struct Frame {
    place: Place,
    start: u32,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Node, Node)>, key: Option<Node>, seen: Keys },
}

/// What an anchor stands for, with its weight.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
}

/// Events to nodes.
#[derive(Default)]
struct Builder {
    file: Arc<str>,
    stack: Vec<Frame>,
    root: Option<Node>,
    documents: usize,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    aliases: usize,
    alias_nodes: usize,
    alias_bytes: usize,
    errors: Errors,
}

impl Builder {
    fn new(file: Arc<str>) -> Self {
        Self { file, ..Self::default() }
    }

    /// Takes one event. An error here ends the reading: going on would cost what the budget forbids.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostics> {
        match event {
            Event::DocumentStart(..) => self.document(span),
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.is_some(), span);
                if text.len() > MAX_SCALAR {
                    return Err(self.refuse(&format!("has a text longer than {} MiB", MAX_SCALAR >> 20), span));
                }
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                let scalar = Value::Scalar(Scalar { text: (&*text).into(), style });
                self.add(Node { value: scalar, place: place(&self.file, span.start), range: range(span) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.is_some(), span);
                self.open(Content::List(Vec::new()), anchor, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.is_some(), span);
                self.open(Content::Map { entries: Vec::new(), key: None, seen: Keys::default() }, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            _ => Ok(()),
        }
    }

    fn refuse(&self, what: &str, span: Span) -> Diagnostics {
        let mut errors = self.errors.clone();
        errors.push(Diagnostic::error(format!("`{}` {what}", self.file)).at(place(&self.file, span.start)));
        errors.finish().err().unwrap_or_default()
    }

    fn document(&mut self, span: Span) -> Result<(), Diagnostics> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(self.refuse("has a second document, expected one", span));
        }
        Ok(())
    }

    fn tag(&mut self, present: bool, span: Span) {
        if present {
            let at = place(&self.file, span.tag_start().unwrap_or(span.start));
            let message = format!("`{}` has a YAML tag, which is not supported", self.file);
            self.errors
                .push(Diagnostic::error(message).at(at).help("remove the word that starts with `!`, or quote it"));
        }
    }

    fn open(&mut self, content: Content, anchor: usize, span: Span) -> Result<(), Diagnostics> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(&self.file, place(&self.file, span.start)).into());
        }
        self.stack.push(Frame { place: place(&self.file, span.start), start: range(span).0, anchor, content });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Diagnostics> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.add(Node { value, place: frame.place, range: (frame.start, range(span).1) }, frame.anchor)
    }

    /// Puts a finished node where it belongs, and remembers it if it has an anchor.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Diagnostics> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("`{}` holds more than {MAX_NODES} values", self.file);
            return Err(Diagnostic::error(message).at(node.place).into());
        }
        if anchor != 0 {
            self.remember(&node, anchor)?;
        }
        self.put(node);
        Ok(())
    }

    fn remember(&mut self, node: &Node, anchor: usize) -> Result<(), Diagnostics> {
        let (nodes, bytes) = weigh(node);
        self.spend(nodes, bytes, &node.place)?;
        self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, bytes });
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Diagnostics> {
        self.aliases += 1;
        if self.aliases > MAX_ALIASES {
            return Err(self.refuse(&format!("has more than {MAX_ALIASES} aliases"), span));
        }
        let Some((nodes, bytes)) = self.anchors.get(&id).map(|anchored| (anchored.nodes, anchored.bytes)) else {
            return Err(self.refuse("has an alias to a value that holds it", span));
        };
        let at = place(&self.file, span.start);
        self.spend(nodes, bytes, &at)?;
        let mut node = self.anchors[&id].node.clone();
        // An error in it is the place of use; what lies within keeps the place where it is written.
        node.place = at;
        self.put(node);
        Ok(())
    }

    /// Counts what anchors and aliases stand for, before it is copied.
    fn spend(&mut self, nodes: usize, bytes: usize, at: &Place) -> Result<(), Diagnostics> {
        self.alias_nodes += nodes;
        self.alias_bytes += bytes;
        if self.alias_nodes > MAX_ALIAS_NODES || self.alias_bytes > MAX_ALIAS_BYTES {
            let message = format!("`{}` grows too much through its aliases", self.file);
            let limit = format!(
                "anchors and aliases together may stand for {MAX_ALIAS_NODES} values and {} MiB of text",
                MAX_ALIAS_BYTES >> 20
            );
            return Err(Diagnostic::error(message).at(at.clone()).note(limit).into());
        }
        Ok(())
    }

    fn put(&mut self, node: Node) {
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { key: key @ None, .. }) => *key = Some(node),
            Some(Content::Map { entries, key, seen }) => {
                if let Some(key) = key.take()
                    && check_key(&self.file, &key, entries, seen, &mut self.errors)
                {
                    entries.push((key, node));
                }
            }
        }
    }

    fn finish(mut self) -> Result<Node, Diagnostics> {
        if self.root.is_none() && self.errors.is_empty() {
            let at = Place { file: self.file.clone(), line: 1, column: 1 };
            self.errors.push(
                Diagnostic::error(format!("`{}` is empty", self.file)).at(at).help("begin with the line `version: 1`"),
            );
        }
        let Self { errors, root, .. } = self;
        errors.finish()?;
        root.ok_or_else(Diagnostics::default)
    }
}

/// Whether the key can stand in the map; if not, says why.
fn check_key(file: &str, key: &Node, entries: &[(Node, Node)], seen: &mut Keys, errors: &mut Errors) -> bool {
    let Value::Scalar(scalar) = &key.value else {
        let found = key.found();
        errors.push(Diagnostic::error(format!("`{file}` has {found} as a key, expected text")).at(key.place.clone()));
        return false;
    };
    let refuse = |what: String| Diagnostic::error(what).at(key.place.clone());
    let text = &scalar.text;
    if text.is_empty() || key.is_null() {
        errors.push(refuse(format!("`{file}` has an empty key")));
    } else if text.chars().any(char::is_control) {
        errors.push(refuse(format!("key `{}` holds a control character", shorten(text))));
    } else if &**text == "<<" && scalar.style == Style::Plain {
        errors.push(
            refuse("key `<<` merges maps, which is not supported".to_owned())
                .help("write the keys out, or use `defaults`"),
        );
    } else if let Some(first) = seen.first(text, entries) {
        let message = format!("key `{}` is given twice in one map", shorten(text));
        errors.push(Diagnostic::error(message).at(key.place.clone()).at_because(first.clone(), "first given here"));
    } else {
        return true;
    }
    false
}

/// The keys of a map that is being read. Small maps are searched, large ones have an index, so that a file with one
/// huge map is read in linear time.
#[derive(Default)]
struct Keys {
    index: HashMap<Arc<str>, usize>,
    /// So many entries are in the index.
    indexed: usize,
}

impl Keys {
    /// The entry that already has the key.
    fn first<'a>(&mut self, text: &Arc<str>, entries: &'a [(Node, Node)]) -> Option<&'a Place> {
        const SMALL: usize = 8;
        if entries.len() <= SMALL {
            return entries.iter().find(|(key, _)| key.key() == &**text).map(|(key, _)| &key.place);
        }
        for (index, (key, _)) in entries.iter().enumerate().skip(self.indexed) {
            if let Some(text) = key.text() {
                self.index.insert(text.clone(), index);
            }
        }
        self.indexed = entries.len();
        self.index.get(text).map(|index| &entries[*index].0.place)
    }
}

fn range(span: Span) -> (u32, u32) {
    let byte = |mark: Marker| mark.byte_offset().unwrap_or_else(|| mark.index()) as u32;
    (byte(span.start), byte(span.end))
}

/// Nodes and bytes of text in a tree. Its depth is bounded by the parser's.
fn weigh(node: &Node) -> (usize, usize) {
    let sum = |children: &mut dyn Iterator<Item = &Node>| {
        children.map(weigh).fold((1, 0), |(nodes, bytes), (more, text)| (nodes + more, bytes + text))
    };
    match &node.value {
        Value::Scalar(scalar) => (1, scalar.text.len()),
        Value::List(items) => sum(&mut items.iter()),
        Value::Map(entries) => sum(&mut entries.iter().flat_map(|(key, value)| [key, value])),
    }
}
