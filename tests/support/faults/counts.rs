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

/// splitmix64. A test prints its seed where it fails, and `XTASK_TEST_SEED` repeats it.
pub struct Random(pub u64, u64);

impl Random {
    pub fn new() -> Self {
        let given = std::env::var("XTASK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = given.unwrap_or_else(|| now.map_or(1, |now| now.as_nanos() as u64) ^ u64::from(std::process::id()));
        Self(seed, seed)
    }

    pub fn next(&mut self) -> u64 {
        self.1 = self.1.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.1 ^ (self.1 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}
