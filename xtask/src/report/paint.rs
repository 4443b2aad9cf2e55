//! Colours, and when there are any. Knows nothing of what is coloured.

use anstyle::{AnsiColor, Style};

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// Whether to use colours: the flag, then `NO_COLOR`, then `CLICOLOR_FORCE` and `FORCE_COLOR`, then `CLICOLOR=0`, then
/// `TERM=dumb`, then whether it is a terminal. `env` looks a variable up; an empty one counts as absent.
pub fn wants_color(choice: ColorChoice, env: &dyn Fn(&str) -> Option<String>, is_tty: bool) -> bool {
    let get = |name: &str| env(name).filter(|value| !value.is_empty());
    let forced = |name: &str| get(name).is_some_and(|value| value != "0");
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if get("NO_COLOR").is_some() => false,
        ColorChoice::Auto if forced("CLICOLOR_FORCE") || forced("FORCE_COLOR") => true,
        ColorChoice::Auto if get("CLICOLOR").as_deref() == Some("0") => false,
        ColorChoice::Auto if get("TERM").as_deref() == Some("dumb") => false,
        ColorChoice::Auto => is_tty,
    }
}

/// What a piece of text means; its colour follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
    Warn,
    /// Work that goes on or is about to.
    Busy,
    /// A fact beside the point.
    Dim,
    Strong,
}

/// Paints, or leaves the text as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    pub on: bool,
}

impl Paint {
    pub fn new(on: bool) -> Self {
        Self { on }
    }

    /// `text` in the colour of its meaning.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        if !self.on || text.is_empty() {
            return text.to_owned();
        }
        let bold = Style::new().bold();
        let style = match tone {
            Tone::Good => bold.fg_color(Some(AnsiColor::Green.into())),
            Tone::Bad => bold.fg_color(Some(AnsiColor::Red.into())),
            Tone::Warn => bold.fg_color(Some(AnsiColor::Yellow.into())),
            Tone::Busy => bold.fg_color(Some(AnsiColor::Cyan.into())),
            Tone::Dim => Style::new().dimmed(),
            Tone::Strong => bold,
        };
        format!("{}{text}{}", style.render(), style.render_reset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per step of the precedence, each beating all that follow.
    #[test]
    fn colour_precedence() {
        use ColorChoice::{Always, Auto, Never};
        type Row = (ColorChoice, &'static [(&'static str, &'static str)], bool, bool);
        let rows: &[Row] = &[
            (Always, &[("NO_COLOR", "1"), ("TERM", "dumb")], false, true),
            (Never, &[("CLICOLOR_FORCE", "1"), ("FORCE_COLOR", "1")], true, false),
            (Auto, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true, false),
            (Auto, &[("NO_COLOR", "")], true, true),
            (Auto, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], false, true),
            (Auto, &[("FORCE_COLOR", "3"), ("CLICOLOR", "0")], false, true),
            (Auto, &[("CLICOLOR_FORCE", "0")], false, false),
            (Auto, &[("FORCE_COLOR", "0")], true, true),
            (Auto, &[("CLICOLOR", "0")], true, false),
            (Auto, &[("CLICOLOR", "1")], false, false),
            (Auto, &[("TERM", "dumb")], true, false),
            (Auto, &[("TERM", "xterm-256color")], true, true),
            (Auto, &[], false, false),
        ];
        for (choice, variables, is_tty, wanted) in rows {
            let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(wants_color(*choice, &env, *is_tty), *wanted, "{choice:?} {variables:?} tty={is_tty}");
        }
    }

    #[test]
    fn paint_off_changes_nothing() {
        assert_eq!(Paint::new(false).tone(Tone::Bad, "x"), "x");
        assert_eq!(Paint::new(true).tone(Tone::Bad, "x"), "\x1b[1m\x1b[31mx\x1b[0m");
    }
}
