//! Where a login comes from: a function that somebody else provides, or the plain entries of a `config.json`.
//!
//! Knows nothing of credential helpers (another room asks those) and nothing of tokens.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;

use crate::model::Secret;

/// User and password (or the user `<token>` and an identity token) for a host; `None` where nobody is logged in.
type Lookup = dyn Fn(&str) -> Result<Option<(String, Secret)>, String> + Send + Sync;

/// Asked at most once per registry and client.
#[derive(Clone)]
pub struct CredentialsSource(Arc<Lookup>);

impl CredentialsSource {
    /// The function gets the registry's host as people write it (`docker.io` for the default one). Its error text
    /// must hold no secret.
    pub fn new(lookup: impl Fn(&str) -> Result<Option<(String, Secret)>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// Nobody is logged in anywhere.
    pub fn none() -> Self {
        Self::new(|_| Ok(None))
    }

    /// The same login for every host: for tests and for a registry of one's own.
    pub fn fixed(user: &str, password: Secret) -> Self {
        let user = user.to_owned();
        Self::new(move |_| Ok(Some((user.clone(), password.clone()))))
    }

    /// The login for a host.
    pub fn look_up(&self, host: &str) -> Result<Option<(String, Secret)>, String> {
        (self.0)(host)
    }
}

impl std::fmt::Debug for CredentialsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialsSource(..)")
    }
}

/// Reads the `auths` of a Docker `config.json` at each look-up. A missing file means that nobody is logged in.
pub fn from_config_json(path: &Path) -> CredentialsSource {
    let path = path.to_owned();
    CredentialsSource::new(move |host| {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("`{}` cannot be read: {error}", path.display())),
        };
        let config: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|error| format!("`{}` is not JSON: line {}", path.display(), error.line()))?;
        entry(&config, host).map_err(|detail| format!("`{}` {detail}", path.display()))
    })
}

fn entry(config: &serde_json::Value, host: &str) -> Result<Option<(String, Secret)>, String> {
    let Some(auths) = config.get("auths").and_then(|auths| auths.as_object()) else { return Ok(None) };
    let Some(auth) = auths.iter().find(|(key, _)| same_host(key, host)).map(|(_, auth)| auth) else {
        return Ok(None);
    };
    let text = |name: &str| auth.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(("<token>".to_owned(), Secret::new(token))));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some((user.to_owned(), Secret::new(password))));
    }
    let Some(packed) = text("auth") else { return Ok(None) };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed.trim())
        .map_err(|_| format!("has an entry for `{host}` that is not base64"))?;
    let colon = bytes.iter().position(|byte| *byte == b':');
    let Some(colon) = colon else { return Err(format!("has an entry for `{host}` without user and password")) };
    let user = String::from_utf8(bytes[..colon].to_vec())
        .map_err(|_| format!("has an entry for `{host}` whose user is not UTF-8"))?;
    // Old clients padded the password with zero bytes.
    let password = bytes[colon + 1..].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some((user, Secret::new(password))))
}

fn same_host(key: &str, host: &str) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let key_host = key.split('/').next().unwrap_or(key);
    key_host == host || (host == "docker.io" && ["index.docker.io", "registry-1.docker.io"].contains(&key_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_every_age_are_read() {
        let packed = base64::engine::general_purpose::STANDARD.encode("ann:p:w\0");
        let config = serde_json::json!({"auths": {
            "hub.example.org": {"auth": packed},
            "https://index.docker.io/v1/": {"username": "bob", "password": "x"},
            "token.example.org": {"identitytoken": "t"},
            "empty.example.org": {},
            "broken.example.org": {"auth": "%%%"},
        }});
        let found = |host: &str| {
            entry(&config, host)
                .map(|login| login.map(|(user, secret)| (user, String::from_utf8_lossy(secret.expose()).into_owned())))
        };
        let pair = |user: &str, password: &str| Ok(Some((user.to_owned(), password.to_owned())));
        assert_eq!(found("hub.example.org"), pair("ann", "p:w"));
        assert_eq!(found("docker.io"), pair("bob", "x"));
        assert_eq!(found("token.example.org"), pair("<token>", "t"));
        assert_eq!(found("empty.example.org"), Ok(None));
        assert_eq!(found("nowhere.example.org"), Ok(None));
        assert!(found("broken.example.org").unwrap_err().contains("not base64"));
    }

    #[test]
    fn a_missing_file_is_nobody_and_a_broken_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert_eq!(from_config_json(&path).look_up("a.b").unwrap(), None);
        std::fs::write(&path, "{\"auths\": s3cret").unwrap();
        let message = from_config_json(&path).look_up("a.b").unwrap_err();
        assert!(message.contains("is not JSON") && !message.contains("s3cret"), "{message}");
    }
}
