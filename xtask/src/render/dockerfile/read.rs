//! Walks the instructions of a Dockerfile in order. Knows nothing of the disk and of engines.

use std::collections::{BTreeSet, HashMap};

use super::arguments::{Binding, Scope, global_platform_args};
use super::instruction::{Instruction, KEYWORDS, name_values};
use super::lines::{Directives, Logical, logical_lines};
use super::source::Source;
use super::words::expand;
use super::{BuildOptions, ContextUse, Dockerfile, ImageUse, Stage};
use crate::model::{Diagnostic, Diagnostics, words::suggest};

pub(super) fn read(file: &str, text: &str, options: &BuildOptions) -> Result<Dockerfile, Diagnostics> {
    let source = Source::new(file, text);
    let mut errors = Vec::new();
    let (directives, lines) = logical_lines(&source, &mut errors);
    let mut reader = Reader::new(&source, options, directives.escape, errors);
    for line in &lines {
        reader.instruction(&Instruction::read(line, directives.escape));
    }
    let mut dockerfile = reader.finish()?;
    dockerfile.canonical = canonical(&source, &directives, &lines);
    dockerfile.syntax = directives.syntax;
    Ok(dockerfile)
}

fn canonical(source: &Source<'_>, directives: &Directives, lines: &[Logical]) -> String {
    let mut out = String::with_capacity(source.text.len());
    if let Some(syntax) = &directives.syntax {
        out = format!("# syntax={syntax}\n");
    }
    if directives.escape != '\\' {
        out.push_str("# escape=`\n");
    }
    for line in lines {
        out.push_str(line.text.trim_end());
        out.push('\n');
        for heredoc in &line.heredocs {
            out.push_str(source.text.get(heredoc.body.clone()).unwrap_or_default());
            out.push_str(&heredoc.name);
            out.push('\n');
        }
    }
    out
}

