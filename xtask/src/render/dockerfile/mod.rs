//! What a Dockerfile needs and uses: images, files of its context, build args, secrets. Knows no engine and no disk.
//!
//! [`Dockerfile::read`] follows the builders' own rules: parser directives, continuations, heredocs, the scopes of
//! `ARG`, the graph of stages. Only what the target needs is reported as needed, because that is what is built.

mod arguments;
mod instruction;
mod lines;
mod named;
mod read;
mod source;
mod stages;
mod steps;
mod uses;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use crate::model::{Diagnostics, Place};

pub use steps::{CopyStep, FileStep, Folder, Target};

/// What is given to a build beside its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildOptions {
    pub args: BTreeMap<String, String>,
    /// Name or number of the stage to build; the last one if absent.
    pub target: Option<String>,
    /// `os/arch[/variant]`; linux and this machine's architecture if absent.
    pub platform: Option<String>,
    /// The classic builder runs every stage up to the target, needed or not.
    pub every_stage: bool,
    /// The `ONBUILD` triggers of outside images, by their resolved reference.
    pub onbuild: HashMap<String, Vec<String>>,
    /// The `ENV` of outside images, by their resolved reference: lets `COPY $HOME_OF_BASE/x` be resolved.
    pub base_env: HashMap<String, BTreeMap<String, String>>,
}

/// A Dockerfile, read for certain build options.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// As read.
    pub text: String,
    pub file: String,
    /// The same without comments, blank lines and continuations: equal for files that mean the same to a builder.
    pub canonical: String,
    /// `# syntax=…`: the image of a frontend that parses the file instead of the engine.
    pub syntax: Option<String>,
    pub stages: Vec<Stage>,
    /// Every mention of an image that is not a stage of this file, in order.
    pub images: Vec<ImageUse>,
    /// Index of the stage that is built.
    pub target: usize,
    /// Indices of the stages that the target needs, ascending, the target included.
    pub needed: Vec<usize>,
    /// What the needed stages read from the context, in order.
    pub context: Vec<ContextUse>,
    /// Build args that can change the result: declared in a needed stage and referenced there, or visible to a
    /// `RUN` as environment, or referenced by the `FROM` of a needed stage.
    pub args_used: BTreeSet<String>,
    /// Those of them that do more than choose an outside image: the identity of that image says the rest.
    pub args_beyond_from: BTreeSet<String>,
    /// Build args that any stage declares, needed or not.
    pub args_declared: BTreeSet<String>,
    /// Ids of the secrets that needed stages mount.
    pub secrets: BTreeSet<String>,
    /// Ids of the ssh agents that needed stages mount.
    pub ssh: BTreeSet<String>,
    /// Heredocs are unknown to the classic builder and to engines before 23.0 without a `# syntax` line.
    pub uses_heredoc: bool,
    /// `RUN --mount` is unknown to the classic builder.
    pub uses_mount: bool,
}

/// One `FROM` and what follows it.
#[derive(Clone, Debug)]
pub struct Stage {
    /// In lower case, as builders compare names.
    pub name: Option<String>,
    pub base: Base,
    /// Of the `FROM`, from 1.
    pub line: u32,
    /// `--platform`, with its variables resolved.
    pub platform: Option<String>,
    /// Other stages that it reads: base, `COPY --from`, `RUN --mount=from=`.
    pub needs: BTreeSet<usize>,
    /// What it leaves to be run by stages and images that are built on it.
    pub onbuild: Vec<String>,
    /// Beyond the reference of an outside image in its `FROM`.
    pub args_used: BTreeSet<String>,
    /// In the reference of an outside image in its `FROM`.
    pub args_from: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub ssh: BTreeSet<String>,
    /// What its instructions do to files, without those of the stage that it starts from.
    pub steps: Vec<FileStep>,
    /// Its working folder, if it sets one.
    pub folder: Option<Folder>,
}

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    Scratch,
    /// Index of an earlier stage.
    Stage(usize),
    /// Index into [`Dockerfile::images`].
    Image(usize),
}

/// A mention of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUse {
    /// As written, variables and all.
    pub text: String,
    /// With variables resolved.
    pub resolved: String,
    pub role: ImageRole,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The bytes of the reference within the text; `None` where an `ONBUILD` of a base brought it in.
    pub span: Option<Range<usize>>,
    /// Index of the stage that mentions it.
    pub stage: usize,
    /// Whether that stage is needed by the target.
    pub needed: bool,
}

/// How an image is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRole {
    From,
    CopyFrom,
    MountFrom,
}

/// One source that an instruction reads from the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextUse {
    pub role: ContextRole,
    /// Relative to the context, cleaned, without a leading `/`; the whole context is the empty text.
    pub pattern: String,
    /// Whether `*`, `?` and `[` in `pattern` have a meaning.
    pub glob: bool,
    /// Whether `**` crosses directories (`COPY --parents`).
    pub deep: bool,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Index of the stage that reads it.
    pub stage: usize,
}

/// How the context is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextRole {
    Copy,
    Add,
    /// `RUN --mount=type=bind`
    Bind,
    /// The source depends on a variable that only the base image may know: everything has to be there.
    Unknown,
}

impl Dockerfile {
    /// Reads `text`, whose place in messages is `file`.
    ///
    /// Errors are all of those that can be known without the context and the images.
    pub fn read(file: &str, text: &str, options: &BuildOptions) -> Result<Self, Diagnostics> {
        read::read(file, text, options)
    }

    /// Where the instruction stands that a builder calls `step`, if only one can be meant.
    pub fn place_of(&self, step: &str) -> Option<Place> {
        named::place(&self.file, &self.text, step)
    }

    /// The text with every image token replaced whose resolved reference is a key of `pins`; all else stays as it is.
    pub fn pin(&self, pins: &HashMap<String, String>) -> String {
        let mut text = self.text.clone();
        let mut uses: Vec<(&Range<usize>, &String)> =
            self.images.iter().filter_map(|image| Some((image.span.as_ref()?, pins.get(&image.resolved)?))).collect();
        uses.sort_by_key(|(span, _)| span.start);
        for (span, pin) in uses.into_iter().rev() {
            text.replace_range(span.clone(), pin);
        }
        text
    }

    /// The images that the needed stages mention, each resolved reference once, in order.
    pub fn needed_images(&self) -> Vec<&ImageUse> {
        let mut seen = BTreeSet::new();
        self.images.iter().filter(|image| image.needed && seen.insert(&image.resolved)).collect()
    }

    /// The image from outside whose layers the built image begins with; `None` if it begins with nothing.
    pub fn target_base(&self) -> Option<&str> {
        let mut stage = self.target;
        loop {
            match &self.stages[stage].base {
                Base::Scratch => return None,
                Base::Stage(earlier) => stage = *earlier,
                Base::Image(image) => return self.images.get(*image).map(|image| image.resolved.as_str()),
            }
        }
    }

    /// What the built image leaves to be run by images that are built on it.
    pub fn onbuild(&self) -> &[String] {
        &self.stages[self.target].onbuild
    }
}

impl ImageUse {
    pub fn place(&self, file: &str) -> Place {
        Place::new(file, self.line, self.column)
    }
}

impl ContextUse {
    pub fn place(&self, file: &str) -> Place {
        Place::new(file, self.line, self.column)
    }
}

/// How many instructions a text has, right or wrong ones.
pub fn instruction_count(text: &str) -> usize {
    let mut errors = Vec::new();
    lines::logical_lines(&source::Source::new("", text), &mut errors).1.len() + errors.len()
}

#[cfg(test)]
mod tests;
