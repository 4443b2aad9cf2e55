//! Renders a Dockerfile from a template and macros in given folders. Knows nothing of images and of what is built.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};

use super::brought::{self, Asked, Brought};
use super::depth::too_deep;
use super::dockerfile::instruction_count;
use super::guard::{self, guarded};
use super::library::{Library, Read, SHIPPED};
use super::problem::explain;
pub use super::trace::Trace;
use super::trace::Tracer;
pub use super::values::Values;
use super::write::{Mode, Writer, lines, word};
use crate::model::{Diagnostic, Place};

/// A rendered template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One newline at the end, no blank line above the first, no two blank lines in a row, no space at a line's end
    /// (all but the first only where no heredoc could mind).
    pub text: String,
    /// Every file that was read, relative to the root, sorted: the template and what it includes and imports, and the
    /// files by which kinds of projects were found.
    pub files_read: Vec<PathBuf>,
    /// What the template brings into the build context; the text says it at its end, too.
    pub brought: Vec<Brought>,
    /// Whether macros of this program are in it, which another version of it may have others of.
    pub shipped: bool,
}

/// The text of the macros that every template has as `xtask.j2`.
pub fn shipped_macros() -> &'static str {
    SHIPPED.1
}

/// Steps of the template engine: some hundred times what a large Dockerfile takes, and far below a second.
const FUEL: u64 = 200_000;
const MOST_BYTES: usize = 1 << 20;
const MOST_DEPTH: usize = 64;

/// Renders `template` (relative to `root`); names in `include` and `import` are looked up beside it, then in
/// `search_dirs` (relative to `root`), nowhere else.
///
/// A value that could begin a new instruction (with a newline or another control character, with a `\` at its end, or
/// with `<<`, or by standing at the start of a line) is refused unless the template passes it through `| raw` or
/// `| lines`.
pub fn render(
    root: &Path,
    template: &Path,
    search_dirs: &[PathBuf],
    values: impl Into<Values>,
) -> Result<Rendered, Diagnostic> {
    let (name, text, dirs) = open(root, template, search_dirs)?;
    let source = Source { root, name: &name, text: &text, dirs: &dirs, values: &values.into() };
    source.finished([template.to_owned()])
}

/// Renders a template that is in no file, and is called `name` in errors.
pub(super) fn render_text(root: &Path, name: &str, text: &str, values: Values) -> Result<Rendered, Diagnostic> {
    let rendered = Source { root, name, text, dirs: &[], values: &values }.finished([]);
    rendered.map_err(|problem| Diagnostic { places: Vec::new(), ..problem })
}

/// Finds where each line of what [`render`] gives comes from; `None` where that cannot be told.
pub fn trace(root: &Path, template: &Path, search_dirs: &[PathBuf], values: impl Into<Values>) -> Option<Trace> {
    let values = values.into();
    let (name, text, dirs) = open(root, template, search_dirs).ok()?;
    let expected =
        Source { root, name: &name, text: &text, dirs: &dirs, values: &values }.render(Mode::AsGiven, None).ok()?;
    let tracer = Arc::new(Tracer::default());
    let marked = tracer.mark(&name, &text);
    let source = Source { root, name: &name, text: &marked, dirs: &dirs, values: &values };
    let rendered = source.render(Mode::AsGiven, Some(Arc::clone(&tracer))).ok()?.text;
    let files = Arc::into_inner(tracer)?.into_files();
    let (plain, trace) = Trace::read(files, &rendered, |plain| kept(plain).0);
    (kept(&plain).1 == expected.text).then_some(trace)
}

/// The name and the text of a template, and where it looks for others.
fn open(root: &Path, template: &Path, search: &[PathBuf]) -> Result<(String, String, Vec<PathBuf>), Diagnostic> {
    let name = template.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(root.join(template))
        .map_err(|why| Diagnostic::error(format!("`{name}` cannot be read")).at(Place::file(&name)).cause(why))?;
    let mut dirs = vec![template.parent().unwrap_or(Path::new("")).to_owned()];
    dirs.extend(search.iter().cloned());
    Ok((name, text, dirs))
}

