//! Commands in namespaces of their own: small disks, read-only places, another user. This machine is left as it is.

use std::path::Path;
use std::process::Command;

/// Runs a shell script, then the words of `command`, in new mount and user namespaces.
pub fn command(before: &str, command: &Command) -> Command {
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    inside.arg(format!("{{ {before}; }} && exec \"$0\" \"$@\"")).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        inside.current_dir(dir);
    }
    inside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside
}

/// A script that puts an empty file system of so many KiB at a path.
pub fn small_disk(path: &Path, kib: usize) -> String {
    format!("mount -t tmpfs -o size={kib}k none '{}'", path.display())
}

/// A script that makes what is below a path read-only.
pub fn read_only(path: &Path) -> String {
    let path = path.display();
    format!("mount --bind '{path}' '{path}' && mount -o remount,bind,ro '{path}'")
}

/// The same command as a user to whom nothing belongs. Only root can become another one; anybody else is that already.
pub fn as_nobody(command: &Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        return copy(command);
    }
    let mut other = Command::new("setpriv");
    other
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        other.current_dir(dir);
    }
    other.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other
}

fn copy(command: &Command) -> Command {
    let mut other = Command::new(command.get_program());
    other.args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        other.current_dir(dir);
    }
    other.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other
}
