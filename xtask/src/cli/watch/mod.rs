//! `cargo xtask watch [TASK …]`: runs once, then again whatever concerns changed files, until it is told to stop.
//!
//! The watch decides nothing: it wakes the planner, whose verdicts come from contents. A broken edit of tasks.yaml or
//! of the spec shows its errors, and the last good graph stays.

mod beside;
mod rounds;
mod set;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::run;
use crate::engine::{News, Wish};
use crate::exec::interrupt;
use crate::model::stop::Stop;
use crate::model::{Diagnostic, Diagnostics, StopToken};
use crate::report::keys::Keyboard;
use crate::watch::Batch;
use crate::world::World;

use rounds::Rounds;

/// What wakes the loop.
enum Wake {
    Changed(Batch),
    /// A person asked for something: it is in the news.
    Wished,
    /// Somebody asked us to stop.
    Stop,
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
    let quit = Arc::new(AtomicBool::new(false));
    let keys = Keys { stop: stop.clone(), quit: quit.clone(), news: news.clone(), sender: sender.clone() };
    // A task that is `interactive` finds the terminal as it was; so does whoever comes after us, whatever happens.
    let keyboard = if world.in_is_tty && world.err_is_tty { keys.read() } else { None };
    let hold = keyboard.as_ref().map(Keyboard::hold);
    let shared = super::share_terminal(&*reporter, world);
    let tenant = hold.clone().map(|leave| {
        let back = leave.clone();
        interrupt::on_leave(move || leave.take(), move || back.release())
    });
    reporter.watches(keyboard.is_some());
    let mut rounds = Rounds::new(prepared, &words, world, &stop, &mut *reporter, &callbacks, &news);
    rounds.terminal = hold;
    let watcher = rounds.start_watcher(sender)?;
    let mut inbox = Inbox { wakes };
    rounds.first(&watcher);
    let mut told = true;
    while !stop.is_requested() {
        if let Some(wish) = news.next_wish() {
            rounds.grant(wish, &mut inbox, &watcher);
            told = true;
            continue;
        }
        if std::mem::take(&mut told) {
            rounds.idle(keyboard.is_some());
        }
        match inbox.next() {
            Wake::Stop => break,
            Wake::Wished => {}
            Wake::Changed(batch) => told = rounds.changed(batch, &mut inbox, &watcher),
        }
    }
    reporter.finish();
    drop((watcher, shared, tenant, keyboard, listener, supervisor));
    let signalled = interrupt::exit_code().filter(|_| world.owns_process);
    let stopped = stop.is_requested() && !quit.load(Ordering::SeqCst);
    Ok(signalled.unwrap_or(if stopped { 130 } else { 0 }))
}

/// What waits for the loop.
struct Inbox {
    wakes: Receiver<Wake>,
}

impl Inbox {
    /// Sleeps until something is to be done.
    fn next(&mut self) -> Wake {
        // There are no more senders only when the watch has broken down.
        self.wakes.recv().unwrap_or(Wake::Stop)
    }

    /// Every batch that waits.
    fn batches(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        for wake in self.wakes.try_iter() {
            match wake {
                Wake::Changed(batch) => batches.push(batch),
                // The news and the token say it, too.
                Wake::Wished | Wake::Stop => {}
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

/// What each key does, at any time.
struct Keys {
    stop: StopToken,
    /// A person has had enough.
    quit: Arc<AtomicBool>,
    news: News,
    sender: Sender<Wake>,
}

impl Keys {
    /// Listens to the terminal, if there is one.
    fn read(self) -> Option<Keyboard> {
        Keyboard::of_stdin(move |key| {
            let wake = match key {
                b'\n' => self.wish(Wish::All),
                b'r' => self.wish(Wish::Failed),
                b'e' => self.wish(Wish::Explain),
                b'q' => self.quit(),
                _ => return,
            };
            // Nobody listens any more when the watch is about to end.
            let _ = self.sender.send(wake);
        })
    }

    fn wish(&self, wish: Wish) -> Wake {
        self.news.wish(wish);
        Wake::Wished
    }

    /// As Ctrl-C does: politely first, at once the second time.
    fn quit(&self) -> Wake {
        self.quit.store(true, Ordering::SeqCst);
        let urgent = if self.stop.is_requested() { Stop::Now } else { Stop::Gently };
        self.stop.request(urgent);
        Wake::Stop
    }
}
