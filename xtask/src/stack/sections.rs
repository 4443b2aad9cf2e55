//! The page that describes an image in the format of the Jupyter stacks: what it was built from, then each command with
//! what it said. Pure text; runs nothing. Row J07.

use jiff::Timestamp;

use super::manifest::size;
use super::{Graph, Image, InfoCmd, Stack};

/// What the page says of the image itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The full tag.
    pub reference: String,
    /// Seconds since 1970.
    pub built: i64,
    /// Bytes.
    pub size: u64,
    /// Hash and message of the commit; `None` outside of git.
    pub commit: Option<(String, String)>,
    /// The page of the sources on the web; `None` where the remote has none.
    pub web: Option<String>,
}

/// A command with what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub heading: String,
    pub command: String,
    pub output: String,
}

/// Digits of a commit in the title.
const DIGITS: usize = 12;

/// The info commands of an image: those of the images that it is built on first, then its own, each once. The second
/// part says whether it is one of its own.
pub fn commands<'s>(stack: &'s Stack, graph: &Graph, image: &'s Image) -> Vec<(&'s InfoCmd, bool)> {
    let mut found: Vec<(&InfoCmd, bool)> = Vec::new();
    for (name, is_own) in graph.inherited(stack, image, |image| &image.info_cmds) {
        let Some(info) = stack.info_cmd(name) else { continue };
        match found.iter_mut().find(|(known, _)| known.name == info.name) {
            Some((_, known)) => *known |= is_own,
            None => found.push((info, is_own)),
        }
    }
    found
}

/// The whole page. Commands with the heading of the one before share its section.
pub fn page(info: &BuildInfo, sections: &[Section]) -> String {
    let name = info.reference.rsplit_once(':').map_or(&*info.reference, |(name, _)| name);
    let hash = info.commit.as_ref().map_or("no commit", |(hash, _)| hash.get(..DIGITS).unwrap_or(hash));
    let time = Timestamp::from_second(info.built).unwrap_or_default();
    let mut text = format!(
        "# Build manifest for image: {name}:{hash}\n\n## Build Info\n\n- Build timestamp: {time}\n- Docker image: `{}`\n- \
         Docker image size: {}\n",
        info.reference,
        size(info.size),
    );
    if let Some((hash, message)) = &info.commit {
        let link = match &info.web {
            Some(web) => format!("[{hash}]({web}/commit/{hash})"),
            None => hash.clone(),
        };
        text.push_str(&format!("- Git commit SHA: {link}\n- Git commit message:\n\n{}", fenced(message)));
    }
    let mut before = None;
    for section in sections {
        if before != Some(&section.heading) {
            text.push_str(&format!("\n## {}\n", section.heading));
        }
        before = Some(&section.heading);
        text.push_str(&format!("\n`{}`:\n\n{}", section.command, fenced(&section.output)));
    }
    text
}

/// A block that ends where the text ends, whatever is in it.
fn fenced(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(heading: &str, command: &str, output: &str) -> Section {
        Section { heading: heading.to_owned(), command: command.to_owned(), output: output.to_owned() }
    }

    #[test]
    fn a_page_tells_the_build_and_every_command() {
        let info = BuildInfo {
            reference: "registry.example.org/lab/base:2026.3".to_owned(),
            built: 1_700_000_000,
            size: 1_234_567,
            commit: Some(("0123456789abcdef".to_owned(), "Say ```more```\n\nand why".to_owned())),
            web: Some("https://git.example.org/lab/stack".to_owned()),
        };
        let packages = [
            section("Python Packages", "python3 --version", "Python 3.11\r\n"),
            section("Python Packages", "pip list", "numpy 2"),
            section("Apt Packages", "apt list", "bash"),
        ];
        insta::assert_snapshot!(page(&info, &packages), @r"
        # Build manifest for image: registry.example.org/lab/base:0123456789ab

        ## Build Info

        - Build timestamp: 2023-11-14T22:13:20Z
        - Docker image: `registry.example.org/lab/base:2026.3`
        - Docker image size: 1.2 MB
        - Git commit SHA: [0123456789abcdef](https://git.example.org/lab/stack/commit/0123456789abcdef)
        - Git commit message:

        ````text
        Say ```more```

        and why
        ````

        ## Python Packages

        `python3 --version`:

        ```text
        Python 3.11
        ```

        `pip list`:

        ```text
        numpy 2
        ```

        ## Apt Packages

        `apt list`:

        ```text
        bash
        ```
        ");
        assert!(page(&BuildInfo::default(), &[]).starts_with("# Build manifest for image: :no commit\n"));
    }
}
