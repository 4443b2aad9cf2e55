//! `COPY`, `ADD` and `RUN --mount`: what they read from the context, from stages and from images.
//!
//! Knows nothing of which files exist.

use std::ops::Range;

use super::instruction::{Flag, Instruction};
use super::lines::heredoc_name;
use super::read::Reader;
use super::words::Word;
use super::{ContextRole, ContextUse, ImageRole};
use crate::model::words::closest;

impl Reader<'_> {
    pub(super) fn copy(&mut self, one: &Instruction<'_>) {
        let arguments = one.arguments();
        if arguments.len() < 2 {
            let help = format!("write `{} source… destination`", one.keyword);
            self.error(one, format!("`{} {}` needs a source and a destination", one.keyword, one.args()), Some(help));
            return;
        }
        for flag in one.flags.iter().filter(|flag| flag.name != "from") {
            self.expand(one, &flag.value);
        }
        self.copied_heredocs(one);
        let from = one.flag("from").filter(|_| one.keyword == "COPY");
        if let Some(flag) = from {
            self.source_of(one, &flag.value, &flag.value_range, ImageRole::CopyFrom);
        }
        let add = one.keyword == "ADD";
        let deep = one.flag("parents").is_some_and(|flag| flag.value != "false");
        let (sources, destination) = arguments.split_at(arguments.len() - 1);
        self.expand(one, &destination[0].0);
        for (raw, range) in sources {
            let heredoc = heredoc_name(&Word { raw, range: range.clone() }).is_some();
            let Some((text, unknown)) = self.expand_or_unknown(one, raw) else { continue };
            if from.is_some() || heredoc || (add && is_remote(&text)) {
                continue;
            }
            let role = match (unknown, add) {
                (true, _) => ContextRole::Unknown,
                (_, true) => ContextRole::Add,
                _ => ContextRole::Copy,
            };
            self.read_context(one, role, &text, range, deep);
        }
    }

    fn copied_heredocs(&mut self, one: &Instruction<'_>) {
        self.uses_heredoc |= !one.line.heredocs.is_empty();
        if self.trigger_of.is_some() {
            return;
        }
        for heredoc in one.line.heredocs.iter().filter(|heredoc| heredoc.expand) {
            let body = self.source.text.get(heredoc.body.clone()).unwrap_or_default();
            // Quotes are plain characters in a body.
            let plain: String = body.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
            self.expand(one, &plain);
        }
    }

    pub(super) fn run(&mut self, one: &Instruction<'_>) {
        self.uses_heredoc |= !one.line.heredocs.is_empty();
        self.use_visible_args();
        for flag in one.flags.iter().filter(|flag| flag.name == "mount") {
            self.uses_mount = true;
            self.mount(one, flag);
        }
    }

    fn mount(&mut self, one: &Instruction<'_>, flag: &Flag) {
        let pairs = flag.pairs(&one.line.text);
        let find = |names: &[&str]| pairs.iter().find(|(key, ..)| names.contains(&key.as_str()));
        let mut value = |names: &[&str]| match find(names) {
            Some((key, value, range)) if key != "from" => {
                self.expand_or_unknown(one, value).map(|(text, unknown)| (text, unknown, range.clone()))
            }
            Some((_, value, range)) => Some((value.clone(), false, range.clone())),
            None => None,
        };
        let kind = value(&["type"]).map_or_else(|| "bind".to_owned(), |(kind, ..)| kind.to_ascii_lowercase());
        let source = value(&["source", "src"]);
        let from = value(&["from"]).filter(|(text, ..)| !text.is_empty());
        let target = value(&["target", "dst", "destination"]).map(|(text, ..)| text);
        let id = value(&["id"]).map(|(text, ..)| text);
        match kind.as_str() {
            "bind" | "cache" => match from {
                Some((text, _, range)) => self.source_of(one, &text, &range, ImageRole::MountFrom),
                None if kind == "bind" => {
                    let (text, unknown, range) =
                        source.unwrap_or_else(|| (String::new(), false, flag.value_range.clone()));
                    let role = if unknown { ContextRole::Unknown } else { ContextRole::Bind };
                    self.read_context(one, role, &text, &range, false);
                }
                None => {}
            },
            "secret" => {
                let name = target.as_deref().map(|path| path.rsplit('/').next().unwrap_or(path).to_owned());
                match id.or(name) {
                    Some(id) => _ = self.stage().secrets.insert(id),
                    None => self.error_at(
                        one,
                        flag.range.start,
                        "`--mount=type=secret` has no id".into(),
                        Some("write `--mount=type=secret,id=NAME`".into()),
                    ),
                }
            }
            "ssh" => _ = self.stage().ssh.insert(id.unwrap_or_else(|| "default".into())),
            "tmpfs" => {}
            other => {
                let message = format!("`--mount` has the unknown type `{other}`");
                let kinds = ["bind", "cache", "secret", "ssh", "tmpfs"];
                let help = crate::model::words::suggest("type", other, &kinds);
                self.error_at(one, flag.range.start, message, help);
            }
        }
    }

    fn read_context(&mut self, one: &Instruction<'_>, role: ContextRole, text: &str, range: &Range<usize>, deep: bool) {
        let offset = self.offset(one.line, range.start);
        let (line, column) = self.source.line_column(offset);
        let pattern = if role == ContextRole::Unknown { String::new() } else { clean(text) };
        let glob = matches!(role, ContextRole::Copy | ContextRole::Add);
        let stage = self.stages.len() - 1;
        self.context.push(ContextUse { role, pattern, glob, deep, line, column, stage });
    }

    /// `--from=…`: an earlier stage by name or number, else an image.
    fn source_of(&mut self, one: &Instruction<'_>, text: &str, range: &Range<usize>, role: ImageRole) {
        let current = self.stages.len() - 1;
        if text.contains('$') {
            let message = format!("`{text}` cannot have variables in `from`");
            let help = format!("add the stage `FROM {text} AS source` above and write `from=source`");
            return self.error_at(one, range.start, message, Some(help));
        }
        if let Ok(number) = text.parse::<usize>() {
            if number < current {
                self.stage().needs.insert(number);
            } else {
                let message = format!("`{text}` is not the number of an earlier stage");
                let help = match current {
                    0 => "this is the first stage: name an image".to_owned(),
                    _ => format!("earlier stages have the numbers 0 to {}", current - 1),
                };
                self.error_at(one, range.start, message, Some(help));
            }
            return;
        }
        let name = text.to_lowercase();
        match self.stages.iter().position(|stage| stage.name.as_deref() == Some(&name)) {
            Some(at) if at == current => {
                self.error_at(one, range.start, format!("`{text}` is the stage that this line is in"), None);
            }
            Some(at) => _ = self.stage().needs.insert(at),
            None => _ = self.use_image(one, text, text.to_owned(), range, role),
        }
    }

    /// A stage whose name is close to `text`, as a help.
    pub(super) fn similar_stage(&self, text: &str) -> Option<String> {
        let names = self.stages.iter().filter_map(|stage| stage.name.as_deref());
        closest(text, names).map(|name| format!("a stage with a similar name exists: `{name}`"))
    }
}

fn is_remote(text: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|start| text.starts_with(start))
}

/// Lexically, with the context as root: `..` cannot leave it.
pub(super) fn clean(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
