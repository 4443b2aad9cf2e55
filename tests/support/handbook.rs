//! Pages as things to do: files that they say to write, commands that they say to run. Knows nothing of either.

use std::path::Path;

/// How a page shows a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Behind `$ ` in a block marked as console: to be run in this order.
    Console(String),
    /// Indented, perhaps with a word of comment behind it.
    Indented(String),
    /// Within a sentence.
    Inline(String),
}

impl Shown {
    pub fn is_console(&self) -> bool {
        matches!(self, Self::Console(_))
    }

    pub fn command(&self) -> &str {
        let (Self::Console(text) | Self::Indented(text) | Self::Inline(text)) = self;
        text
    }
}

/// All commands of a page, in their order. Those of `cargo` alone count outside of consoles.
pub fn commands(page: &str) -> Vec<Shown> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(kind) };
        } else if fence == Some("console") {
            found.extend(line.strip_prefix("$ ").map(|command| Shown::Console(command.to_owned())));
        } else if fence.is_none() {
            if let Some(command) = line.strip_prefix("    cargo ") {
                // Two blanks begin a comment.
                let command = command.split("  ").next().unwrap_or(command);
                found.push(Shown::Indented(format!("cargo {command}")));
            } else {
                let inline = line.split('`').skip(1).step_by(2).filter(|text| text.starts_with("cargo "));
                found.extend(inline.map(|command| Shown::Inline(command.to_owned())));
            }
        }
    }
    found
}

/// Does what a page says, in its order: writes each block that names a file behind its language
/// (```` ```yaml tasks.yaml ````) below `root`, and has each command of a console run. `adapt` is applied to both.
pub fn play(page: &str, root: &Path, adapt: &dyn Fn(&str) -> String, run: &mut dyn FnMut(&str)) {
    let mut fence: Option<&str> = None;
    let mut file: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(_), Some(_)) => {
                fence = None;
                if let Some((name, text)) = file.take() {
                    let path = root.join(adapt(&name));
                    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
                    std::fs::write(path, adapt(&text)).expect("a file");
                }
            }
            (Some(kind), None) => {
                fence = Some(kind);
                file = kind.split_once(' ').map(|(_, name)| (name.trim().to_owned(), String::new()));
            }
            (None, Some("console")) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    run(&adapt(command));
                }
            }
            (None, Some(_)) => {
                if let Some((_, text)) = &mut file {
                    text.extend([line, "\n"]);
                }
            }
            (None, None) => {}
        }
    }
}
