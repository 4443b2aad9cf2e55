//! Proving who we are: challenges, basic logins and access tokens. Knows nothing of manifests and blobs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::credentials::CredentialsSource;
use super::scrub::Scrubber;

/// What may be done to one repository; a token is good for exactly one list of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    pub repository: String,
    /// `pull`, `pull,push` or `pull,push,delete`.
    pub actions: &'static str,
}

impl Scope {
    fn text(&self) -> String {
        format!("repository:{}:{}", self.repository, self.actions)
    }
}

/// How a registry wants to be convinced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header; the first scheme that we know wins.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Some(Self::Bearer { realm: get("realm")?, service: get("service") })
    }
}

/// `a="b, c",d=e` → pairs, keys in lower case.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim().trim_start_matches(',').trim().to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        pairs.push((key, value.trim().to_owned()));
        rest = after.trim_start();
    }
    pairs
}

/// What is asked of a token server.
#[derive(Debug)]
pub struct TokenRequest {
    pub url: String,
    /// A basic `Authorization` header.
    pub authorization: Option<String>,
    /// An identity token is posted as a form; everything else is a GET.
    pub form: Option<String>,
}

/// All that is known about the login at one registry.
pub struct Auth {
    host: String,
    source: CredentialsSource,
    login: OnceLock<Result<Option<Login>, String>>,
    challenge: Mutex<Option<Challenge>>,
    tokens: Mutex<HashMap<Vec<Scope>, Token>>,
}

#[derive(Clone)]
struct Login {
    user: String,
    password: String,
}

impl Login {
    fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }

    /// An identity token, for which the user name is only a marker.
    fn is_identity(&self) -> bool {
        self.user == "<token>"
    }
}

struct Token {
    text: String,
    until: Duration,
}

