//! `watch`: runs what a change concerns, again and again, until Ctrl-C. Knows it by its events.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;
use serde_json::Value;

use super::program::{PATIENCE, Running};
use super::space::Space;

/// The events of a running watch, as they come.
fn events(running: &mut Running) -> Receiver<Value> {
    let (sender, receiver) = channel();
    let out = running.0.stdout.take().expect("its output");
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str(&line) else { continue };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Tasks that were started until the watch is idle, sorted.
#[track_caller]
fn round(events: &Receiver<Value>) -> Vec<String> {
    let mut started = Vec::new();
    loop {
        let event = events.recv_timeout(PATIENCE).expect("an event");
        match event["event"].as_str() {
            Some("task_started") => started.push(event["task"].as_str().unwrap_or_default().to_owned()),
            Some("watch_idle") => break,
            _ => {}
        }
    }
    started.sort_unstable();
    started
}

#[test]
fn only_what_a_change_concerns_runs_until_it_is_interrupted() {
    let space = Space::new("watch");
    space.build();
    let mut running = Running::start(space.command(&["--reporter", "json", "watch"]));
    let events = events(&mut running);
    assert_eq!(round(&events), [""; 0], "the first round finds nothing to do");

    space.append("images/leaf/note.txt", "a first line");
    assert_eq!(round(&events), ["build:leaf", "stage:leaf", "test:leaf"]);
    assert!(space.cat("leaf", "/note/leaf.txt").ends_with("a first line"));
    space.append("images/mid/note.txt", "a second line");
    assert_eq!(round(&events), ["build:leaf", "build:mid", "stage:mid", "test:leaf", "test:mid"]);
    assert!(space.cat("leaf", "/note/mid.txt").ends_with("a second line"));
    space.append("images/base/Dockerfile.j2", "{# A comment. #}");
    assert_eq!(round(&events), ["render:base"], "an early end");

    running.signal(Signal::INT);
    assert_eq!(running.end(), 130);
}
