//! `FROM`: the stages, what each starts from, and which of them the target needs. Knows nothing of the disk.

use std::collections::BTreeSet;
use std::ops::Range;

use super::arguments::Scope;
use super::instruction::Instruction;
use super::read::Reader;
use super::{Base, Dockerfile, ImageRole, ImageUse, Stage};
use crate::model::words::suggest;
use crate::model::{Diagnostic, Diagnostics, ImageRef, Place};

impl Reader<'_> {
    pub(super) fn from(&mut self, one: &Instruction<'_>) {
        let words = one.words();
        let name = match words.as_slice() {
            [_] => None,
            [_, keyword, name] if keyword.raw.eq_ignore_ascii_case("as") => Some(name.raw.to_lowercase()),
            _ => {
                let help = "write `FROM image` or `FROM image AS name`".to_owned();
                self.error(one, format!("`FROM {}` is not understood", one.args()), Some(help));
                None
            }
        };
        self.check_name(one, name.as_deref());
        let mut stage = Stage {
            name,
            base: Base::Scratch,
            line: self.source.line_column(one.offset()).0,
            platform: None,
            needs: BTreeSet::new(),
            onbuild: Vec::new(),
            args_used: BTreeSet::new(),
            args_from: BTreeSet::new(),
            secrets: BTreeSet::new(),
            ssh: BTreeSet::new(),
            steps: Vec::new(),
            folder: None,
        };
        if let Some(flag) = one.flag("platform")
            && let Some((platform, deps)) = self.expand_global(one, &flag.value)
        {
            stage.args_used.extend(deps);
            stage.platform = Some(platform).filter(|text| !text.is_empty());
        }
        let expanded = words.first().and_then(|word| self.expand_global(one, word.raw));
        let earlier = expanded.as_ref().and_then(|(text, _)| self.stage_named(text));
        if let Some((text, deps)) = &expanded {
            let outside = earlier.is_none() && text != "scratch";
            let used = if outside { &mut stage.args_from } else { &mut stage.args_used };
            used.extend(deps.iter().cloned());
        }
        self.stages.push(stage);
        let (Some(word), Some((text, _))) = (words.first(), expanded) else {
            self.scopes.push(Scope::of_image(None));
            return;
        };
        if let Some(at) = earlier {
            self.start_from_stage(at, one);
        } else if text == "scratch" {
            self.scopes.push(Scope::default());
        } else {
            self.start_from_image(one, word.raw, text, &word.range);
        }
    }

    fn check_name(&mut self, one: &Instruction<'_>, name: Option<&str>) {
        let Some(name) = name else { return };
        let fine = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !fine {
            let help = "a name begins with a letter and has letters, digits, `-`, `_` and `.`".to_owned();
            self.error(one, format!("`{name}` cannot be the name of a stage"), Some(help));
        } else if let Some(at) = self.stage_named(name) {
            let first = Place::new(self.source.file, self.stages[at].line, 1);
            let error = self.source.error(one.offset(), format!("`{name}` is the name of two stages"));
            self.errors.push(error.at_because(first, "the first one").help("give one of them another name"));
        }
    }

    fn stage_named(&self, text: &str) -> Option<usize> {
        let name = text.to_lowercase();
        self.stages.iter().position(|stage| stage.name.as_deref() == Some(&name))
    }

    fn start_from_stage(&mut self, at: usize, one: &Instruction<'_>) {
        let triggers = self.stages[at].onbuild.clone();
        self.scopes.push(self.scopes[at].clone());
        let stage = self.stage();
        stage.base = Base::Stage(at);
        stage.needs.insert(at);
        self.run_triggers(&triggers, one.offset());
    }

    fn start_from_image(&mut self, one: &Instruction<'_>, raw: &str, text: String, range: &Range<usize>) {
        self.scopes.push(Scope::of_image(self.options.base_env.get(&text)));
        if text.is_empty() {
            let help = format!("give the build arg, or a default: `ARG NAME=image` above `FROM {raw}`");
            return self.error_at(one, range.start, format!("`FROM {raw}` names no image"), Some(help));
        }
        let triggers = self.options.onbuild.get(&text).cloned().unwrap_or_default();
        if let Some(index) = self.use_image(one, raw, text, range, ImageRole::From) {
            self.stage().base = Base::Image(index);
        }
        self.run_triggers(&triggers, one.offset());
    }

    /// Notes a mention of an image; `None` (and an error) if the text cannot be a reference.
    pub(super) fn use_image(
        &mut self,
        one: &Instruction<'_>,
        raw: &str,
        resolved: String,
        range: &Range<usize>,
        role: ImageRole,
    ) -> Option<usize> {
        if ImageRef::parse(&resolved).is_none() {
            let mut message = format!("`{resolved}` is not an image reference");
            if raw != resolved {
                message = format!("`{raw}` gives `{resolved}`, which is not an image reference");
            }
            self.error_at(one, range.start, message, self.similar_stage(&resolved));
            return None;
        }
        let span = self.trigger_of.is_none().then(|| one.line.source_range(range));
        let (line, column) = self.source.line_column(self.offset(one.line, range.start));
        let stage = self.stages.len() - 1;
        let text = raw.to_owned();
        self.images.push(ImageUse { text, resolved, role, line, column, span, stage, needed: false });
        Some(self.images.len() - 1)
    }

    /// Everything read: finds the target and what it needs.
    pub(super) fn finish(mut self) -> Result<Dockerfile, Diagnostics> {
        if self.stages.is_empty() && self.errors.is_empty() {
            let error = Diagnostic::error(format!("`{}` has no `FROM`", self.source.file));
            self.errors.push(error.at(Place::file(self.source.file)).help("begin with `FROM image`"));
        }
        let target = self.target();
        if !self.errors.is_empty() {
            return Err(Diagnostics(self.errors));
        }
        let needed = if self.options.every_stage { (0..=target).collect() } else { self.reachable(target) };
        for image in &mut self.images {
            image.needed = needed.contains(&image.stage);
        }
        self.context.retain(|one| needed.contains(&one.stage));
        let of_needed = |pick: fn(&Stage) -> &BTreeSet<String>| -> BTreeSet<String> {
            needed.iter().flat_map(|at| pick(&self.stages[*at])).cloned().collect()
        };
        let mut args_beyond_from = of_needed(|stage| &stage.args_used);
        // These steer the builder itself and need no declaration.
        let steering = |name: &&String| name.starts_with("BUILDKIT_") || *name == "SOURCE_DATE_EPOCH";
        args_beyond_from.extend(self.options.args.keys().filter(steering).cloned());
        let mut args_used = of_needed(|stage| &stage.args_from);
        args_used.extend(args_beyond_from.iter().cloned());
        Ok(Dockerfile {
            text: self.source.text.to_owned(),
            file: self.source.file.to_owned(),
            canonical: String::new(),
            syntax: None,
            target,
            args_used,
            args_beyond_from,
            args_declared: self.declared,
            secrets: of_needed(|stage| &stage.secrets),
            ssh: of_needed(|stage| &stage.ssh),
            context: self.context,
            images: self.images,
            uses_heredoc: self.uses_heredoc,
            uses_mount: self.uses_mount,
            needed: needed.into_iter().collect(),
            stages: self.stages,
        })
    }

    fn target(&mut self) -> usize {
        let last = self.stages.len().saturating_sub(1);
        let Some(wanted) = self.options.target.as_deref().filter(|text| !text.is_empty()) else { return last };
        let number = wanted.parse::<usize>().ok().filter(|number| *number <= last);
        if let Some(found) = self.stage_named(wanted).or(number) {
            return found;
        }
        let names: Vec<&str> = self.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        let error = Diagnostic::error(format!("`{}` has no stage `{wanted}`", self.source.file));
        let error = error.at(Place::file(self.source.file)).maybe_help(suggest("stage", wanted, &names));
        self.errors.push(error);
        last
    }

    fn reachable(&self, target: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([target]);
        let mut open = vec![target];
        while let Some(at) = open.pop() {
            open.extend(self.stages[at].needs.iter().copied().filter(|other| found.insert(*other)));
        }
        found
    }
}
