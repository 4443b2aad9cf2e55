//! Tags that are made of what an image says of itself. Runs nothing; knows nothing of engines and registries.

use super::tags::checked;
use super::{Graph, Image, Stack, Tagger};
use crate::model::Diagnostic;

/// A tagger of an image: its own, or one of an image that it is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given<'s> {
    pub tagger: &'s Tagger,
    /// What an ancestor can tell, its child may have replaced or, if only files were copied from it, never had.
    pub is_own: bool,
}

/// The taggers of an image: those of its ancestors first, then its own, each once.
pub fn of<'s>(stack: &'s Stack, graph: &Graph, image: &'s Image) -> Vec<Given<'s>> {
    let mut found: Vec<Given<'s>> = Vec::new();
    for (name, is_own) in graph.inherited(stack, image, |image| &image.taggers) {
        let Some(tagger) = stack.tagger(name) else { continue };
        match found.iter_mut().find(|given| given.tagger.name == *name) {
            Some(given) => given.is_own |= is_own,
            None => found.push(Given { tagger, is_own }),
        }
    }
    found
}

/// The tags that this output of the command stands for.
///
/// # Errors
/// The pattern is not found, or what comes of it cannot be a tag.
pub fn tags(tagger: &Tagger, output: &str) -> Result<Vec<String>, Diagnostic> {
    let name = &tagger.name;
    let pattern = regex_lite::Regex::new(&tagger.pattern).map_err(|error| {
        Diagnostic::error(format!("`pattern` of tagger `{name}` is no regular expression")).cause(error)
    })?;
    let found = pattern.captures(output).ok_or_else(|| {
        let said = output.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        Diagnostic::error(format!("tagger `{name}` does not find its pattern `{}`", tagger.pattern))
            .at(tagger.place.clone())
            .note(format!("`{}` said: {}", tagger.command, said.trim()))
    })?;
    let expand = |template: &String| {
        let mut tag = String::new();
        found.expand(template, &mut tag);
        checked(tag)
            .map_err(|error| error.at(tagger.place.clone()).note(format!("tagger `{name}` made it of `{template}`")))
    };
    tagger.tags.iter().map(expand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Place;

    fn tagger(pattern: &str, tags: &[&str]) -> Tagger {
        Tagger {
            name: "python".to_owned(),
            place: Place::file("spec.yml"),
            command: "python3 --version".to_owned(),
            pattern: pattern.to_owned(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        }
    }

    #[test]
    fn j06_groups_of_the_pattern_stand_in_the_tags() {
        let python = tagger(r"Python ((\d+\.\d+)\.\d+)", &["python-$1", "python-${2}", "all-of-$2-x"]);
        assert_eq!(tags(&python, "Python 3.12.4\n").unwrap(), ["python-3.12.4", "python-3.12", "all-of-3.12-x"]);
        assert_eq!(tags(&tagger(r"\S+", &["v$0"]), "\n1.2 rest").unwrap(), ["v1.2"]);
    }

    #[test]
    fn what_is_not_found_and_what_is_no_tag_is_told() {
        let missing = tags(&tagger(r"\d+", &["v$0"]), "\n none here \n").unwrap_err();
        assert_eq!(missing.message, r"tagger `python` does not find its pattern `\d+`");
        assert!(missing.to_string().contains("`python3 --version` said: none here"), "{missing}");
        let wrong = tags(&tagger(r".+", &["v$0"]), "1.0 (beta)").unwrap_err();
        assert_eq!(wrong.message, "`v1.0 (beta)` cannot be a tag");
    }
}
