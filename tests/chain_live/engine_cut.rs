//! The way to the engine is cut at a random byte: row K2. Knows nothing of what is said on it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::space::Space;
use crate::counts::{Random, count};
use crate::support::engine;

/// All that is open, how much may still pass before it is cut, and what has passed.
#[derive(Default)]
struct Wires {
    open: Vec<UnixStream>,
    left: Option<usize>,
    passed: usize,
}

/// A socket in front of the engine's.
struct Gate {
    path: PathBuf,
    wires: Arc<Mutex<Wires>>,
}

impl Gate {
    fn before(engine: &Path, folder: &Path) -> Self {
        let path = folder.join("engine.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let wires = Arc::<Mutex<Wires>>::default();
        let (engine, shared) = (engine.to_owned(), Arc::clone(&wires));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = UnixStream::connect(&engine) else { continue };
                let ends = [&near, &far].map(|end| end.try_clone().expect("a socket"));
                shared.lock().unwrap().open.extend(ends);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let wires = Arc::clone(&shared);
                    std::thread::spawn(move || pass(from, to, &wires));
                }
            }
        });
        Self { path, wires }
    }

    /// Everything is cut once, after so many bytes.
    fn cut_after(&self, bytes: Option<usize>) {
        let mut wires = self.wires.lock().unwrap();
        (wires.left, wires.passed) = (bytes, 0);
    }

    fn passed(&self) -> usize {
        self.wires.lock().unwrap().passed
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, wires: &Mutex<Wires>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        let mut all = wires.lock().unwrap();
        all.passed += got;
        let now = all.left.map_or(got, |left| left.min(got));
        let is_cut = all.left.is_some_and(|left| left <= got);
        all.left = if is_cut { None } else { all.left.map(|left| left - got) };
        drop(all);
        let fine = to.write_all(&buffer[..now]).is_ok();
        if is_cut {
            for end in wires.lock().unwrap().open.drain(..) {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
        if !fine {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn k2_a_connection_that_is_cut_at_any_byte_is_made_again_or_told() {
    let mut space = Space::new("k2");
    let docker = engine();
    let socket = docker.endpoint().strip_prefix("unix://").expect("tests have an engine of this machine");
    let gate = Gate::before(Path::new(socket), space.root());
    space.env.insert("DOCKER_HOST".to_owned(), format!("unix://{}", gate.path.display()));
    space.write("images/side/many", &"some text\n".repeat(10_000));
    space.dockerfile("side", "base", "COPY note.txt many /note/");
    space.run(&["build:base"]).fine();
    gate.cut_after(None);
    space.run(&["build:side"]).fine();
    let whole = gate.passed();
    assert!(whole > 100_000, "{whole} bytes are a build");
    let mut random = Random::new();
    let (mut finished, mut told) = (0, 0);
    for round in 0..count(8, 200) {
        space.append("images/side/note.txt", &format!("round {round}"));
        space.append("images/side/many", &format!("round {round}"));
        // Every other cut is in what is said before and after the files.
        let at = random.below(if round % 2 == 0 { whole } else { 20_000 });
        gate.cut_after(Some(at));
        let run = space.run(&["build:side"]);
        assert!(run.time < Duration::from_secs(30), "cut at byte {at} of {whole}: {:?}", run.time);
        if run.code == 0 {
            finished += 1;
        } else {
            told += 1;
            let said = format!("{}\n{}", run.stdout, run.stderr);
            assert!([2, 3].contains(&run.code), "cut at byte {at}: exit code {}: {said}", run.code);
            assert!(said.contains("the connection to the engine ended"), "cut at byte {at}: {said}");
        }
        gate.cut_after(None);
        space.run(&["build:side"]).fine();
        assert!(space.cat("side", "/note/note.txt").ends_with(&format!("round {round}")), "cut at byte {at}");
        assert_eq!(space.run(&["build:side"]).fine().started(), [""; 0], "cut at byte {at}");
    }
    assert!(finished > told / 2, "{finished} were finished, {told} told, seed {}", random.0);
}
