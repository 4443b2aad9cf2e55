#compdef xtask
# Completion of `xtask` and `cargo xtask` for zsh: source <(cargo xtask completions zsh), behind compinit
_xtask_complete() {
    local -a found plain ends
    local line value
    found=("${(@f)$(XTASK_COMPLETE=zsh '@XTASK@' -- "${(@)words[1,CURRENT]}" 2>/dev/null)}")
    for line in $found; do
        value=${line%%[^\\]:*}
        # What ends in `=` or `/` is not finished.
        if [[ $line == *(=|/) || $line == *(=|/):* ]]; then ends+=("$line"); else plain+=("$line"); fi
    done
    (( $#ends )) && _describe -V 'values' ends -S ''
    (( $#plain )) && _describe -V 'values' plain
    (( $#ends + $#plain )) || _files
}
_xtask_complete_cargo() {
    if (( CURRENT > 2 )) && [[ $words[2] == xtask ]]; then
        shift words
        (( CURRENT-- ))
        _xtask_complete
    elif [[ -n $_xtask_before_cargo ]]; then
        $_xtask_before_cargo "$@"
    fi
}
[[ ${_comps[cargo]-} == _xtask_complete_cargo ]] || typeset -g _xtask_before_cargo=${_comps[cargo]-}
compdef _xtask_complete xtask
compdef _xtask_complete_cargo cargo
