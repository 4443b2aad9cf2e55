//! Renders a Dockerfile from a template and macros in given folders. Knows nothing of images and of what is built.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};

use super::problem::explain;
use super::values::from_json;
use crate::model::words::suggest;
use crate::model::{Diagnostic, Place};

/// A rendered template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One newline at the end, no blank line above the first, no two blank lines in a row, no space at a line's end
    /// (all but the first only where no heredoc could mind).
    pub text: String,
    /// Every file that was read, relative to the root, sorted: the template and what it includes and imports.
    pub files_read: Vec<PathBuf>,
}

/// Steps of the template engine: some hundred times what a large Dockerfile takes, and far below a second.
const FUEL: u64 = 200_000;
const MOST_BYTES: usize = 1 << 20;
const MOST_DEPTH: usize = 64;

/// Renders `template` (relative to `root`); names in `include` and `import` are looked up beside it, then in
/// `search_dirs` (relative to `root`), nowhere else.
///
/// A value that could begin a new instruction (with a newline or another control character, with a `\` at its end, or
/// with `<<`) is refused unless the template passes it through `| raw` or `| lines`.
pub fn render(
    root: &Path,
    template: &Path,
    search_dirs: &[PathBuf],
    values: &serde_json::Value,
) -> Result<Rendered, Diagnostic> {
    let name = template.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(root.join(template))
        .map_err(|why| Diagnostic::error(format!("`{name}` cannot be read")).at(Place::file(&name)).cause(why))?;
    let read = Arc::new(Mutex::new(BTreeMap::from([(name.clone(), template.to_owned())])));
    let mut dirs = vec![template.parent().unwrap_or(Path::new("")).to_owned()];
    dirs.extend(search_dirs.iter().cloned());
    let environment = environment(Library { root: root.to_owned(), dirs, read: Arc::clone(&read) });
    let mut out = Bounded::default();
    let result = environment
        .template_from_named_str(&name, &text)
        .and_then(|compiled| compiled.render_captured_to(from_json(values), &mut out).map(|_| ()));
    let read = read.lock().unwrap_or_else(PoisonError::into_inner);
    match result {
        Ok(()) => {
            let files_read: BTreeSet<PathBuf> = read.values().cloned().collect();
            let files_read = files_read.into_iter().collect();
            Ok(Rendered { text: normalise(&String::from_utf8_lossy(&out.bytes)), files_read })
        }
        Err(_) if out.full => Err(Diagnostic::error(format!("`{name}` renders to more than {MOST_BYTES} bytes"))
            .at(Place::file(&name))
            .help("look for a loop that repeats its text too often")),
        Err(error) => Err(diagnose(&name, &error, values, &read)),
    }
}

fn diagnose(template: &str, error: &Error, values: &serde_json::Value, read: &Read) -> Diagnostic {
    let mut known: Vec<&str> = values.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    known.sort_unstable();
    let problem = explain(error, &known);
    let mut found = Diagnostic::error(format!("`{template}` {}", problem.message));
    for (index, (file, line, column)) in problem.places.iter().enumerate() {
        let why = if index == 0 { "" } else { "used from here" };
        let file = read.get(file).map_or_else(|| file.clone(), |path| path.to_string_lossy().into_owned());
        found = found.at_because(Place::new(&file, *line, *column), why);
    }
    if problem.places.is_empty() {
        found = found.at(Place::file(template));
    }
    found.maybe_help(problem.help)
}

/// Where names of templates lead.
struct Library {
    root: PathBuf,
    dirs: Vec<PathBuf>,
    read: Arc<Mutex<Read>>,
}

/// The templates that were read: name to path relative to the root.
type Read = BTreeMap<String, PathBuf>;

