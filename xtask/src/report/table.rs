//! Columns of text for `list`, `doctor`, `history`. Knows nothing of what is in them.

use super::layout::{cut, pad, pad_left, width};
use super::paint::{Paint, Tone};

/// One cell; its text has no colours, `tone` gives it one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub tone: Option<Tone>,
}

impl Cell {
    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: None }
    }
}

/// Rows of cells under an optional head.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Columns aligned to the right: numbers.
    right: Vec<usize>,
}

/// A column is not cut below this.
const NARROWEST: usize = 8;

impl Table {
    /// A table without a head.
    pub fn new() -> Self {
        Self::default()
    }

    /// A table with this head.
    pub fn with_head(head: &[&str]) -> Self {
        Self { head: head.iter().map(|text| (*text).to_owned()).collect(), ..Self::default() }
    }

    /// Aligns these columns (from 0) to the right.
    #[must_use]
    pub fn right(mut self, columns: &[usize]) -> Self {
        self.right = columns.to_vec();
        self
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<Cell>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, two blanks between columns; with `columns` the widest cells are cut until a line fits.
    pub fn render(&self, columns: Option<usize>, paint: Paint) -> String {
        let widths = self.widths(columns);
        let mut text = String::new();
        if !self.head.is_empty() {
            let head: Vec<Cell> = self.head.iter().map(|one| Cell::toned(Tone::Strong, one)).collect();
            self.line(&head, &widths, paint, &mut text);
        }
        for row in &self.rows {
            self.line(row, &widths, paint, &mut text);
        }
        text
    }

    fn line(&self, row: &[Cell], widths: &[usize], paint: Paint, text: &mut String) {
        let mut line = String::new();
        for (number, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if number == 0 { "" } else { "  " };
            let plain = cut(&super::clean::text(&cell.text, false).replace('\n', " "), *width);
            let last = number + 1 == row.len();
            let filled = match (self.right.contains(&number), last) {
                (true, _) => pad_left(&plain, *width),
                (false, true) => plain,
                (false, false) => pad(&plain, *width),
            };
            let painted = cell.tone.map_or(filled.clone(), |tone| paint.tone(tone, &filled));
            line.extend([gap, painted.as_str()]);
        }
        text.extend([line.trim_end(), "\n"]);
    }

    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let count = self.rows.iter().map(Vec::len).chain([self.head.len()]).max().unwrap_or(0);
        let head = |number: usize| self.head.get(number).map_or(0, |text| width(text));
        let cell =
            |number: usize| self.rows.iter().filter_map(move |row| row.get(number)).map(|cell| width(&cell.text));
        let mut widths: Vec<usize> =
            (0..count).map(|number| cell(number).chain([head(number)]).max().unwrap_or(0)).collect();
        let gaps = 2 * count.saturating_sub(1);
        while let Some(columns) = columns
            && widths.iter().sum::<usize>() + gaps > columns
            && let Some(widest) = widths.iter_mut().filter(|width| **width > NARROWEST).max()
        {
            *widest -= 1;
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_fit() {
        let mut table = Table::with_head(&["task", "seconds", "doc"]).right(&[1]);
        table.row(["build:数据", "1.5", "Build the image of the notebook"]);
        table.row([Cell::from("lint"), Cell::toned(Tone::Bad, "12.25"), Cell::from("a\x1b[2Jb\nc")]);
        let wanted = "\
task        seconds  doc
build:数据      1.5  Build the image of the notebook
lint          12.25  ab c
";
        assert_eq!(table.render(None, Paint::default()), wanted);
        let narrow = table.render(Some(36), Paint::default());
        assert!(narrow.lines().all(|line| width(line) <= 36) && narrow.contains("Build the imag…"), "{narrow}");
        assert!(table.render(None, Paint::new(true)).contains("\x1b[31m  12.25\x1b[0m"));
    }
}
