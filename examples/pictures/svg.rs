//! The screen of a terminal as SVG, in the colours of a light or a dark page, whichever the reader has. Knows nothing
//! of how the screen came about.

use std::fmt::Write;

use vt100::{Cell, Color, Screen};

/// Width of a column, height of a row, and the margin around all, in pixels.
const COLUMN: f32 = 8.0;
const ROW: f32 = 18.0;
const MARGIN: f32 = 14.0;

const STYLE: &str = "\
text{font:13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre;fill:#1f2328}
.page{fill:#f6f8fa;stroke:#d1d9e0}.b{font-weight:bold}.d{fill:#59636e}.o{opacity:.4}
.c1{fill:#cf222e}.c2{fill:#1a7f37}.c3{fill:#9a6700}.c4{fill:#0969da}.c5{fill:#8250df}.c6{fill:#1b7c83}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#151b23;stroke:#3d444d}.d{fill:#9198a1}
.c1{fill:#f85149}.c2{fill:#3fb950}.c3{fill:#d29922}.c4{fill:#4493f8}.c5{fill:#ab7df8}.c6{fill:#39c5cf}}
";

/// The picture: the command in the first row, below it the rows that have something.
pub fn picture(command: &str, screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let is_blank = |row: u16| (0..columns).all(|column| look(screen, row, column).1.trim().is_empty());
    let last = (0..rows).rev().find(|row| !is_blank(*row)).map_or(0, |row| row + 1);
    let (width, height) = (f32::from(columns) * COLUMN + 2.0 * MARGIN, f32::from(last + 1) * ROW + 2.0 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" \
         aria-label=\"{command}\">\n<style>{STYLE}</style>\n<rect class=\"page\" x=\".5\" y=\".5\" width=\"{}\" \
         height=\"{}\" rx=\"8\"/>\n",
        width - 1.0,
        height - 1.0
    );
    let baseline = |row: u16| MARGIN + f32::from(row) * ROW + 13.0;
    let _ = writeln!(
        text,
        "<text y=\"{}\"><tspan class=\"d\" x=\"{MARGIN}\">$</tspan><tspan class=\"b\" x=\"{}\">{}</tspan></text>",
        baseline(0),
        MARGIN + 2.0 * COLUMN,
        escaped(command)
    );
    for row in (0..last).filter(|row| !is_blank(*row)) {
        let _ = write!(text, "<text y=\"{}\">", baseline(row + 1));
        for run in runs(screen, row, columns) {
            let class = if run.class.is_empty() { String::new() } else { format!(" class=\"{}\"", run.class) };
            let (x, long) = (MARGIN + f32::from(run.column) * COLUMN, f32::from(run.columns) * COLUMN);
            let _ = write!(text, "<tspan{class} x=\"{x}\" textLength=\"{long}\">{}</tspan>", escaped(&run.text));
        }
        text.push_str("</text>\n");
    }
    text + "</svg>\n"
}

/// Cells side by side that look alike.
struct Run {
    column: u16,
    columns: u16,
    class: String,
    text: String,
}

/// The runs of a row, without blanks around them: each begins where the terminal has it, whatever the reader's font.
fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open = false;
    for column in 0..columns {
        let (class, text) = look(screen, row, column);
        let after = (column + 1 < columns).then(|| look(screen, row, column + 1).1);
        // Two blanks end a run, for nothing is to be seen in them.
        if text == " " && (!open || after.is_none_or(|after| after == " ")) {
            open = false;
            continue;
        }
        match runs.last_mut().filter(|run| open && run.class == class) {
            Some(run) => {
                run.text.push_str(&text);
                run.columns += 1;
            }
            None => runs.push(Run { column, columns: 1, class, text }),
        }
        open = true;
    }
    runs.retain(|run| !run.text.trim().is_empty());
    runs
}

/// The classes of a cell and its text: none for the second half of a wide letter.
fn look(screen: &Screen, row: u16, column: u16) -> (String, String) {
    let Some(cell) = screen.cell(row, column) else { return (String::new(), " ".to_owned()) };
    if cell.is_wide_continuation() {
        return (class(cell), String::new());
    }
    let text = if cell.has_contents() { cell.contents().to_owned() } else { " ".to_owned() };
    (class(cell), text)
}

fn class(cell: &Cell) -> String {
    let color = match cell.fgcolor() {
        Color::Idx(number @ 1..=6) => format!("c{number}"),
        Color::Idx(number @ 9..=14) => format!("c{}", number - 8),
        _ if cell.dim() => "d".to_owned(),
        _ => String::new(),
    };
    let color = if cell.dim() && color != "d" { format!("{color} o") } else { color };
    match (color.is_empty(), cell.bold()) {
        (_, false) => color,
        (true, true) => "b".to_owned(),
        (false, true) => format!("b {color}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
