//! The text of a Dockerfile with its line numbers. Knows nothing of what the lines mean.

use crate::model::{Diagnostic, Place};

/// A text and where its lines begin, so that a byte offset becomes a place for people.
#[derive(Clone, Debug)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, starts }
    }

    /// Line and column, both from 1, the column in characters.
    pub(super) fn line_column(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = self.text.get(self.starts[line - 1]..offset).unwrap_or_default();
        (line as u32, before.chars().count() as u32 + 1)
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let (line, column) = self.line_column(offset);
        Place::new(self.file, line, column)
    }

    pub(super) fn error(&self, offset: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(message).at(self.place(offset))
    }
}
