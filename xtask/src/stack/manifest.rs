//! The page that describes an image: its layers and what commands in it say, in the format that the datahub wiki
//! has. Pure text; runs nothing.

use jiff::Timestamp;

/// One layer as the engine's history tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Layer {
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The instruction that made it.
    pub created_by: String,
    /// Bytes.
    pub size: u64,
    /// Local tags; engines say null for none.
    #[serde(deserialize_with = "null_is_none")]
    pub tags: Vec<String>,
}

fn null_is_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    use serde::Deserialize;
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Which layers the table shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    #[default]
    All,
    /// Those with a local tag, as the later generation of datahub does.
    Tagged,
}

/// What a command in the image said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoOutput {
    pub description: String,
    /// Standard output and error; `None` where the command failed.
    pub output: Option<String>,
}

/// Stands for the output of a command that failed.
pub const FAILED: &str = "Failed to execute cmd";
/// Longer outputs are folded away.
const LONGEST_SHOWN: usize = 30;

/// The table of the layers.
///
/// `history` as engines give it, the newest first. The table is the other way round and begins with the oldest layer
/// that has a local tag (with the oldest of all where none has one).
pub fn layer_table(history: &[Layer], rows: Rows) -> String {
    let oldest = history.iter().rposition(|layer| !layer.tags.is_empty()).unwrap_or(history.len().saturating_sub(1));
    let mut sum: u64 = history.get(oldest + 1..).unwrap_or_default().iter().map(|layer| layer.size).sum();
    let mut table = Vec::new();
    let mut before = None;
    for (index, layer) in history.iter().take(oldest + 1).rev().enumerate() {
        sum += layer.size;
        let elapsed = match before {
            None => String::new(),
            // The format counts from the second row on.
            Some(_) if index == 1 => elapsed(0),
            Some(before) => elapsed(layer.created - before),
        };
        before = Some(layer.created);
        if rows == Rows::All || !layer.tags.is_empty() {
            let time = Timestamp::from_second(layer.created).unwrap_or_default();
            table.push([
                index.to_string(),
                time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                command(&layer.created_by),
                size(layer.size),
                size(sum),
                elapsed,
                tags(&layer.tags),
            ]);
        }
    }
    markdown(["", "createdAt", "CMD", "hSize", "hcumSize", "elapsed", "Tags"], &table)
}

/// The instruction without what would break the table or says nothing.
fn command(created_by: &str) -> String {
    let text = created_by.replace('|', "").replace("/bin/bash -o pipefail -c", "").replace("#(nop)", "");
    // A here-document would continue on lines that no table has.
    format!("`{}`", text.trim().replace(['\n', '\r'], " "))
}

fn tags(tags: &[String]) -> String {
    if tags.is_empty() {
        return String::new();
    }
    format!("['{}']", tags.join("', '"))
}

/// Up to 100 bytes as `72 B`, above with one decimal in steps of 1000.
pub fn size(bytes: u64) -> String {
    if bytes <= 100 {
        return format!("{bytes} B");
    }
    let units = ["Byte", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut step, mut unit) = (1u64, 0);
    while unit + 1 < units.len() && bytes / step >= 1000 {
        step *= 1000;
        unit += 1;
    }
    format!("{:.1} {}", bytes as f64 / step as f64, units[unit])
}

/// `1d2h3m4s`; parts that are 0 are left out, but not the seconds. A negative time counts from the day before.
pub fn elapsed(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let mut text = String::new();
    for (value, unit) in [(days, 'd'), (rest / 3600, 'h'), (rest % 3600 / 60, 'm')] {
        if value != 0 {
            text.push_str(&format!("{value}{unit}"));
        }
    }
    text + &format!("{}s", rest % 60)
}

