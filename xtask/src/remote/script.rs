//! The two small shell scripts that run on a host: before and after its trees are copied. Knows nothing of ssh.
//!
//! A note about each tree is kept on its host, in [`NOTES`] below the root: the digest of what was copied there. It is
//! withdrawn before a copy starts and written when it is whole, so that it proves a complete transfer.

/// The folder of the notes, below the root of a host.
pub(super) const NOTES: &str = ".xtask-sync";

/// Words: root, then for each tree `d` (or `f` for a single file), its path below the root, the name of its note, and the
/// note that would mean "nothing to do". Prints one line for each: `same`, `outside`, or `differs` and the note as it was.
///
/// A tree is the same if its note is as wanted and nothing in it was changed after the note was written. A tree whose
/// path leads out of the root through a link is refused. Making the folder and withdrawing the note are done here too,
/// so that all of it costs one round trip.
pub(super) const BEFORE: &str = r#"
root=$1; shift
mkdir -p -- "$root/.xtask-sync" && cd -- "$root" || exit 1
base=$(pwd -P)
while [ $# -gt 0 ]; do
    kind=$1 tree=$2 note=.xtask-sync/$3 want=$4; shift 4
    folder=$tree
    if [ "$kind" = f ]; then
        if [ -L "./$tree" ] || [ -d "./$tree" ]; then echo outside; continue; fi
        case $tree in */*) folder=${tree%/*} ;; *) folder= ;; esac
    fi
    near=$folder
    while [ ! -e "./$near" ] && [ ! -L "./$near" ] && [ "$near" != "${near%/*}" ]; do near=${near%/*}; done
    if [ -n "$near" ] && { [ -e "./$near" ] || [ -L "./$near" ]; }; then
        real=$(cd -- "./$near" 2>/dev/null && pwd -P)
        if [ "$real" != "$base/$near" ]; then echo outside; continue; fi
    fi
    have=$(cat "$note" 2>/dev/null)
    found=differs
    if [ -n "$have" ] && [ "-$kind" "./$tree" ] && [ -z "$(find "./$tree" -cnewer "$note" -print 2>&1 | head -n 1)" ]; then
        found=behind
    fi
    if [ $found = behind ] && [ "$have" = "$want" ]; then
        echo same
    else
        rm -f "$note" && mkdir -p "./$folder" || exit 1
        echo "$found $have"
    fi
done
"#;

/// Words: root, the name of a note, its text.
pub(super) const AFTER: &str = r#"
cd -- "$1/.xtask-sync" && printf '%s\n' "$3" > "$2.new" && mv "$2.new" "$2"
"#;

/// What the first script found out about one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Same,
    /// The path leads out of the root.
    Outside,
    /// The note that was there, empty if none.
    Differs(String),
    /// The note that was there, and nothing was changed after it: what is there is what was copied then.
    Behind(String),
}

/// Reads the answers; `None` if they are not as many as `count`.
pub(super) fn parse(answers: &[u8], count: usize) -> Option<Vec<Found>> {
    let text = String::from_utf8_lossy(answers);
    let found: Vec<Found> = text
        .lines()
        .map(|line| match line.split_once(' ') {
            None if line == "same" => Some(Found::Same),
            None if line == "outside" => Some(Found::Outside),
            Some(("differs", note)) => Some(Found::Differs(note.to_owned())),
            Some(("behind", note)) => Some(Found::Behind(note.to_owned())),
            _ => None,
        })
        .collect::<Option<_>>()?;
    (found.len() == count).then_some(found)
}
