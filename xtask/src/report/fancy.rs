//! Live lines at the bottom of a terminal: what runs, how far, how long still; everything else goes by above.
//! Knows nothing of what is worth telling (`narrator`) and of how a terminal is painted (`screen`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Counts, Diagnostic, Event, Hashing};

use super::live::{Live, Row};
use super::narrator::{Manner, Narrator};
use super::options::{HashingFn, Options};
use super::remaining::Remaining;
use super::screen::Screen;
use super::ticker::Ticker;
use super::watch::WatchLine;
use super::{Curtain, Reporter};

/// Between two pictures. A run that is over sooner shows none.
const PACE: Duration = Duration::from_millis(100);

struct State {
    narrator: Narrator,
    out: Box<dyn std::io::Write + Send>,
    screen: Screen,
    live: Live,
    rows: Vec<Row>,
    remaining: Remaining,
    counts: Counts,
    done: usize,
    tasks: usize,
    started: Instant,
    hashing: HashingFn,
    /// If these are the runs of a watch.
    watch: Option<WatchLine>,
    /// Between the runs of a watch.
    idle: bool,
}

impl State {
    fn follow(&mut self, event: &Event, now: Instant) {
        match event {
            Event::RunStarted { tasks, workers, expected, .. } => {
                self.rows.clear();
                self.idle = false;
                self.remaining = Remaining::start(*workers, *expected);
                (self.counts, self.done, self.tasks, self.started) = (Counts::default(), 0, *tasks, now);
            }
            Event::TaskStarted { task, title, expected, interactive, .. } => {
                self.remaining.started(task, *expected, now);
                self.rows.push(Row::new(task, title, now, *interactive));
                if *interactive {
                    self.screen.pause();
                }
            }
            Event::TaskOutput { task, .. } => {
                let line = self.narrator.captures.get(task).and_then(|capture| capture.last_line());
                if let (Some(line), Some(row)) = (line, self.rows.iter_mut().find(|row| row.task == *task)) {
                    line.clone_into(&mut row.text);
                }
            }
            Event::TaskProgress { task, done, total, text } => self.progress(task, *done, *total, text, now),
            Event::TaskFinished { task, outcome, expected, hidden, .. } => {
                self.remaining.finished(task, *expected);
                let interactive = self.rows.iter().any(|row| row.task == *task && row.interactive);
                self.rows.retain(|row| row.task != *task);
                if interactive {
                    self.screen.resume();
                }
                // An interrupted one starts again, or the run ends.
                if !hidden && *outcome != crate::model::Outcome::Interrupted {
                    self.done += 1;
                    self.counts.add(*outcome);
                }
            }
            // As in a new run, to which the services belong.
            Event::TasksJoined { tasks } => {
                (self.counts, self.done, self.tasks) = (Counts::default(), 0, self.rows.len() + tasks);
            }
            _ => {}
        }
        self.watch.iter_mut().for_each(|watch| watch.follow(event));
    }

    /// A moment later: what is hashed has its row, also before anything is known of the run.
    fn tick(&mut self, now: Instant) {
        let name: Arc<str> = "hashing".into();
        match (self.hashing)() {
            Some(hashing) => {
                let (done, all, text) = match hashing {
                    Hashing::Bytes(done, all) => {
                        let (part, whole) = (super::layout::bytes(done), super::layout::bytes(all));
                        (done, all, format!("{part} of {whole}"))
                    }
                    Hashing::Files(done, all) => (done, all, format!("{done} of {all} files")),
                };
                self.progress(&name, done.min(all.saturating_sub(1)), all, &text, now);
            }
            None => self.rows.retain(|row| !(row.borrowed && row.task == name)),
        }
        if !self.rows.is_empty() || !self.screen.is_empty() {
            self.paint("", Lines::Now, now);
        }
    }

