//! An error as data: what is wrong, where, and what to do. Knows nothing of how it is printed.

use std::fmt;
use std::sync::Arc;

/// A place in a file of the user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// Relative to the root.
    pub file: Arc<str>,
    /// From 1; 0 where the place is the whole file.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl Place {
    pub fn new(file: &str, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column }
    }

    /// The whole file.
    pub fn file(file: &str) -> Self {
        Self::new(file, 0, 0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One error (or warning) with every place involved.
///
/// `message` starts with its subject in backticks, in lower case, without a final period. A `note` is a fact, a
/// `help` is one act that works as pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub warning: bool,
    pub message: String,
    /// Each with why it matters; empty where the place speaks for itself.
    pub places: Vec<(Place, String)>,
    /// From the nearest cause to the root of it.
    pub causes: Vec<String>,
    pub notes: Vec<String>,
    pub helps: Vec<String>,
}

impl Diagnostic {
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            warning: false,
            message: message.into(),
            places: Vec::new(),
            causes: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
        }
    }

    pub fn warning(message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::error(message) }
    }

    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.places.push((place, String::new()));
        self
    }

    #[must_use]
    pub fn at_because(mut self, place: Place, why: impl Into<String>) -> Self {
        self.places.push((place, why.into()));
        self
    }

    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.helps.push(help.into());
        self
    }

    #[must_use]
    pub fn maybe_cause(self, cause: Option<String>) -> Self {
        match cause {
            Some(cause) => self.cause(cause),
            None => self,
        }
    }

    #[must_use]
    pub fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.warning { "warning" } else { "error" }, self.message)?;
        for (place, why) in &self.places {
            let gap = if why.is_empty() { "" } else { "    " };
            write!(f, "\n  --> {place}{gap}{why}")?;
        }
        for cause in &self.causes {
            write!(f, "\n  caused by: {cause}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        for help in &self.helps {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// All errors found in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
