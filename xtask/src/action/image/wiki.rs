//! The action `image_wiki`: the pages of the wiki for what was pushed or declared stable, in a folder, and as a commit
//! of the wiki's own repository where one is named. What the pages say is in `stack::wiki`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::build::published_tag;
use super::monthly;
use super::results::dependency;
use super::services::{Services, whole};
use super::style::{Style, style};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed};
use crate::graph::Links;
use crate::model::digest::Hasher;
use crate::model::{Diagnostic, Digest, ImageRef, Reason, RepoPath, Stream, words};
use crate::stack::artifacts;
use crate::stack::wiki::{self, Dependency};
use crate::stack::wiki_repository::{Change, Published, WikiRepository};
use crate::stack::{Graph, Image, Plan, Stack, Suffix, tags};

pub(super) struct ImageWiki(pub(super) Arc<Services>);

/// Where the pages are if nobody says otherwise, relative to the root.
const FOLDER: &str = "wiki";
/// Remembers the push that the pages tell of, so that one whose pages failed is told the next time.
const TOLD: &str = ".xtask/wiki";

/// The pages as they are.
pub(super) enum Book {
    /// Nothing but a folder.
    Folder(PathBuf),
    Repository(WikiRepository),
}

impl Book {
    /// The text of a page; empty if there is none.
    pub(super) fn page(&self, name: &str) -> Result<String, Diagnostic> {
        match self {
            Self::Folder(dir) => WikiRepository::page_in(dir, name),
            Self::Repository(wiki) => wiki.page(name),
        }
    }
}

/// What the pages are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    Push,
    Stable,
}

impl Occasion {
    fn of(args: &Value) -> Result<Self, Diagnostic> {
        match args["of"].as_str() {
            None | Some("push") => Ok(Self::Push),
            Some("stable") => Ok(Self::Stable),
            Some(other) => Err(Diagnostic::error(format!("argument `of` of action `image_wiki` is `{other}`"))
                .help("write `push` or `stable`")),
        }
    }
}

/// What was pushed of one image in one plan.
pub(super) struct Entry<'a> {
    pub image: &'a Image,
    pub plan: &'a Plan,
    /// `host/repository:tag`
    pub reference: String,
    /// The same as it is called on this machine.
    pub local: String,
    /// Its page, as `image_manifest` wrote it.
    pub page: String,
}

impl ActionType for ImageWiki {
    fn name(&self) -> &'static str {
        "image_wiki"
    }

    fn arguments(&self) -> Arguments {
        Arguments {
            required: &[],
            optional: &["of", "repository", "folder", "web", "dry_run", "style", "keep"],
            short: Some("of"),
        }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        monthly::keep(args, style(args)?)?;
        // No needs: it stands behind the action that pushed or promoted, or in a task that needs it.
        Ok(Links { observes: Occasion::of(args)? == Occasion::Push, ..Links::default() })
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        if Occasion::of(call.args)? == Occasion::Stable {
            return Ok(Observed::default());
        }
        let (stack, _) = self.0.stack().map_err(whole)?;
        let wanted = self.told(call, &stack)?;
        let told = std::fs::read_to_string(call.root.join(TOLD)).unwrap_or_default();
        let mut observed = Observed { satisfied: told == wanted.hex(), ..Observed::default() };
        if !observed.satisfied {
            let old = told.get(..12).unwrap_or("absent").to_owned();
            observed.forced.push(Reason::RemoteDiffers { reference: "the wiki".into(), old, new: wanted.short() });
        }
        Ok(observed)
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let (occasion, style) = (Occasion::of(call.args)?, style(call.args)?);
        let keep = monthly::keep(call.args, style)?;
        let dry = call.args["dry_run"].as_bool().unwrap_or(call.args["dry_run"].as_str() == Some("true"));
        let entries = match occasion {
            Occasion::Push => self.pushed(call, &stack)?,
            Occasion::Stable => Vec::new(),
        };
        let needs = dependencies(&self.0, (&stack, &graph), &entries)?;
        let git = self.0.git();
        let place = Place {
            web: match call.args["web"].as_str().filter(|web| !web.is_empty()) {
                Some(web) => web.trim_end_matches('/').to_owned(),
                // Relative to a page of the wiki.
                None => git.remote.as_deref().and_then(wiki::web_url).unwrap_or_else(|| "..".to_owned()),
            },
            commit: git.head.as_ref().map_or_else(|| "dev".to_owned(), |head| head.short().to_owned()),
        };
        let nothing = match occasion {
            Occasion::Push => entries.is_empty(),
            Occasion::Stable => self.0.ledger.promoted().is_empty(),
        };
        if nothing {
            return Ok(Done { remark: Some("there is nothing new to tell".to_owned()), ..Done::default() });
        }
        let change = |book: &Book| match (occasion, style) {
            (Occasion::Push, Style::Datahub) => after_push(book, &stack, &place, &entries, &needs),
            (Occasion::Push, Style::Jupyter) => monthly::after_push(book, &self.0, &place, &entries, keep),
            (Occasion::Stable, style) => after_stable(book, (&stack, style), &place, self.0.ledger.promoted()),
        };
        let dir = call.root.join(call.args["folder"].as_str().unwrap_or(FOLDER));
        let message = format!("[ci skip] Automated publish for {}", place.commit);
        let repository = call.args["repository"].as_str().filter(|url| !url.is_empty());
        let mut made = Change::default();
        let remark = match repository.filter(|_| !dry) {
            None => {
                let book = Book::Folder(dir.clone());
                made = change(&book)?;
                made.apply_to(&if dry { call.root.join("artifacts") } else { dir })?;
                words::count(made.pages.len(), "page")
            }
            Some(url) => {
                let wiki = WikiRepository::open(url, &dir, &self.0.env)?;
                let published = wiki.publish(&message, |wiki| {
                    made = change(&Book::Repository(wiki.clone()))?;
                    Ok(made.clone())
                })?;
                match published {
                    Published::Unchanged => "every page is as it should be".to_owned(),
                    Published::Pushed => format!("{} pushed", words::count(made.pages.len(), "page")),
                }
            }
        };
        let Change { pages, .. } = made;
        copies(call.root, &pages)?;
        if occasion == Occasion::Push && !dry {
            let told = RepoPath::from_root(TOLD).unwrap_or_else(RepoPath::root);
            artifacts::store(call.root, &told, self.told(call, &stack)?.hex())?;
        }
        for (name, _) in &pages {
            call.out.line(Stream::Stdout, format!("page {name}").as_bytes());
        }
        let names = pages.iter().map(|(name, _)| json!(name)).collect();
        Ok(Done { values: Map::from_iter([("pages".to_owned(), names)]), remark: Some(remark), ..Done::default() })
    }
}

