//! Writes values into a Dockerfile so that each stays within its instruction. Knows nothing of files.

use std::sync::Mutex;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value};

/// How the values of one rendering are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    AsGiven,
    /// An `x` for each: shows what instructions the template alone has.
    AllPlain,
    /// An `x` for the one with this number: shows whether this one is to blame.
    OnePlain(usize),
}

/// Writes values and keeps what it wrote.
pub(super) struct Writer {
    pub(super) mode: Mode,
    pub(super) written: Mutex<Vec<String>>,
}

impl Writer {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, written: Mutex::new(Vec::new()) }
    }

    /// Writes one value; what a macro or `| raw` gives goes through as it is.
    pub(super) fn write(&self, out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), Error> {
        if value.is_safe() {
            return out.write_str(&value.to_string()).map_err(Error::from);
        }
        let text = plain(value)?;
        let mut written = self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let as_given = match self.mode {
            Mode::AsGiven => true,
            Mode::AllPlain => false,
            Mode::OnePlain(number) => written.len() != number,
        };
        out.write_str(if as_given { &text } else { "x" })?;
        written.push(text);
        Ok(())
    }
}

/// `| lines`: a list, one line each; every single one is checked.
pub(super) fn lines(value: Value) -> Result<Value, Error> {
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

/// `| sh`: one word for the shell of a RUN, whatever is in it.
pub(super) fn word(value: Value) -> Result<Value, Error> {
    let text = plain(&value)?;
    let refused =
        |why| Error::new(ErrorKind::InvalidOperation, format!("writes a value that no shell can take: {why}"));
    shlex::try_quote(&text).map(|quoted| Value::from_safe_string(quoted.into_owned())).map_err(refused)
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
