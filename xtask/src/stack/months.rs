//! The wiki in the format of the Jupyter stacks: a page per month with a row per image, and Home with a table per year
//! that counts them. Pure text: old page in, new page out. Row J10.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::tags::manifest_page;

/// One image that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The full tag.
    pub reference: String,
    /// Seconds since 1970: when it was built.
    pub built: i64,
    /// The whole hash.
    pub commit: String,
    /// Its template or Dockerfile, relative to the root of the sources.
    pub source: String,
}

/// What Home says of one month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    builds: usize,
    images: usize,
    commits: usize,
}

const MONTH_HEAD: &str = "| Time | Image | Links |\n| --- | --- | --- |\n";
const YEAR_HEAD: &str = "| Month | Builds | Images | Commits |\n| --- | --- | --- | --- |\n";

/// The month in which an image was built: `2026-11`.
pub fn month(built: i64) -> String {
    time(built).strftime("%Y-%m").to_string()
}

/// The page of a month.
pub fn month_file(month: &str) -> String {
    format!("{month}.md")
}

fn time(seconds: i64) -> jiff::Zoned {
    Timestamp::from_second(seconds).unwrap_or_default().to_zoned(TimeZone::UTC)
}

/// The page of a month with rows for these images, the newest on top; the row of an image that is there already is
/// written anew. `web` is the page of the sources.
pub fn add_to_month(page: &str, month: &str, web: &str, pushed: &[Pushed]) -> String {
    let new = pushed.iter().filter(|one| self::month(one.built) == month);
    // Children are built after their parents, perhaps within the same minute.
    let mut rows: Vec<String> = new.clone().rev().map(|one| row(web, one)).collect();
    let replaced: BTreeSet<String> = new.map(|one| cell(&one.reference)).collect();
    let is_old = |line: &&str| line.starts_with("| 2") && !image_of(line).is_some_and(|image| replaced.contains(image));
    rows.extend(page.lines().filter(is_old).map(str::to_owned));
    // Rows begin with their time. Of one time, the order stays.
    rows.sort_by(|one, other| time_of(other).cmp(time_of(one)));
    format!("# Images built in {month}\n\n{MONTH_HEAD}{}\n", rows.join("\n"))
}

fn row(web: &str, one: &Pushed) -> String {
    let Pushed { reference, commit, source, .. } = one;
    format!(
        "| {} | {} | [Git diff]({web}/commit/{commit})<br />[Dockerfile]({web}/blob/{commit}/{source})<br />[Build \
         manifest](./{}) |",
        time(one.built).strftime("%Y-%m-%d %H:%M UTC"),
        cell(reference),
        manifest_page(reference),
    )
}

fn cell(reference: &str) -> String {
    format!("`{reference}`")
}

fn time_of(row: &str) -> &str {
    row.split('|').nth(1).unwrap_or_default()
}

fn image_of(row: &str) -> Option<&str> {
    row.split('|').nth(2).map(str::trim)
}

/// The pages of manifests that a month links to, the newest first.
pub fn manifests(page: &str) -> Vec<String> {
    let link = |line: &str| Some(line.split_once("[Build manifest](./")?.1.split_once(')')?.0.to_owned());
    page.lines().filter_map(link).collect()
}

/// The months that Home lists, the newest first.
pub fn months(home: &str) -> Vec<String> {
    let month = |line: &str| Some(line.strip_prefix("| [")?.split_once(']')?.0.to_owned());
    home.lines().filter_map(month).collect()
}

fn counts(page: &str) -> Counts {
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| 2")).collect();
    let name = |row: &&str| image_of(row).and_then(|image| image.rsplit_once(':')).map(|(name, _)| name.to_owned());
    let commit =
        |row: &&str| Some(row.split_once("/commit/")?.1.split_once(')')?.0.to_owned()).filter(|hash| !hash.is_empty());
    Counts {
        builds: rows.len(),
        images: rows.iter().filter_map(name).collect::<BTreeSet<_>>().len(),
        commits: rows.iter().filter_map(commit).collect::<BTreeSet<_>>().len(),
    }
}

