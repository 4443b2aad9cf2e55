//! A proxy before the ssh server that cuts connections after a random number of bytes.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::task::Compress;
use crate::model::{Digest, StopToken};
use crate::remote::sshd::{Sshd, fill, programs};
use crate::remote::sync::{Limits, Place};
use crate::remote::{Job, JobState, Patience, SyncSpec, sync_all};

/// Forwards connections to a port until `budget` bytes have passed in both directions; then it cuts all and sets the
/// budget to what `next` says.
struct Proxy {
    port: u16,
    budget: Arc<AtomicU64>,
    cuts: Arc<AtomicU64>,
}

/// Never reached.
const ENDLESS: u64 = u64::MAX / 2;

impl Proxy {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            budget: Arc::new(AtomicU64::new(ENDLESS)),
            cuts: Arc::default(),
        };
        let (budget, cuts) = (proxy.budget.clone(), proxy.cuts.clone());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (budget, cuts) = (budget.clone(), cuts.clone());
                    std::thread::spawn(move || pass(from, to, &budget, &cuts));
                }
            }
        });
        proxy
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, budget: &AtomicU64, cuts: &AtomicU64) {
    let mut buffer = [0; 4096];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        let left = budget.load(Ordering::SeqCst);
        let whole = (size as u64) < left;
        let part = if whole { size } else { left as usize };
        if to.write_all(&buffer[..part]).is_err() {
            break;
        }
        if !whole {
            // The next connection of this round is whole, so that every round ends.
            budget.store(ENDLESS, Ordering::SeqCst);
            cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
        budget.fetch_sub(size as u64, Ordering::SeqCst);
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Names and contents below a folder.
fn digest(dir: &Path) -> Digest {
    let mut hasher = crate::model::digest::Hasher::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            hasher.field(path.strip_prefix(dir).unwrap().to_string_lossy().as_bytes());
            if path.is_dir() {
                folders.push(path);
            } else {
                hasher.field(fs::read(&path).unwrap());
            }
        }
    }
    hasher.finish()
}

fn cut_rounds(rounds: u64) {
    let (server, dir) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let proxy = Proxy::start(server.port);
    let (source, outside, root) = (dir.path().join("source"), dir.path().join("outside"), dir.path().join("root/deep"));
    fill(&source, 80);
    fill(&outside, 10);
    let before = digest(&outside);
    let place = Place { target: Some(server.target_at(proxy.port)), root: root.to_str().unwrap().to_owned() };
    let patience =
        Patience { back_off: Duration::from_millis(20), no_progress: Duration::from_secs(5), ..Patience::default() };
    let mut spec = SyncSpec::new(&source);
    spec.delete = true;
    // The bytes that pass are those of the copy.
    spec.compress = Compress::Never;
    let jobs = [Job { spec, place, path: "tree".into(), allow_collapse: false }];
    let mut retried = 0;
    for round in 0..rounds {
        for file in 0..8 {
            let content = Digest::of(format!("{round} {file}").as_bytes()).0.repeat(3000);
            fs::write(source.join(format!("big-{}", (round + file) % 20)), content).unwrap();
        }
        let _ = fs::remove_file(source.join(format!("big-{}", (round + 11) % 20)));
        let chance = Digest::of(format!("{round}").as_bytes()).0;
        // From within the handshake to the last file.
        let budget = u64::from(u32::from_be_bytes([0, chance[0], chance[1], chance[2]])) % 900_000;
        proxy.budget.store(budget, Ordering::SeqCst);
        let none = |_: &Job, _| {};
        // A cut before the first answer fails the sync; the person calls it again.
        let mut state = JobState::Same;
        for _ in 0..2 {
            state = sync_all(&jobs, Limits::default(), patience, &programs(), &none, &StopToken::new()).remove(0).state;
            match state {
                JobState::Copied { attempts, .. } => {
                    retried += u64::from(attempts > 1);
                    break;
                }
                JobState::Same => break,
                JobState::Failed(_) => {}
            }
        }
        assert!(!matches!(state, JobState::Failed(_)), "round {round}, cut after {budget} bytes: {state:?}");
        assert_eq!(digest(&root.join("tree")), digest(&source), "round {round}, cut after {budget} bytes");
    }
    assert_eq!(digest(&outside), before);
    let cuts = proxy.cuts.load(Ordering::SeqCst);
    assert!(cuts * 2 > rounds && retried > 0, "only {cuts} cuts and {retried} retries in {rounds} rounds");
    report(&format!("{rounds} rounds, {cuts} cuts, {retried} transfers taken up again, every tree whole"));
}

#[expect(clippy::print_stdout, reason = "`soak` shows it in its table")]
fn report(text: &str) {
    println!("soak-result R1: {text}");
}

/// A hundred times in every change's tests take too long on a busy machine: that is what `cargo xtask soak` is for.
#[test]
fn r1_a_real_connection_cut_at_random_bytes() {
    let is_soak = std::env::var_os("XTASK_SOAK_SECONDS").is_some();
    cut_rounds(if is_soak { 100 } else { 12 });
}
