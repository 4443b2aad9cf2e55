//! How often a fault is tried: few times in every change's tests, often under `cargo xtask soak`.

use std::time::Duration;

/// Set by `cargo xtask soak`: how many seconds a row may take.
pub const SOAK: &str = "XTASK_SOAK_SECONDS";

/// `few` in CI, `many` under soak.
pub fn count(few: usize, many: usize) -> usize {
    if soak().is_some() { many } else { few }
}

/// The time that one row has under soak.
pub fn soak() -> Option<Duration> {
    std::env::var(SOAK).ok()?.parse().ok().map(Duration::from_secs)
}

/// Says what a row came to; `cargo xtask soak` shows it in its table.
#[expect(clippy::print_stdout, reason = "the caller reads it there")]
pub fn report(row: &str, text: &str) {
    println!("soak-result {row}: {text}");
}