/// What is known after the instructions so far.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) options: &'a BuildOptions,
    pub(super) escape: char,
    pub(super) errors: Vec<Diagnostic>,
    /// `ARG`s before the first `FROM`.
    pub(super) globals: HashMap<String, Binding>,
    pub(super) stages: Vec<Stage>,
    /// Variables at the end of each stage, the current one last.
    pub(super) scopes: Vec<Scope>,
    pub(super) images: Vec<ImageUse>,
    pub(super) context: Vec<ContextUse>,
    pub(super) declared: BTreeSet<String>,
    pub(super) uses_heredoc: bool,
    pub(super) uses_mount: bool,
    /// An error before the first `FROM` is told: what follows from it is not.
    lost: bool,
    /// While the `ONBUILD` triggers of a base are read: the byte of the `FROM` that brought them.
    pub(super) trigger_of: Option<usize>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source<'a>, options: &'a BuildOptions, escape: char, errors: Vec<Diagnostic>) -> Self {
        Self {
            source,
            options,
            escape,
            errors,
            globals: global_platform_args(options),
            stages: Vec::new(),
            scopes: Vec::new(),
            images: Vec::new(),
            context: Vec::new(),
            declared: BTreeSet::new(),
            uses_heredoc: false,
            uses_mount: false,
            lost: false,
            trigger_of: None,
        }
    }

    fn instruction(&mut self, one: &Instruction<'_>) {
        let keyword = one.keyword.as_str();
        if !KEYWORDS.contains(&keyword) {
            let help = suggest("instruction", keyword, &KEYWORDS);
            self.error(one, format!("`{keyword}` is not an instruction"), help);
            self.lost |= self.stages.is_empty();
            return;
        }
        if one.args().is_empty() && one.flags.is_empty() {
            self.error(one, format!("`{keyword}` has no arguments"), None);
            return;
        }
        if self.stages.is_empty() && !["FROM", "ARG"].contains(&keyword) {
            if !std::mem::replace(&mut self.lost, true) {
                let help = "begin with `FROM image`; only `ARG` may stand before it".to_owned();
                self.error(one, format!("`{keyword}` stands before the first `FROM`"), Some(help));
            }
            return;
        }
        match keyword {
            "FROM" => self.from(one),
            "ARG" => self.arg(one),
            "ENV" => self.env(one),
            "COPY" | "ADD" => self.copy(one),
            "RUN" => self.run(one),
            "ONBUILD" => self.onbuild(one),
            "LABEL" | "WORKDIR" | "USER" | "EXPOSE" | "VOLUME" | "STOPSIGNAL" => self.expand_all(one),
            _ => {}
        }
        self.note_files(one);
    }

    /// Runs the triggers that the base left for this stage.
    pub(super) fn run_triggers(&mut self, triggers: &[String], from: usize) {
        let outer = self.trigger_of.replace(from);
        for text in triggers {
            let source = Source::new(self.source.file, text);
            let (_, lines) = logical_lines(&source, &mut self.errors);
            for line in &lines {
                let one = Instruction::read(line, self.escape);
                if !["FROM", "ONBUILD"].contains(&one.keyword.as_str()) {
                    self.instruction(&one);
                }
            }
        }
        self.trigger_of = outer;
    }

    fn onbuild(&mut self, one: &Instruction<'_>) {
        let trigger = one.trigger();
        if ["FROM", "ONBUILD", "MAINTAINER"].contains(&trigger.keyword.as_str()) {
            self.error(one, format!("`ONBUILD {}` is not allowed", trigger.keyword), None);
        } else if !KEYWORDS.contains(&trigger.keyword.as_str()) {
            let help = suggest("instruction", &trigger.keyword, &KEYWORDS);
            self.error(one, format!("`{}` is not an instruction", trigger.keyword), help);
        } else {
            self.uses_heredoc |= !one.line.heredocs.is_empty();
            let mut text = one.args().to_owned();
            for heredoc in &one.line.heredocs {
                text.push('\n');
                text.push_str(self.source.text.get(heredoc.body.clone()).unwrap_or_default());
                text.push_str(&heredoc.name);
            }
            self.stage().onbuild.push(text);
        }
    }

    fn env(&mut self, one: &Instruction<'_>) {
        let Some(pairs) = name_values(one) else {
            let help = "write `ENV NAME=value`".to_owned();
            self.error(one, format!("`{} {}` has a name without a value", one.keyword, one.args()), Some(help));
            return;
        };
        // All values of one instruction see the variables from before it.
        let values: Vec<(String, (String, bool))> = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((self.expand(one, name)?, self.expand_or_unknown(one, value)?)))
            .collect();
        for (name, (value, unknown)) in values {
            self.scope().set_env(name, value, unknown);
        }
    }

    fn expand_all(&mut self, one: &Instruction<'_>) {
        for word in one.arguments() {
            self.expand(one, &word.0);
        }
    }

    /// Expands a word in the current stage and notes the build args that it uses.
    pub(super) fn expand(&mut self, one: &Instruction<'_>, word: &str) -> Option<String> {
        self.expand_or_unknown(one, word).map(|(text, _)| text)
    }

    /// The same, and whether a variable in it may come from the base image.
    pub(super) fn expand_or_unknown(&mut self, one: &Instruction<'_>, word: &str) -> Option<(String, bool)> {
        if !word.contains(['$', '"', '\'', self.escape]) {
            return Some((word.to_owned(), false));
        }
        let mut used = BTreeSet::new();
        let mut unknown = false;
        let scope = self.scopes.last()?;
        let result = expand(word, self.escape, &mut |name| match scope.get(name) {
            Some(binding) => {
                used.extend(binding.deps.iter().cloned());
                unknown |= binding.unknown;
                Some(binding.value.clone())
            }
            None => {
                unknown |= scope.open;
                None
            }
        });
        self.stage().args_used.extend(used);
        self.settle(one, word, result).map(|text| (text, unknown))
    }

    /// An expansion that went wrong becomes an error at the instruction.
    pub(super) fn settle<T>(&mut self, one: &Instruction<'_>, word: &str, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(why) => {
                self.error(one, format!("`{word}` {why}"), None);
                None
            }
        }
    }

    pub(super) fn error(&mut self, one: &Instruction<'_>, message: String, help: Option<String>) {
        self.error_at(one, one.keyword_range.start, message, help);
    }

    /// An error at byte `at` of the logical line.
    pub(super) fn error_at(&mut self, one: &Instruction<'_>, at: usize, message: String, help: Option<String>) {
        let offset = self.offset(one.line, at);
        self.errors.push(self.source.error(offset, message).maybe_help(help));
    }

    /// The byte of the source to show for byte `at` of a logical line.
    pub(super) fn offset(&self, line: &Logical, at: usize) -> usize {
        self.trigger_of.unwrap_or_else(|| line.source_offset(at))
    }

    /// The current stage. Instructions before the first `FROM` never come here.
    pub(super) fn stage(&mut self) -> &mut Stage {
        self.stages.last_mut().expect("`instruction` lets only FROM and ARG through before the first stage")
    }

    pub(super) fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("`from` adds a scope with each stage")
    }
}
