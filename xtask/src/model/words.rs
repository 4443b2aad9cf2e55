//! Small text helpers that every room's messages use. Knows nothing of what the words are about.

/// `1 task`, `2 tasks`.
pub fn count(number: usize, singular: &str) -> String {
    if number == 1 { format!("1 {singular}") } else { format!("{number} {singular}s") }
}

/// Names in backticks, joined by commas and a last `and`.
pub fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let ticked: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match ticked.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

/// The nearest name within an edit distance of 3, so that no far-fetched name is suggested.
pub fn closest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, name)| *distance <= 3 && *distance * 3 <= letters(name) + 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters and digits: the dashes of an option are no likeness.
fn letters(name: &str) -> usize {
    name.chars().filter(|one| one.is_alphanumeric()).count()
}

/// What a `help:` says about an unknown name: the nearest one, else all of them if they are few.
pub fn suggest(kind: &str, wanted: &str, known: &[&str]) -> Option<String> {
    if let Some(name) = closest(wanted, known.iter().copied()) {
        let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        return Some(format!("{article} {kind} with a similar name exists: `{name}`"));
    }
    (1..8).contains(&known.len()).then(|| format!("known {kind}s: {}", list(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_grammatical() {
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(0, "task"), "0 tasks");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }

    #[test]
    fn suggestions_stay_near() {
        assert_eq!(closest("build-scpiy", ["build-scipy", "push"]), Some("build-scipy"));
        assert_eq!(closest("zzz", ["build-scipy", "ab"]), None);
    }
}
