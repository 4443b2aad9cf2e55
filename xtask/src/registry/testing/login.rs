//! How the fake registry wants to be convinced. Knows nothing of its content.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;

use super::http::{Head, Reply, pairs};

/// Who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// Everyone.
    #[default]
    Open,
    /// This user and password, with every request.
    Basic(String, String),
    /// A token per repository and action, for this user and password, good for so long. Anyone gets tokens to pull.
    Token { user: String, password: String, lifetime: Duration },
}

/// A token's scopes and its end.
pub type Tokens = HashMap<String, (Vec<String>, Duration)>;

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

impl Login {
    /// `None` if the request may pass, else the challenge. `action` is `pull`, `push` or `delete`.
    pub fn check(
        &self,
        head: &Head,
        repository: &str,
        action: &str,
        host: &str,
        tokens: &Tokens,
        now: Duration,
    ) -> Option<Reply> {
        let sent = head.header("authorization").unwrap_or_default();
        let (passes, challenge) = match self {
            Self::Open => return None,
            Self::Basic(user, password) => (sent == basic(user, password), "Basic realm=\"fake\"".to_owned()),
            Self::Token { .. } => {
                let token = sent.strip_prefix("Bearer ").and_then(|token| tokens.get(token));
                let fits = |scope: &String| {
                    let mut parts = scope.splitn(3, ':').skip(1);
                    parts.next() == Some(repository)
                        && parts.next().is_some_and(|all| all.split(',').any(|one| one == action))
                };
                let passes = token
                    .is_some_and(|(scopes, until)| now < *until && (repository.is_empty() || scopes.iter().any(fits)));
                let realm = format!("Bearer realm=\"http://{host}/token\",service=\"fake\"");
                (passes, format!("{realm},scope=\"repository:{repository}:{action}\""))
            }
        };
        (!passes)
            .then(|| Reply::error(401, "UNAUTHORIZED", "authentication required").header("www-authenticate", challenge))
    }

    /// Answers the token endpoint.
    pub fn token(&self, head: &Head, form: &[u8], tokens: &mut Tokens, now: Duration) -> Reply {
        let Self::Token { user, password, lifetime } = self else { return Reply::new(404) };
        let form = pairs(&String::from_utf8_lossy(form));
        let identity = form.iter().any(|(key, value)| key == "refresh_token" && value == password);
        let known = identity || head.header("authorization") == Some(&basic(user, password));
        if !known && (head.header("authorization").is_some() || !form.is_empty()) {
            return Reply::error(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let scopes: Vec<String> = head
            .query
            .iter()
            .chain(&form)
            .filter(|(key, _)| key == "scope")
            .flat_map(|(_, value)| value.split(' '))
            .map(|scope| if known { scope.to_owned() } else { scope.replace(",push", "").replace(",delete", "") })
            .collect();
        let token = format!("token-{}-of-the-fake", tokens.len());
        tokens.insert(token.clone(), (scopes, now + *lifetime));
        let body = serde_json::json!({"token": token, "expires_in": lifetime.as_secs()});
        Reply::new(200).header("content-type", "application/json").body(body.to_string())
    }
}
