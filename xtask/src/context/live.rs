//! The smallest action that brings a change of a context into a container that runs: none, a copy, or a build. Pure;
//! knows nothing of engines and of the disk.
//!
//! A file is copied only if the container is then what a new one would be: a `COPY` of the final stage puts it where it
//! goes, nothing after that `COPY` may have read or replaced it, and no other stage reads it. Everything else is a build.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::glob::{is_glob, matches};
use crate::model::context::{Context, ContextKind};
use crate::model::{Digest, words};
use crate::render::dockerfile::{ContextRole, CopyStep, Dockerfile, FileStep, Target};

/// What an image was made of, as far as it must be known to tell what a container has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Of everything but the files: Dockerfile, build args, bases.
    pub frame: String,
    /// By path in the context: digest and mode of files; directories have an empty text, links the path they lead to.
    pub files: BTreeMap<String, String>,
}

impl Snapshot {
    /// `None` where a name is no text: such a context is never compared.
    pub fn new(frame: &Digest, context: &Context) -> Option<Self> {
        let mut files = BTreeMap::new();
        for entry in &context.entries {
            let value = match &entry.kind {
                ContextKind::Directory => String::new(),
                ContextKind::File { digest, executable, .. } => {
                    format!("{}{}", digest.hex(), if *executable { "x" } else { "" })
                }
                ContextKind::Symlink { target } => format!("-> {}", String::from_utf8_lossy(target)),
            };
            files.insert(String::from_utf8(entry.path.clone()).ok()?, value);
        }
        Some(Self { frame: frame.hex(), files })
    }
}

/// What to do with a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Copy(Moves),
    /// Why a copy would not be right.
    Build(String),
}

/// What goes where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    pub put: Vec<Landing>,
    /// Gone, and never in the image of the container by way of the context. Right only where the engine says that the
    /// place is not in that image at all.
    pub remove: Vec<Landing>,
}

impl Moves {
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }

    /// Without those whose place is of no use.
    pub fn retain(&mut self, is_of_use: impl Fn(&Landing) -> bool) {
        self.put.retain(&is_of_use);
        self.remove.retain(&is_of_use);
    }
}

/// Where a file or directory of the context goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// In the context.
    pub path: String,
    /// In the container: absolute.
    pub to: String,
    /// If `to` is a folder there, the file goes into it under this name.
    pub name_in_folder: Option<String>,
    pub owner: (u32, u32),
    /// `--chmod`; else that of the context.
    pub mode: Option<u32>,
    /// The `COPY` that says so.
    pub line: u32,
}

/// Where the files of a context stand in an image.
pub struct Map<'d> {
    dockerfile: &'d Dockerfile,
    steps: Vec<&'d FileStep>,
    chain: Vec<usize>,
    /// The working folder of the image, if its Dockerfile leaves that of the base.
    base_folder: Option<&'d str>,
}

impl<'d> Map<'d> {
    /// `folder`: the working folder that the image says.
    pub fn new(dockerfile: &'d Dockerfile, folder: &'d str) -> Self {
        let chain = dockerfile.chain();
        let steps = chain.iter().flat_map(|at| &dockerfile.stages[*at].steps).collect();
        Self { dockerfile, steps, chain, base_folder: dockerfile.keeps_base_folder().then_some(folder) }
    }

    /// What brings a container that has what is in `old` to `new`. `image`: what its image was made of.
    pub fn act(&self, old: &Snapshot, new: &Snapshot, image: Option<&Snapshot>) -> Act {
        if old == new {
            return Act::Nothing;
        }
        if old.frame != new.frame {
            return Act::Build("the Dockerfile, its build args or its base changed".to_owned());
        }
        let writers = self.writers(new);
        let mut moves = Moves::default();
        for (path, value) in new.files.iter().filter(|(path, value)| old.files.get(*path) != Some(value)) {
            match self.landings(path, value, old.files.get(path), &writers) {
                Ok(found) => moves.put.extend(found),
                Err(why) => return Act::Build(why),
            }
        }
        for (path, value) in old.files.iter().filter(|(path, _)| !new.files.contains_key(*path)) {
            match self.removals(path, value, image, &writers) {
                Ok(found) => moves.remove.extend(found),
                Err(why) => return Act::Build(why),
            }
        }
        if moves.is_empty() { Act::Nothing } else { Act::Copy(moves) }
    }