impl Library {
    fn load(&self, name: &str) -> Result<Option<String>, Error> {
        let path = Path::new(name);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Error::new(ErrorKind::BadInclude, format!("includes `{name}`, which leaves its folder")));
        }
        for dir in &self.dirs {
            let (dir, file) = (self.root.join(dir), dir.join(path));
            let real = match self.root.join(&file).canonicalize() {
                Ok(real) => real,
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                Err(why) => return Err(unreadable(name, why)),
            };
            if !dir.canonicalize().is_ok_and(|dir| real.starts_with(dir)) {
                let detail = format!("includes `{name}`, which is a link out of its folder");
                return Err(Error::new(ErrorKind::BadInclude, detail));
            }
            let text = std::fs::read_to_string(&real).map_err(|why| unreadable(name, why))?;
            self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), file);
            return Ok(Some(text));
        }
        let dirs: Vec<String> = self.dirs.iter().map(|dir| format!("`{}`", dir.display())).collect();
        let near = suggest("template", name, &self.names().iter().map(String::as_str).collect::<Vec<_>>());
        let mut detail = format!("includes `{name}`, which is not in {}", dirs.join(" or "));
        if let Some(near) = near {
            detail = format!("{detail}; {near}");
        }
        Err(Error::new(ErrorKind::BadInclude, detail))
    }

    fn names(&self) -> Vec<String> {
        let entries = self.dirs.iter().flat_map(|dir| std::fs::read_dir(self.root.join(dir)).into_iter().flatten());
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "j2"))
            .collect()
    }
}

fn unreadable(name: &str, why: io::Error) -> Error {
    Error::new(ErrorKind::BadInclude, format!("includes `{name}`, which cannot be read: {why}"))
}

fn environment<'a>(library: Library) -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MOST_DEPTH);
    environment.set_debug(true);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    // With an escape mode, what a macro or a `{% set %}` block gives is known from plain values.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("dockerfile".into()));
    environment.set_formatter(write_value);
    environment.set_loader(move |name| library.load(name));
    super::filters::add(&mut environment);
    environment.add_filter("lines", lines);
    environment
}

/// `| lines`: a list, one line each; every single one is checked.
fn lines(value: Value) -> Result<Value, Error> {
    let mut text = String::new();
    for (index, item) in value.try_iter()?.enumerate() {
        let line = plain(&item)?;
        if index > 0 {
            text.push('\n');
        }
        text.push_str(&line);
    }
    Ok(Value::from_safe_string(text))
}

fn write_value(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = if value.is_safe() { value.to_string() } else { plain(value)? };
    out.write_str(&text).map_err(Error::from)
}

/// The text of a value that stays within its line.
fn plain(value: &Value) -> Result<String, Error> {
    let refuse = |why: &str| Err(Error::new(ErrorKind::InvalidOperation, why.to_owned()));
    match value.kind() {
        ValueKind::String | ValueKind::Number => {}
        ValueKind::Bool => return Ok(value.is_true().to_string()),
        ValueKind::Seq | ValueKind::Iterable => {
            return refuse("writes a list: say how, e.g. `| join(' ')` or `| lines`");
        }
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        kind => return refuse(&format!("writes a value of the kind {kind}, which has no text: name one of its parts")),
    }
    let text = value.to_string();
    if text.contains(|c: char| c.is_control() && c != '\t') {
        return refuse(
            "writes a value with a newline or a control character, which could begin an instruction: if it may, \
             pass it through `| raw`",
        );
    }
    if text.trim_end().ends_with(['\\', '`']) || text.contains("<<") {
        return refuse(
            "writes a value that would take in the lines after it (`\\` at its end, or `<<`): if it may, pass it \
             through `| raw`",
        );
    }
    Ok(text)
}

/// Bytes with a limit, so that a runaway loop ends.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.full |= self.bytes.len() + bytes.len() > MOST_BYTES;
        if self.full {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // In a heredoc, blanks and blank lines are content.
    let content = text.contains("<<");
    let mut blank = true;
    for line in text.trim_end().lines() {
        let line = if content { line } else { line.trim_end() };
        if !(blank && line.is_empty()) || (content && !out.is_empty()) {
            out.push_str(line);
            out.push('\n');
        }
        blank = line.is_empty();
    }
    out
}

#[cfg(test)]
mod tests;
