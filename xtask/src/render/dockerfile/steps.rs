//! What the instructions of a stage do to its files, in order: which files of the context stand where in the image.
//! Knows nothing of which files exist.

use super::instruction::Instruction;
use super::read::Reader;
use super::uses::clean;
use super::{Base, Dockerfile};

/// One instruction that changes files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileStep {
    /// A `COPY` of the context of which all is known.
    Copy(CopyStep),
    /// It writes what only a build can tell: why that is so, and below which path if that is known.
    Other { why: String, into: Option<Target>, line: u32 },
    /// A `RUN` may read and write anything.
    Run { line: u32 },
}

/// See [`FileStep::Copy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStep {
    /// Within the context, cleaned; globs have a meaning.
    pub sources: Vec<String>,
    pub to: Target,
    /// The destination is a folder for certain; else it is one only if the image has a folder there.
    pub is_folder: bool,
    pub owner: (u32, u32),
    /// `--chmod`.
    pub mode: Option<u32>,
    /// From 1.
    pub line: u32,
}

/// A path of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Relative to the working folder that the outside base brings.
    pub in_base_folder: bool,
    /// Cleaned, without a leading `/`.
    pub path: String,
}

/// The working folder after some instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folder {
    /// That of the outside base.
    OfBase,
    /// Cleaned, without a leading `/`.
    At(String),
    Unknown,
}

impl Reader<'_> {
    /// Takes note of what an instruction does to files.
    pub(super) fn note_files(&mut self, one: &Instruction<'_>) {
        // What is wrong with the words was told when they were read for what they need.
        let told = self.errors.len();
        self.note_step(one);
        self.errors.truncate(told);
    }

    fn note_step(&mut self, one: &Instruction<'_>) {
        let (line, _) = self.source.line_column(self.offset(one.line, one.keyword_range.start));
        let step = match one.keyword.as_str() {
            "WORKDIR" => {
                let folder = self.next_folder(one);
                self.stage().folder = Some(folder);
                return;
            }
            "RUN" => FileStep::Run { line },
            "COPY" | "ADD" => self.copy_step(one, line),
            _ => return,
        };
        self.stage().steps.push(step);
    }

    fn next_folder(&mut self, one: &Instruction<'_>) -> Folder {
        let Some((text, false)) = self.expand_or_unknown(one, one.args()) else { return Folder::Unknown };
        match self.folder() {
            _ if text.starts_with('/') => Folder::At(clean(&text)),
            Folder::At(above) => Folder::At(clean(&format!("{above}/{text}"))),
            Folder::OfBase | Folder::Unknown => Folder::Unknown,
        }
    }

    /// The working folder of the stage so far.
    fn folder(&self) -> Folder {
        let mut at = self.stages.len() - 1;
        loop {
            let stage = &self.stages[at];
            match (&stage.folder, &stage.base) {
                (Some(folder), _) => return folder.clone(),
                (None, Base::Scratch) => return Folder::At(String::new()),
                (None, Base::Image(_)) => return Folder::OfBase,
                (None, Base::Stage(earlier)) => at = *earlier,
            }
        }
    }

    fn copy_step(&mut self, one: &Instruction<'_>, line: u32) -> FileStep {
        let mut arguments = one.arguments();
        let Some((last, _)) = arguments.pop() else {
            return FileStep::Other { why: "it has no destination".into(), into: None, line };
        };
        let expanded = self.expand_or_unknown(one, &last);
        let Some((text, false)) = expanded else {
            return FileStep::Other { why: "its destination hangs on the base".into(), into: None, line };
        };
        let (into, is_folder) = self.destination(&text, arguments.len());
        let other = |why: &str, into: Option<Target>| FileStep::Other { why: why.to_owned(), into, line };
        let Some(to) = into else { return other("its destination hangs on the base", None) };
        if one.keyword == "ADD" {
            return other("`ADD` may unpack what it adds", Some(to));
        }
        if !one.line.heredocs.is_empty() {
            return other("it writes text of the Dockerfile", Some(to));
        }
        let (mut owner, mut mode) = ((0, 0), None);
        for flag in &one.flags {
            let value = self.expand_or_unknown(one, &flag.value).filter(|(_, unknown)| !unknown);
            let Some((value, _)) = value else { return other("a flag hangs on the base", Some(to)) };
            match flag.name.as_str() {
                "link" => {}
                "chown" => match numbers(&value) {
                    Some(found) => owner = found,
                    None => return other("its owner is no number", Some(to)),
                },
                "chmod" => match u32::from_str_radix(&value, 8) {
                    Ok(found) => mode = Some(found & 0o7777),
                    Err(_) => return other("its mode is no number", Some(to)),
                },
                "from" => return other("it copies from another stage or image", Some(to)),
                name => return other(&format!("it has the flag `--{name}`"), Some(to)),
            }
        }
        let mut sources = Vec::new();
        for (raw, _) in &arguments {
            match self.expand_or_unknown(one, raw) {
                Some((text, false)) => sources.push(clean(&text)),
                _ => return other("a source hangs on the base", Some(to)),
            }
        }
        FileStep::Copy(CopyStep { sources, to, is_folder, owner, mode, line })
    }

    /// Where a destination is, and whether it is a folder for certain.
    fn destination(&self, text: &str, sources: usize) -> (Option<Target>, bool) {
        let folder = self.folder();
        let marked = text.ends_with('/') || text.is_empty() || text == "." || text.ends_with("/.") || sources > 1;
        let target = match &folder {
            _ if text.starts_with('/') => Some(Target { in_base_folder: false, path: clean(text) }),
            Folder::At(above) => Some(Target { in_base_folder: false, path: clean(&format!("{above}/{text}")) }),
            Folder::OfBase => Some(Target { in_base_folder: true, path: clean(text) }),
            Folder::Unknown => None,
        };
        let is_working_folder = target.as_ref().is_some_and(|target| match &folder {
            Folder::At(path) => !target.in_base_folder && *path == target.path,
            Folder::OfBase => target.in_base_folder && target.path.is_empty(),
            Folder::Unknown => false,
        });
        (target, marked || is_working_folder)
    }
}

