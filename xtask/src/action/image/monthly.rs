//! What a push changes in a wiki that has a page per month. What the pages say is in `stack::months`.

use serde_json::Value;

use super::identity::source_path;
use super::services::Services;
use super::style::Style;
use super::wiki::{Book, Entry, Place};
use crate::model::Diagnostic;
use crate::stack::months::{self, Pushed};
use crate::stack::wiki::HOME;
use crate::stack::wiki_repository::Change;
use crate::stack::{artifacts, tags};

/// Manifests that stay in the wiki if nobody says otherwise: pages of text, and git remembers the others.
const KEEP: usize = 4500;

/// How many manifests stay.
///
/// # Errors
/// It is no number, or the style has no months.
pub(super) fn keep(args: &Value, style: Style) -> Result<usize, Diagnostic> {
    let keep = &args["keep"];
    if keep.is_null() {
        return Ok(KEEP);
    }
    let wrong = |what: String| Err(Diagnostic::error(what).help("write `style: jupyter` and, e.g., `keep: 1000`"));
    if style != Style::Jupyter {
        return wrong("argument `keep` of action `image_wiki` is for `style: jupyter`".to_owned());
    }
    let number = keep.as_u64().or_else(|| keep.as_str()?.parse().ok()).filter(|number| *number > 0);
    match number {
        Some(number) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        None => wrong(format!("argument `keep` of action `image_wiki` is {keep}, expected a number above 0")),
    }
}

/// A page per image, the pages of the months in which they were built, and Home. The oldest manifests go.
pub(super) fn after_push(
    book: &Book,
    services: &Services,
    place: &Place,
    entries: &[Entry<'_>],
    keep: usize,
) -> Result<Change, Diagnostic> {
    let commit = services.git().head.map_or_else(|| place.commit.clone(), |head| head.hash);
    let mut pushed = Vec::new();
    for Entry { image, reference, local, .. } in entries {
        let source = source_path(&services.root, image).lossy();
        let built = built(services, local)?;
        pushed.push(Pushed { reference: reference.clone(), built, commit: commit.clone(), source });
    }
    let mut home = book.page(HOME)?;
    let mut written: Vec<(String, String)> = Vec::new();
    let mut touched: Vec<String> = pushed.iter().map(|one| months::month(one.built)).collect();
    touched.sort_unstable();
    touched.dedup();
    for month in touched {
        let file = months::month_file(&month);
        let page = months::add_to_month(&book.page(&file)?, &month, &place.web, &pushed);
        home = months::add_to_home(&home, &month, &page);
        written.push((file, page));
    }
    let gone = beyond(book, &home, &written, keep)?;
    written.push((HOME.to_owned(), home));
    let pages = entries.iter().map(|entry| (tags::manifest_file(&entry.reference), entry.page.clone()));
    let pages = pages.filter(|(name, _)| !gone.contains(name)).chain(written).collect();
    Ok(Change { pages, gone })
}

/// When the image was built, by the list of its layers that came with its manifest.
fn built(services: &Services, local: &str) -> Result<i64, Diagnostic> {
    let path = artifacts::artifact(&format!("layers-{}.json", tags::artifact_stem(local)));
    let wrong = |cause: String| {
        Diagnostic::error(format!("failed to read when `{local}` was built from `{path}`"))
            .cause(cause)
            .help("make it anew: cargo xtask -a manifest")
    };
    let text = std::fs::read_to_string(services.root.join(path.as_path())).map_err(|error| wrong(error.to_string()))?;
    let layers: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let times = layers.as_array().into_iter().flatten().filter_map(|layer| layer["created"].as_i64());
    times.max().ok_or_else(|| wrong("it has no layer with a time".to_owned()))
}

/// The files of manifests that are beyond the newest `keep`. Rows about them stay, as what was built stays true.
fn beyond(book: &Book, home: &str, written: &[(String, String)], keep: usize) -> Result<Vec<String>, Diagnostic> {
    let mut all = Vec::new();
    for month in months::months(home) {
        let file = months::month_file(&month);
        let page = match written.iter().find(|(name, _)| *name == file) {
            Some((_, page)) => page.clone(),
            None => book.page(&file)?,
        };
        all.extend(months::manifests(&page).into_iter().map(|name| format!("{name}.md")));
    }
    Ok(all.split_off(keep.min(all.len())))
}
