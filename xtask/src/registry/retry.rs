//! How long to wait before a request is repeated. Pure; knows nothing of HTTP beyond the `Retry-After` header.

use std::time::{Duration, SystemTime};

/// How often and how patiently requests are repeated.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Requests in all, the first one included.
    pub tries: u32,
    /// The longest wait before the first repetition; doubles with each further one.
    pub base: Duration,
    /// The longest wait that the back-off grows to.
    pub cap: Duration,
    /// A registry that asks for a longer wait than this is not waited for.
    pub patience: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { tries: 5, base: Duration::from_secs(1), cap: Duration::from_secs(30), patience: Duration::from_mins(5) }
    }
}

/// At most one request per second to a registry that limits us.
pub const LIMITED_PACE: Duration = Duration::from_secs(1);

impl Policy {
    /// The wait before the next try: full jitter over an exponential ceiling.
    ///
    /// `failed` counts the tries so far (from 1), `floor` is what the registry asked for at least, `random` is in
    /// `0.0..1.0`.
    pub fn wait(&self, failed: u32, floor: Duration, random: f64) -> Duration {
        let doublings = failed.saturating_sub(1).min(16);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.cap);
        floor + ceiling.mul_f64(random.clamp(0.0, 1.0))
    }
}

/// Reads a `Retry-After` header: seconds, or a date.
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let then = SystemTime::from(date.timestamp());
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let policy = Policy::default();
        let longest = |failed| policy.wait(failed, Duration::ZERO, 1.0).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6, 99].map(longest), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(policy.wait(9, Duration::ZERO, 0.0), Duration::ZERO, "full jitter reaches zero");
        assert_eq!(policy.wait(1, Duration::from_secs(7), 0.5), Duration::from_millis(7500));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(30)));
        let later = now + Duration::from_hours(1);
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", later), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
