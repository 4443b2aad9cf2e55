//! Credentials for registries, from the docker command line's `config.json` and its helpers. Knows nothing of what
//! they are used for.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::endpoint::config_folder;
use crate::model::{Diagnostic, Secret};

/// How long a helper may take.
const HELPER: Duration = Duration::from_secs(30);

/// No answer of a helper is longer, in bytes.
const ANSWER: u64 = 1 << 20;

/// The user name under which helpers hand out an identity token.
const TOKEN_USER: &str = "<token>";

/// Who somebody is to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Password {
        user: String,
        password: Secret,
    },
    /// An OAuth refresh token, as some helpers keep it.
    IdentityToken(Secret),
}

impl Credentials {
    /// From a pair in which the user `<token>` stands for an identity token.
    pub fn from_pair(user: String, secret: Secret) -> Self {
        if user == TOKEN_USER { Self::IdentityToken(secret) } else { Self::Password { user, password: secret } }
    }

    /// The same pair again.
    pub fn into_pair(self) -> (String, Secret) {
        match self {
            Self::Password { user, password } => (user, password),
            Self::IdentityToken(token) => (TOKEN_USER.to_owned(), token),
        }
    }
}

/// Why credentials could not be looked up. That there are none is no error. No message holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("`{}` cannot be used: {message}", path.display())]
    Config { path: PathBuf, message: String },
    #[error("`{program}` cannot be started: {message}")]
    Helper { program: String, message: String },
    #[error("`{program}` gave no credentials for {host}: {message}")]
    Refused { program: String, host: String, message: String },
    #[error("`{program}` did not answer within {} s", limit.as_secs())]
    Silent { program: String, limit: Duration },
}

impl From<AuthError> for Diagnostic {
    fn from(error: AuthError) -> Self {
        let start = Self::error(error.to_string());
        match error {
            AuthError::Config { .. } => start,
            AuthError::Helper { program, .. } => {
                start.help(format!("install `{program}`, or remove it from credsStore and credHelpers of config.json"))
            }
            AuthError::Refused { host, .. } => start.help(format!("docker login {host}")),
            AuthError::Silent { program, .. } => start.help(format!("echo HOST | {program} get")),
        }
    }
}

type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The credentials for a registry's host (`docker.io` for the default one): asks the helper that `config.json` names
/// for it, else looks at its plain entries. `None` if nobody is logged in. `home` is the person's home folder.
pub fn lookup(host: &str, env: Env<'_>, home: Option<&Path>) -> Result<Option<Credentials>, AuthError> {
    let Some(path) = config_folder(env, home).map(|folder| folder.join("config.json")) else { return Ok(None) };
    let host = if is_hub(host) { "docker.io" } else { host };
    if let Some((helper, key)) = helper(&path, host)?
        && let Some(found) = ask(&helper, &key, env("PATH").as_deref(), HELPER)?
    {
        return Ok(Some(found));
    }
    let entry = crate::registry::from_config_json(&path).look_up(host);
    let entry = entry.map_err(|message| AuthError::Config { path, message })?;
    Ok(entry.map(|(user, secret)| Credentials::from_pair(user, secret)))
}

/// The default registry has many names.
fn is_hub(host: &str) -> bool {
    let host = host.trim_start_matches("https://").split('/').next().unwrap_or(host);
    matches!(host, "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com")
}

/// The name of the helper for this host, and the key that it knows the host by.
fn helper(path: &Path, host: &str) -> Result<Option<(String, String)>, AuthError> {
    let broken = |message: String| AuthError::Config { path: path.to_owned(), message };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(error.to_string())),
    };
    let config: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| broken(format!("it is not JSON (line {})", error.line())))?;
    let keys = if host == "docker.io" { vec!["https://index.docker.io/v1/", "docker.io"] } else { vec![host] };
    let own = keys.iter().find_map(|key| Some((config["credHelpers"][*key].as_str()?, *key)));
    let chosen = own.or_else(|| config["credsStore"].as_str().map(|name| (name, keys[0])));
    match chosen {
        Some(("", _)) => Ok(None),
        Some((name, _)) if name.contains('/') => Err(broken(format!("`{name}` is no name of a helper"))),
        Some((name, key)) => Ok(Some((name.to_owned(), key.to_owned()))),
        None => Ok(None),
    }
}

