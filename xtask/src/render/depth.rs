//! How deep the expressions of a template are. Knows nothing of what they mean.
//!
//! The template engine limits what is nested in brackets and blocks, and goes down once for each link of a chain such as
//! `a.b.c`, `a ~ b ~ c` or `elif`: thousands of them end the program, which nothing can catch. Found by the fuzzing of
//! row Z2.

/// Links of one chain, with the brackets around it. Nobody writes so many; the stack of a thread has room for more.
const MOST: usize = 150;

/// The line, from 1, at which a template is deeper than can be read.
pub(super) fn too_deep(text: &str) -> Option<u32> {
    let mut branches: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let mark = rest[at..].get(..2).unwrap_or_default();
        if !matches!(mark, "{{" | "{%" | "{#") {
            rest = &rest[at + 1..];
            continue;
        }
        let inside = &rest[at + 2..];
        if mark == "{#" {
            rest = inside.find("#}").map_or("", |end| &inside[end + 2..]);
            continue;
        }
        let (tag, behind) = tag(inside, if mark == "{{" { "}}" } else { "%}" });
        if mark == "{%" {
            match tag.trim_start_matches(['-', '+']).split_whitespace().next() {
                Some("if") => branches.push(0),
                Some("elif") => *branches.last_mut()? += 1,
                Some("endif") => drop(branches.pop()),
                _ => {}
            }
        }
        if deepest(tag) > MOST || branches.iter().sum::<usize>() > MOST {
            return Some(text[..text.len() - inside.len()].matches('\n').count() as u32 + 1);
        }
        rest = behind;
    }
    None
}

/// What is in a tag and what comes after it. An end within quotes is none.
fn tag<'t>(text: &'t str, end: &str) -> (&'t str, &'t str) {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            Some(_) if c == '\\' => drop(chars.next()),
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if text[at..].starts_with(end) => return (&text[..at], &text[at + end.len()..]),
            None => {}
        }
    }
    (text, "")
}

/// The longest chain of a tag, with what is around it: rather one too many than too few.
fn deepest(tag: &str) -> usize {
    let (mut depth, mut deepest, mut around) = (0, 0, vec![0]);
    let mut word = String::new();
    let mut quote = None;
    for c in tag.chars().chain([' ']) {
        if let Some(open) = quote {
            quote = Some(open).filter(|open| *open != c);
            continue;
        }
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        depth += usize::from(matches!(&*word, "and" | "or" | "not" | "in" | "is" | "if" | "else"));
        word.clear();
        match c {
            '"' | '\'' => quote = Some(c),
            '(' | '[' | '{' => {
                depth += 1;
                around.push(depth);
            }
            // The chain goes on behind what is in brackets.
            ')' | ']' | '}' => depth = around.pop().unwrap_or_default(),
            ',' | ':' => depth = around.last().copied().unwrap_or_default(),
            '+' | '-' | '*' | '/' | '%' | '~' | '|' | '.' | '<' | '>' | '=' | '!' => depth += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::task_text::{Quote, expand_text, expand_words, names_used, paths_used};

    /// Chains of so many links, of each kind.
    fn chains(links: usize) -> Vec<String> {
        let parts = ["+a", ".a", "|upper", "[0]", "()", " if a else a", " < a", "**a", " and a", "~a", " is defined"];
        let behind = parts.iter().map(|part| format!("{{{{ a{} }}}}", part.repeat(links)));
        let before = ["not ", "-"].map(|part| format!("{{{{ {}a }}}}", part.repeat(links)));
        let nested = [("(", ")"), ("[", "]")].map(|(open, close)| {
            format!("{{{{ {}a{} }}}}{{% set {0}a{1} = 1 %}}", open.repeat(links), close.repeat(links))
        });
        let elif = format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}{% if a %}{% endif %}".repeat(links));
        behind.chain(before).chain(nested).chain([elif]).collect()
    }

    #[test]
    fn no_chain_overflows_the_stack() {
        for text in chains(5_000).iter().chain(&chains(MOST - 1)) {
            let _ = (names_used(text), paths_used(text), expand_words(text, &json!({ "a": 1 })));
            let _ = expand_text(text, &json!({ "a": 1 }), Quote::Plain);
        }
        assert!(chains(5_000).iter().all(|text| too_deep(text) == Some(1)));
        assert_eq!(too_deep(&format!("FROM a\n{}", chains(500)[0])), Some(2));
    }

    #[test]
    fn what_people_write_is_not_too_deep() {
        let list = format!("{{{{ apt([{}]) }}}}", "'a-b.c', x.y | upper, ".repeat(2_000));
        let many = "{{ a.b ~ \"}}\" }}{% if a %}b.c-d{% elif b %}{% endif %}\n".repeat(2_000);
        assert_eq!((too_deep(&list), too_deep(&many), too_deep(&"a.b/c ".repeat(5_000))), (None, None, None));
    }
}
