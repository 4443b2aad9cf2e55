//! The pages of the wiki beside the manifests: Home, Stable_Tag and Image Dependency. Pure text: old page in, new
//! page out.

use crate::model::{Diagnostic, ImageRef};

use super::tags::manifest_page;

/// Name of the page that lists what was published.
pub const HOME: &str = "Home.md";
/// Name of the page that says what `stable` is.
pub const STABLE_TAG: &str = "Stable_Tag.md";
/// Names that the page of dependencies has had; the first is the one written where none exists.
pub const DEPENDENCIES: [&str; 2] = ["Image-Dependency.md", "Image Dependency.md"];

/// The page in the browser that belongs to a remote of git; `None` for a local path.
pub fn web_url(remote: &str) -> Option<String> {
    let remote = remote.trim().trim_end_matches('/');
    let bare = remote.strip_suffix(".git").unwrap_or(remote);
    for scheme in ["https://", "http://"] {
        if bare.starts_with(scheme) {
            return Some(bare.to_owned());
        }
    }
    if let Some(rest) = bare.strip_prefix("ssh://").or_else(|| bare.strip_prefix("git://")) {
        let rest = rest.split_once('@').map_or(rest, |(_, host)| host);
        let (host, path) = rest.split_once('/')?;
        return Some(format!("https://{}/{path}", host.split(':').next().unwrap_or(host)));
    }
    let (host, path) = bare.split_once(':')?;
    let host = host.rsplit('@').next().unwrap_or(host);
    (!host.contains('/') && host.contains('.')).then(|| format!("https://{host}/{path}"))
}

/// One row of Home: the commit, the images, their pages.
///
/// `repository` is the web page of the sources, `hash` the first 7 digits of the commit.
pub fn home_row(repository: &str, hash: &str, images: &[String]) -> [String; 3] {
    [format!("[`{hash}`]({repository}/commit/{hash})"), image_cell(images), link_cell(repository, images)]
}

fn image_cell(images: &[String]) -> String {
    images.iter().map(|image| format!("`{image}`")).collect::<Vec<_>>().join("<br>")
}

fn link_cell(repository: &str, images: &[String]) -> String {
    let link = |image: &String| format!("[Link]({repository}/wiki/{})", manifest_page(image));
    images.iter().map(link).collect::<Vec<_>>().join("<br>")
}

/// Home with one more row on top of its first table. A page without a table gets one; a row that is there already
/// is not added again. The final newline is lost, as in the pages that exist.
///
/// Errors: the table of the page has another number of columns.
pub fn add_to_home(page: &str, row: &[String; 3]) -> Result<String, Diagnostic> {
    const COLUMNS: usize = 3;
    let text = format!("|{}|", row.join("|"));
    let mut lines: Vec<&str> = page.lines().collect();
    let is_row = |line: &str| line.trim_start().starts_with('|');
    let Some(start) = lines.iter().position(|line| is_row(line)) else {
        let mut new: Vec<&str> = page.trim_end().lines().collect();
        if !new.is_empty() {
            new.push("");
        }
        new.extend(["| Commit | Image | Manifest |", "| :- | :- | :- |", &text]);
        return Ok(new.join("\n"));
    };
    let found = lines[start].matches('|').count().saturating_sub(1);
    if found != COLUMNS {
        return Err(Diagnostic::error(format!("the table of `{HOME}` has {found} columns, expected {COLUMNS}"))
            .note("its columns are Commit, Image and Manifest"));
    }
    let end = lines[start..].iter().position(|line| !is_row(line)).map_or(lines.len(), |length| start + length);
    if !lines[start..end].contains(&text.as_str()) {
        lines.insert((start + 2).min(end), &text);
    }
    Ok(lines.join("\n"))
}

/// The images of the newest row of Home in which every image has the tag `<prefix>-<suffix>`, exactly: `2021.3` does
/// not find `2021.3.1`.
pub fn images_with_tag(home: &str, prefix: &str, suffix: &str) -> Option<Vec<String>> {
    let wanted = format!("{prefix}-{suffix}");
    let has_tag = |image: &String| ImageRef::parse(image).is_some_and(|image| image.tag.as_deref() == Some(&*wanted));
    rows(home).map(|cells| images_of(&cells)).find(|images| !images.is_empty() && images.iter().all(has_tag))
}

