//! Hides the values of a build's secrets in what the build prints. Knows nothing of where the text goes.

use std::borrow::Cow;

use crate::model::Secret;

/// Stands for what is hidden.
const HIDDEN: &str = "***";
/// Shorter values would hide half of every text, and are no secrets.
const SHORTEST: usize = 4;

/// The lines of all secrets, longest first.
#[derive(Debug, Default)]
pub(super) struct Veil(Vec<String>);

impl Veil {
    /// Output comes in lines, so that each line of a secret is looked for by itself. Certificates are public.
    pub(super) fn over(secrets: &[(String, Secret)]) -> Self {
        let mut lines = Vec::new();
        for (_, secret) in secrets {
            let text = String::from_utf8_lossy(secret.expose());
            let mut in_certificate = false;
            for line in text.lines().map(str::trim) {
                in_certificate |= line == "-----BEGIN CERTIFICATE-----";
                if !in_certificate && line.len() >= SHORTEST {
                    lines.push(line.to_owned());
                }
                in_certificate &= line != "-----END CERTIFICATE-----";
            }
        }
        lines.sort_unstable_by_key(|line| std::cmp::Reverse(line.len()));
        Self(lines)
    }

    /// The text with every line of a secret replaced.
    pub(super) fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut shown = Cow::Borrowed(text);
        for line in &self.0 {
            if shown.contains(line) {
                shown = shown.replace(line, HIDDEN).into();
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_secret_is_hidden_wherever_it_stands() {
        let secrets = ["token-1", "user = me\n  pass = token-12345\n", "a\nno"];
        let veil = Veil::over(&secrets.map(|value| (String::new(), Secret::new(value))));
        assert_eq!(veil.hide("see token-1 and token-1"), "see *** and ***");
        assert_eq!(veil.hide("  pass = token-12345"), "  ***", "the longest first");
        assert_eq!(veil.hide("a word or no word"), "a word or no word", "what is too short stays");
    }

    #[test]
    fn certificates_are_no_secrets_but_keys_beside_them_are() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIBpublic\n-----END CERTIFICATE-----\nMIIBprivate\n";
        let veil = Veil::over(&[(String::new(), Secret::new(pem))]);
        assert_eq!(veil.hide("MIIBpublic MIIBprivate"), "MIIBpublic ***");
    }
}
