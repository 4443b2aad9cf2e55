//! The `# syntax=` line of a Dockerfile, and what a builder cannot do. Knows nothing of the wire.

use super::{BuildRequest, Builder, Frontend};
use crate::docker::DockerError;

/// Checks the request against the builder and makes the Dockerfile readable for it. Returns what is to be built, and
/// a warning.
pub fn prepare(request: &BuildRequest, builder: Builder) -> Result<(BuildRequest, Option<String>), DockerError> {
    let mut request = request.clone();
    if builder == Builder::Classic {
        refuse_for_classic(&request)?;
    }
    if request.frontend == Frontend::AsWritten && builder == Builder::BuildKit {
        return Ok((request, None));
    }
    let Some((line, image)) = syntax_line(&request.dockerfile) else {
        return Ok((request, None));
    };
    if !is_official(&image) {
        return Err(DockerError::Unsupported {
            what: format!("`# syntax={image}` asks for a Dockerfile frontend that the engine does not have"),
            help: "remove the line, or allow the engine to fetch the frontend".to_owned(),
        });
    }
    // Blanked, not cut out: the builder's messages keep the right line numbers.
    let text = &mut request.dockerfile[line];
    text[1..].fill(b' ');
    Ok((request, Some(format!("`# syntax={image}` is passed over: the engine's own frontend reads the Dockerfile"))))
}

fn refuse_for_classic(request: &BuildRequest) -> Result<(), DockerError> {
    let unsupported = |what: &str| {
        Err(DockerError::Unsupported {
            what: format!("{what} need BuildKit, which this engine or request does not use"),
            help: "use an engine of version 20.10 or newer with BuildKit".to_owned(),
        })
    };
    if !request.secrets.is_empty() {
        return unsupported("build secrets");
    }
    if request.ssh_agent.is_some() {
        return unsupported("forwarded ssh agents");
    }
    Ok(())
}

fn is_official(image: &str) -> bool {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let name = image.split([':', '@']).next().unwrap_or(image);
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}

/// Where the line is (without its newline), and what it names. Directives stand on the first lines only, before any
/// other comment, blank line or instruction.
fn syntax_line(dockerfile: &[u8]) -> Option<(std::ops::Range<usize>, String)> {
    let mut start = if dockerfile.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    while start < dockerfile.len() {
        let end = dockerfile[start..].iter().position(|byte| *byte == b'\n').map_or(dockerfile.len(), |at| start + at);
        let line = String::from_utf8_lossy(&dockerfile[start..end]);
        let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
        match name.trim().to_ascii_lowercase().as_str() {
            "syntax" => {
                let hash = dockerfile[start..end].iter().position(|byte| *byte == b'#').unwrap_or(0);
                let value = value.split_whitespace().next()?.to_owned();
                return Some((start + hash..end, value));
            }
            "escape" | "check" => start = end + 1,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str, builder: Builder) -> Result<(String, Option<String>), DockerError> {
        let request = BuildRequest { dockerfile: text.into(), ..Default::default() };
        prepare(&request, builder).map(|(request, warning)| (String::from_utf8(request.dockerfile).unwrap(), warning))
    }

    #[test]
    fn the_official_frontend_is_passed_over_and_lines_stay() {
        let (text, warning) =
            prepared("# escape=`\n# syntax=docker/dockerfile:1\nFROM a\n", Builder::BuildKit).unwrap();
        assert_eq!(text, format!("# escape=`\n#{}\nFROM a\n", " ".repeat(27)));
        assert!(warning.unwrap().contains("docker/dockerfile:1"));
    }

    #[test]
    fn another_frontend_is_refused_and_comments_are_none() {
        assert!(matches!(prepared("#syntax=me/mine\nFROM a", Builder::BuildKit), Err(DockerError::Unsupported { .. })));
        let text = "FROM a\n# syntax=me/mine\n";
        assert_eq!(prepared(text, Builder::Classic).unwrap(), (text.to_owned(), None));
        let text = "# a remark\n# syntax=me/mine\n";
        assert_eq!(prepared(text, Builder::BuildKit).unwrap(), (text.to_owned(), None));
    }

    #[test]
    fn the_classic_builder_has_no_secrets() {
        let secrets = vec![("a".to_owned(), crate::model::Secret::new("b"))];
        let request = BuildRequest { secrets, ..Default::default() };
        assert!(matches!(prepare(&request, Builder::Classic), Err(DockerError::Unsupported { .. })));
        assert!(prepare(&request, Builder::BuildKit).is_ok());
    }
}
