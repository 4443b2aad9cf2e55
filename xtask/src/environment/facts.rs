//! What an image says of itself and will always say, since its id is its content: asked once, and kept in the cache
//! folder. Knows nothing of what is done with it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::transfer;
use crate::docker::{ContainerSpec, Docker, DockerError};
use crate::model::{Diagnostic, StopToken};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Its `/etc/passwd`.
    pub passwd: String,
    /// Its containers say by a command whether they are ready.
    pub has_health_check: bool,
}

impl Facts {
    /// What is known of this image, if it was asked before.
    pub fn known(dir: &Path, image: &str) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(file_name(image))).ok()?).ok()
    }

    /// Asks the engine. The list of users is in no answer: it is read from a container that was made for that and is
    /// never started.
    pub fn ask(docker: &Docker, image: &str, container: &str, stop: &StopToken) -> Result<Self, Diagnostic> {
        let mut archive = Vec::new();
        let passwd = match docker.download(container, "/etc/passwd", &mut archive, stop) {
            Ok(_) => transfer::only_file(&archive).map_err(|error| {
                Diagnostic::error(format!("`/etc/passwd` of `{image}` cannot be read")).cause(error)
            })?,
            Err(DockerError::NotFound { .. }) => "root:x:0:0:root:/root:/bin/sh\n".to_owned(),
            Err(error) => return Err(error.into()),
        };
        let has_health_check = docker.image(image).map_err(Diagnostic::from)?.has_health_check;
        Ok(Self { passwd, has_health_check })
    }

    /// Only a cache: what cannot be written is asked for again.
    pub fn keep(&self, dir: &Path, image: &str) {
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer(&mut file, self)?;
            file.persist(dir.join(file_name(image)))?;
            Ok(())
        };
        let _ = write();
    }
}

fn file_name(image: &str) -> &str {
    image.trim_start_matches("sha256:")
}

/// A container of the image to look into.
pub(super) fn to_look_into(image: &str) -> ContainerSpec {
    ContainerSpec { image: image.to_owned(), command: vec!["sh".into()], ..ContainerSpec::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_what_is_cut_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let facts = Facts { passwd: "root:x:0:0::/root:/bin/sh\n".into(), has_health_check: true };
        assert_eq!(Facts::known(dir.path(), "sha256:aa"), None);
        facts.keep(dir.path(), "sha256:aa");
        assert_eq!(Facts::known(dir.path(), "sha256:aa"), Some(facts));
        // As an earlier version of the program wrote it.
        std::fs::write(dir.path().join("bb"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        assert_eq!(Facts::known(dir.path(), "sha256:bb"), None);
    }
}
