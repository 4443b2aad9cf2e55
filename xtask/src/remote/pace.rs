//! How fast the way to a host is: whether compression pays on it. Knows nothing of what is copied.
//!
//! Compression at the lowest level takes a processor a few seconds per gigabyte: on a way of 100 Mbit/s it more than
//! halves the time of a copy of sources, on one of a gigabit it lengthens it (measured with rsync 3.2).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Master;
use crate::exec::Stdin;
use crate::model::{Digest, StopToken};

/// Bytes per second below which the way is slow.
const SLOW: f64 = 30e6;
/// A way that is slower than this is told from a fast one by few bytes.
const CRAWL: f64 = SLOW / 5.0;
/// Bytes of the first look, and of the second where the first may have been disturbed.
const PIECES: [usize; 2] = [256 << 10, 2 << 20];
/// How long a fast way is taken for one: people move, and so do hosts.
const FAST_FOR: Duration = Duration::from_hours(24);
/// How long a slow one is: it may only have been a machine that had much else to do.
const SLOW_FOR: Duration = Duration::from_mins(10);

/// Measures, or remembers what was measured not long ago. `memory` is a folder for it. A way that cannot be measured is
/// taken for a fast one.
pub(super) fn is_slow(master: &Master, memory: Option<&Path>, stop: &StopToken) -> bool {
    let file = memory.map(|dir| dir.join(name(master)));
    if let Some(rate) = file.as_deref().and_then(remembered) {
        return rate < SLOW;
    }
    let Some(rate) = measure(master, stop) else { return false };
    if let Some(file) = file {
        remember(&file, rate);
    }
    rate < SLOW
}

fn name(master: &Master) -> String {
    format!("pace-{}", &Digest::of(master.target().to_string().as_bytes()).hex()[..16])
}

fn remembered(file: &Path) -> Option<f64> {
    let age = file.metadata().ok()?.modified().ok()?.elapsed().ok()?;
    let rate = std::fs::read_to_string(file).ok()?;
    let rate: f64 = rate.trim().parse().ok()?;
    (age < if rate < SLOW { SLOW_FOR } else { FAST_FOR }).then_some(rate)
}

/// What cannot be written is measured again.
fn remember(file: &Path, rate: f64) {
    let new: PathBuf = file.with_extension("new");
    let _ = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let _ = std::fs::write(&new, format!("{rate:.0}\n")).and_then(|()| std::fs::rename(&new, file));
}

/// Bytes per second from here to there. A disturbance makes it too low, never too high, so the best of two looks counts.
fn measure(master: &Master, stop: &StopToken) -> Option<f64> {
    let empty = time(master, 0, stop)?.min(time(master, 0, stop)?);
    let mut best: f64 = 0.0;
    for piece in PIECES {
        let spent = time(master, piece, stop)?.saturating_sub(empty);
        best = best.max(piece as f64 / spent.as_secs_f64().max(1e-4));
        if !(CRAWL..SLOW).contains(&best) {
            break;
        }
    }
    Some(best)
}

/// How long so many bytes take that nothing can compress.
fn time(master: &Master, bytes: usize, stop: &StopToken) -> Option<Duration> {
    let noise = (0..bytes / 32).flat_map(|number| Digest::of(&number.to_le_bytes()).0).collect();
    let begun = Instant::now();
    let result = master.run(&["sh", "-c", "cat > /dev/null"], Stdin::Bytes(noise), &mut |_, _| {}, stop);
    result.exit.success().then(|| begun.elapsed())
}
