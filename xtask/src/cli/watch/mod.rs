//! `cargo xtask watch [TASK …]`: runs once, then again whatever concerns changed files, until it is told to stop.
//!
//! The watch decides nothing: it wakes the planner, whose verdicts come from contents. A broken edit of tasks.yaml or
//! of the spec shows its errors, and the last good graph stays.

mod rounds;
mod set;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::run;
use crate::engine::News;
use crate::exec::interrupt;
use crate::model::{Diagnostic, Diagnostics, StopToken};
use crate::report::keys::{KeyMode, keys};
use crate::watch::Batch;
use crate::world::World;

use rounds::Rounds;

/// What wakes the loop.
enum Wake {
    Changed(Batch),
    Key(Key),
    /// Somebody asked us to stop.
    Stop,
}

/// What a person can ask for, each with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    RunAll,
    RunFailed,
    Explain,
    Quit,
}

/// Commands of a person after each round.
#[derive(Default)]
struct Callbacks {
    success: Option<String>,
    failure: Option<String>,
    bell: bool,
    poll: bool,
}

pub(super) fn watch(words: &[String], world: &World) -> Result<u8, Diagnostics> {
    let (words, callbacks) = own_options(words)?;
    let stop = StopToken::new();
    let Some(mut prepared) = run::prepare(&words, world, &stop, None)? else {
        return Err(Diagnostic::error("`watch` needs tasks: there are no default tasks")
            .help("cargo xtask watch TASK")
            .into());
    };
    if prepared.args.timings.is_some() {
        return Err(Diagnostic::error("`--timings` is for one run, and `watch` makes many").into());
    }
    run::use_chosen_hosts(&mut prepared)?;
    let mut reporter = run::reporter(&prepared.args, &prepared.place, world)?;
    reporter.diagnostics(&prepared.warnings);
    let (sender, wakes) = channel();
    let supervisor = world.owns_process.then(crate::exec::supervise);
    let waker = sender.clone();
    let wake = move || drop(waker.send(Wake::Stop));
    let listener = if world.owns_process { interrupt::listen_and(&stop, wake).ok() } else { None };
    let news = News::default();
    let mut rounds = Rounds::new(prepared, &words, world, &stop, &mut *reporter, &callbacks, &news);
    let watcher = rounds.start_watcher(sender.clone())?;
    let reads_keys = world.in_is_tty && world.err_is_tty;
    if reads_keys {
        read_keys(sender);
    }
    let mut inbox = Inbox { wakes, keys: VecDeque::new() };
    rounds.first(&watcher);
    let mut told = true;
    while !stop.is_requested() {
        if std::mem::take(&mut told) {
            rounds.idle(reads_keys);
        }
        // Only while nothing runs: an interactive task finds the terminal as it was.
        let key_mode = reads_keys.then(KeyMode::of_stdin).flatten();
        let wake = inbox.next();
        drop(key_mode);
        match wake {
            Wake::Stop | Wake::Key(Key::Quit) => break,
            Wake::Key(key) => {
                rounds.key(key, &mut inbox, &watcher);
                told = true;
            }
            Wake::Changed(batch) => told = rounds.changed(batch, &mut inbox, &watcher),
        }
    }
    reporter.finish();
    drop((watcher, listener, supervisor));
    Ok(interrupt::exit_code().filter(|_| world.owns_process).unwrap_or(if stop.is_requested() { 130 } else { 0 }))
}

/// What waits for the loop.
struct Inbox {
    wakes: Receiver<Wake>,
    /// Keys that came between batches, for later.
    keys: VecDeque<Key>,
}

impl Inbox {
    /// Sleeps until something is to be done.
    fn next(&mut self) -> Wake {
        if let Some(key) = self.keys.pop_front() {
            return Wake::Key(key);
        }
        // There are no more senders only when the watch has broken down.
        self.wakes.recv().unwrap_or(Wake::Stop)
    }

    /// Every batch that waits.
    fn batches(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        for wake in self.wakes.try_iter() {
            match wake {
                Wake::Changed(batch) => batches.push(batch),
                Wake::Key(key) => self.keys.push_back(key),
                // The token says it, too.
                Wake::Stop => {}
            }
        }
        batches
    }
}

/// Takes `--on-success CMD`, `--on-failure CMD`, `--bell` and `--poll` out of the words.
fn own_options(words: &[String]) -> Result<(Vec<String>, Callbacks), Diagnostics> {
    let mut rest = Vec::new();
    let mut callbacks = Callbacks::default();
    let mut found = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, joined) =
            word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        match name {
            "--on-success" | "--on-failure" => {
                let value = joined.or_else(|| words.next().cloned());
                let command = value.ok_or_else(|| Diagnostic::error(format!("option `{name}` needs a command")))?;
                let place = if name == "--on-success" { &mut callbacks.success } else { &mut callbacks.failure };
                *place = Some(command);
            }
            "--bell" => callbacks.bell = true,
            "--poll" => callbacks.poll = true,
            // Options of the run may stand before the command.
            "watch" if !found => found = true,
            _ => rest.push(word.clone()),
        }
    }
    Ok((rest, callbacks))
}

/// Keys of the terminal; the thread ends with the program.
fn read_keys(sender: Sender<Wake>) {
    std::thread::spawn(move || {
        for key in keys(std::io::stdin()) {
            let key = match key {
                b'\n' => Key::RunAll,
                b'r' => Key::RunFailed,
                b'e' => Key::Explain,
                b'q' => Key::Quit,
                _ => continue,
            };
            if sender.send(Wake::Key(key)).is_err() {
                return;
            }
        }
    });
}
