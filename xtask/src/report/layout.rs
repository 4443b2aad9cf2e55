//! Durations, sizes, columns and cuts, as people read them. Knows nothing of tasks.

use std::time::Duration;

/// `0.05s`, `12.3s`, `1m 12s`, `2h 03m`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_secs() {
        _ if seconds < 9.995 => format!("{seconds:.2}s"),
        _ if seconds < 59.95 => format!("{seconds:.1}s"),
        _ if seconds < 3599.5 => {
            let whole = seconds.round() as u64;
            format!("{}m {:02}s", whole / 60, whole % 60)
        }
        whole => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// For a time that is only a guess or still growing: whole seconds, `3s`, `1m 12s`, `2h 03m`.
pub fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `512 B`, `12.1 MB`: decimal units, as registries and disks count.
pub fn bytes(size: u64) -> String {
    let mut value = size as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" { format!("{size} B") } else { format!("{value:.1} {unit}") }
}

/// How many columns the terminal at stdout has.
pub fn columns() -> usize {
    usize::from(console::Term::stdout().size().1)
}

/// How many columns the terminal at stderr has; `None` where there is none.
pub fn columns_for_people() -> Option<usize> {
    let term = console::Term::stderr();
    term.is_term().then(|| term.size_checked()).flatten().map(|(_, columns)| usize::from(columns))
}

/// How many columns a terminal uses for `text`, colour sequences not counted.
pub fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// `text` in at most `columns` columns, its end replaced by `…` where it is longer.
pub fn cut(text: &str, columns: usize) -> String {
    console::truncate_str(text, columns, "…").into_owned()
}

/// `text` filled with blanks on the right up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text` filled with blanks on the left up to `columns`.
pub fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits_that_matter() {
        let texts: Vec<String> = [0, 49, 9_990, 9_996, 59_949, 59_960, 72_000, 3_599_600, 7_400_000]
            .map(|millis| duration(Duration::from_millis(millis)))
            .to_vec();
        let wanted = ["0.00s", "0.05s", "9.99s", "10.0s", "59.9s", "1m 00s", "1m 12s", "0h 59m", "2h 03m"];
        assert_eq!(texts, wanted);
        assert_eq!(rough(Duration::from_millis(59_999)), "59s");
        assert_eq!(rough(Duration::from_secs(3_725)), "1h 02m");
    }

    #[test]
    fn sizes_and_cuts_count_columns() {
        assert_eq!([bytes(512), bytes(12_100_000), bytes(999_950)].join(" "), "512 B 12.1 MB 1.0 MB");
        assert_eq!(cut("数据科学", 5), "数据…");
        assert_eq!(cut("short", 5), "short");
        assert_eq!(pad("数", 4), "数  ");
        assert_eq!(pad_left("ok", 4), "  ok");
    }
}
