# Completion of `xtask` and `cargo xtask` for Elvish: eval (cargo xtask completions elvish | slurp)
fn xtask-complete {|@words|
    env XTASK_COMPLETE=elvish '@XTASK@' -- $@words 2>/dev/null | from-lines | each {|line| if (not-eq $line '') { put $line } }
}
set edit:completion:arg-completer[xtask] = $xtask-complete~
var xtask-before-cargo = { |@words| }
if (has-key $edit:completion:arg-completer cargo) {
    set xtask-before-cargo = $edit:completion:arg-completer[cargo]
}
set edit:completion:arg-completer[cargo] = {|@words|
    if (and (> (count $words) 2) (eq $words[1] xtask)) {
        xtask-complete (all $words[1..])
    } else {
        $xtask-before-cargo $@words
    }
}
