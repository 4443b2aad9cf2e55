//! Compression by what the way to a host is: a proxy before the ssh server makes it slow.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::model::StopToken;
use crate::model::task::Compress;
use crate::remote::sshd::{Sshd, fill, programs};
use crate::remote::sync::{Limits, Place};
use crate::remote::{Job, JobState, Patience, SyncSpec, Target, sync_all};

/// Forwards connections to `to` with so many bytes a second in each direction. It ends with the test's process.
fn slow(to: u16, rate: u32) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || trickle(from, to, rate));
            }
        }
    });
    port
}

fn trickle(mut from: TcpStream, mut to: TcpStream, rate: u32) {
    let mut buffer = [0; 4096];
    // What is due counts from here, so that a pause that lasts too long is made up for.
    let mut due = Instant::now();
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        due = due.max(Instant::now()) + Duration::from_secs(1) * size as u32 / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fill(&dir.path().join("source"), 40);
        Self { dir }
    }

    /// Whether a copy of the whole folder is compressed, to a new place.
    fn is_compressed(&self, target: Option<Target>, wish: Compress, place: &str) -> bool {
        let root = self.dir.path().join(place).to_str().unwrap().to_owned();
        let mut spec = SyncSpec::new(self.dir.path().join("source"));
        spec.compress = wish;
        spec.memory = Some(self.dir.path().join("memory"));
        let jobs = [Job { spec, place: Place { target, root }, path: "tree".into(), allow_collapse: false }];
        let reports =
            sync_all(&jobs, Limits::default(), Patience::default(), &programs(), &|_, _| {}, &StopToken::new());
        match reports[0].state {
            JobState::Copied { compressed, .. } => compressed,
            ref other => panic!("{other:?}"),
        }
    }

    fn memories(&self) -> Vec<std::path::PathBuf> {
        let files = fs::read_dir(self.dir.path().join("memory")).unwrap().flatten();
        files.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("pace-")).collect()
    }
}

#[test]
fn a_slow_way_is_found_and_remembered_for_a_while() {
    let (server, scene) = (Sshd::start(""), Scene::new());
    let target = server.target_at(slow(server.port, 3_000_000));
    assert!(scene.is_compressed(Some(target.clone()), Compress::Auto, "one"));
    let memories = scene.memories();
    let rate: f64 = fs::read_to_string(&memories[0]).unwrap().trim().parse().unwrap();
    assert!(memories.len() == 1 && (30e3..15e6).contains(&rate), "{memories:?} {rate}");
    // What is remembered counts, as long as it is of today.
    fs::write(&memories[0], "900000000\n").unwrap();
    assert!(!scene.is_compressed(Some(target.clone()), Compress::Auto, "two"));
    let before = std::time::SystemTime::now() - Duration::from_hours(25);
    fs::File::options().append(true).open(&memories[0]).unwrap().set_modified(before).unwrap();
    assert!(scene.is_compressed(Some(target), Compress::Auto, "three"));
}

#[test]
fn what_is_wished_counts_before_what_is_measured() {
    let (server, scene) = (Sshd::start(""), Scene::new());
    let target = server.target_at(slow(server.port, 3_000_000));
    assert!(!scene.is_compressed(Some(target), Compress::Never, "one"));
    assert!(scene.is_compressed(Some(server.target()), Compress::Always, "two"));
    assert!(!scene.is_compressed(None, Compress::Auto, "here"));
}
