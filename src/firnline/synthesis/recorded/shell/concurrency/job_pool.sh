#!/usr/bin/env bash
#
# Run many commands, a few at a time, with retries, time limits and a summary.
#
# Problem: a list of commands should use all cores, but starting everything at once brings
# the machine to its knees. The pool starts a new job whenever one ends ("wait -n"). Each
# job's output goes to its own file, so that lines of different jobs do not mix; a failed job
# is tried again a limited number of times with a growing pause.
#
# Usage: job_pool.sh [-j JOBS] [-r RETRIES] [-t SECONDS] <file-with-one-command-per-line

set -uo pipefail

JOBS=2 RETRIES=1 LIMIT=60

# Runs in a subshell: try one command until it succeeds or the attempts are used up.
# Writes "status attempts seconds" to a result file.
attempt() {
    local command=$1 folder=$2 try status=0 begin=$SECONDS
    for ((try = 1; try <= RETRIES + 1; try++)); do
        timeout "$LIMIT" bash -c "$command" >"$folder/output" 2>&1 </dev/null
        status=$?
        ((status == 0)) && break
        ((try <= RETRIES)) && sleep "0.$((try * 2))"
    done
    ((try > RETRIES + 1)) && try=$((RETRIES + 1))
    printf '%d %d %d\n' "$status" "$try" "$((SECONDS - begin))" >"$folder/result"
}

# Read commands from standard input and run them; the report goes to standard output.
# Returns the number of commands that failed for good (at most 125).
run_pool() {
    local work command running=0 number=0 failures=0
    local -a commands=()
    work=$(mktemp -d) || return 126
    # An interrupt must not leave jobs behind.
    trap 'kill $(jobs -p) 2>/dev/null; rm -rf -- "$work"; trap - INT TERM; return 130' INT TERM

    while IFS= read -r command || [[ -n $command ]]; do
        [[ -z $command || $command == \#* ]] && continue
        if ((running >= JOBS)); then
            wait -n
            running=$((running - 1))
        fi
        mkdir "$work/$number"
        attempt "$command" "$work/$number" &
        commands[number]=$command
        number=$((number + 1))
        running=$((running + 1))
    done
    wait

    local i status tries seconds verdict
    for ((i = 0; i < number; i++)); do
        read -r status tries seconds <"$work/$i/result"
        case $status in
            0) verdict=ok ;;
            124) verdict="too slow" ;;
            *) verdict="failed ($status)" ;;
        esac
        ((status == 0)) || failures=$((failures + 1))
        printf '%-12s tries=%d  %s\n' "$verdict" "$tries" "${commands[i]}"
        sed 's/^/    | /' "$work/$i/output"
    done
    printf '%d of %d commands succeeded\n' "$((number - failures))" "$number"
    rm -rf -- "$work"
    trap - INT TERM
    return "$((failures < 125 ? failures : 125))"
}

# A repeatable trial, with a command that succeeds only when it is tried again.
demonstrate() {
    local flag report status
    flag=$(mktemp -u)
    LIMIT=1 JOBS=3 RETRIES=1
    report=$(
        run_pool <<COMMANDS
# comments and blank lines are skipped

echo first; echo second
sleep 0.2; test 2 -gt 1
if test -e $flag; then echo works now; else touch $flag; exit 7; fi
echo reason of failure >&2; exit 3
sleep 5
COMMANDS
    )
    status=$?
    rm -f -- "$flag"
    echo "$report"
    expect() {
        grep -q "$1" <<<"$report" || { echo "missing in the report: $1" >&2; exit 1; }
    }
    expect '^ok  *tries=1  echo first'
    expect '^ok  *tries=2  if test'
    expect '^failed (3) *tries=2'
    expect '| reason of failure'
    expect '^too slow  *tries=2  sleep 5'
    expect '^3 of 5 commands succeeded'
    ((status == 2)) || { echo "wrong exit status $status" >&2; exit 1; }
}

if [[ -t 0 || $# -eq 0 ]]; then
    demonstrate
    exit
fi
while getopts 'j:r:t:' option; do
    case $option in
        j) JOBS=$OPTARG ;;
        r) RETRIES=$OPTARG ;;
        t) LIMIT=$OPTARG ;;
        *) exit 2 ;;
    esac
    [[ $OPTARG =~ ^[0-9]+$ ]] || { echo "-$option needs a number" >&2; exit 2; }
done
run_pool
