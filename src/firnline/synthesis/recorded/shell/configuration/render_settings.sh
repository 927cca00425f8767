#!/usr/bin/env bash
#
# Fill in configuration templates from layered settings, strictly and safely.
#
# Problem: services want their configuration as a file, operators want to keep values in one
# place. Tools that paste values with "eval" or "sed" break on special characters, or even
# execute them. Here values are only ever DATA: they are stored in an associative array and
# inserted by plain string operations.
#
#   @{name}          the value; an error if it is not set
#   @{name:-text}    the value, or the text if it is not set
#   @{name:number}   the value, checked to be a number (also: word, path, switch)
#
# Settings files contain name=value lines. Later files override earlier ones, and an
# environment variable APP_NAME overrides all files.

set -euo pipefail

declare -A SETTINGS=()
declare -A ORIGIN=()

complain() {
    echo "error: $*" >&2
    return 1
}

# Read one settings file; quotation marks around a value are removed, nothing is expanded.
load_settings() {
    local file=$1 line name value number=0
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        line=${line#"${line%%[![:space:]]*}"}
        [[ -z $line || $line == \#* ]] && continue
        if [[ ! $line =~ ^([a-z][a-z0-9_]*)[[:space:]]*=[[:space:]]*(.*)$ ]]; then
            complain "${file##*/}, line $number: expected name=value"
            return
        fi
        name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        value=${value%"${value##*[![:space:]]}"}
        if [[ $value == \"*\" && ${#value} -ge 2 ]]; then value=${value:1:-1}; fi
        SETTINGS[$name]=$value
        ORIGIN[$name]="${file##*/}:$number"
    done <"$file"
}

# Let APP_PORT=81 in the environment override the setting "port".
load_environment() {
    local variable name
    for variable in $(compgen -e APP_); do
        name=${variable#APP_}
        SETTINGS[${name,,}]=${!variable}
        ORIGIN[${name,,}]="environment"
    done
}

# check_kind NAME VALUE KIND: succeed if the value has the kind that the template demands.
check_kind() {
    local pattern
    case $3 in
        number) pattern='^-?[0-9]+$' ;;
        word) pattern='^[A-Za-z0-9_-]+$' ;;
        path) pattern='^/[^[:cntrl:]]*$' ;;
        switch) pattern='^(on|off)$' ;;
        *) complain "unknown kind '$3'" || return ;;
    esac
    [[ $2 =~ $pattern ]] ||
        complain "$1 = '$2' (from ${ORIGIN[$1]:-default}) is not a $3"
}

# Render standard input to standard output; every problem in the file is reported.
render() {
    local line out name kind problems=0 number=0
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        out=''
        while [[ $line =~ ^([^@]*|[^@]*@[^{][^@]*)@\{([a-z][a-z0-9_]*)(:[^}]*)?\}(.*)$ ]]; do
            out+=${BASH_REMATCH[1]}
            name=${BASH_REMATCH[2]} kind=${BASH_REMATCH[3]} line=${BASH_REMATCH[4]}
            if [[ -v SETTINGS[$name] ]]; then
                out+=${SETTINGS[$name]}
                if [[ $kind == :[a-z]* ]]; then
                    check_kind "$name" "${SETTINGS[$name]}" "${kind#:}" ||
                        problems=$((problems + 1))
                fi
            elif [[ $kind == :-* ]]; then
                out+=${kind#:-}
            else
                complain "template line $number: '$name' is not set" || problems=$((problems + 1))
            fi
        done
        printf '%s\n' "$out$line"
    done
    ((problems == 0))
}

demonstrate() {
    local work result
    work=$(mktemp -d)
    trap 'rm -rf -- "'"$work"'"' EXIT
    printf '%s\n' '# defaults' 'port = 80' 'root=/srv/www' 'banner="  $(date) & `ls` \1 * "' \
        >"$work/default.conf"
    printf '%s\n' 'root = /data/my site' 'cache=maybe' >"$work/local.conf"
    load_settings "$work/default.conf"
    load_settings "$work/local.conf"
    APP_PORT=8081
    export APP_PORT
    load_environment

    result=$(render <<<'listen @{port:number}; root "@{root:path}"; load 5 @ 3 @{user:-nobody};
text <@{banner}>')
    echo "$result"
    [[ $result == 'listen 8081; root "/data/my site"; load 5 @ 3 nobody;
text <  $(date) & `ls` \1 * >' ]] || { echo "wrong result" >&2; exit 1; }

    if render <<<'cache @{cache:switch}; key @{key}' >/dev/null; then exit 1; fi
    echo 'no equals sign' >"$work/broken.conf"
    if load_settings "$work/broken.conf"; then exit 1; fi
    echo "settings came from: port=${ORIGIN[port]}, root=${ORIGIN[root]}"
}

demonstrate
