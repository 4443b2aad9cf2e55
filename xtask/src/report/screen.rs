//! The bottom lines of a terminal that are drawn again and again, with text going by above them. Knows nothing of what
//! the lines say.
//!
//! indicatif draws on a small model of a screen ([`Canvas`]); only a change of the whole picture reaches the terminal,
//! in one write, each line overwritten in place. So there is no moment in which a line is blank, and a picture is
//! never half there. After a resize the old lines may be folded; they are counted as folded before they are erased.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::layout::width;
use super::options::SizeFn;

/// What indicatif draws on: rows of text and the row of the cursor. Cheap to clone, all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Canvas(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    rows: Vec<String>,
    cursor: usize,
    size: (u16, u16),
}

impl Canvas {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows and columns that indicatif is told of.
    pub fn resize(&self, size: (u16, u16)) {
        self.lock().size = size;
    }

    /// The picture: its rows without blanks at the end, without empty rows at the end.
    pub fn picture(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.lock().rows.iter().map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(|row| row.is_empty()) {
            rows.pop();
        }
        rows
    }
}

impl Rows {
    fn row(&mut self) -> &mut String {
        if self.rows.len() <= self.cursor {
            self.rows.resize(self.cursor + 1, String::new());
        }
        &mut self.rows[self.cursor]
    }
}

/// indicatif fills each row up to the last column and relies on the terminal to wrap; so does this model.
impl TermLike for Canvas {
    fn width(&self) -> u16 {
        self.lock().size.1
    }

