//! The action `render`: a template (or a plain Dockerfile) to `.xtask/render/<image>/Dockerfile`.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::services::Services;
use super::{identity, image_of};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed};
use crate::graph::Links;
use crate::model::{Diagnostic, Digest, RepoPath, Stream};
use crate::rebuild::{Part, PartKey, PartValue};

pub(super) struct Render(pub(super) Arc<Services>);

impl ActionType for Render {
    fn name(&self) -> &'static str {
        "render"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image"], optional: &[], short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, _) = self.0.stack().map_err(super::services::whole)?;
        let image = image_of(&stack, "render", args)?;
        let mut inputs = vec![identity::source_path(&self.0.root, image)];
        inputs.extend(RepoPath::from_root(&*stack.file));
        // Macros: templates beside the images and beside the template itself.
        inputs.extend(self.0.common_templates(|| templates(&self.0.root, &stack.dir)));
        inputs.extend(templates(&self.0.root, &image.dir));
        let sources = self.0.sources(image);
        inputs.extend(sources.read);
        inputs.sort();
        inputs.dedup();
        Ok(Links {
            provides: vec![format!("rendered:{}", image.key).into()],
            inputs,
            targets: vec![identity::rendered_path(image)],
            // Another version of this program may have other macros.
            observes: sources.shipped,
            ..Links::default()
        })
    }

    fn observe(&self, _: &Call<'_>) -> Result<Observed, Failure> {
        let key = PartKey::Check("macros of this program".into());
        let value = PartValue::Digest(Digest::of(crate::render::template::shipped_macros().as_bytes()));
        Ok(Observed { parts: vec![Part { key, value }], ..Observed::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, _) = self.0.stack().map_err(super::services::whole)?;
        let image = image_of(&stack, "render", call.args)?;
        let (_, text) = identity::render(&self.0, &stack, image).map_err(super::services::whole)?;
        let path = identity::rendered_path(image);
        let full = call.root.join(path.as_path());
        let remark = match std::fs::read_to_string(&full) {
            Ok(old) if old == text => Some("same Dockerfile as before".to_owned()),
            _ => {
                write(&full, &text)
                    .map_err(|error| Diagnostic::error(format!("failed to write file `{path}`")).cause(error))?;
                None
            }
        };
        call.out.line(Stream::Stdout, format!("rendered {path}").as_bytes());
        let result = Some(Digest::of(text.as_bytes()));
        Ok(Done { result, remark, ..Done::default() })
    }
}

/// The templates in a folder.
fn templates(root: &Path, dir: &RepoPath) -> Vec<RepoPath> {
    let names = std::fs::read_dir(root.join(dir.as_path())).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name());
    let templates = names.filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "j2"));
    templates.filter_map(|name| RepoPath::new(dir, name.as_encoded_bytes())).collect()
}

/// Under another name first, so that nobody reads half of it.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