    /// Where one path that is gone stands; an error says why it cannot be taken away. What was in the context when the
    /// image was built may lie over something of a lower layer, and nobody can tell.
    fn removals(
        &self,
        path: &str,
        value: &str,
        image: Option<&Snapshot>,
        writers: &HashMap<String, (usize, &str)>,
    ) -> Result<Vec<Landing>, String> {
        if image.is_none_or(|image| image.files.contains_key(path)) {
            return Err(format!("`{path}` is gone, and what was there before it is in the image's layers"));
        }
        let before = value.to_owned();
        let found = self.landings(path, value, Some(&before), &HashMap::new())?;
        for landing in &found {
            if landing.name_in_folder.is_some() || writers.contains_key(&landing.to) {
                return Err(format!("`{path}` is gone, and something else may belong to `{}`", landing.to));
            }
        }
        Ok(found)
    }

    /// Where one path goes, each place once; an error says why it cannot be copied.
    fn landings(
        &self,
        path: &str,
        value: &str,
        before: Option<&String>,
        writers: &HashMap<String, (usize, &str)>,
    ) -> Result<Vec<Landing>, String> {
        let is_folder = value.is_empty();
        if value.starts_with("->") || before.is_some_and(|before| before.starts_with("->")) {
            return Err(format!("`{path}` is a link"));
        }
        if before.is_some_and(|before| before.is_empty() != is_folder) {
            return Err(format!("`{path}` was a folder and is a file, or the other way round"));
        }
        let in_chain = |stage: usize| self.chain.contains(&stage);
        for used in &self.dockerfile.context {
            let plain = used.role == ContextRole::Copy && in_chain(used.stage);
            if !plain && touches(&used.pattern, used.glob, path) {
                return Err(format!("line {} of the Dockerfile reads `{path}`, too", used.line));
            }
        }
        let mut found = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let FileStep::Copy(copy) = step else { continue };
            for source in &copy.sources {
                let Some(landing) = self.landing(copy, source, path, is_folder)? else { continue };
                self.check_later(at, &landing)?;
                if writers.get(&landing.to).is_none_or(|(last, from)| *last == at && *from == path) {
                    found.push(landing);
                }
            }
        }
        // A directory that leads to what is copied needs no place of its own.
        if found.is_empty() && !is_folder && !self.is_hidden(path, writers)? {
            return Err(format!("no `COPY` of the final stage names `{path}`"));
        }
        Ok(found)
    }

    /// Whether every place of a path is taken by something that is copied later.
    fn is_hidden(&self, path: &str, writers: &HashMap<String, (usize, &str)>) -> Result<bool, String> {
        for step in &self.steps {
            let FileStep::Copy(copy) = step else { continue };
            for source in &copy.sources {
                if let Some(landing) = self.landing(copy, source, path, false)? {
                    return Ok(writers.contains_key(&landing.to));
                }
            }
        }
        Ok(false)
    }

    /// Where one source of a `COPY` puts a path, if it names it.
    fn landing(&self, copy: &CopyStep, source: &str, path: &str, is_folder: bool) -> Result<Option<Landing>, String> {
        let Some(rest) = rest_of(source, path) else { return Ok(None) };
        if rest.is_empty() && is_folder {
            // The folder itself: its content goes to the destination.
            return Ok(None);
        }
        let top = self.absolute(&copy.to).ok_or_else(|| {
            format!("line {} of the Dockerfile copies to the base's working folder, which is not known", copy.line)
        })?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let (to, name_in_folder) = match (rest.is_empty(), copy.is_folder) {
            (false, _) => (format!("{top}/{rest}"), None),
            (true, true) => (format!("{top}/{name}"), None),
            (true, false) => (top, Some(name.to_owned())),
        };
        let (owner, mode, line) = (copy.owner, copy.mode, copy.line);
        Ok(Some(Landing { path: path.to_owned(), to, name_in_folder, owner, mode, line }))
    }

    fn absolute(&self, target: &Target) -> Option<String> {
        let above = if target.in_base_folder { self.base_folder?.trim_matches('/') } else { "" };
        let parts = [above, &target.path];
        Some(parts.iter().filter(|part| !part.is_empty()).fold(String::new(), |all, part| format!("{all}/{part}")))
    }

    /// Nothing after the `COPY` may have used or replaced what it wrote.
    fn check_later(&self, at: usize, landing: &Landing) -> Result<(), String> {
        for step in &self.steps[at + 1..] {
            match step {
                FileStep::Copy(_) => {}
                FileStep::Run { line } => {
                    return Err(format!("the `RUN` of line {line} may have read `{}`", landing.path));
                }
                FileStep::Other { why, into, line } => {
                    let top = into.as_ref().and_then(|target| self.absolute(target));
                    if top.is_none_or(|top| is_within(&landing.to, &top) || is_within(&top, &landing.to)) {
                        return Err(format!("line {line} of the Dockerfile may replace `{}`: {why}", landing.to));
                    }
                }
            }
        }
        Ok(())
    }

    /// Who writes each path of the image last.
    fn writers<'s>(&self, snapshot: &'s Snapshot) -> HashMap<String, (usize, &'s str)> {
        let mut writers = HashMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let FileStep::Copy(copy) = step else { continue };
            for (path, value) in &snapshot.files {
                for source in &copy.sources {
                    let Ok(Some(landing)) = self.landing(copy, source, path, value.is_empty()) else { continue };
                    if let Some(name) = &landing.name_in_folder {
                        writers.insert(format!("{}/{name}", landing.to), (at, path.as_str()));
                    }
                    writers.insert(landing.to, (at, path.as_str()));
                }
            }
        }
        writers
    }
}

