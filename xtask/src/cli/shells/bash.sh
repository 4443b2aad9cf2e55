# Completion of `xtask` and `cargo xtask` for bash: source <(cargo xtask completions bash)
_xtask_complete() {
    local IFS=$' \t\n' line=$COMP_LINE words=() word i
    # bash cuts words at `:` and `=`; what touches is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 0)) && [[ -n $line && $line != [[:space:]]* ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"$word"}
    done
    [[ ${words[0]} == *cargo ]] && words=("${words[@]:1}")
    local typed=${words[${#words[@]} - 1]} cut=''
    # Only what is behind the last cut is replaced.
    case $typed in *[:=]*) [[ $COMP_WORDBREAKS == *[:=]* ]] && cut=${typed%"${typed##*[:=]}"} ;; esac
    IFS=$'\n'
    COMPREPLY=($(XTASK_COMPLETE=bash '@XTASK@' -- "${words[@]}" 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
_xtask_complete_cargo() {
    if [[ ${COMP_WORDS[1]-} == xtask && $COMP_CWORD -ge 2 ]]; then
        _xtask_complete
    elif [[ -n $_xtask_before_cargo ]]; then
        "$_xtask_before_cargo" "$@"
    fi
}
# What completes cargo otherwise stays in charge of everything but `xtask`.
if ! complete -p cargo &>/dev/null && declare -F _completion_loader >/dev/null; then
    _completion_loader cargo &>/dev/null
fi
_xtask_before_cargo=$(complete -p cargo 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
[[ $_xtask_before_cargo == _xtask_complete_cargo ]] && _xtask_before_cargo=''
complete -o bashdefault -o default -F _xtask_complete xtask
complete -o bashdefault -o default -F _xtask_complete_cargo cargo