/// What to do before a request can be sent.
pub enum Step {
    /// Send it, with this header if there is one.
    Send(Option<String>),
    /// Fetch a token first.
    Fetch(TokenRequest),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values are replaced whole, so a panic elsewhere cannot leave them half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Auth {
    pub fn new(host: &str, source: CredentialsSource) -> Self {
        Self {
            host: host.to_owned(),
            source,
            login: OnceLock::new(),
            challenge: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    /// Looked up once, since a credential helper may take a second.
    fn login(&self, scrubber: &Scrubber) -> Result<Option<Login>, String> {
        let login = self.login.get_or_init(|| {
            let Some((user, secret)) = self.source.look_up(&self.host)? else { return Ok(None) };
            let Ok(password) = String::from_utf8(secret.expose().to_vec()) else {
                return Err("the password is not UTF-8".to_owned());
            };
            let login = Login { user, password };
            scrubber.hide(&login.password);
            scrubber.hide(&login.basic());
            scrubber.hide(login.basic().trim_start_matches("Basic "));
            Ok(Some(login))
        });
        login.clone()
    }

    /// Remembers how the registry wants to be convinced. `false` if we cannot: no known scheme.
    pub fn learn(&self, header: Option<&str>) -> bool {
        let challenge = header.and_then(Challenge::parse);
        let known = challenge.is_some();
        if known {
            *locked(&self.challenge) = challenge;
        }
        known
    }

    /// Whether anything can be said to a challenge: a token can be fetched by anyone, a basic login needs a user.
    pub fn can_answer(&self, scrubber: &Scrubber) -> Result<bool, String> {
        let bearer = matches!(*locked(&self.challenge), Some(Challenge::Bearer { .. }));
        Ok(bearer || self.login(scrubber)?.is_some())
    }

    /// Forgets a token that the registry does not take (any more).
    pub fn forget(&self, scopes: &[Scope]) {
        locked(&self.tokens).remove(scopes);
    }

    /// What to do before a request that needs these scopes.
    pub fn prepare(&self, scopes: &[Scope], now: Duration, scrubber: &Scrubber) -> Result<Step, String> {
        let challenge = locked(&self.challenge).clone();
        match challenge {
            None => Ok(Step::Send(None)),
            Some(Challenge::Basic) => Ok(Step::Send(self.login(scrubber)?.map(|login| login.basic()))),
            Some(Challenge::Bearer { realm, service }) => {
                let tokens = locked(&self.tokens);
                if let Some(token) = tokens.get(scopes).filter(|token| now < token.until) {
                    return Ok(Step::Send(Some(format!("Bearer {}", token.text))));
                }
                drop(tokens);
                let login = self.login(scrubber)?;
                Ok(Step::Fetch(token_request(&realm, service.as_deref(), scopes, login.as_ref())))
            }
        }
    }

    /// Keeps a token until shortly before it expires. The error says what is wrong with the answer.
    pub fn keep(&self, scopes: &[Scope], answer: &[u8], now: Duration, scrubber: &Scrubber) -> Result<(), String> {
        #[derive(serde::Deserialize)]
        struct TokenAnswer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        // The parser's message is not passed on: it may quote the token.
        let answer: TokenAnswer = serde_json::from_slice(answer).map_err(|_| "the token's JSON is not valid")?;
        let text = answer.token.or(answer.access_token).filter(|text| !text.is_empty()).ok_or("there is no token")?;
        scrubber.hide(&text);
        // A minute is what the protocol promises at least; a tenth of it is kept for the way.
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(60).max(1)).mul_f64(0.9);
        locked(&self.tokens).insert(scopes.to_vec(), Token { text, until: now + lifetime });
        Ok(())
    }
}

fn token_request(realm: &str, service: Option<&str>, scopes: &[Scope], login: Option<&Login>) -> TokenRequest {
    let mut query: Vec<(&str, String)> = Vec::new();
    query.extend(service.map(|service| ("service", service.to_owned())));
    if let Some(login) = login.filter(|login| login.is_identity()) {
        let scope: Vec<String> = scopes.iter().map(Scope::text).collect();
        query.extend([
            ("grant_type", "refresh_token".to_owned()),
            ("client_id", "xtask".to_owned()),
            ("scope", scope.join(" ")),
            ("refresh_token", login.password.clone()),
        ]);
        return TokenRequest { url: realm.to_owned(), authorization: None, form: Some(encode(&query)) };
    }
    query.extend(scopes.iter().map(|scope| ("scope", scope.text())));
    let joint = if realm.contains('?') { '&' } else { '?' };
    TokenRequest {
        url: format!("{realm}{joint}{}", encode(&query)),
        authorization: login.map(Login::basic),
        form: None,
    }
}

fn encode(pairs: &[(&str, String)]) -> String {
    let encoded: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={}", percent(value))).collect();
    encoded.join("&")
}

/// Percent-encodes all but what is harmless everywhere in a query.
pub fn percent(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            encoded.push(byte as char);
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn challenges_are_read_with_commas_in_values() {
        let header = r#"Bearer realm="https://auth.example.org/token",service="hub",scope="repository:a:pull,push""#;
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        assert_eq!(Challenge::parse(header), bearer("https://auth.example.org/token", Some("hub")));
        assert_eq!(Challenge::parse("bearer Realm=http://x"), bearer("http://x", None));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse("Bearer service=x"), None);
    }

    #[test]
    fn a_token_is_kept_per_scope_until_shortly_before_its_end() {
        let auth = Auth::new("h", CredentialsSource::fixed("ann", Secret::new("pw")));
        let scrubber = Scrubber::default();
        assert!(auth.learn(Some("Bearer realm=\"http://127.0.0.1/t\",service=s")));
        let scope = |actions| vec![Scope { repository: "lab/a".into(), actions }];
        let second = Duration::from_secs;
        let Ok(Step::Fetch(request)) = auth.prepare(&scope("pull"), second(0), &scrubber) else {
            panic!("no token yet")
        };
        assert_eq!(request.url, "http://127.0.0.1/t?service=s&scope=repository:lab/a:pull");
        assert_eq!(request.authorization.as_deref(), Some("Basic YW5uOnB3"));
        auth.keep(&scope("pull"), br#"{"access_token":"T","expires_in":100}"#, second(0), &scrubber).unwrap();
        let sends = |scopes: &[Scope], now| match auth.prepare(scopes, now, &scrubber) {
            Ok(Step::Send(header)) => header,
            _ => None,
        };
        assert_eq!(sends(&scope("pull"), second(89)).as_deref(), Some("Bearer T"));
        assert_eq!(sends(&scope("pull"), second(90)), None, "nine tenths of its life are over");
        assert_eq!(sends(&scope("pull,push"), second(1)), None, "another action, another token");
        assert_eq!(scrubber.clean("T pw YW5uOnB3"), "*** *** ***");
    }

    #[test]
    fn an_identity_token_is_posted_as_a_form() {
        let login = Login { user: "<token>".into(), password: "a b".into() };
        let scopes = [Scope { repository: "r".into(), actions: "pull" }];
        let request = token_request("https://a/t", Some("s"), &scopes, Some(&login));
        assert_eq!(request.url, "https://a/t");
        assert_eq!(request.authorization, None);
        assert_eq!(
            request.form.unwrap(),
            "service=s&grant_type=refresh_token&client_id=xtask&scope=repository:r:pull&refresh_token=a%20b"
        );
    }
}
