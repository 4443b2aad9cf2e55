//! Cuts a stream of bytes into lines, long ones into bounded pieces. Knows nothing of where they come from.

/// The longest piece that is handed on: output without a newline must not grow the memory.
pub(super) const PIECE: usize = 64 * 1024;

/// What came after the last newline.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes bytes and hands each line that is now whole to `line`, without its newline (and without a `\r` before it).
    pub(super) fn push(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = bytes.split_at(end);
            bytes = &tail[1..];
            if self.rest.is_empty() && head.len() <= PIECE {
                line(trim(head));
            } else {
                self.keep(head, line);
                line(trim(&self.rest));
                self.rest.clear();
            }
        }
        self.keep(bytes, line);
    }

    /// Hands on what is left after the end of the stream.
    pub(super) fn finish(&mut self, line: &mut dyn FnMut(&[u8])) {
        if !self.rest.is_empty() {
            line(&self.rest);
            self.rest.clear();
        }
    }

    fn keep(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&[u8])) {
        while self.rest.len() + bytes.len() > PIECE {
            let (head, tail) = bytes.split_at(PIECE - self.rest.len());
            self.rest.extend_from_slice(head);
            line(&self.rest);
            self.rest.clear();
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
    }
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.push(chunk, &mut |line| seen.push(line.to_vec()));
        }
        lines.finish(&mut |line| seen.push(line.to_vec()));
        seen
    }

    #[test]
    fn lines_are_whole_whatever_the_chunks() {
        assert_eq!(cut(&[b"a\nb", b"c\r\n\n", b"d"]), [&b"a"[..], b"bc", b"", b"d"]);
        assert!(cut(&[b""]).is_empty());
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let long = vec![b'x'; 3 * PIECE + 5];
        let seen = cut(&[&long[..PIECE - 1], &long[PIECE - 1..], b"\nend"]);
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [PIECE, PIECE, PIECE, 5, 3]);
    }
}