impl Dockerfile {
    /// The stages whose files the built image has, in order: the target and what it starts from.
    pub fn chain(&self) -> Vec<usize> {
        let mut chain = vec![self.target];
        let mut at = self.target;
        while let Base::Stage(earlier) = self.stages[at].base {
            chain.push(earlier);
            at = earlier;
        }
        chain.reverse();
        chain
    }

    /// Whether the image has the working folder of its outside base: no `WORKDIR` says otherwise.
    pub fn keeps_base_folder(&self) -> bool {
        self.chain().iter().all(|at| self.stages[*at].folder.is_none())
    }
}

/// `1000`, `1000:100`, `root`: names other than root's are known to the image only.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| if text == "root" { Some(0) } else { text.parse().ok() };
    match text.split_once(':') {
        Some((user, group)) => Some((number(user)?, number(group)?)),
        None => number(text).map(|user| (user, user)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BuildOptions, Dockerfile};
    use super::*;

    fn steps(text: &str) -> Vec<FileStep> {
        let dockerfile = Dockerfile::read("Dockerfile", text, &BuildOptions::default()).unwrap();
        let chain = dockerfile.chain();
        chain.iter().flat_map(|at| dockerfile.stages[*at].steps.clone()).collect()
    }

    fn copy(step: &FileStep) -> &CopyStep {
        let FileStep::Copy(copy) = step else { panic!("{step:?}") };
        copy
    }

    #[test]
    fn destinations_follow_the_working_folder() {
        let found = steps(
            "FROM scratch\nARG D=srv\nCOPY a /$D/\nWORKDIR /app\nCOPY b .\nWORKDIR sub\nCOPY c d e/\nCOPY f g\nCOPY --chown=1000 --chmod=0750 h /h\n",
        );
        let seen: Vec<(&str, bool)> =
            found.iter().map(|step| (copy(step).to.path.as_str(), copy(step).is_folder)).collect();
        assert_eq!(seen, [("srv", true), ("app", true), ("app/sub/e", true), ("app/sub/g", false), ("h", false)]);
        assert_eq!((copy(&found[4]).owner, copy(&found[4]).mode), ((1000, 1000), Some(0o750)));
        let base = steps("FROM busybox\nCOPY a b/\nWORKDIR x\nCOPY a b/\n");
        assert!(copy(&base[0]).to.in_base_folder);
        assert!(matches!(&base[1], FileStep::Other { into: None, .. }), "a folder below an unknown one");
    }

    #[test]
    fn what_only_a_build_can_tell_says_why() {
        let found = steps(
            "FROM busybox AS one\nCOPY a /a\nFROM one\nRUN true\nADD b /b\nCOPY --from=one /x /y/\nCOPY --chown=me c /c\nCOPY --parents d /d\nCOPY $HOME/e /e\n",
        );
        let whys: Vec<&str> = found
            .iter()
            .map(|step| match step {
                FileStep::Copy(_) => "copy",
                FileStep::Run { .. } => "run",
                FileStep::Other { why, .. } => why,
            })
            .collect();
        assert_eq!(
            whys,
            [
                "copy",
                "run",
                "`ADD` may unpack what it adds",
                "it copies from another stage or image",
                "its owner is no number",
                "it has the flag `--parents`",
                "a source hangs on the base"
            ]
        );
    }
}