/// Speaks the protocol of the helpers: the key in, JSON out; ended with its children when its time is over.
fn ask(name: &str, key: &str, path: Option<&OsStr>, limit: Duration) -> Result<Option<Credentials>, AuthError> {
    let program = format!("docker-credential-{name}");
    let failed = |error: std::io::Error| AuthError::Helper { program: program.clone(), message: error.to_string() };
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let start = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input will say what it misses.
        let _ = stdin.write_all(key.as_bytes());
    }
    let (sender, answer) = mpsc::channel();
    let stdout = child.stdout.take();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(ANSWER + 1).read_to_end(&mut text));
        // The receiver goes when the time is over.
        let _ = sender.send(read.map(|_| text));
    });
    let Ok(text) = answer.recv_timeout(limit) else {
        end(&mut child);
        return Err(AuthError::Silent { program, limit });
    };
    let text = text.map_err(failed)?;
    let refused = |message: &str| AuthError::Refused {
        program: program.clone(),
        host: key.to_owned(),
        message: message.to_owned(),
    };
    if text.len() as u64 > ANSWER {
        end(&mut child);
        return Err(refused("its answer is longer than 1 MiB"));
    }
    // It may close its output and stay.
    let Some(status) = wait_until(&mut child, start + limit).map_err(failed)? else {
        end(&mut child);
        return Err(AuthError::Silent { program, limit });
    };
    if status.success() {
        return read(&text).map_err(|NoAnswer| refused("its answer is not what helpers answer"));
    }
    let message = String::from_utf8_lossy(&text);
    let message = message.lines().next().unwrap_or_default().trim();
    if message.contains("credentials not found") {
        return Ok(None);
    }
    // A helper that fails tells why in words; an answer with a secret in it is not passed on.
    Err(refused(if message.contains('{') { "it failed" } else { message }))
}