/// A template with all that it is rendered from.
struct Source<'s> {
    root: &'s Path,
    name: &'s str,
    text: &'s str,
    dirs: &'s [PathBuf],
    values: &'s Values,
}

/// One rendering.
struct Pass {
    text: String,
    read: Read,
    brought: Vec<Brought>,
    shipped: bool,
    /// Files that were read to answer a question of the template.
    asked: Vec<PathBuf>,
    /// The values that were written, in order.
    written: Vec<String>,
}

impl Source<'_> {
    /// As it will be written; `files` were read to get here.
    fn finished(&self, files: impl IntoIterator<Item = PathBuf>) -> Result<Rendered, Diagnostic> {
        let whole = self.render(Mode::AsGiven, None)?;
        self.check_instructions(&whole)?;
        let Pass { mut text, read, brought, shipped, asked, .. } = whole;
        brought::append(&mut text, &brought);
        let read: BTreeSet<PathBuf> = read.into_values().chain(files).chain(asked).collect();
        Ok(Rendered { text, files_read: read.into_iter().collect(), brought, shipped })
    }

    /// With a tracer, the text of templates that are found is marked, and the result is as the template gives it.
    fn render(&self, mode: Mode, tracer: Option<Arc<Tracer>>) -> Result<Pass, Diagnostic> {
        let is_traced = tracer.is_some();
        let read = Arc::new(Mutex::new(Read::new()));
        let shipped = Arc::new(AtomicBool::new(false));
        let library = Library {
            root: self.root.to_owned(),
            dirs: self.dirs.to_owned(),
            read: Arc::clone(&read),
            shipped: Arc::clone(&shipped),
            tracer,
        };
        let writer = Arc::new(Writer::new(mode));
        let asked = Arc::new(Asked::new(self.root.to_owned()));
        let environment = environment(library, Arc::clone(&writer), &asked);
        let mut out = Bounded::default();
        let result = guarded(self.text, || {
            let compiled = environment.template_from_named_str(self.name, self.text)?;
            compiled.render_captured_to(self.values.as_value(), &mut out).map(|_| ())
        });
        let read = std::mem::take(&mut *read.lock().unwrap_or_else(PoisonError::into_inner));
        match result {
            Ok(()) => {
                let text = String::from_utf8_lossy(&out.bytes);
                let text = if is_traced { text.into_owned() } else { kept(&text).1 };
                let written = std::mem::take(&mut *writer.written.lock().unwrap_or_else(PoisonError::into_inner));
                let (brought, asked) = asked.take();
                Ok(Pass { text, read, brought, asked, written, shipped: shipped.load(Ordering::Relaxed) })
            }
            Err(_) if out.full => {
                Err(Diagnostic::error(format!("`{}` renders to more than {MOST_BYTES} bytes", self.name))
                    .at(Place::file(self.name))
                    .help("look for a loop that repeats its text too often"))
            }
            Err(error) => Err(diagnose((self.name, self.text), &error, self.values, &read)),
        }
    }

    /// The values may fill instructions, not make or unmake them: an empty one or one with a `#` can do that too, at
    /// the start of a line. A second rendering with a plain word for each value shows it.
    fn check_instructions(&self, whole: &Pass) -> Result<(), Diagnostic> {
        if whole.written.is_empty() {
            return Ok(());
        }
        // A template that looks its own values up may not get through with other ones; then there is nothing to compare.
        let Ok(plain) = self.render(Mode::AllPlain, None) else { return Ok(()) };
        let count = instruction_count(&whole.text);
        if plain.written.len() != whole.written.len() || instruction_count(&plain.text) == count {
            return Ok(());
        }
        let guilty = (0..whole.written.len()).find(|number| {
            self.render(Mode::OnePlain(*number), None).is_ok_and(|other| instruction_count(&other.text) != count)
        });
        let value = guilty.and_then(|number| whole.written.get(number)).map_or("", String::as_str);
        Err(Diagnostic::error(format!(
            "`{}` writes the value `{value}`, which changes the instructions around it",
            self.name
        ))
        .at(Place::file(self.name))
        .note("an empty value or a `#` at the start of a line ends or swallows what a `\\` continues")
        .help("put it elsewhere in its line, or pass it through `| raw` if it may be an instruction"))
    }
}

