//! Output of tasks made harmless for a screen. Knows nothing of where it goes.
//!
//! A log gets the bytes as they are; a screen gets text in which nothing can move the cursor, set a title, write the
//! clipboard or fake the tool's own lines. Colours may stay where the screen shows colours.

use console::AnsiCodeIterator;

/// Longer lines are cut on the screen; the log has all of it.
const LONGEST: usize = 4096;

/// One line of output as text: replacement characters for what is not UTF-8, what follows the last carriage return
/// (a progress line shows its last state), no control characters but tabs, no escape sequences but colours, and those
/// only with `color`.
pub fn line(bytes: &[u8], color: bool) -> String {
    let end = bytes.iter().rposition(|byte| *byte != b'\r').map_or(0, |at| at + 1);
    let start = bytes[..end].iter().rposition(|byte| *byte == b'\r').map_or(0, |at| at + 1);
    let cut = &bytes[start..end.min(start + LONGEST)];
    let mut clean = text(&String::from_utf8_lossy(cut), color);
    if end - start > LONGEST {
        clean.push('…');
    }
    clean
}

/// The same for text that may hold several lines.
pub fn text(raw: &str, color: bool) -> String {
    if !raw.chars().any(is_unwanted) {
        return raw.to_owned();
    }
    let mut clean = String::with_capacity(raw.len());
    let mut colored = false;
    for (piece, is_code) in AnsiCodeIterator::new(raw) {
        if !is_code {
            clean.extend(piece.chars().filter(|c| !is_unwanted(*c)));
        } else if color && is_color(piece) {
            clean.push_str(piece);
            colored = true;
        }
    }
    if colored {
        clean.push_str("\x1b[0m");
    }
    clean
}

/// Control characters of both sets, and those that reorder what a reader sees.
fn is_unwanted(c: char) -> bool {
    let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\t' && c != '\n') || reorders
}

fn is_color(code: &str) -> bool {
    code.strip_prefix("\x1b[")
        .and_then(|rest| rest.strip_suffix('m'))
        .is_some_and(|numbers| numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b';' || byte == b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_colour_survives() {
        let hostile =
            "a\x1b]52;c;aGk=\x07b\x1b]0;title\x1b\\c\x1b[2Jd\x1b[31me\x1b[0m\x08f\u{9b}2Jg\u{202e}h\0".as_bytes();
        assert_eq!(line(hostile, false), "abcdefgh");
        assert_eq!(line(hostile, true), "abcd\x1b[31me\x1b[0mfgh\x1b[0m");
        assert!(!line(b"\x1b]0;never ended", true).contains('\x1b'));
        assert!(!line(b"\x1bP+q544e\x1b\\x \x1b_a\x1b\\ \x1bc", true).contains('\x1b'));
    }

    #[test]
    fn a_progress_line_shows_its_last_state() {
        assert_eq!(line(b" 10%\r 50%\r100%\r", false), "100%");
        assert_eq!(line(b"plain\r", false), "plain");
        assert_eq!(line(b"\r", false), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_long_lines_cut() {
        assert_eq!(line(b"\xff\tx", false), "\u{fffd}\tx");
        let long = vec![b'x'; 10_000];
        assert_eq!(line(&long, false).chars().count(), LONGEST + 1);
    }
}