fn wait_until(child: &mut Child, end: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() > end {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn end(child: &mut Child) {
    if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        // It may have ended by itself in this moment.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// What a helper wrote is none of what helpers write; the text itself may hold a secret.
struct NoAnswer;

/// `None` if the answer says that nobody is logged in.
fn read(text: &[u8]) -> Result<Option<Credentials>, NoAnswer> {
    let answer: serde_json::Value = serde_json::from_slice(text).map_err(|_| NoAnswer)?;
    let (Some(user), Some(secret)) = (answer["Username"].as_str(), answer["Secret"].as_str()) else {
        return Err(NoAnswer);
    };
    let known = !(user.is_empty() && secret.is_empty());
    Ok(known.then(|| Credentials::from_pair(user.to_owned(), Secret::new(secret))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A home with this configuration and these helpers.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new(config: &serde_json::Value) -> Self {
            let home = tempfile::tempdir().unwrap();
            std::fs::create_dir(home.path().join(".docker")).unwrap();
            std::fs::write(home.path().join(".docker/config.json"), config.to_string()).unwrap();
            Self(home)
        }

        fn helper(self, name: &str, script: &str) -> Self {
            let path = self.0.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
            self
        }

        fn lookup(&self, host: &str) -> Result<Option<(String, String)>, AuthError> {
            let path = format!("{}:/usr/bin:/bin", self.0.path().display());
            let env = |name: &str| (name == "PATH").then(|| path.clone().into());
            let found = lookup(host, &env, Some(self.0.path()))?;
            Ok(found.map(Credentials::into_pair).map(|(u, s)| (u, String::from_utf8(s.expose().to_vec()).unwrap())))
        }
    }

    const ECHO: &str =
        r#"read host; echo "{\"ServerURL\": \"$host\", \"Username\": \"me at $host\", \"Secret\": \"s\"}""#;

    #[test]
    fn helpers_come_before_plain_entries() {
        let config = serde_json::json!({
            "credsStore": "none",
            "credHelpers": {"one.example": "echo", "https://index.docker.io/v1/": "echo"},
            "auths": {"two.example": {"username": "plain", "password": "p"}},
        });
        let home = Home::new(&config)
            .helper("echo", ECHO)
            .helper("none", "echo credentials not found in native keychain; exit 1");
        let pair = |user: &str, secret: &str| Ok(Some((user.to_owned(), secret.to_owned())));
        assert_eq!(home.lookup("one.example"), pair("me at one.example", "s"));
        assert_eq!(home.lookup("registry-1.docker.io"), pair("me at https://index.docker.io/v1/", "s"));
        assert_eq!(home.lookup("two.example"), pair("plain", "p"));
        assert_eq!(home.lookup("three.example"), Ok(None));
    }

    #[test]
    fn tokens_and_failures_are_told_apart() {
        let config =
            serde_json::json!({"credHelpers": {"t": "token", "f": "fail", "g": "gone", "j": "junk", "p": "../x"}});
        let home = Home::new(&config)
            .helper("token", r#"echo '{"Username": "<token>", "Secret": "abc"}'"#)
            .helper("fail", "echo locked; exit 1")
            .helper("junk", "echo s3cret");
        let env = |name: &str| (name == "PATH").then(|| home.0.path().as_os_str().to_owned());
        let found = lookup(
            "t",
            &|name| if name == "PATH" { Some(format!("{}:/bin", home.0.path().display()).into()) } else { None },
            Some(home.0.path()),
        );
        assert_eq!(found, Ok(Some(Credentials::IdentityToken(Secret::new("abc")))));
        assert!(matches!(home.lookup("f"), Err(AuthError::Refused { message, .. }) if message == "locked"));
        assert!(matches!(lookup("g", &env, Some(home.0.path())), Err(AuthError::Helper { .. })));
        assert!(matches!(home.lookup("p"), Err(AuthError::Config { .. })));
        let error = home.lookup("j").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        let home = Home::new(&serde_json::json!({})).helper("slow", "sleep 60 & sleep 60");
        let path = format!("{}:/usr/bin:/bin", home.0.path().display());
        let start = Instant::now();
        let found = ask("slow", "h", Some(OsStr::new(&path)), Duration::from_millis(200));
        assert!(matches!(found, Err(AuthError::Silent { .. })));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn k14_helpers_that_flood_or_stay_or_spill_are_ended_without_a_word_of_what_they_said() {
        let home = Home::new(&serde_json::json!({}))
            .helper("flood", "while :; do echo s3cret-s3cret-s3cret-s3cret; done")
            .helper("stay", "exec 1>&-; sleep 60")
            .helper("spill", r#"echo '{"Username": "u", "Secret": "s3cret"}'; exit 1"#);
        let path = format!("{}:/usr/bin:/bin", home.0.path().display());
        let start = Instant::now();
        let mut errors = Vec::new();
        for name in ["flood", "stay", "spill"] {
            let limit = Duration::from_secs(if name == "stay" { 1 } else { 30 });
            errors.push(ask(name, "h", Some(OsStr::new(&path)), limit).unwrap_err());
        }
        assert!(matches!(&errors[0], AuthError::Refused { message, .. } if message.contains("1 MiB")), "{errors:?}");
        assert!(matches!(&errors[1], AuthError::Silent { .. }), "{errors:?}");
        assert!(matches!(&errors[2], AuthError::Refused { message, .. } if message == "it failed"), "{errors:?}");
        assert!(!format!("{errors:?}").contains("s3cret"));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn no_configuration_is_nobody() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(lookup("h", &|_| None, Some(home.path())), Ok(None));
        assert_eq!(lookup("h", &|_| None, None), Ok(None));
    }
}
