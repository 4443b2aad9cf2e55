//! The shell script that holds a private folder on a host while an image is built from it. Knows nothing of ssh.
//!
//! It lives as long as its input is open: the end of the input, a signal, or a broken pipe end the build and remove the
//! folder. What it does not survive, a guard beside it does; what neither survives (the host went down), the next build
//! there finds and removes.

/// Words: a mark that begins each line that is meant for us, the folder below which to work (empty: the home), and the
/// address of the engine (empty: what the docker command line uses there).
///
/// It says `none` where there is no docker command line; else `dir BUILDER FOLDER`, and then reads lines:
/// `secret NUMBER TEXT` (octal) writes a file, `go` sources the `run` in the folder `in`, which starts a build in the
/// background and leaves its number in `$build`. Then it says `image ID` and `end CODE`.
pub(super) const HOLD: &str = r#"
mark=$1 root=${2:-$HOME}
[ -z "$3" ] || export DOCKER_HOST="$3"
say() { printf '%s %s\n' "$mark" "$*"; }
command -v docker >/dev/null 2>&1 || { say none; exit 0; }
umask 077
base=$root/.xtask-builds-$(id -u) here=$(uname -n)
mkdir -p -- "$base" && chmod 700 -- "$base" && cd -- "$base" && base=$(pwd -P) || exit 1

is_left() {
    name= pid=
    read -r pid name 2>/dev/null < "$1/owner"
    [ -n "$pid" ] && [ "$name" = "$here" ] && { ! kill -0 "$pid" 2>/dev/null; return; }
    [ -n "$(find "$1" -prune -mmin +5 2>/dev/null)" ]
}
for old in ./b.*; do
    if [ -d "$old" ] && [ ! -L "$old" ] && is_left "$old"; then rm -rf -- "$old"; fi
done

dir=$(mktemp -d "$base/b.XXXXXXXX") || exit 1
build= watch=
finish() {
    trap '' HUP INT TERM PIPE
    if [ -n "$build" ]; then
        kill -TERM "$build" 2>/dev/null
        ( sleep 10; kill -KILL "$build" ) >/dev/null 2>&1 3<&- &
        late=$!
        wait "$build" 2>/dev/null
        kill "$late" 2>/dev/null
    fi
    [ -z "$watch" ] || kill "$watch" 2>/dev/null
    cd / && rm -rf -- "$dir"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
printf '%s %s\n' "$$" "$here" > "$dir/owner" || exit 1
exec 3<&0

( trap '' HUP INT
  while sleep 2; do
      [ -d "$dir" ] || exit
      kill -0 "$$" 2>/dev/null && { touch -c "$dir"; continue; }
      kill -TERM "$(cat "$dir/build")"
      rm -rf -- "$dir"
      exit
  done ) >/dev/null 2>&1 </dev/null 3<&- &

builder=classic
DOCKER_BUILDKIT=1 docker build --help >/dev/null 2>&1 </dev/null && builder=buildkit
say dir "$builder" "$dir"
word=
while read -r word number text <&3; do
    case $word in
        secret) mkdir -p "$dir/secrets" && printf "$text" > "$dir/secrets/$number" || exit 1 ;;
        go) break ;;
    esac
done
[ "$word" = go ] || exit 1
( cat <&3; kill -TERM "$$" ) >/dev/null 2>&1 &
watch=$!
cd "$dir/in" || exit 1
. ./run
printf '%s\n' "$build" > "$dir/build"
wait "$build"
code=$?
build=
if [ "$code" = 0 ] && [ -e "$dir/torn" ]; then
    echo "the context could not be read to its end" >&2
    code=1
fi
[ "$code" = 0 ] && say image "$(cat "$dir/id" 2>/dev/null)"
say end "$code"
"#;

/// What `run` starts for BuildKit: `@` stands for the words of the request.
pub(super) const BUILDKIT: &str = r#"
load=
case "$(DOCKER_BUILDKIT=1 docker build --help 2>/dev/null </dev/null)" in *--load*) load=--load ;; esac
DOCKER_BUILDKIT=1 BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --progress plain $load --iidfile "$dir/id" @ --file "$dir/in/Dockerfile" "$dir/in/context" </dev/null 3<&- &
build=$!
"#;

/// The same for the classic builder, which is given everything in one archive: so nothing that lies in the context is
/// ignored for a second time.
pub(super) const CLASSIC: &str = r#"
{ tar -C context -cf - . || : > "$dir/torn"; } 3<&- |
    DOCKER_BUILDKIT=0 docker build --force-rm --iidfile "$dir/id" @ --file .xtask-dockerfile - 3<&- &
build=$!
"#;

/// A line of the script that is meant for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The host has no docker command line.
    None,
    Dir {
        is_classic: bool,
        folder: String,
    },
    Image(String),
    End(i32),
}

/// Reads a line; `None` where it is not of the script, but of the build.
pub(super) fn parse(mark: &str, line: &[u8]) -> Option<Said> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let (word, rest) = match line.strip_prefix(mark)?.strip_prefix(' ')?.split_once(' ') {
        Some(parts) => parts,
        None => (line.rsplit(' ').next()?, ""),
    };
    match word {
        "none" => Some(Said::None),
        "dir" => {
            let (builder, folder) = rest.split_once(' ')?;
            Some(Said::Dir { is_classic: builder == "classic", folder: folder.to_owned() })
        }
        "image" => Some(Said::Image(rest.to_owned())),
        "end" => rest.parse().ok().map(Said::End),
        _ => None,
    }
}

/// Bytes as `printf` writes them, so that no byte of a secret means anything to the shell.
pub(super) fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_the_mark_are_of_the_script() {
        assert_eq!(parse("m", b"m none\n"), Some(Said::None));
        let folder = "/a b/c".to_owned();
        assert_eq!(parse("m", b"m dir classic /a b/c\n"), Some(Said::Dir { is_classic: true, folder }));
        assert_eq!(parse("m", b"m image sha256:1\n"), Some(Said::Image("sha256:1".into())));
        assert_eq!(parse("m", b"m end 7\n"), Some(Said::End(7)));
        for line in ["n end 7", "end 7", "m end x", "mm end 7", "\u{1b}m end 7"] {
            assert_eq!(parse("m", line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn the_scripts_name_what_is_laid_out() {
        use crate::docker::build::{CLASSIC_DOCKERFILE, CONTEXT, DOCKERFILE};
        assert!(BUILDKIT.contains(&format!("/in/{DOCKERFILE}\" ")) && BUILDKIT.contains(&format!("/in/{CONTEXT}\" ")));
        assert!(
            CLASSIC.contains(&format!("-C {CONTEXT} ")) && CLASSIC.contains(&format!("--file {CLASSIC_DOCKERFILE} "))
        );
    }

    #[test]
    fn every_byte_is_written_in_octal() {
        assert_eq!(octal(b"a%\0\xff"), r"\141\045\000\377");
    }
}
