//! Finds the instruction that a builder speaks of. Knows no builder but by how it names steps.

use super::lines::logical_lines;
use super::source::Source;
use crate::model::Place;

/// Where the instruction stands that a builder calls `step`, such as `RUN make` or `[tools 2/3] RUN make`.
///
/// Builders join its lines, fold spaces, write the keyword in capitals and may fill in variables. `None` where more than
/// one instruction could be meant.
pub(super) fn place(file: &str, text: &str, step: &str) -> Option<Place> {
    let step = match step.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, rest)) => folded(rest),
        None => folded(step),
    };
    let source = Source::new(file, text);
    let (_, lines) = logical_lines(&source, &mut Vec::new());
    let named: Vec<(String, usize)> = lines
        .iter()
        .map(|line| (folded(&line.text), line.source_offset(line.text.len() - line.text.trim_start().len())))
        .collect();
    let only = |is_meant: &dyn Fn(&str) -> bool| {
        let mut meant = named.iter().filter(|(name, _)| is_meant(name));
        meant.next().filter(|_| meant.next().is_none()).map(|(_, at)| source.place(*at))
    };
    only(&|name| name == step).or_else(|| only(&|name| is_filled_in(name, &step)))
}

/// One space between words, the first of them in capitals.
fn folded(text: &str) -> String {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    std::iter::once(first.as_str()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Whether `step` may be `name` with values in the place of its variables.
fn is_filled_in(name: &str, step: &str) -> bool {
    let Some((before, _)) = name.split_once('$') else { return false };
    // The keyword alone says nothing.
    before.trim_end().contains(' ') && step.starts_with(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "FROM scratch AS tools\n# note\nrun make \\\n    -j2   all\nRUN echo a\nRUN cp $FROM /to\nRUN cp x /to\nRUN echo a\n";

    fn line(step: &str) -> Option<u32> {
        place("Dockerfile", TEXT, step).map(|place| place.line)
    }

    #[test]
    fn steps_are_found_however_they_are_written() {
        assert_eq!(line("RUN make -j2 all"), Some(3));
        assert_eq!(line("[tools 2/5] RUN make     -j2   all"), Some(3));
        assert_eq!(line("RUN cp x /to"), Some(7), "the one that says exactly that");
        assert_eq!(line("RUN cp value /to"), Some(6));
    }

    #[test]
    fn what_may_be_two_is_none() {
        assert_eq!(line("RUN echo a"), None);
        assert_eq!(line("RUN something else"), None);
        assert_eq!(line(""), None);
    }
}