/// Where a template calls a shipped macro with what the message is about: the text in its first backticks.
fn call_of(template: &str, text: &str, message: &str) -> Place {
    let subject = message.split('`').nth(1).unwrap_or_default();
    let found = text.lines().zip(1..).find_map(|(line, number)| {
        let literals = ['"', '\''].map(|quote| format!("{quote}{subject}{quote}"));
        let at = literals.iter().find_map(|literal| line.find(literal.as_str()))?;
        Some(Place::new(template, number, line[..at].chars().count() as u32 + 1))
    });
    found.unwrap_or_else(|| Place::file(template))
}

fn diagnose((template, text): (&str, &str), error: &Error, values: &Values, read: &Read) -> Diagnostic {
    let mut problem = explain(error, &values.names());
    // A line of the macros that are shipped says nothing to a person; the call is what can be mended.
    problem.places.retain(|(file, ..)| file != SHIPPED.0 || read.contains_key(SHIPPED.0));
    let mut found = Diagnostic::error(format!("`{template}` {}", problem.message));
    for (index, (file, line, column)) in problem.places.iter().enumerate() {
        let why = if index == 0 { "" } else { "used from here" };
        let file = read.get(file).map_or_else(|| file.clone(), |path| path.to_string_lossy().into_owned());
        found = found.at_because(Place::new(&file, *line, *column), why);
    }
    if let Some((line, column)) = guard::wrong_import(text).filter(|_| problem.message.ends_with(guard::BROKEN)) {
        let help = "name what is imported by a plain name: `{% import \"macros.j2\" as macros %}`";
        found = found.at(Place::new(template, line, column)).help(help);
    } else if let Some(line) = too_deep(text).filter(|_| problem.message.ends_with(guard::DEEP)) {
        found = found.at(Place::new(template, line, 1)).help("give parts of it names: `{% set part = … %}`");
    } else if problem.places.is_empty() {
        found = found.at(call_of(template, text, &problem.message));
    }
    found.maybe_help(problem.help)
}

fn environment<'a>(library: Library, writer: Arc<Writer>, asked: &Arc<Asked>) -> Environment<'a> {
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
    environment.set_formatter(move |out, state, value| writer.write(out, state, value));
    environment.set_loader(move |name| library.load(name));
    super::filters::add(&mut environment);
    environment.add_filter("lines", lines);
    environment.add_filter("sh", word);
    let bring = Arc::clone(asked);
    environment.add_function("bring", move |from: &str, named: Kwargs| bring.bring(from, &named));
    let project = Arc::clone(asked);
    environment.add_function("project", move |dir: &str, named: Kwargs| project.project(dir, &named));
    environment
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

/// The final form of a rendered text, and the numbers of the lines that are in it.
fn kept(text: &str) -> (Vec<usize>, String) {
    let mut numbers = Vec::new();
    let mut out = String::with_capacity(text.len());
    // In a heredoc, blanks and blank lines are content.
    let content = text.contains("<<");
    let mut blank = true;
    for (number, line) in text.trim_end().lines().enumerate() {
        let line = if content { line } else { line.trim_end() };
        if !(blank && line.is_empty()) || (content && !out.is_empty()) {
            out.push_str(line);
            out.push('\n');
            numbers.push(number);
        }
        blank = line.is_empty();
    }
    (numbers, out)
}

#[cfg(test)]
mod macro_tests;
#[cfg(test)]
mod tests;
