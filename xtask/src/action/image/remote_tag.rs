//! The check `remote_tag` of `uptodate`. Knows nothing of pushing.

use std::sync::Arc;

use super::services::Services;
use super::text;
use crate::action::{Call, Check, Failure, Seen};
use crate::model::{Diagnostic, ImageRef, Reason};

/// `uptodate: [{remote_tag: ref}]`: the registry's tag has the digest of the last success.
pub(super) struct RemoteTagCheck(pub(super) Arc<Services>);

impl Check for RemoteTagCheck {
    fn name(&self) -> &'static str {
        "remote_tag"
    }

    fn look(&self, call: &Call<'_>) -> Result<Seen, Failure> {
        let reference = call.args.as_str().map_or_else(|| text("remote_tag", call.args, "remote_tag"), Ok)?;
        let image = ImageRef::parse(reference)
            .ok_or_else(|| Failure::error(Diagnostic::error(format!("`{reference}` is no image reference"))))?;
        let repository = self.0.registries().open(&image).map_err(|error| Failure::error(error.to_diagnostic()))?;
        let tag = image.tag.as_deref().unwrap_or("latest");
        let digest = repository.digest(tag).map_err(|error| Failure::error(error.to_diagnostic()))?;
        let reason = digest.is_none().then(|| Reason::RemoteDiffers {
            reference: reference.to_owned(),
            old: "absent".into(),
            new: "any".into(),
        });
        Ok(Seen {
            satisfied: None,
            value: Some(digest.map_or_else(|| "absent".into(), |digest| digest.to_string())),
            reason,
        })
    }
}
