//! Reads `taggers` of the spec. Runs none of them.

use crate::model::Diagnostic;
use crate::stack::types::Tagger;
use crate::taskfile::Node;

use super::fields::{Fields, Findings};

/// The first word of the output, unless a pattern is given.
const FIRST_WORD: &str = r"\S+";

/// `command`, `pattern` and `tags` by name.
pub fn read(entries: &[(Node, Node)], findings: &mut Findings) -> Vec<Tagger> {
    entries.iter().filter_map(|(key, node)| tagger(key, node, findings)).collect()
}

fn tagger(key: &Node, node: &Node, findings: &mut Findings) -> Option<Tagger> {
    let owner = format!("tagger `{}`", key.key());
    let mut fields = Fields::of(node, owner.clone(), findings);
    let command = fields.text("command", findings);
    let pattern = fields.text("pattern", findings);
    let tags = fields.texts("tags", findings);
    fields.finish(findings);
    for (missing, field, example) in [
        (command.is_none(), "command", "command: python3 --version"),
        (tags.is_empty(), "tags", "tags: [\"python-$1\"]"),
    ] {
        if missing {
            findings.error(
                Diagnostic::error(format!("{owner} has no {field}"))
                    .at(key.place.clone())
                    .help(format!("add `{example}`")),
            );
        }
    }
    if let Some(pattern) = &pattern
        && let Err(error) = regex_lite::Regex::new(&pattern.value)
    {
        findings.error(
            Diagnostic::error(format!("`pattern` of {owner} is no regular expression"))
                .at(pattern.place.clone())
                .cause(error),
        );
    }
    Some(Tagger {
        name: key.key().to_owned(),
        place: key.place.clone(),
        command: command?.value,
        pattern: pattern.map_or_else(|| FIRST_WORD.to_owned(), |text| text.value),
        tags: tags.into_iter().map(|tag| tag.value).collect(),
    })
}
