"""The scripts that shells load for completion; `python -m pachmount.cli.completion_scripts` writes `completions/`."""

from __future__ import annotations

from pathlib import Path

BASH = r"""# bash completion for pachmount: source <(pachmount completion bash)
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
"""

ZSH = r"""#compdef pachmount
# zsh completion for pachmount: source <(pachmount completion zsh), or a file _pachmount in fpath
_pachmount() {
    local line
    local -a lines values shown endless
    lines=("${(@f)$(_PACHMOUNT_COMPLETE=1 "${words[1]}" "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    case ${lines[1]} in
        "") return 1 ;;
        :files) _files; return ;;
        :directories) _files -/; return ;;
    esac
    for line in "${lines[@]}"; do
        if [[ $line == */ ]]; then
            endless+=("$line")
        else
            values+=("${line%%$'\t'*}")
            shown+=("${${line/$'\t'/  -- }}")
        fi
    done
    (( $#endless )) && compadd -S '' -- "${endless[@]}"
    (( $#values )) && compadd -l -d shown -- "${values[@]}"
}
if [[ $funcstack[1] == _pachmount ]]; then
    _pachmount "$@"
else
    compdef _pachmount pachmount
fi
"""

FISH = r"""# fish completion for pachmount: pachmount completion fish | source
function __pachmount_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l replies (_PACHMOUNT_COMPLETE=1 $words[1] $words[2..-1] "$current" 2>/dev/null)
    switch "$replies[1]"
        case :files
            __fish_complete_path "$current"
        case :directories
            __fish_complete_directories "$current"
        case '*'
            printf '%s\n' $replies
    end
end
complete -c pachmount -f -a '(__pachmount_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
DIRECTORY = Path("completions")
"""Seen from the top of the repository."""
FILES = {
    DIRECTORY / "pachmount.bash": BASH,
    DIRECTORY / "_pachmount": ZSH,
    DIRECTORY / "pachmount.fish": FISH,
}


if __name__ == "__main__":
    import sys

    from pachmount import generated

    sys.exit(generated.main("pachmount.cli.completion_scripts", FILES))
