//! The output of one running task, kept until it can be shown. Knows nothing of screens.
//!
//! Two stores, both bounded: the lines that its verbosity allows, until its group is shown, and the last lines of both
//! streams, in case it fails.

use std::collections::VecDeque;

use crate::model::Stream;

/// Last lines kept for a failure.
pub const LAST_LINES: usize = 40;

/// A group that grows beyond this is shown in pieces, so that a chatty task cannot eat the memory.
const GROUP_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Capture {
    /// 0 shows nothing unless it fails, 1 stderr, 2 both.
    pub verbosity: u8,
    group: Vec<String>,
    group_bytes: usize,
    /// Line, and whether it was shown already.
    last: VecDeque<(String, bool)>,
    left_out: usize,
}

impl Capture {
    pub fn new(verbosity: u8) -> Self {
        Self { verbosity, ..Self::default() }
    }

    /// Whether lines of this stream are shown while all goes well.
    pub fn shows(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.verbosity >= 2,
            Stream::Stderr => self.verbosity >= 1,
        }
    }

    /// Takes a line that was shown at once.
    pub fn add_shown(&mut self, line: String) {
        self.remember(line, true);
    }

    /// Takes a line; returns the group so far if it must be shown now.
    pub fn add(&mut self, stream: Stream, line: String) -> Option<Vec<String>> {
        if self.shows(stream) {
            self.group_bytes += line.len() + 1;
            self.group.push(line.clone());
        }
        self.remember(line, false);
        if self.group_bytes < GROUP_BYTES {
            return None;
        }
        for (_, shown) in &mut self.last {
            *shown = true;
        }
        Some(self.take_group())
    }

    fn remember(&mut self, line: String, shown: bool) {
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back((line, shown));
    }

    /// The lines that verbosity allows and that were not shown yet.
    pub fn take_group(&mut self) -> Vec<String> {
        self.group_bytes = 0;
        std::mem::take(&mut self.group)
    }

    /// For a failure: how many lines came before, and the last lines not shown yet.
    pub fn unseen(&self) -> (usize, Vec<String>) {
        let unseen = self.last.iter().filter(|(_, shown)| !shown).map(|(line, _)| line.clone()).collect();
        (self.left_out, unseen)
    }

    /// The last line that says something.
    pub fn last_line(&self) -> Option<&str> {
        self.last.iter().rev().map(|(line, _)| line.trim()).find(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_selects_streams_and_failure_has_both() {
        let streams = [Stream::Stdout, Stream::Stderr];
        for (verbosity, wanted) in [(0, [].as_slice()), (1, &["e"]), (2, &["o", "e"])] {
            let mut capture = Capture::new(verbosity);
            for (stream, line) in streams.into_iter().zip(["o", "e"]) {
                assert_eq!(capture.add(stream, line.to_owned()), None);
            }
            assert_eq!(capture.unseen(), (0, vec!["o".to_owned(), "e".to_owned()]));
            assert_eq!(capture.take_group(), wanted);
        }
    }

    #[test]
    fn memory_is_bounded_and_no_line_of_a_group_is_lost() {
        let mut capture = Capture::new(2);
        let mut seen = Vec::new();
        for number in 0..100_000 {
            seen.extend(capture.add(Stream::Stdout, format!("line {number:06}")).into_iter().flatten());
            assert!(capture.group_bytes < GROUP_BYTES);
        }
        seen.extend(capture.take_group());
        assert_eq!(seen.len(), 100_000);
        assert!(seen.is_sorted());
        assert_eq!(capture.unseen().1.len() + capture.left_out, LAST_LINES + 100_000 - LAST_LINES);
        assert_eq!(capture.last_line(), Some("line 099999"));
    }
}
