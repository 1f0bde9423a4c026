# bash completion for pachmount: source <(pachmount completion bash)
_pachmount() {
    local line=${COMP_LINE:0:COMP_POINT} words=() replies=() reply current breaks kept
    # bash has cut the line at @, = and : as well, so cut it again, at blanks only that no backslash is before.
    read -a words <<<"$line"
    current=${line##*[!\\][[:space:]]}
    [[ -z $current ]] && words+=("")
    mapfile -t replies < <(_PACHMOUNT_COMPLETE=1 "$1" "${words[@]:1}" 2>/dev/null)
    replies=("${replies[@]%%$'\t'*}")
    case ${replies[0]-} in
        :files)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "${words[-1]}")
            return
            ;;
        :directories)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "${words[-1]}")
            return
            ;;
    esac
    # What is put in replaces only what follows the last character at which bash cuts, and an @ itself.
    breaks=${COMP_WORDBREAKS//[!@=:]/}$'\n'
    kept=${current%"${current##*[$breaks]}"}
    kept=${kept%@}
    for reply in "${replies[@]}"; do
        printf -v reply %q "$reply"
        COMPREPLY+=("${reply#"$kept"}")
    done
    for reply in "${COMPREPLY[@]}"; do
        [[ $reply == */ ]] || return
    done
    compopt -o nospace
}
complete -F _pachmount pachmount
