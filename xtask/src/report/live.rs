//! The live lines of a run, drawn by indicatif: one for each of the oldest running tasks, one for the whole.
//! Knows nothing of events and terminals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::layout::{cut, pad, pad_left, rough, width};
use super::paint::{Paint, Tone};
use super::screen::Canvas;

/// More rows than this are not read.
const MOST_ROWS: usize = 8;

/// Narrower terminals get no bar and no sentence about what is left.
const NARROW: usize = 60;

/// The parts of a bar: full, the head, empty.
const BAR: &str = "━╸─";

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// A task that runs.
#[derive(Clone, Debug)]
pub struct Row {
    pub task: Arc<str>,
    pub title: Arc<str>,
    pub started: Instant,
    /// Its last line, or what it says of its progress.
    pub text: String,
    /// Done and total, where it knows.
    pub progress: Option<(u64, u64)>,
    pub interactive: bool,
    /// Not a task: progress of the tool itself.
    pub borrowed: bool,
}

impl Row {
    pub fn new(task: &Arc<str>, title: &Arc<str>, started: Instant, interactive: bool) -> Self {
        Self {
            task: task.clone(),
            title: title.clone(),
            started,
            text: String::new(),
            progress: None,
            interactive,
            borrowed: false,
        }
    }
}

/// The whole run at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Total {
    pub done: usize,
    pub tasks: usize,
    pub failed: usize,
    pub elapsed: Duration,
    pub left: Option<Duration>,
}

/// The bars and what they are drawn on.
pub struct Live {
    canvas: Canvas,
    multi: MultiProgress,
    rows: Vec<ProgressBar>,
    total: ProgressBar,
}

impl Default for Live {
    fn default() -> Self {
        let canvas = Canvas::default();
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(canvas.clone())));
        let total = multi.add(ProgressBar::new(1));
        Self { canvas, multi, rows: Vec::new(), total }
    }
}

impl Live {
    /// The lines for a terminal of this many rows and columns; each is at least one column narrower.
    pub fn picture(
        &mut self,
        rows: &[Row],
        total: &Total,
        size: (u16, u16),
        paint: Paint,
        now: Instant,
    ) -> Vec<String> {
        self.canvas.resize(size);
        let most = (usize::from(size.0) / 3).clamp(1, MOST_ROWS);
        let shown = &rows[..rows.len().min(most)];
        self.adjust(shown.len());
        let columns = usize::from(size.1) - 1;
        let names = shown.iter().map(|row| width(&row.title)).max().unwrap_or(0);
        let names = names.min((columns / 3).max(12)).min(columns.saturating_sub(12));
        for (bar, row) in self.rows.iter().zip(shown) {
            draw_row(bar, row, names, columns, paint, now);
        }
        let running = rows.iter().filter(|row| !row.borrowed).count();
        self.draw_total(running, total, columns, paint);
        let mut picture = self.canvas.picture();
        if total.tasks == 0 {
            // Before a run has begun there is no whole.
            picture.truncate(shown.len());
        }
        picture
    }

    /// Makes as many bars as there are rows, above the total.
    fn adjust(&mut self, rows: usize) {
        while self.rows.len() > rows {
            if let Some(bar) = self.rows.pop() {
                bar.finish_and_clear();
                self.multi.remove(&bar);
            }
        }
        while self.rows.len() < rows {
            let bar = self.multi.insert_before(&self.total, ProgressBar::new(1));
            self.rows.push(bar);
        }
    }

    fn draw_total(&self, running: usize, total: &Total, columns: usize, paint: Paint) {
        let failed = if total.failed > 0 {
            format!(", {}", paint.tone(Tone::Bad, &format!("{} failed", total.failed)))
        } else {
            String::new()
        };
        let left = total.left.map_or(String::new(), |left| format!(", about {} left", rough(left)));
        let (bar, rest) = if columns >= NARROW {
            let bar = if paint.on { "{bar:24.green/dim} " } else { "{bar:24} " };
            (bar, format!("{running} running{failed}, {}{left}", rough(total.elapsed)))
        } else {
            ("", format!("{running} running{failed}{left}"))
        };
        let head = format!("{:>4}/{} ", total.done, total.tasks);
        let room = columns.saturating_sub(width(&head) + if bar.is_empty() { 0 } else { 25 });
        self.total.set_style(style(&format!("{head}{bar}{{msg}}")));
        self.total.set_length(total.tasks.max(1) as u64);
        self.total.set_position(total.done as u64);
        self.total.set_message(if room < 4 { String::new() } else { cut(&rest, room) });
        self.total.tick();
    }
}