    fn height(&self) -> u16 {
        self.lock().size.0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        let mut rows = self.lock();
        rows.cursor = rows.cursor.saturating_sub(n);
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.lock().cursor += n;
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.move_cursor_down(1)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut rows = self.lock();
        let columns = usize::from(rows.size.1);
        if !text.is_empty() && width(rows.row()) >= columns {
            rows.cursor += 1;
            rows.row().clear();
        }
        rows.row().push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.lock().row().clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal itself.
pub struct Screen {
    out: Box<dyn Write + Send>,
    size: SizeFn,
    /// What is there now, below the text.
    shown: Vec<String>,
    columns: u16,
    /// How many others own the terminal.
    paused: usize,
}

impl Screen {
    pub fn new(out: Box<dyn Write + Send>, size: SizeFn) -> Self {
        let columns = size().1;
        Self { out, size, shown: Vec::new(), columns, paused: 0 }
    }

    /// Rows and columns now; never so small that nothing fits.
    pub fn size(&self) -> (u16, u16) {
        let (rows, columns) = (self.size)();
        (rows.max(3), columns.max(20))
    }

    /// Writes `text` (whole lines) above, and shows `picture` below it. Nothing is written if nothing changes.
    pub fn show(&mut self, text: &str, picture: Vec<String>) {
        let columns = self.size().1;
        let picture = if self.paused > 0 { Vec::new() } else { picture };
        if text.is_empty() && picture == self.shown && columns == self.columns {
            return;
        }
        let mut bytes = String::from("\x1b[?2026h");
        let old = self.to_top(&mut bytes, columns);
        if columns != self.columns {
            // Rows that the terminal has folded hang together for it until they are erased.
            bytes.push_str("\x1b[J");
        }
        for line in text.lines() {
            // In the last column an erase would take the last letter.
            let wide = width(line);
            let erase = if wide == 0 || !wide.is_multiple_of(usize::from(columns)) { "\x1b[K" } else { "" };
            bytes.extend([line, erase, "\r\n"]);
        }
        for (number, row) in picture.iter().enumerate() {
            let next = if number + 1 < picture.len() { "\r\n" } else { "" };
            bytes.extend([row, "\x1b[0m\x1b[K", next]);
        }
        // What the old picture had more. An erase of everything from the very first cell is avoided: some terminals
        // take it for the end of a screenful and keep a copy.
        bytes.push_str(match (text.is_empty() && picture.is_empty(), old > 1) {
            (true, true) => "\x1b[K\r\n\x1b[J\x1b[1A\r",
            (true, false) => "\x1b[K",
            (false, _) => "\x1b[J",
        });
        bytes.push_str("\x1b[?2026l");
        self.write(&bytes);
        self.shown = picture;
        self.columns = columns;
    }

    /// Whether no live line is there.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Writes `text` above whatever is shown.
    pub fn keep(&mut self, text: &str) {
        let picture = self.shown.clone();
        self.show(text, picture);
    }

    /// Erases the picture and returns it.
    pub fn hide(&mut self) -> Vec<String> {
        let picture = self.shown.clone();
        self.show("", Vec::new());
        picture
    }

    /// Erases the picture and shows none until [`Screen::resume`] was called as often; text still goes through.
    pub fn pause(&mut self) {
        self.show("", Vec::new());
        self.paused += 1;
    }

    pub fn resume(&mut self) {
        self.paused = self.paused.saturating_sub(1);
    }

    /// Moves to the first row of what is shown, which a narrower terminal has folded; returns how many rows it has.
    fn to_top(&self, bytes: &mut String, columns: u16) -> usize {
        let columns = usize::from(columns);
        let rows: usize = self.shown.iter().map(|row| width(row).max(1).div_ceil(columns)).sum();
        if rows > 1 {
            bytes.push_str(&format!("\x1b[{}A", rows - 1));
        }
        bytes.push('\r');
        rows
    }

    /// A terminal that went away is no reason to stop the work.
    fn write(&mut self, bytes: &str) {
        let _ = self.out.write_all(bytes.as_bytes()).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tape;
    use super::*;

    /// A terminal of 8 rows and 20 columns, the screen on it, and a way to change its width.
    fn terminal() -> (Screen, Tape, Arc<Mutex<u16>>) {
        let (tape, columns) = (Tape::default(), Arc::new(Mutex::new(20)));
        let size = columns.clone();
        (Screen::new(Box::new(tape.clone()), Arc::new(move || (8, *size.lock().unwrap()))), tape, columns)
    }

    fn seen(tape: &Tape) -> String {
        let mut parser = vt100::Parser::new(8, 20, 100);
        parser.process(&tape.bytes());
        parser.screen().contents()
    }

    fn rows(rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn text_goes_by_above_the_picture() {
        let (mut screen, tape, _) = terminal();
        screen.show("", rows(&["one", "two", "three"]));
        assert_eq!(seen(&tape), "one\ntwo\nthree");
        screen.show("text\n", rows(&["ONE", "t"]));
        assert_eq!(seen(&tape), "text\nONE\nt");
        screen.show("a text of more than twenty columns\n", rows(&["1"]));
        screen.show("exactly 20 columns..\n\n", rows(&["1"]));
        assert_eq!(seen(&tape), "text\na text of more than twenty columns\nexactly 20 columns..\n\n1");
        screen.pause();
        screen.show("more\n", rows(&["hidden"]));
        assert!(seen(&tape).ends_with("columns..\n\nmore"), "{}", seen(&tape));
        screen.resume();
        screen.show("", rows(&["back"]));
        assert!(seen(&tape).ends_with("more\nback"));
    }

    /// No flicker: every picture is one write that starts nowhere with an erased screen.
    #[test]
    fn a_picture_overwrites_in_place_and_only_when_it_changes() {
        let (mut screen, tape, _) = terminal();
        screen.show("", rows(&["one", "two"]));
        let before = tape.bytes().len();
        screen.show("", rows(&["one", "two"]));
        assert_eq!(tape.bytes().len(), before);
        screen.show("", rows(&["one", "2"]));
        let update = String::from_utf8(tape.bytes()[before..].to_vec()).unwrap();
        assert_eq!(update, "\x1b[?2026h\x1b[1A\rone\x1b[0m\x1b[K\r\n2\x1b[0m\x1b[K\x1b[J\x1b[?2026l");
        // Wherever a reader cuts the stream, no row is blank that was not.
        for end in before..tape.bytes().len() {
            let mut parser = vt100::Parser::new(8, 20, 0);
            parser.process(&tape.bytes()[..end]);
            let contents = parser.screen().contents();
            assert!(contents.starts_with("one\n") && contents.len() > 4, "{contents:?}");
        }
    }

    #[test]
    fn a_narrower_terminal_has_folded_the_lines() {
        let (mut screen, tape, columns) = terminal();
        *columns.lock().unwrap() = 40;
        screen.show("", rows(&["1234567890123456789012345", "x"]));
        *columns.lock().unwrap() = 20;
        let before = tape.bytes().len();
        screen.show("", rows(&["1", "x"]));
        let update = String::from_utf8(tape.bytes()[before..].to_vec()).unwrap();
        assert!(update.starts_with("\x1b[?2026h\x1b[2A\r"), "{update:?}");
    }

    /// The model agrees with what indicatif expects of a terminal.
    #[test]
    fn indicatif_draws_on_the_canvas() {
        use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
        let canvas = Canvas::default();
        canvas.resize((24, 30));
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(canvas.clone())));
        let style = |text: &str| ProgressStyle::with_template(text).unwrap();
        let add = |text: &str| multi.add(ProgressBar::new(4).with_style(style("{msg}"))).with_message(text.to_owned());
        let (one, two) = (add("数据"), add("two"));
        let total = multi.add(ProgressBar::new(4).with_style(style("{pos}/{len} {bar:4}")));
        for bar in [&one, &two, &total] {
            bar.tick();
        }
        total.set_position(2);
        assert_eq!(canvas.picture(), ["数据", "two", "2/4 ██░░"]);
        one.finish_and_clear();
        multi.remove(&one);
        total.tick();
        assert_eq!(canvas.picture(), ["two", "2/4 ██░░"]);
        two.finish_and_clear();
        total.finish_and_clear();
        assert!(canvas.picture().is_empty(), "{:?}", canvas.picture());
    }
}
