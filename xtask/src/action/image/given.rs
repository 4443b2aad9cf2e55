//! What a build is given beside its files: secrets, an ssh agent, logins for bases. Their values go to the builder alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::identity::Identity;
use super::services::Services;
use crate::action::{Call, Failure};
use crate::docker::auth;
use crate::docker::build::CredentialsFor;
use crate::model::{Diagnostic, Secret};
use crate::stack::{Image, SecretSource};

/// Secrets that RUN steps mount: from the action's `secrets`, and from the spec.
pub(super) fn secrets(
    services: &Services,
    call: &Call<'_>,
    image: &Image,
    identity: &Identity,
) -> Result<Vec<(String, Secret)>, Failure> {
    let mut found = Vec::new();
    for id in &identity.dockerfile.secrets {
        let source = &call.args["secrets"][id.as_str()];
        if source.is_null() {
            found.extend(secret_of_spec(services, call, image, id)?);
            continue;
        }
        let variable = |name: &str| variable(services, name);
        let file = source["env_file"].as_str().and_then(variable).map(PathBuf::from);
        let file = file.or_else(|| source["file"].as_str().map(|file| call.root.join(file)));
        let file = file.or_else(|| source["default"].as_str().map(PathBuf::from));
        let value = match (source["env"].as_str().and_then(variable), file) {
            (Some(value), _) => Some(Secret::new(value.into_vec())),
            (None, Some(file)) => std::fs::read(&file).ok().map(Secret::new),
            (None, None) => None,
        };
        match value {
            Some(value) => found.push((id.clone(), value)),
            None if source["optional"].as_bool().unwrap_or(false) => {}
            None => {
                return Err(Failure::error(
                    Diagnostic::error(format!("secret `{id}` of task `{}` has no value", call.task))
                        .help("set its variable or write its file, or mark it `optional: true`"),
                ));
            }
        }
    }
    Ok(found)
}

/// A secret that only the spec names: then it has to be there.
fn secret_of_spec(
    services: &Services,
    call: &Call<'_>,
    image: &Image,
    id: &str,
) -> Result<Option<(String, Secret)>, Failure> {
    let value = match image.secrets.get(id) {
        None => return Ok(None),
        Some(SecretSource::Env(name)) => variable(services, name).map(OsStringExt::into_vec),
        Some(SecretSource::File(file)) => std::fs::read(call.root.join(file)).ok(),
    };
    let missing = || Failure::error(Diagnostic::error(format!("secret `{id}` of image `{}` has no value", image.key)));
    Ok(Some((id.to_owned(), Secret::new(value.ok_or_else(missing)?))))
}

/// The socket of the ssh agent, where RUN steps mount one and the spec lets them have it.
pub(super) fn agent(services: &Services, image: &Image, identity: &Identity) -> Result<Option<PathBuf>, Failure> {
    let Some(id) = identity.dockerfile.ssh.first() else { return Ok(None) };
    if !image.ssh.contains(id) {
        return Err(Failure::error(
            Diagnostic::error(format!(
                "a RUN step of image `{}` wants the ssh agent `{id}`, which it is not given",
                image.key
            ))
            .at(image.place.clone())
            .help(format!("add `ssh: [{id}]` to image `{}`", image.key)),
        ));
    }
    match variable(services, "SSH_AUTH_SOCK") {
        Some(socket) => Ok(Some(PathBuf::from(socket))),
        None => Err(Failure::error(
            Diagnostic::error(format!("image `{}` needs an ssh agent, and `SSH_AUTH_SOCK` is not set", image.key))
                .help("eval \"$(ssh-agent)\" && ssh-add"),
        )),
    }
}

/// The logins of the docker command line, for what the builder fetches. One that cannot be looked up is none: then the
/// registry says what it wants.
pub(super) fn credentials(services: &Services) -> CredentialsFor {
    let source = services.credentials();
    Arc::new(move |host| {
        let (user, secret) = source.look_up(host).ok().flatten()?;
        Some(auth::Credentials::from_pair(user, secret))
    })
}

fn variable(services: &Services, name: &str) -> Option<OsString> {
    services.env.get(OsStr::new(name)).filter(|value| !value.is_empty()).cloned()
}