/// The images of the newest row of Home for a commit (its first digits), those whose repository has `keyword` in its
/// last part; an empty keyword means all.
pub fn images_of_commit(home: &str, commit: &str, keyword: &str) -> Option<Vec<String>> {
    let is_of = |cell: &str| {
        let hash = cell.split('`').nth(1).unwrap_or_default();
        !commit.is_empty() && !hash.is_empty() && (commit.starts_with(hash) || hash.starts_with(commit))
    };
    let images = rows(home).find(|cells| is_of(&cells[0])).map(|cells| images_of(&cells))?;
    let has_keyword = |image: &String| {
        let name = ImageRef::parse(image).map(|image| image.name).unwrap_or_default();
        name.rsplit('/').next().unwrap_or_default().contains(keyword)
    };
    Some(images.into_iter().filter(has_keyword).collect())
}

/// The rows of the first table, without its head.
fn rows(page: &str) -> impl Iterator<Item = [String; 3]> {
    let is_row = |line: &&str| line.trim_start().starts_with('|');
    page.lines().skip_while(move |line| !is_row(line)).take_while(is_row).skip(2).filter_map(|line| {
        let cells: Vec<String> = line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    })
}

fn images_of(cells: &[String; 3]) -> Vec<String> {
    let images = cells[1].split("<br>").map(|image| image.trim().trim_matches('`').to_owned());
    images.filter(|image| !image.is_empty()).collect()
}

/// The whole page Stable_Tag: which images `stable` means and what they were before. No final newline.
pub fn stable_page(repository: &str, stable: &[String], based_on: &[String]) -> String {
    let row = [image_cell(stable), image_cell(based_on), link_cell(repository, stable)];
    format!("| Global-Stable Image | Based On | Manifest |\n| :- | :- | :- |\n|{}|", row.join("|"))
}

/// What an image was built on, by full references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub image: String,
    pub base: String,
}

/// The page of dependencies with new rows on top; rows that are there already move up.
pub fn add_dependencies(page: &str, new: &[Dependency]) -> String {
    let old = dependencies(page).into_iter().filter(|row| !new.contains(row));
    let rows: String = new.iter().cloned().chain(old).map(|row| format!("{},{}\n", row.image, row.base)).collect();
    format!("# Image Dependency\n```csv\nimage,dep\n{rows}```\n")
}

/// The rows of the page, the newest first; none where it is empty or holds something else.
pub fn dependencies(page: &str) -> Vec<Dependency> {
    let csv = page.lines().skip_while(|line| line.trim() != "```csv").skip(1).take_while(|line| line.trim() != "```");
    csv.skip(1)
        .filter_map(|line| line.trim().split_once(','))
        .map(|(image, base)| Dependency { image: image.to_owned(), base: base.to_owned() })
        .collect()
}

