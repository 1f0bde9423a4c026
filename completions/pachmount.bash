# bash completion for pachmount: source <(pachmount completion bash)
_pachmount() {
    local line=${COMP_LINE:0:COMP_POINT} words=() replies=() reply current kept
    # bash has cut the line at @, = and : as well, so cut it again, at blanks only.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    mapfile -t replies < <(_PACHMOUNT_COMPLETE=1 "$1" "${words[@]:1}" 2>/dev/null)
    replies=("${replies[@]%%$'\t'*}")
    case ${replies[0]-} in
        :files)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        :directories)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return
            ;;
    esac
    # What is put in replaces only what follows the last character at which bash cuts, and an @ itself.
    kept=${current%"${current##*[$COMP_WORDBREAKS]}"}
    kept=${kept%@}
    COMPREPLY=("${replies[@]#"$kept"}")
    for reply in "${COMPREPLY[@]}"; do
        [[ $reply == */ ]] || return
    done
    compopt -o nospace
}
complete -F _pachmount pachmount
