//! Collects what is wrong with a file, so that all of it is told at once. Knows nothing of what is read.

use crate::model::words;
use crate::model::{Diagnostic, Diagnostics};

/// So many errors are told in full; of the rest, the number.
const CAP: usize = 20;

/// Errors and warnings in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    found: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Errors {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error, or a warning if it is marked as one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if diagnostic.warning {
            self.warnings.push(diagnostic);
        } else {
            self.found.push(diagnostic);
        }
    }

    pub fn extend(&mut self, more: Diagnostics) {
        more.0.into_iter().for_each(|one| self.push(one));
    }

    /// Whether no error was found; warnings do not count.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Gives the warnings, or all errors in the order of their places.
    pub fn finish(self) -> Result<Vec<Diagnostic>, Diagnostics> {
        if self.found.is_empty() {
            return Ok(self.warnings);
        }
        let mut found = self.found;
        found.sort_by(|a, b| a.places.first().map(|at| &at.0).cmp(&b.places.first().map(|at| &at.0)));
        found.dedup();
        if found.len() > CAP {
            let rest = found.len() - CAP;
            let next = found[CAP].places.first().map(|(place, _)| place.clone());
            found.truncate(CAP);
            let were = if rest == 1 { "error was" } else { "errors were" };
            let mut more = Diagnostic::error(format!("`{rest}` more {were} found"))
                .note(format!("only the first {} are shown", words::count(CAP, "error")));
            if let Some(place) = next {
                more = more.at_because(place, "the first of them");
            }
            found.push(more);
        }
        Err(Diagnostics(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Place;

    #[test]
    fn errors_come_in_file_order_and_are_capped() {
        let mut errors = Errors::new();
        for line in (1..=25).rev() {
            errors.push(Diagnostic::error(format!("`x` is wrong in line {line}")).at(Place::new("f", line, 1)));
        }
        let found = errors.finish().unwrap_err().0;
        assert_eq!(found.len(), 21);
        assert_eq!(found[0].message, "`x` is wrong in line 1");
        assert_eq!(found[20].message, "`5` more errors were found");
        assert_eq!(found[20].places[0].0.line, 21);
    }

    #[test]
    fn warnings_are_no_errors() {
        let mut errors = Errors::new();
        errors.push(Diagnostic::warning("`x` is odd"));
        assert!(errors.is_empty());
        assert_eq!(errors.finish().unwrap().len(), 1);
    }
}
