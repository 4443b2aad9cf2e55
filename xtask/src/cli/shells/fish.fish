# Completion of `xtask` and `cargo xtask` for fish: cargo xtask completions fish | source
function __xtask_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token --cut-at-cursor)
    string match --quiet '*cargo' -- $words[1]; and set -e words[1]
    XTASK_COMPLETE=fish '@XTASK@' -- $words 2>/dev/null
end
function __xtask_is_next
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    test (count $words) -ge 2; and test "$words[2]" = xtask
end
complete --command xtask --keep-order --exclusive --arguments '(__xtask_complete)'
complete --command cargo --keep-order --exclusive --condition __xtask_is_next --arguments '(__xtask_complete)'
