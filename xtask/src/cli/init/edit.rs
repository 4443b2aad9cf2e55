//! Lines added to files that others wrote: pure, from text to text, and the same text if nothing is missing.

/// The text with these lines at its end, if they are not in it.
pub(super) fn lines(text: &str, wanted: &[&str]) -> String {
    let has = |line: &str| text.lines().any(|known| known.trim() == line);
    let mut whole = text.to_owned();
    if !whole.is_empty() && !whole.ends_with('\n') {
        whole.push('\n');
    }
    for line in wanted.iter().filter(|line| !has(line)) {
        whole.push_str(line);
        whole.push('\n');
    }
    whole
}

/// `.cargo/config.toml` with an alias for `xtask`; one that is there already stays.
pub(super) fn alias(text: &str, line: &str) -> String {
    let is_xtask =
        |line: &str| line.trim_start().strip_prefix("xtask").is_some_and(|rest| rest.trim_start().starts_with('='));
    if text.lines().any(is_xtask) {
        return text.to_owned();
    }
    insert_behind(text, "[alias]", line)
}

/// `Cargo.toml` of the root with `xtask` among the members of its workspace.
pub(super) fn member(text: &str) -> String {
    let trimmed = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let mut in_workspace = false;
    let mut in_members = false;
    let mut start = None;
    for (number, line) in text.lines().enumerate() {
        let line = trimmed(line);
        if line.starts_with('[') && !in_members {
            in_workspace = line == "[workspace]";
        }
        if in_workspace && line.strip_prefix("members").is_some_and(|rest| rest.trim_start().starts_with('=')) {
            in_members = true;
            start = Some(number);
        }
        if in_members && line.contains("\"xtask\"") {
            return text.to_owned();
        }
        in_members &= !line.contains(']');
    }
    match start {
        None => insert_behind(text, "[workspace]", "members = [\"xtask\"]"),
        Some(start) => {
            let lines = text.lines().enumerate();
            let changed =
                lines.map(
                    |(number, line)| {
                        if number == start { line.replacen('[', "[\"xtask\", ", 1) } else { line.to_owned() }
                    },
                );
            changed.map(|line| line + "\n").collect()
        }
    }
}

/// The text with a line behind a table's head, which is added where it is missing.
fn insert_behind(text: &str, head: &str, line: &str) -> String {
    if !text.lines().any(|known| known.trim() == head) {
        let gap = if text.is_empty() { "" } else { "\n" };
        return lines(text, &[]) + gap + head + "\n" + line + "\n";
    }
    let mut whole = String::new();
    let mut done = false;
    for known in text.lines() {
        whole.push_str(known);
        whole.push('\n');
        if known.trim() == head && !done {
            whole.push_str(line);
            whole.push('\n');
            done = true;
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_lines_are_added_once() {
        let once = lines("/target", &["/target", "/.xtask"]);
        assert_eq!(once, "/target\n/.xtask\n");
        assert_eq!(lines(&once, &["/target", "/.xtask"]), once);
    }

    #[test]
    fn an_alias_is_added_or_left() {
        let line = "xtask = \"x\"";
        assert_eq!(alias("", line), "[alias]\nxtask = \"x\"\n");
        assert_eq!(alias("[build]\njobs = 1", line), "[build]\njobs = 1\n\n[alias]\nxtask = \"x\"\n");
        assert_eq!(alias("[alias]\nb = \"build\"\n", line), "[alias]\nxtask = \"x\"\nb = \"build\"\n");
        assert_eq!(alias("[alias]\nxtask=\"own\"\n", line), "[alias]\nxtask=\"own\"\n");
    }

    #[test]
    fn a_workspace_gets_the_member() {
        assert_eq!(
            member("[package]\nname = \"a\"\n"),
            "[package]\nname = \"a\"\n\n[workspace]\nmembers = [\"xtask\"]\n"
        );
        assert_eq!(member("[workspace]\nmembers = [\"a\"]\n"), "[workspace]\nmembers = [\"xtask\", \"a\"]\n");
        assert_eq!(
            member("[workspace]\nmembers = [\n  \"a\",\n]\n"),
            "[workspace]\nmembers = [\"xtask\", \n  \"a\",\n]\n"
        );
        let has = "[workspace]\nmembers = [\n  \"a\",\n  \"xtask\",\n]\n";
        assert_eq!(member(has), has);
        let other = "[workspace.metadata.x]\nmembers = [\"a\"]\n";
        assert_eq!(member(other), format!("{other}\n[workspace]\nmembers = [\"xtask\"]\n"));
    }
}