impl ImageWiki {
    /// What the pages tell once a push is told in full: every tag, the commit, and where the pages go.
    fn told(&self, call: &Call<'_>, stack: &Stack) -> Result<Digest, Failure> {
        let mut hasher = Hasher::new();
        hasher.field(call.args["repository"].as_str().unwrap_or_default());
        hasher.field(self.0.git().head.map(|head| head.hash).unwrap_or_default());
        for (image, plan) in stack.pairs() {
            hasher.field(&*image.key).field(published_tag(&self.0, stack, image, plan)?);
        }
        Ok(hasher.finish())
    }

    /// Everything that this run pushed, or found in the registry, by the tags of its plans.
    fn pushed<'s>(&self, call: &Call<'_>, stack: &'s Stack) -> Result<Vec<Entry<'s>>, Failure> {
        let mut entries = Vec::new();
        for (image, plan) in stack.pairs() {
            let tag = published_tag(&self.0, stack, image, plan)?;
            let is_it =
                |reference: &String| ImageRef::parse(reference).is_some_and(|one| one.tag.as_deref() == Some(&*tag));
            let Some(reference) = self.0.ledger.pushed(&image.key, &plan.name).into_iter().find(is_it) else {
                continue;
            };
            let local = format!("{}:{tag}", image.image_name);
            let path = format!("manifests/{}", tags::manifest_file(&local));
            let page = std::fs::read_to_string(call.root.join(&path)).map_err(|error| {
                Failure::failed(
                    Diagnostic::error(format!("failed to read the page `{path}` of `{reference}`"))
                        .cause(error)
                        .help(format!("give a task the action `image_manifest` for `{}`", image.key)),
                )
            })?;
            entries.push(Entry { image, plan, reference, local, page });
        }
        Ok(entries)
    }
}

/// What the images were built on when they were built last, with the names that they have in the registry: as this run
/// knows, else as the last run with a build wrote down.
fn dependencies(
    services: &Services,
    (stack, graph): (&Stack, &Graph),
    entries: &[Entry<'_>],
) -> Result<Vec<Dependency>, Diagnostic> {
    let mut rows = written(&services.root)?;
    let suffix = services.suffix(stack)?;
    for Entry { image, plan, .. } in entries {
        let base = services.ledger.base(&image.key, &plan.name);
        let row = base.and_then(|base| dependency((stack, graph), image, plan, &base, &suffix));
        rows.extend(row.map(|row| (row.image, row.base)));
    }
    let in_registry = |reference: &String| {
        let same = |entry: &&Entry<'_>| {
            let tag = entry.reference.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
            format!("{}:{tag}", entry.image.image_name) == *reference
        };
        entries.iter().find(same).map(|entry| entry.reference.clone())
    };
    let row = |(image, base): (&String, &String)| {
        Some(Dependency { image: in_registry(image)?, base: in_registry(base).unwrap_or_else(|| base.clone()) })
    };
    Ok(rows.iter().filter_map(row).collect())
}

