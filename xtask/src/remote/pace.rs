//! How fast the way to a host is: whether compression pays on it. Knows nothing of what is copied.
//!
//! Compressed to uncompressed, with rsync's zstd at its lowest level, both ends on one machine of two processors: one file
//! of 27 MB of sources takes 0.30 of the time at 6 MB/s and 0.40 at 12.5; 22 MB of sources in 2,800 files 0.32 at 2.5 MB/s,
//! 0.75 at 6, 1.19 at 12.5 and 1.06 at 125.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Master;
use crate::exec::{Reader, Stdin};
use crate::model::{Digest, StopToken};

/// Bytes per second below which the way is slow.
const SLOW: f64 = 15e6;
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

/// Bytes per second from here to there; the longer look counts where there are two.
fn measure(master: &Master, stop: &StopToken) -> Option<f64> {
    let rate = |piece: usize| Some(piece as f64 / time(master, piece, stop)?.as_secs_f64().max(1e-4));
    let first = rate(PIECES[0])?;
    if (CRAWL..SLOW).contains(&first) { rate(PIECES[1]) } else { Some(first) }
}

/// How long so many bytes take that nothing can compress. The other side speaks three times: when it is there, when it has a
/// line, which tells the time of a round trip, and when it has the bytes.
fn time(master: &Master, bytes: usize, stop: &StopToken) -> Option<Duration> {
    let noise: Vec<u8> = (0..bytes / 32).flat_map(|number| Digest::of(&number.to_le_bytes()).0).collect();
    let (reader, mut input) = Reader::pipe().ok()?;
    let (go, gone) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut say = |what: &[u8]| gone.recv().is_ok() && input.write_all(what).is_ok();
            // Whoever is gone has said so by its exit code.
            let _ = say(b"\n") && say(&noise);
        });
        let mut heard = Vec::new();
        let mut hear = |_, _: &[u8]| {
            heard.push(Instant::now());
            let _ = go.send(());
        };
        let words = ["sh", "-c", "echo; read line; echo; cat > /dev/null; echo"];
        let result = master.run(&words, Stdin::Pipe(reader), &mut hear, stop);
        drop(go);
        let [there, answered, ended] = heard[..] else { return None };
        let spent = ended - answered;
        // A round trip that was disturbed does not make a fast way of a slow one.
        result.exit.success().then(|| spent.saturating_sub((answered - there).min(spent / 2)))
    })
}
