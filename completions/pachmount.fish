# fish completion for pachmount: pachmount completion fish | source
function __pachmount_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct | string unescape)
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