fn written(root: &Path) -> Result<BTreeMap<String, String>, Diagnostic> {
    let path = artifacts::artifact("image-dependency.json");
    let text = match std::fs::read_to_string(root.join(path.as_path())) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Diagnostic::error(format!("failed to read file `{path}`")).cause(error)),
    };
    serde_json::from_str(&text)
        .map_err(|error| Diagnostic::error(format!("`{path}` is no list of images and what they need")).cause(error))
}

/// Where the sources are on the web, and at which commit.
pub(super) struct Place {
    pub web: String,
    /// Its first digits.
    pub commit: String,
}

/// A page per image; Home where its generation lists pushes; the page of dependencies.
fn after_push(
    book: &Book,
    stack: &Stack,
    place: &Place,
    entries: &[Entry<'_>],
    needs: &[Dependency],
) -> Result<Change, Diagnostic> {
    let mut pages: Vec<(String, String)> =
        entries.iter().map(|entry| (tags::manifest_file(&entry.reference), entry.page.clone())).collect();
    if stack.suffix == Suffix::Hash {
        let mut home = book.page(wiki::HOME)?;
        // The first plan ends on top.
        for plan in stack.plans.iter().rev() {
            let images = entries.iter().filter(|entry| entry.plan.name == plan.name);
            let images: Vec<String> = images.map(|entry| entry.reference.clone()).collect();
            if !images.is_empty() {
                home = wiki::add_to_home(&home, &wiki::home_row(&place.web, &place.commit, &images))?;
            }
        }
        pages.push((wiki::HOME.to_owned(), home));
    }
    if !needs.is_empty() {
        let mut known = Vec::new();
        for name in wiki::DEPENDENCIES {
            known.push((name, book.page(name)?));
        }
        let first = known.iter().position(|(_, text)| !text.is_empty()).unwrap_or(0);
        let (name, old) = known.swap_remove(first);
        pages.push((name.to_owned(), wiki::add_dependencies(&old, needs)));
    }
    Ok(Change { pages, ..Change::default() })
}

/// The page of each image under its stable name; Home where its generation lists stable sets; Stable_Tag where it is
/// the tag `stable` itself that moved.
fn after_stable(
    book: &Book,
    (stack, style): (&Stack, Style),
    place: &Place,
    promoted: Vec<(String, String)>,
) -> Result<Change, Diagnostic> {
    let (new, old): (Vec<String>, Vec<String>) = promoted.into_iter().unzip();
    let mut pages = Vec::new();
    for (new, old) in new.iter().zip(&old) {
        let page = book.page(&tags::manifest_file(old))?;
        if page.is_empty() && matches!(book, Book::Folder(_)) {
            // It was pushed from another machine, and there is no wiki that all share.
            continue;
        }
        if page.is_empty() {
            return Err(Diagnostic::error(format!("the wiki has no page `{}`", tags::manifest_page(old)))
                .note(format!("it is the page of `{old}`, which became `{new}`"))
                .help("publish the pages of what was pushed first: a task with the action `image_wiki`"));
        }
        pages.push((tags::manifest_file(new), page));
    }
    let is_global = |image: &str| ImageRef::parse(image).is_some_and(|image| image.tag.as_deref() == Some("stable"));
    if stack.suffix == Suffix::Branch && style == Style::Datahub {
        let mut home = book.page(wiki::HOME)?;
        for plan in stack.plans.iter().rev() {
            let tag = |image: &crate::stack::Image| tags::stable_tag(image, plan);
            let is_of = |reference: &&String| {
                let found = ImageRef::parse(reference).and_then(|image| image.tag);
                found.is_some_and(|found| stack.images.iter().any(|image| tag(image) == found))
            };
            let images: Vec<String> = new.iter().filter(is_of).cloned().collect();
            if !images.is_empty() {
                home = wiki::add_to_home(&home, &wiki::home_row(&place.web, &place.commit, &images))?;
            }
        }
        pages.push((wiki::HOME.to_owned(), home));
    }
    let (stable, based_on): (Vec<String>, Vec<String>) =
        new.into_iter().zip(old).filter(|(new, _)| is_global(new)).unzip();
    if !stable.is_empty() {
        pages.push((wiki::STABLE_TAG.to_owned(), wiki::stable_page(&place.web, &stable, &based_on)));
    }
    Ok(Change { pages, ..Change::default() })
}

/// The pages that other programs read are in `artifacts/`, too.
fn copies(root: &Path, pages: &[(String, String)]) -> Result<(), Diagnostic> {
    for (name, text) in pages {
        if name == wiki::HOME || name == wiki::STABLE_TAG {
            artifacts::store(root, &artifacts::artifact(name), text)?;
        }
        if wiki::DEPENDENCIES.contains(&name.as_str()) {
            let rows = wiki::dependencies(text);
            artifacts::store(
                root,
                &artifacts::artifact("image-dependency-updated.csv"),
                artifacts::dependency_csv(&rows),
            )?;
        }
    }
    Ok(())
}