    /// Progress may come without a task, e.g. of hashing: then its row lasts until all is done.
    fn progress(&mut self, task: &Arc<str>, done: u64, total: u64, text: &str, now: Instant) {
        if !self.rows.iter().any(|row| row.task == *task) {
            self.rows.push(Row { borrowed: true, ..Row::new(task, task, now, false) });
        }
        self.rows.retain(|row| !(row.borrowed && row.task == *task && done >= total));
        if let Some(row) = self.rows.iter_mut().find(|row| row.task == *task) {
            row.progress = Some((done, total));
            text.clone_into(&mut row.text);
        }
    }

    /// Paints `text` above the live lines of this moment.
    fn paint(&mut self, text: &str, lines: Lines, now: Instant) {
        let paint = self.narrator.manner.paint;
        let size = self.screen.size();
        let columns = usize::from(size.1) - 1;
        let watch = self.watch.as_ref();
        let picture = match (watch.filter(|_| self.idle), lines) {
            (Some(watch), _) => watch.rows("waiting", paint, columns),
            (None, Lines::Keep) => return self.screen.keep(text),
            (None, Lines::None) => Vec::new(),
            (None, Lines::Now) => {
                let left = self.remaining.at(now);
                let total = super::live::Total {
                    done: self.done,
                    tasks: self.tasks,
                    failed: self.counts.failed + self.counts.error,
                    elapsed: now.duration_since(self.started),
                    left,
                };
                let mut rows = self.live.picture(&self.rows, &total, size, paint, now);
                rows.extend(watch.iter().flat_map(|watch| watch.rows("watching", paint, columns)));
                rows
            }
        };
        self.screen.show(text, picture);
    }
}

/// Which live lines to show below a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Those of this moment.
    Now,
    /// Those that are there, if any.
    Keep,
    /// None: the run is over.
    None,
}

/// See the module.
pub struct Fancy {
    state: Arc<Mutex<State>>,
    ticker: Option<Ticker>,
}

impl Fancy {
    pub fn new(options: Options) -> Self {
        let manner = Manner { decisions: false, ..Manner::new(&options) };
        let state = State {
            narrator: Narrator::new(manner),
            screen: Screen::new(options.err, options.size),
            out: options.out,
            live: Live::default(),
            rows: Vec::new(),
            remaining: Remaining::default(),
            counts: Counts::default(),
            done: 0,
            tasks: 0,
            started: Instant::now(),
            hashing: options.hashing,
            watch: None,
            idle: false,
        };
        let mut fancy = Self { state: Arc::new(Mutex::new(state)), ticker: None };
        fancy.start_ticker();
        fancy
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_ticker(&mut self) {
        if self.ticker.is_none() {
            let state = self.state.clone();
            self.ticker = Ticker::start(PACE, move || {
                state.lock().unwrap_or_else(PoisonError::into_inner).tick(Instant::now());
            });
        }
    }
}

impl Reporter for Fancy {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { .. } | Event::TaskStarted { .. } | Event::TaskProgress { .. } => self.start_ticker(),
            Event::RunFinished { .. } => self.ticker = None,
            _ => {}
        }
        let now = Instant::now();
        let mut state = self.lock();
        if let Event::WatchIdle { .. } = event {
            state.follow(event, now);
            state.idle = true;
            state.paint("", Lines::None, now);
            return;
        }
        let said = state.narrator.tell(event);
        state.follow(event, now);
        if !said.out.is_empty() {
            let picture = state.screen.hide();
            let _ = state.out.write_all(said.out.as_bytes()).and_then(|()| state.out.flush());
            state.screen.show("", picture);
        }
        let text = said.for_people();
        if let Event::RunFinished { .. } = event {
            state.rows.clear();
            state.paint(&text, Lines::None, now);
        } else if !text.is_empty() {
            // A line of a finished task must not leave that task's live line below it.
            let lines = if state.screen.is_empty() { Lines::Keep } else { Lines::Now };
            state.paint(&text, lines, now);
        }
    }

    fn diagnostics(&mut self, diagnostics: &[Diagnostic]) {
        let mut state = self.lock();
        let text: String = diagnostics.iter().map(|one| state.narrator.problem(one)).collect();
        state.paint(&text, Lines::Keep, Instant::now());
    }

    fn watches(&mut self, keys: bool) {
        self.lock().watch = Some(WatchLine::new(keys));
    }

    fn curtain(&self) -> Option<Curtain> {
        let (closes, opens) = (self.state.clone(), self.state.clone());
        let lock =
            |state: &Mutex<State>, act: fn(&mut State)| act(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
        Some(Curtain {
            close: Box::new(move || lock(&closes, |state| state.screen.pause())),
            open: Box::new(move || {
                lock(&opens, |state| {
                    state.screen.resume();
                    if state.idle || !state.rows.is_empty() {
                        state.paint("", Lines::Now, Instant::now());
                    }
                });
            }),
        })
    }

    fn say(&mut self, line: &str) -> bool {
        self.lock().paint(&format!("{line}\n"), Lines::Keep, Instant::now());
        true
    }

    fn finish(&mut self) {
        self.ticker = None;
        let mut state = self.lock();
        state.idle = false;
        state.paint("", Lines::None, Instant::now());
    }
}

