#!/usr/bin/env bash
#
# A task list with sub-commands, option parsing and safe file updates.
#
# Problem: small tools grow sub-commands ("add", "done", "list"), each with its own options.
# The dispatcher below calls a function named cmd_<name> and takes the help text from the
# comment in front of it, so a new command needs no change anywhere else. The list is a
# tab-separated file; every change writes a new file first and then renames it, so that an
# interrupted run never leaves half a list behind.
#
# Usage: todo_tool.sh [-f FILE] COMMAND [ARGUMENTS]

set -euo pipefail

readonly PROGRAM=${0##*/}
TODO_FILE=${TODO_FILE:-$HOME/.todo.tsv}

die() {
    printf '%s: %s\n' "$PROGRAM" "$*" >&2
    exit 2
}

# Replace the list by standard input in one step.
replace_list() {
    local fresh
    fresh=$(mktemp "$TODO_FILE.XXXXXX") || die "cannot write near $TODO_FILE"
    if cat >"$fresh"; then
        mv -- "$fresh" "$TODO_FILE"
    else
        rm -f -- "$fresh"
        die "the list was not changed"
    fi
}

# add [-p PRIORITY] TEXT...   Add a task; priority 1 (urgent) to 9, normally 5
cmd_add() {
    local priority=5 option OPTIND=1
    while getopts ':p:' option; do
        case $option in
            p) priority=$OPTARG ;;
            :) die "add: -$OPTARG needs a value" ;;
            *) die "add: unknown option -$OPTARG" ;;
        esac
    done
    shift $((OPTIND - 1))
    [[ $priority == [1-9] ]] || die "add: priority must be 1 to 9, not '$priority'"
    (($# > 0)) || die "add: what is to be done?"
    local text=${*//$'\t'/ } last
    last=$(awk -F '\t' '$1 > max { max = $1 } END { print max + 0 }' "$TODO_FILE")
    { cat -- "$TODO_FILE"; printf '%d\t%d\topen\t%s\n' "$((last + 1))" "$priority" "$text"; } |
        replace_list
    printf 'added task %d\n' "$((last + 1))"
}

# done NUMBER...              Mark tasks as done
cmd_done() {
    (($# > 0)) || die "done: which task?"
    local number
    for number in "$@"; do
        grep -q "^$number"$'\t' "$TODO_FILE" || die "done: there is no task $number"
    done
    for number in "$@"; do
        awk -F '\t' -v OFS='\t' -v n="$number" '$1 == n { $3 = "done" } { print }' \
            "$TODO_FILE" | replace_list
    done
}

# list [-a] [WORD]            Show open tasks by priority; -a shows the finished ones too
cmd_list() {
    local all=0
    if [[ ${1-} == -a ]]; then
        all=1
        shift
    fi
    sort -t $'\t' -k2,2n -k1,1n -- "$TODO_FILE" |
        awk -F '\t' -v all="$all" -v word="${1-}" '
            (all || $3 == "open") && index(tolower($4), tolower(word)) {
                printf "%3d [%s] (%d) %s\n", $1, ($3 == "done" ? "x" : " "), $2, $4
                shown++
            }
            END { printf "%d shown\n", shown + 0 }'
}

# help                        Show this text
cmd_help() {
    printf 'Usage: %s [-f FILE] COMMAND [ARGUMENTS]\n\n' "$PROGRAM"
    awk '/^# [a-z]+ .*  / { help = substr($0, 3) } /^cmd_/ { print "  " help }' "${BASH_SOURCE[0]}"
}

main() {
    if [[ ${1-} == -f ]]; then
        (($# >= 2)) || die "-f needs a file name"
        TODO_FILE=$2
        shift 2
    fi
    local command=${1:-help}
    (($# == 0)) || shift
    declare -F "cmd_$command" >/dev/null || die "unknown command '$command' (try: help)"
    [[ -e $TODO_FILE ]] || : >"$TODO_FILE"
    "cmd_$command" "$@"
}

# Without arguments, demonstrate the tool on a temporary list.
self_test() {
    local folder
    folder=$(mktemp -d)
    trap 'rm -rf -- "$folder"' RETURN
    local list="$folder/list.tsv"
    main -f "$list" add water the plants
    main -f "$list" add -p 1 pay rent
    main -f "$list" add -p 7 "read the book about plants"
    main -f "$list" done 1
    main -f "$list" list
    main -f "$list" list -a plants
    [[ $(main -f "$list" list | head -n 1) == *'(1) pay rent' ]] || die "self-test: order"
    (main -f "$list" done 99) 2>/dev/null && die "self-test: accepted a wrong number"
    (main -f "$list" add -p 0 x) 2>/dev/null && die "self-test: accepted a wrong priority"
    [[ $(wc -l <"$list") -eq 3 ]] || die "self-test: errors changed the list"
    main -f "$list" help
}

if (($# == 0)); then self_test; else main "$@"; fi
