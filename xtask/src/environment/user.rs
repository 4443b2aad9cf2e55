//! The caller as a user of the container: an entry in its list of users, and a home that can be written. Knows no
//! engine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::model::Digest;

/// Who runs a script, as the container sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub home: String,
    /// The list of users with the caller in it; `None` where it already was.
    pub passwd: Option<String>,
}

/// Where the home is made unless the image has one for this user.
pub const HOME: &str = "/xtask/home";

/// Finds the user in the image's `/etc/passwd`, or adds it.
pub fn user(passwd: &str, uid: u32, gid: u32) -> User {
    let entry = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() == 7 && fields[2].parse() == Ok(uid)).then(|| fields[5].to_owned())
    });
    match entry {
        // Of the others it is not known whether they exist.
        Some(home) if home.starts_with("/home/") || home == "/root" => User { home, passwd: None },
        Some(_) => User { home: HOME.to_owned(), passwd: None },
        None => {
            let mut text = passwd.to_owned();
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            let name = (0..).map(|n| if n == 0 { "caller".to_owned() } else { format!("caller{n}") });
            let taken = |name: &String| passwd.lines().any(|line| line.split(':').next() == Some(name));
            let name = name.into_iter().find(|name| !taken(name)).unwrap_or_default();
            text.push_str(&format!("{name}:x:{uid}:{gid}:caller of cargo xtask:{HOME}:/bin/sh\n"));
            User { home: HOME.to_owned(), passwd: Some(text) }
        }
    }
}

/// A file with this list of users, the same for all containers that have it mounted.
pub fn keep_passwd(dir: &Path, text: &str) -> io::Result<PathBuf> {
    let path = dir.join(format!("{}.passwd", Digest::of(text.as_bytes()).hex()));
    if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(path);
    }
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
    file.persist(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_known_is_added_under_a_name_that_is_free() {
        let found = user("root:x:0:0::/root:/bin/sh\ncaller:x:5:5::/:/bin/sh", 4242, 100);
        assert_eq!(found.home, "/xtask/home");
        let text = found.passwd.unwrap();
        assert!(
            text.ends_with("caller:x:5:5::/:/bin/sh\ncaller1:x:4242:100:caller of cargo xtask:/xtask/home:/bin/sh\n")
        );
        assert!(user("", 0, 0).passwd.unwrap().starts_with("caller:x:0:0:"));
    }

    #[test]
    fn who_is_known_keeps_a_home_that_is_a_real_one() {
        let text = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/bash\nd:x:7:7::/nonexistent:/bin/false\n";
        assert_eq!(user(text, 1000, 1000), User { home: "/home/me".into(), passwd: None });
        assert_eq!(user(text, 7, 7), User { home: HOME.into(), passwd: None });
    }
}
