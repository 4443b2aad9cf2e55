//! Reads how far rsync is from what it prints. Knows nothing of what is transferred.

use std::io::{self, Write};

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Sent so far.
    pub bytes: u64,
    /// Of what is known of the whole, 0 to 100.
    pub percent: u8,
    /// Bytes per second.
    pub rate: f64,
}

/// Passes bytes on to a log, except for progress, which goes to `report`.
pub(super) struct ProgressLog<'a> {
    log: &'a mut dyn Write,
    report: &'a mut dyn FnMut(Progress),
    line: Vec<u8>,
}

/// No line of progress is longer.
const LONGEST: usize = 200;

impl<'a> ProgressLog<'a> {
    pub(super) fn new(log: &'a mut dyn Write, report: &'a mut dyn FnMut(Progress)) -> Self {
        Self { log, report, line: Vec::new() }
    }

    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        match parse(&String::from_utf8_lossy(&line)) {
            Some(progress) => (self.report)(progress),
            None => self.log.write_all(&line)?,
        }
        Ok(())
    }
}

impl Write for ProgressLog<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.line.push(*byte);
            if matches!(byte, b'\n' | b'\r') || self.line.len() > LONGEST {
                self.end_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_line()?;
        self.log.flush()
    }
}

/// `1,234,567  45%   12.34MB/s    0:00:10 (xfr#5, to-chk=3/8)`
pub(super) fn parse(line: &str) -> Option<Progress> {
    let mut words = line.split_ascii_whitespace();
    let bytes = number(words.next()?)?;
    let percent = words.next()?.strip_suffix('%')?.parse().ok()?;
    let rate = words.next()?.strip_suffix("B/s")?;
    let (digits, unit) = rate.split_at(rate.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(rate.len()));
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1024.0,
        "M" => 1024.0 * 1024.0,
        "G" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(Progress { bytes, percent, rate: digits.parse::<f64>().ok()? * factor })
}

/// Digits with separators of any kind between groups of three.
fn number(text: &str) -> Option<u64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let plain = text.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, ',' | '.' | '\''));
    plain.then(|| digits.parse().ok())?
}

/// `1.2 MB`, for people.
pub fn size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "kB", "MB"] {
        if value < 1000.0 {
            return format!("{value:.*} {unit}", usize::from(unit != "B"));
        }
        value /= 1000.0;
    }
    format!("{value:.1} GB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_and_the_rest_is_kept() {
        let (mut log, mut seen) = (Vec::new(), Vec::new());
        let mut report = |progress: Progress| seen.push(progress);
        let mut writer = ProgressLog::new(&mut log, &mut report);
        writer.write_all(b"\r        506   0%    0.00kB/s    0:00:00  \r  1,234,567  45%   12.50MB/s ").unwrap();
        writer.write_all(b"   0:00:10 (xfr#5, to-chk=3/8)\nrsync: [sender] warning\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(seen[0], Progress { bytes: 506, percent: 0, rate: 0.0 });
        assert_eq!(seen[1], Progress { bytes: 1_234_567, percent: 45, rate: 12.5 * 1024.0 * 1024.0 });
        assert_eq!(String::from_utf8(log).unwrap(), "\rrsync: [sender] warning\n");
        assert_eq!(size(1_234_567.0), "1.2 MB");
    }
}