impl Act {
    /// In a few words, for people.
    pub fn tell(&self) -> String {
        match self {
            Self::Nothing => "has it already".to_owned(),
            Self::Copy(moves) => {
                let put = tell_some("copy", &moves.put, |one| {
                    format!("{} to {} (COPY of line {})", one.path, one.to, one.line)
                });
                let remove = tell_some("remove", &moves.remove, |one| format!("{} ({} is gone)", one.to, one.path));
                [put, remove].into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
            Self::Build(why) => format!("build: {why}"),
        }
    }
}

/// `copy a, b`, the first few of them; `None` if there are none.
fn tell_some(verb: &str, landings: &[Landing], tell: impl Fn(&Landing) -> String) -> Option<String> {
    let shown = landings.iter().take(3).map(tell).collect::<Vec<_>>().join(", ");
    match landings.len() {
        0 => None,
        1..=3 => Some(format!("{verb} {shown}")),
        count => Some(format!("{verb} {}: {shown}, …", words::count(count, "file"))),
    }
}

/// What of `path` lies below what a source names: empty if the source names the path itself, `None` if it does not.
fn rest_of<'p>(source: &str, path: &'p str) -> Option<&'p str> {
    let mut rest = path;
    for part in source.split('/').filter(|part| !part.is_empty()) {
        let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = if is_glob(part.as_bytes()) { matches(part.as_bytes(), name.as_bytes()) } else { part == name };
        if name.is_empty() || !fits {
            return None;
        }
        rest = below;
    }
    Some(rest)
}

/// Whether an instruction that reads `pattern` may read `path`.
fn touches(pattern: &str, glob: bool, path: &str) -> bool {
    // `**` and the like: whatever begins so.
    let plain: Vec<&str> = pattern.split('/').take_while(|part| !(glob && part.contains("**"))).collect();
    rest_of(&plain.join("/"), path).is_some()
}

fn is_within(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