/// `⠋ build:base  [2/5] RUN apt-get install …  1m 12s`.
fn draw_row(bar: &ProgressBar, row: &Row, names: usize, columns: usize, paint: Paint, now: Instant) {
    let elapsed = now.duration_since(row.started);
    let frame = SPINNER[(elapsed.as_millis() / 100) as usize % SPINNER.len()];
    let time = pad_left(&rough(elapsed), 7);
    let spinner = paint.tone(Tone::Busy, frame);
    let name = pad(&cut(&row.title, names), names);
    let share = match row.progress {
        Some((_, 0)) | None => "",
        Some(_) if columns < 38 => "",
        Some(_) if columns < NARROW => "{percent:>3}% ",
        Some(_) if paint.on => "{bar:10.cyan/dim} {percent:>3}% ",
        Some(_) => "{bar:10} {percent:>3}% ",
    };
    let share_width = match share.len() {
        0 => 0,
        14 => 5,
        _ => 16,
    };
    let room = columns.saturating_sub(2 + names + 2 + share_width + 1 + 7);
    // What a program has aligned for a terminal of its own would only leave holes here.
    let text = super::clean::text(&row.text, false).split_whitespace().collect::<Vec<_>>().join(" ");
    let text = if room < 4 { String::new() } else { pad(&cut(&text, room), room) };
    if let Some((done, total)) = row.progress {
        bar.set_length(total.max(1));
        bar.set_position(done);
    }
    bar.set_style(style(&format!("{{prefix}}  {share}{{msg}}")));
    bar.set_prefix(format!("{spinner} {name}"));
    bar.set_message(format!("{} {}", paint.tone(Tone::Dim, &text), paint.tone(Tone::Strong, &time)));
    bar.tick();
}

/// The templates are the constants above with numbers in them, so they parse; if one did not, its bar would be
/// indicatif's default one.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars(BAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(start: Instant) -> Vec<Row> {
        let row = |name: &str, text: &str, progress| Row {
            text: text.to_owned(),
            progress,
            ..Row::new(&name.into(), &name.into(), start, false)
        };
        vec![
            row(
                "build:base-notebook",
                "[2/5] RUN apt-get update && apt-get install --yes \x1b[2Jpython3",
                Some((2, 5)),
            ),
            row("test:数据科学", "收集 12 个测试 ... 通过", None),
            row("push-image:r-notebook", "12.1 MB/s", Some((7_000, 10_000))),
        ]
    }

    fn picture(size: (u16, u16), rows: usize) -> String {
        let start = Instant::now();
        let total = Total {
            done: 12,
            tasks: 40,
            failed: 1,
            elapsed: Duration::from_secs(72),
            left: Some(Duration::from_secs(130)),
        };
        let now = start + Duration::from_secs(72);
        let all: Vec<Row> = self::rows(start).into_iter().cycle().take(rows).collect();
        Live::default().picture(&all, &total, size, Paint::default(), now).join("\n")
    }

    #[test]
    fn a_wide_terminal() {
        let wanted = "\
⠋ build:base-notebook    ━━━━╸─────  40% [2/5] RUN apt-get update && apt-get install --yes pyth…  1m 12s
⠋ test:数据科学          收集 12 个测试 ... 通过                                                  1m 12s
⠋ push-image:r-notebook  ━━━━━━━╸──  70% 12.1 MB/s                                                1m 12s
  12/40 ━━━━━━━╸──────────────── 3 running, 1 failed, 1m 12s, about 2m 10s left";
        assert_eq!(picture((24, 105), 3), wanted);
    }

    #[test]
    fn forty_columns() {
        let wanted = "\
⠋ build:base-n…   40% [2/5] RUN…  1m 12s
⠋ test:数据科学  收集 12 个测试…  1m 12s
⠋ push-image:r…   70% 12.1 MB/s   1m 12s
  12/40 3 running, 1 failed, about 2m 1…";
        let seen = picture((24, 41), 3);
        assert_eq!(seen, wanted);
    }

    #[test]
    fn rows_are_limited_by_the_height() {
        assert_eq!(picture((24, 80), 30).lines().count(), 9);
        assert_eq!(picture((9, 80), 30).lines().count(), 4);
        assert_eq!(picture((3, 20), 30).lines().count(), 2);
        for columns in 20..120 {
            let seen = picture((24, columns), 3);
            assert!(seen.lines().all(|line| width(line) < usize::from(columns)), "{columns}:\n{seen}");
            assert_eq!(seen.lines().count(), 4, "{columns}:\n{seen}");
        }
    }
}