/// A table with the first column to the right and the others to the left; no final newline.
fn markdown<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    const AROUND_HEAD: usize = 2;
    let length = |text: &str| text.chars().count();
    let widths: [usize; N] = std::array::from_fn(|at| {
        let longest = rows.iter().map(|row| length(&row[at])).max().unwrap_or(0);
        longest.max(length(head[at]) + AROUND_HEAD)
    });
    let line = |cells: [&str; N]| {
        let cell = |(at, text): (usize, &&str)| match at {
            0 => format!(" {text:>width$} |", width = widths[at]),
            _ => format!(" {text:<width$} |", width = widths[at]),
        };
        format!("|{}", cells.iter().enumerate().map(cell).collect::<String>())
    };
    let rule = |(at, width): (usize, &usize)| match at {
        0 => format!("{}:|", "-".repeat(width + 1)),
        _ => format!(":{}|", "-".repeat(width + 1)),
    };
    let rule = format!("|{}", widths.iter().enumerate().map(rule).collect::<String>());
    let mut lines = vec![line(head), rule];
    lines.extend(rows.iter().map(|row| line(std::array::from_fn(|at| row[at].as_str()))));
    lines.join("\n")
}

/// The whole page: the table, then one section per command; long outputs are folded. No final newline.
pub fn page(table: &str, outputs: &[InfoOutput]) -> String {
    let mut sections = vec![table.to_owned()];
    for info in outputs {
        let output = info.output.as_deref().map_or(FAILED, str::trim_end);
        let fenced = format!("```\n{output}\n```");
        sections.push(if output.matches('\n').count() > LONGEST_SHOWN {
            format!("\n## {}\n\n<details>\n<summary>Details</summary>\n\n{fenced}\n</details>\n\n\n", info.description)
        } else {
            format!("\n## {}\n\n{fenced}\n\n", info.description)
        });
    }
    sections.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(name: &str) -> String {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/manifests").join(name);
        std::fs::read_to_string(path).unwrap()
    }

    /// The expected tables were written by the libraries that the datahub programs use, from the same history.
    #[test]
    fn tables_are_equal_to_those_of_the_originals_byte_for_byte() {
        let history: Vec<Layer> = serde_json::from_str(&data("history.json")).unwrap();
        assert_eq!(layer_table(&history, Rows::All), data("layers-all.md"));
        assert_eq!(layer_table(&history, Rows::Tagged), data("layers-tagged.md"));
    }

    #[test]
    fn odd_histories_give_tables_too() {
        assert_eq!(layer_table(&[], Rows::All).lines().count(), 2);
        let layer = Layer { created_by: "RUN cat <<EOF\nx\nEOF".to_owned(), size: 5, ..Layer::default() };
        let table = layer_table(&[layer], Rows::All);
        let row = table.lines().nth(2).unwrap();
        assert!(row.starts_with("|  0 | 1970-01-01 00:00:00 | `RUN cat <<EOF x EOF` | 5 B "), "{row}");
    }

    #[test]
    fn sizes_and_times() {
        let sizes = [0, 100, 101, 999, 1000, 999_949, 999_950, 1_000_000, 1_000_000_000, u64::MAX].map(size);
        assert_eq!(
            sizes,
            [
                "0 B",
                "100 B",
                "101.0 Byte",
                "999.0 Byte",
                "1.0 kB",
                "999.9 kB",
                "1000.0 kB",
                "1.0 MB",
                "1.0 GB",
                "18.4 EB"
            ]
        );
        assert_eq!(
            [0, 59, 60, 3723, 86_400, 90_061, -1].map(elapsed),
            ["0s", "59s", "1m0s", "1h2m3s", "1d0s", "1d1h1m1s", "-1d23h59m59s"]
        );
    }

    #[test]
    fn pages_have_a_section_per_command() {
        let info = |output: Option<&str>| InfoOutput {
            description: "Python Version".to_owned(),
            output: output.map(str::to_owned),
        };
        let text = page("| table |", &[info(Some("Python 3.11\r\n")), info(None)]);
        assert_eq!(
            text,
            "| table |\n\n## Python Version\n\n```\nPython 3.11\n```\n\n\n\n## Python Version\n\n```\nFailed to execute cmd\n```"
        );
        let lines = |count: usize| vec!["x"; count].join("\n");
        assert!(!page("t", &[info(Some(&lines(31)))]).contains("<details>"));
        let long = page("t", &[info(Some(&lines(32))), info(Some("y"))]);
        assert_eq!(
            long,
            format!(
                "t\n\n## Python Version\n\n<details>\n<summary>Details</summary>\n\n```\n{}\n```\n</details>\n\n\n\n\n## Python Version\n\n```\ny\n```",
                lines(32)
            )
        );
    }
}
