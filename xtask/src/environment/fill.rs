//! How what every container begins with comes into it: the folders of the runs, and the caller in the list of users.
//! Copying into a container that does not run costs the engine a mount of its file system, so that a run that has one
//! for itself does without where it can. Knows no engine.

use std::path::{Path, PathBuf};

use super::options::{Options, Security};
use super::{script, transfer, user};
use crate::docker::ContainerSpec;
use crate::docker::containers::Bind;

const PASSWD: &str = "/etc/passwd";

/// The way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// The script's wrapper makes the folders, as root, whom the image knows.
    Nothing,
    /// A folder of this machine, and a list of users, are mounted.
    Mount,
    /// An archive is unpacked in it.
    Archive,
}

/// What the way hangs on.
pub(super) struct Case<'a> {
    pub options: &'a Options,
    /// The image has to be told who the caller is.
    pub is_stranger: bool,
    /// The container is for one run alone, whose wrapper makes folders.
    pub is_alone: bool,
    /// Whether the engine can mount folders of this machine, as far as is known.
    pub may_mount: bool,
}

impl Case<'_> {
    pub fn fill(&self) -> Fill {
        let Some(owner) = self.options.user.filter(|_| self.is_alone) else { return Fill::Archive };
        if owner.0 == 0 && !self.is_stranger {
            return Fill::Nothing;
        }
        // What a run leaves in the folder must be the caller's to remove, and nobody may become somebody else in it.
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let is_ours = own.0 == 0 || own == owner;
        // Two mounts at one place are refused.
        let is_free = !self.options.mounts.iter().any(|mount| mount.target == PASSWD);
        let is_safe = self.options.security == Security::Default;
        if self.may_mount && is_ours && is_free && is_safe { Fill::Mount } else { Fill::Archive }
    }
}

/// Mounts the folder, and the list of users if there is one.
pub(super) fn mount(
    spec: &mut ContainerSpec,
    folder: PathBuf,
    passwd: Option<&str>,
    users: &Path,
) -> std::io::Result<()> {
    spec.folders.push(Bind { source: folder, target: script::HOME_DIR.into(), read_only: false });
    if let Some(text) = passwd {
        let source = user::keep_passwd(users, text)?;
        spec.folders.push(Bind { source, target: PASSWD.into(), read_only: true });
    }
    Ok(())
}

/// The archive, and where it is unpacked.
pub(super) fn archive(
    owner: Option<(u32, u32)>,
    passwd: Option<&str>,
    strict: bool,
) -> std::io::Result<(&'static str, Vec<u8>)> {
    let mut archive = tar::Builder::new(Vec::new());
    let top = if strict { "." } else { "xtask" };
    let (user, mode) = owner.map_or(((0, 0), 0o1777), |owner| (owner, 0o755));
    transfer::add_folder(&mut archive, top, 0o1777, (0, 0))?;
    transfer::add_folder(&mut archive, &format!("{top}/runs"), mode, user)?;
    transfer::add_folder(&mut archive, &format!("{top}/home"), mode, user)?;
    if let Some(text) = passwd.filter(|_| !strict) {
        transfer::add_file(&mut archive, "etc/passwd", text.as_bytes(), (0, 0))?;
    }
    let folder = if strict { script::HOME_DIR } else { "/" };
    Ok((folder, archive.into_inner()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_hangs_on_the_user_the_engine_and_the_preset() {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let fill = |user, security, is_stranger, is_alone, may_mount| {
            let options = Options { user, security, ..Options::default() };
            Case { options: &options, is_stranger, is_alone, may_mount }.fill()
        };
        assert_eq!(fill(Some((0, 0)), Security::Default, false, true, true), Fill::Nothing);
        assert_eq!(fill(Some((0, 0)), Security::Strict, false, true, false), Fill::Nothing);
        assert_eq!(fill(Some((0, 0)), Security::Default, false, false, true), Fill::Archive, "it is kept");
        assert_eq!(fill(Some(own), Security::Default, true, true, true), Fill::Mount);
        assert_eq!(fill(Some(own), Security::Default, true, true, false), Fill::Archive, "on another machine");
        assert_eq!(fill(Some(own), Security::Permissive, true, true, true), Fill::Archive, "who may become root");
        let mounts = vec![Bind { source: "/users".into(), target: PASSWD.into(), read_only: true }];
        let options = Options { user: Some(own), mounts, ..Options::default() };
        let case = Case { options: &options, is_stranger: true, is_alone: true, may_mount: true };
        assert_eq!(case.fill(), Fill::Archive, "the caller has a list of users of his own");
        assert_eq!(fill(None, Security::Default, false, true, true), Fill::Archive, "whoever the image's user is");
    }
}
