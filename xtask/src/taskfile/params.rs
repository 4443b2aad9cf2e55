//! Words of the command line to selected tasks and the values of their params. Knows nothing of the graph.

use crate::model::task::{Param, ParamKind};

/// Whether `text` can be a value of the param; if not, what is expected.
pub fn check_value(param: &Param, text: &str) -> Result<(), String> {
    let typed = match param.kind {
        ParamKind::Int if text.parse::<i64>().is_err() => Err("a whole number"),
        ParamKind::Float if !text.parse::<f64>().is_ok_and(f64::is_finite) => Err("a number"),
        ParamKind::Bool if !matches!(text, "true" | "false") => Err("`true` or `false`"),
        ParamKind::Semver if semver::Version::parse(text).is_err() => Err("a version such as `1.4.0`"),
        ParamKind::Path if text.is_empty() => Err("a path"),
        _ => Ok(()),
    };
    typed.map_err(str::to_owned)
}
