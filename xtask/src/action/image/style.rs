//! In whose format pages about images are written: the argument `style` of two actions. Knows neither format.

use serde_json::Value;

use crate::model::{Diagnostic, words};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    /// A table of layers, then each info command; Home has a row per push.
    #[default]
    Datahub,
    /// The build, then each info command, which must say something; a page per month, and Home counts.
    Jupyter,
}

/// What the arguments say.
pub(super) fn style(args: &Value) -> Result<Style, Diagnostic> {
    match args["style"].as_str() {
        None if args["style"].is_null() => Ok(Style::Datahub),
        Some("datahub") => Ok(Style::Datahub),
        Some("jupyter") => Ok(Style::Jupyter),
        other => {
            let other = other.map_or_else(|| args["style"].to_string(), str::to_owned);
            let help = words::suggest("style", &other, &["datahub", "jupyter"]);
            Err(Diagnostic::error(format!("argument `style` is `{other}`, expected `datahub` or `jupyter`"))
                .maybe_help(help))
        }
    }
}
