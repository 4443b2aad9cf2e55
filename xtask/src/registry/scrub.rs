//! Keeps secrets out of messages that a registry wrote. Knows nothing of where the secrets are used.

use std::sync::Mutex;

/// Everything secret that was sent so far.
#[derive(Default)]
pub struct Scrubber(Mutex<Vec<String>>);

/// A message of a registry is cut to this many characters.
const LONGEST: usize = 300;

impl Scrubber {
    /// From now on this text is hidden.
    pub fn hide(&self, secret: &str) {
        let mut secrets = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !secret.is_empty() && !secrets.iter().any(|known| known == secret) {
            secrets.push(secret.to_owned());
            // The longest first, so that a secret within a longer one leaves nothing of the longer one.
            secrets.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// One line without control characters and without any of the secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut line = words.join(" ");
        if let Some((end, _)) = line.char_indices().nth(LONGEST) {
            line.truncate(end);
            line.push('…');
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_control_characters_vanish() {
        let scrubber = Scrubber::default();
        scrubber.hide("hunter2");
        scrubber.hide("hunter2hunter2");
        assert_eq!(scrubber.clean("bad \u{1b}[31m\nhunter2hunter2 hunter2"), "bad [31m *** ***");
        assert_eq!(scrubber.clean(&"x".repeat(1000)).chars().count(), 301);
    }
}