impl Drop for Fancy {
    /// A panic elsewhere must not leave half a picture on the terminal.
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Stream;
    use crate::model::event::Outcome;

    /// A terminal of 12 rows and 60 columns that shows what was written so far.
    fn terminal() -> (Fancy, Tape) {
        let (mut options, _, err) = taped();
        options.size = Arc::new(|| (12, 60));
        (Fancy::new(options), err)
    }

    fn seen(tape: &Tape) -> String {
        let mut parser = vt100::Parser::new(12, 60, 100);
        parser.process(&tape.bytes());
        // Whichever frame of the spinner it is.
        parser.screen().contents().replace(['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'], "*")
    }

    /// Waits until the terminal shows such a thing, for it is painted at its own pace.
    fn wait_until(tape: &Tape, is_there: impl Fn(&str) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !is_there(&seen(tape)) {
            assert!(Instant::now() < end, "{}", seen(tape));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the terminal shows this.
    fn wait_for(tape: &Tape, wanted: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while seen(tape) != wanted {
            assert!(Instant::now() < end, "seen:\n{}\nwanted:\n{wanted}", seen(tape));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_run_lives_at_the_bottom_and_leaves_its_story() {
        let (mut fancy, tape) = terminal();
        fancy.event(&started(3, 2));
        fancy.event(&decided("lint", vec![]));
        fancy.event(&finished("lint", Outcome::UpToDate, 0));
        wait_for(&tape, "  up to date  lint");
        fancy.event(&begin("build:a", 1));
        fancy.event(&begin("test:b", 0));
        fancy.event(&output("build:a", Stream::Stderr, "Step 1/2\x1b[2J"));
        let live = "  up to date  lint
* build:a  Step 1/2                                      0s
* test:b                                                 0s
   1/3 2 running, about 45s left";
        wait_for(&tape, live);
        fancy.event(&ran("build:a", 1_500, ""));
        let text = "  up to date  lint
          ok  build:a           1.50s
    Step 1/2
* test:b                                                 0s
   2/3 1 running, about 45s left";
        wait_for(&tape, text);
        fancy.event(&failed("test:b", 2_000, "1 of 2 checks failed"));
        fancy.event(&ended(1, Counts { ran: 1, up_to_date: 1, failed: 1, ..Counts::default() }));
        let end = "  up to date  lint
          ok  build:a           1.50s
    Step 1/2
      failed  test:b            1 of 2 checks failed
error: task `test:b` failed: 1 of 2 checks failed
  --> tasks.yaml:7:3
  note: full output is in `.xtask/logs/test:b.log`
      failed  1 failed, 1 ran, 1 up to date in 1m 12s, 3m 04s saved";
        assert_eq!(seen(&tape), end);
        fancy.event(&Event::WatchIdle { keys: false, bad: 1, broken: false });
        assert!(seen(&tape).ends_with("s saved"));
        fancy.finish();
        assert!(seen(&tape).ends_with("s saved"));
    }

    #[test]
    fn a_watch_says_what_changed_what_runs_and_how_it_went() {
        let (mut fancy, tape) = terminal();
        fancy.watches(true);
        fancy.event(&started(1, 1));
        fancy.event(&begin("build", 1));
        let keys = "enter all, r failed, e why, q quit";
        wait_until(&tape, |seen| seen.ends_with(&format!("left\nwatching\n{keys}")));
        fancy.event(&failed("build", 2_000, "no"));
        fancy.event(&ended(1, Counts { failed: 1, ..Counts::default() }));
        fancy.event(&Event::WatchIdle { keys: true, bad: 1, broken: false });
        let end = format!("\nwaiting  last run failed, 1 to mend\n{keys}");
        assert!(seen(&tape).ends_with(&end), "{}", seen(&tape));
        fancy.event(&Event::WatchChanged { paths: vec!["a.c".into()], total: 3, rescan: false });
        fancy.event(&started(1, 1));
        fancy.event(&begin("serve", 0));
        let end = format!("left\nwatching  last run failed, 1 to mend  changed `a.c` and 2 …\n{keys}");
        wait_until(&tape, |seen| seen.ends_with(&end));
        fancy.event(&Event::TasksJoined { tasks: 1 });
        fancy.event(&begin("other", 0));
        wait_until(&tape, |seen| seen.contains("   0/2 2 running"));
        let curtain = fancy.curtain().unwrap();
        (curtain.close)();
        assert!(!seen(&tape).contains("enter all"), "{}", seen(&tape));
        (curtain.open)();
        assert!(seen(&tape).ends_with(keys), "{}", seen(&tape));
        fancy.finish();
        assert!(!seen(&tape).contains("enter all"), "{}", seen(&tape));
    }

    #[test]
    fn hashing_has_a_row_before_anything_is_known_of_the_run() {
        let (mut options, _, err) = taped();
        options.size = Arc::new(|| (12, 60));
        let at = Arc::new(Mutex::new(Some(Hashing::Bytes(1_500_000, 6_000_000))));
        let seen_at = at.clone();
        options.hashing = Arc::new(move || *seen_at.lock().unwrap());
        let mut fancy = Fancy::new(options);
        let end = Instant::now() + Duration::from_secs(10);
        while !seen(&err).starts_with("* hashing   25% 1.5 MB of 6.0 MB ") {
            assert!(Instant::now() < end, "{}", seen(&err));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(seen(&err).lines().count(), 1, "there is no whole yet");
        *at.lock().unwrap() = Some(Hashing::Files(300, 1000));
        while !seen(&err).starts_with("* hashing   30% 300 of 1000 files ") {
            assert!(Instant::now() < end, "{}", seen(&err));
            std::thread::sleep(Duration::from_millis(5));
        }
        fancy.event(&started(2, 2));
        *at.lock().unwrap() = None;
        fancy.event(&begin("a", 0));
        while seen(&err).contains("hashing") {
            assert!(Instant::now() < end, "{}", seen(&err));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_short_run_shows_no_live_lines() {
        let (mut fancy, tape) = terminal();
        for event in [started(1, 1), begin("a", 0), ran("a", 1, ""), ended(0, Counts { ran: 1, ..Counts::default() })] {
            fancy.event(&event);
        }
        assert!(!String::from_utf8(tape.bytes()).unwrap().contains('⠋'));
    }

    #[test]
    fn an_interactive_task_has_the_terminal_for_itself() {
        let (mut fancy, tape) = terminal();
        fancy.event(&started(2, 2));
        fancy.event(&begin("other", 0));
        fancy.event(&Event::TaskStarted {
            task: "shell".into(),
            title: "shell".into(),
            expected: None,
            verbosity: 2,
            interactive: true,
        });
        let before = tape.bytes().len();
        std::thread::sleep(PACE * 3);
        assert_eq!(tape.bytes().len(), before);
        fancy.event(&ran("shell", 5, ""));
        let end = Instant::now() + Duration::from_secs(10);
        while !seen(&tape).contains("1 running") {
            assert!(Instant::now() < end, "{}", seen(&tape));
        }
    }
}