/// The newest entry for a repository whose tag begins with the prefix of a plan (any tag for a plan without one). The
/// last part of the repository counts, whole: `base` does not find `base-notebook`.
pub fn previous<'a>(rows: &'a [Dependency], repository: &str, prefix: Option<&str>) -> Option<&'a Dependency> {
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    rows.iter().find(|row| {
        ImageRef::parse(&row.image).is_some_and(|image| {
            let tag = image.tag.unwrap_or_default();
            let fits = prefix.is_none_or(|prefix| tag.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')));
            last(&image.name) == last(repository) && fits
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPOSITORY: &str = "https://git.example.org/lab/stack";

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn rows_go_on_top_of_the_first_table_only() {
        let images = names(&["registry.example.org/lab/a:2026.3-stable", "registry.example.org/lab/b:2026.3-stable"]);
        let row = home_row(REPOSITORY, "abc1234", &images);
        let page = "Intro\n\n| Commit | Image | Manifest |\n| :- | :- | :- |\n|old|old|old|\n\nMore\n\n| x |\n| - |\n";
        let new = add_to_home(page, &row).unwrap();
        insta::assert_snapshot!(new, @r"
        Intro

        | Commit | Image | Manifest |
        | :- | :- | :- |
        |[`abc1234`](https://git.example.org/lab/stack/commit/abc1234)|`registry.example.org/lab/a:2026.3-stable`<br>`registry.example.org/lab/b:2026.3-stable`|[Link](https://git.example.org/lab/stack/wiki/registry-example-org-lab-a-2026.3-stable)<br>[Link](https://git.example.org/lab/stack/wiki/registry-example-org-lab-b-2026.3-stable)|
        |old|old|old|

        More

        | x |
        | - |
        ");
        assert!(!new.ends_with('\n'));
        assert_eq!(add_to_home(&new, &row).unwrap(), new, "a row is added once");
        assert_eq!(images_with_tag(&new, "2026.3", "stable"), Some(images));
    }

    #[test]
    fn a_page_without_a_table_gets_one() {
        let row = home_row(REPOSITORY, "abc1234", &names(&["lab/a:1"]));
        for (page, start) in
            [("", "| Commit"), ("Intro\n", "Intro\n\n| Commit | Image | Manifest |\n| :- | :- | :- |\n|[`abc")]
        {
            assert!(add_to_home(page, &row).unwrap().starts_with(start));
        }
        let error = add_to_home("| a | b |\n| - | - |\n", &row).unwrap_err();
        assert_eq!(error.message, "the table of `Home.md` has 2 columns, expected 3");
    }

    #[test]
    fn whole_tags_and_names_are_looked_up() {
        let home = "| Commit | Image | Manifest |\n| :- | :- | :- |\n\
            |[`bbbbbbb`](x)|`r/a:2021.3.1-stable`<br>`r/b:2021.3.1-stable`|x|\n\
            |[`aaaaaaa`](x)|`r/a:2021.3-stable`<br>`r/b-notebook:2021.3-stable`|x|\n";
        assert_eq!(
            images_with_tag(home, "2021.3", "stable"),
            Some(names(&["r/a:2021.3-stable", "r/b-notebook:2021.3-stable"]))
        );
        assert_eq!(images_with_tag(home, "2021", "stable"), None);
        let full = format!("aaaaaaa{}", "0".repeat(33));
        assert_eq!(images_of_commit(home, &full, "notebook"), Some(names(&["r/b-notebook:2021.3-stable"])));
        assert_eq!(images_of_commit(home, "bbbbbbb", ""), Some(names(&["r/a:2021.3.1-stable", "r/b:2021.3.1-stable"])));
        assert_eq!(images_of_commit(home, "ccccccc", ""), None);
        assert_eq!(images_of_commit(home, "", ""), None);
    }

    #[test]
    fn the_stable_page_is_written_whole() {
        let page = stable_page(REPOSITORY, &names(&["h.io/lab/a:stable"]), &names(&["h.io/lab/a:2026.3-stable"]));
        assert_eq!(
            page,
            "| Global-Stable Image | Based On | Manifest |\n| :- | :- | :- |\n|`h.io/lab/a:stable`|`h.io/lab/a:2026.3-stable`|[Link](https://git.example.org/lab/stack/wiki/h-io-lab-a-stable)|"
        );
    }

    #[test]
    fn dependencies_are_prepended_and_found_again() {
        let row = |image: &str, base: &str| Dependency { image: image.to_owned(), base: base.to_owned() };
        let page = add_dependencies(
            "",
            &[row("lab/base:2026.3-aaaaaaa", "debian:12"), row("lab/leaf:2026.3-aaaaaaa", "lab/base:2026.3-aaaaaaa")],
        );
        let page = add_dependencies(&page, &[row("lab/base-notebook:2026.3-bbbbbbb", "lab/base:2026.3-aaaaaaa")]);
        assert_eq!(
            page,
            "# Image Dependency\n```csv\nimage,dep\nlab/base-notebook:2026.3-bbbbbbb,lab/base:2026.3-aaaaaaa\nlab/base:2026.3-aaaaaaa,debian:12\nlab/leaf:2026.3-aaaaaaa,lab/base:2026.3-aaaaaaa\n```\n"
        );
        let rows = dependencies(&page);
        assert_eq!(previous(&rows, "registry.example.org/x/base", Some("2026.3")), Some(&rows[1]));
        assert_eq!(previous(&rows, "lab/base", Some("2026")), None);
        assert_eq!(previous(&rows, "lab/leaf", None).unwrap().base, "lab/base:2026.3-aaaaaaa");
        assert_eq!(add_dependencies(&page, &rows), page);
    }

    #[test]
    fn remotes_have_web_pages() {
        let url = |remote: &str| web_url(remote).unwrap_or_default();
        assert_eq!(url("https://git.example.org/lab/stack.git"), REPOSITORY);
        assert_eq!(url("git@git.example.org:lab/stack.git"), REPOSITORY);
        assert_eq!(url("ssh://git@git.example.org:2222/lab/stack.git"), REPOSITORY);
        assert_eq!((url("/srv/git/stack.git"), url("../stack")), (String::new(), String::new()));
    }
}
