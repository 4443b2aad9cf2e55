//! Diagnostics as text, in the layout of their `Display`, with colour and the line of source. Knows nothing of files:
//! a closure gives their text.

use crate::model::{Diagnostic, Place};

use super::clean;
use super::layout::width;
use super::paint::{Paint, Tone};

/// Gives the text of a file by its path relative to the root, where it is at hand.
pub type Source<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Longer source lines are shown without their end, and on a narrow terminal shorter ones.
const WIDEST: usize = 100;

/// The whole text, with a final newline. With `Paint::new(false)` and no source it equals `Display`.
pub fn render(diagnostic: &Diagnostic, paint: Paint, source: Option<Source<'_>>) -> String {
    render_with(diagnostic, paint, source, "")
}

/// The same with `body`, whole lines, between the places and the notes: the last output of what failed.
pub fn render_with(diagnostic: &Diagnostic, paint: Paint, source: Option<Source<'_>>, body: &str) -> String {
    let (tone, word) = if diagnostic.warning { (Tone::Warn, "warning") } else { (Tone::Bad, "error") };
    let message = clean::text(&diagnostic.message, false);
    let mut text = format!("{}{} {}\n", paint.tone(tone, word), paint.tone(Tone::Strong, ":"), strong(paint, &message));
    for (place, why) in &diagnostic.places {
        let gap = if why.is_empty() { "" } else { "    " };
        let why = clean::text(why, false);
        text.push_str(&format!("  {} {place}{gap}{why}\n", paint.tone(Tone::Busy, "-->")));
        if let Some(snippet) =
            source.and_then(|source| snippet(place, source, paint, tone, super::layout::columns_for_people()))
        {
            text.push_str(&snippet);
        }
    }
    text.push_str(body);
    let parts = [("caused by:", &diagnostic.causes), ("note:", &diagnostic.notes), ("help:", &diagnostic.helps)];
    for (label, lines) in parts {
        let tone = if label == "help:" { Tone::Good } else { Tone::Strong };
        for line in lines {
            // Lines of a longer text stand below its first.
            let line = clean::text(line, false).replace('\n', "\n    ");
            text.push_str(&format!("  {} {line}\n", paint.tone(tone, label)));
        }
    }
    text
}

/// The first line of a message in bold; what follows (output of a tool) as it is.
fn strong(paint: Paint, message: &str) -> String {
    match message.split_once('\n') {
        Some((first, rest)) => format!("{}\n{rest}", paint.tone(Tone::Strong, first)),
        None => paint.tone(Tone::Strong, message),
    }
}

/// The line of `place` between rules, with carets under the word that starts there.
fn snippet(place: &Place, source: Source<'_>, paint: Paint, tone: Tone, room: Option<usize>) -> Option<String> {
    let number = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let file = source(&place.file)?;
    // A line may be as long as a file: no more of it than can be shown is looked at.
    let raw: String = file.lines().nth(number)?.chars().take(4 * WIDEST).collect();
    let column = (place.column.max(1) as usize - 1).min(raw.chars().count());
    let shown = |text: &str| clean::text(text, false).replace('\t', "    ");
    let before: String = raw.chars().take(column).collect();
    let word: String = word_at(&raw.chars().skip(column).collect::<String>()).to_owned();
    let indent = width(&shown(&before));
    let digits = place.line.to_string();
    let widest = room.map_or(WIDEST, |columns| WIDEST.min(columns.saturating_sub(digits.len() + 3)));
    if indent >= widest {
        return None;
    }
    let carets = width(&shown(&word)).clamp(1, widest - indent);
    let gutter = " ".repeat(digits.len());
    let bar = paint.tone(Tone::Busy, "|");
    let line = super::layout::cut(&shown(&raw), widest);
    Some(format!(
        "{gutter} {bar}\n{} {bar} {line}\n{gutter} {bar} {}{}\n",
        paint.tone(Tone::Busy, &digits),
        " ".repeat(indent),
        paint.tone(tone, &"^".repeat(carets)),
    ))
}

/// The word at the start of `rest`: a quoted text with its quotes, else up to a blank or a closing mark.
fn word_at(rest: &str) -> &str {
    if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '"' | '\''))
        && let Some(end) = rest[1..].find(quote)
    {
        return &rest[..end + 2];
    }
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}')).unwrap_or(rest.len());
    let word = &rest[..end];
    word.strip_suffix(':').unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown() -> Diagnostic {
        Diagnostic::error("task `test-scipy` has unknown task_dep `build-scpiy`")
            .at(Place::new("tasks.yaml", 3, 16))
            .at_because(Place::file("images/spec.yml"), "`scipy` is made from this")
            .cause("connection refused")
            .note("5 tasks are known")
            .help("a task with a similar name exists: `build-scipy`")
    }

    #[test]
    fn without_colour_and_source_it_is_display() {
        assert_eq!(render(&unknown(), Paint::default(), None), format!("{}\n", unknown()));
    }

    #[test]
    fn a_narrow_terminal_gets_a_shorter_line() {
        let place = Place::new("tasks.yaml", 1, 10);
        let source = |_: &str| Some("actions: [\"a long text in quotes that goes on\", other]".to_owned());
        let narrow = snippet(&place, &source, Paint::default(), Tone::Bad, Some(30)).unwrap();
        assert!(narrow.lines().all(|line| width(line) <= 30), "{narrow}");
        assert!(narrow.contains('…') && narrow.contains('^'), "{narrow}");
        assert_eq!(snippet(&place, &source, Paint::default(), Tone::Bad, Some(12)), None);
    }

    #[test]
    fn the_line_of_source_is_shown_with_carets() {
        let text = "tasks:\n  test-scipy:\n    task_dep: [ build-scpiy, \"b\" ]\n".to_owned();
        let source = |file: &str| (file == "tasks.yaml").then(|| text.replace("[ build", "[build"));
        let shown = render(&unknown(), Paint::default(), Some(&source));
        let wanted = "\
error: task `test-scipy` has unknown task_dep `build-scpiy`
  --> tasks.yaml:3:16
  |
3 |     task_dep: [build-scpiy, \"b\" ]
  |                ^^^^^^^^^^^
  --> images/spec.yml    `scipy` is made from this
  caused by: connection refused
  note: 5 tasks are known
  help: a task with a similar name exists: `build-scipy`
";
        assert_eq!(shown, wanted);
    }

    #[test]
    fn wide_letters_tabs_and_quotes_keep_the_carets_in_place() {
        let source = |_: &str| Some("a:\n\t数据: \"x y\" # \x1b[31m\n".to_owned());
        let one = Diagnostic::warning("`数据` is odd").at(Place::new("f", 2, 6));
        let wanted = "warning: `数据` is odd\n  --> f:2:6\n  |\n2 |     数据: \"x y\" # \n  |           ^^^^^\n";
        assert_eq!(render(&one, Paint::default(), Some(&source)), wanted);
        let gone = Diagnostic::error("x").at(Place::new("f", 9, 1));
        assert_eq!(render(&gone, Paint::default(), Some(&source)), "error: x\n  --> f:9:1\n");
    }

    #[test]
    fn colours_mark_kind_place_and_help() {
        let text = render(&Diagnostic::error("`x` is missing").help("add it"), Paint::new(true), None);
        assert!(text.contains("\x1b[31merror\x1b[0m"), "{text:?}");
        assert_eq!(console::strip_ansi_codes(&text), "error: `x` is missing\n  help: add it\n");
    }
}
