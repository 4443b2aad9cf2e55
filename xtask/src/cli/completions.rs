//! `completions`: the script that teaches a shell to ask this program what may come next. Knows no task.

use super::args::CompletionsArgs;
use crate::model::{Diagnostic, Diagnostics};
use crate::world::World;
use clap_complete::Shell;

const BASH: &str = include_str!("shells/bash.sh");
const ZSH: &str = include_str!("shells/zsh.sh");
const FISH: &str = include_str!("shells/fish.fish");
const POWERSHELL: &str = include_str!("shells/powershell.ps1");
const ELVISH: &str = include_str!("shells/elvish.elv");

pub(super) fn completions(args: &CompletionsArgs, world: &World) -> Result<u8, Diagnostics> {
    let script = match args.shell {
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        Shell::PowerShell => POWERSHELL,
        Shell::Elvish => ELVISH,
        _ => BASH,
    };
    let program = std::env::current_exe()
        .map_err(|error| Diagnostic::error("the path of this program is not known").cause(error))?;
    let program = quoted(&program.to_string_lossy(), args.shell);
    world.out.line(script.replace("'@XTASK@'", &program).trim_end());
    Ok(0)
}

/// A word in the quotes of that shell.
fn quoted(text: &str, shell: Shell) -> String {
    let inner = match shell {
        Shell::PowerShell | Shell::Elvish => text.replace('\'', "''"),
        Shell::Fish => text.replace('\\', "\\\\").replace('\'', "\\'"),
        _ => text.replace('\'', "'\\''"),
    };
    format!("'{inner}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_in_every_shell() {
        assert_eq!(quoted("a b'c", Shell::Bash), r"'a b'\''c'");
        assert_eq!(quoted("a'b", Shell::Fish), r"'a\'b'");
        assert_eq!(quoted("a'b", Shell::PowerShell), "'a''b'");
        for script in [BASH, ZSH, FISH, POWERSHELL, ELVISH] {
            assert_eq!(script.matches("'@XTASK@'").count(), 1);
        }
    }
}