/// Home with the counts of a month, whose page is given. What stands above the first year stays, and so do the rows of
/// other months.
pub fn add_to_home(home: &str, month: &str, month_page: &str) -> String {
    let is_year = |line: &str| line.strip_prefix("## ").is_some_and(|year| year.len() == 4);
    let above: Vec<&str> = home.lines().take_while(|line| !is_year(line)).collect();
    let below = home.lines().skip(above.len());
    let Counts { builds, images, commits } = counts(month_page);
    let start = format!("| [{month}](./{month}) |");
    let mut rows: Vec<String> = vec![format!("{start} {builds} | {images} | {commits} |")];
    rows.extend(below.filter(|line| line.starts_with("| [") && !line.starts_with(&start)).map(str::to_owned));
    rows.sort_by(|one, other| other.cmp(one));
    let mut text = above.join("\n").trim_end().to_owned();
    let mut year = "";
    for row in &rows {
        let of = row.get(3..7).unwrap_or_default();
        if of != year {
            let gap = if text.is_empty() { "" } else { "\n\n" };
            text.push_str(&format!("{gap}## {of}\n\n{YEAR_HEAD}{row}"));
            year = of;
        } else {
            text.push_str(&format!("\n{row}"));
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "https://git.example.org/lab/stack";

    fn pushed(name: &str, built: i64, commit: &str) -> Pushed {
        let (reference, source) = (format!("registry.example.org/lab/{name}"), "images/a/Dockerfile.j2".to_owned());
        Pushed { reference, built, commit: commit.to_owned(), source }
    }

    #[test]
    fn a_month_has_a_row_per_image_once() {
        let first = [pushed("a:1", 1_700_000_000, "c1"), pushed("b:1", 1_700_000_060, "c1")];
        let page = add_to_month("", "2023-11", WEB, &first);
        insta::assert_snapshot!(page, @r"
        # Images built in 2023-11

        | Time | Image | Links |
        | --- | --- | --- |
        | 2023-11-14 22:14 UTC | `registry.example.org/lab/b:1` | [Git diff](https://git.example.org/lab/stack/commit/c1)<br />[Dockerfile](https://git.example.org/lab/stack/blob/c1/images/a/Dockerfile.j2)<br />[Build manifest](./registry-example-org-lab-b-1) |
        | 2023-11-14 22:13 UTC | `registry.example.org/lab/a:1` | [Git diff](https://git.example.org/lab/stack/commit/c1)<br />[Dockerfile](https://git.example.org/lab/stack/blob/c1/images/a/Dockerfile.j2)<br />[Build manifest](./registry-example-org-lab-a-1) |
        ");
        assert_eq!(add_to_month(&page, "2023-11", WEB, &first), page, "a row is written once");
        let later = [pushed("a:2", 1_700_100_000, "c2"), pushed("a:3", 1_710_000_000, "c3")];
        let page = add_to_month(&page, "2023-11", WEB, &later);
        let links = ["registry-example-org-lab-a-2", "registry-example-org-lab-b-1", "registry-example-org-lab-a-1"];
        assert_eq!(manifests(&page), links, "the newest first, and none of another month");
        assert_eq!(counts(&page), Counts { builds: 3, images: 2, commits: 2 });
    }

    #[test]
    fn home_counts_months_by_year() {
        let page = |month: &str, time| add_to_month("", month, WEB, &[pushed("a:1", time, "c1")]);
        let home = add_to_home("Welcome.\n", "2023-11", &page("2023-11", 1_700_000_000));
        let home = add_to_home(&home, "2024-03", &page("2024-03", 1_710_000_000));
        let home = add_to_home(&home, "2023-12", &page("2023-12", 1_702_000_000));
        insta::assert_snapshot!(home, @r"
        Welcome.

        ## 2024

        | Month | Builds | Images | Commits |
        | --- | --- | --- | --- |
        | [2024-03](./2024-03) | 1 | 1 | 1 |

        ## 2023

        | Month | Builds | Images | Commits |
        | --- | --- | --- | --- |
        | [2023-12](./2023-12) | 1 | 1 | 1 |
        | [2023-11](./2023-11) | 1 | 1 | 1 |
        ");
        assert_eq!(add_to_home(&home, "2023-12", &page("2023-12", 1_702_000_000)), home);
        assert_eq!(months(&home), ["2024-03", "2023-12", "2023-11"]);
        assert!(add_to_home("", "2024-03", "").starts_with("## 2024\n"));
    }
}
