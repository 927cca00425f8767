#!/usr/bin/env bash
#
# Rotate log files by size, keep a few compressed generations, and summarise the levels.
#
# Problem: a program appends to app.log for ever. When the file exceeds a limit it becomes
# app.log.1.gz, the former .1.gz becomes .2.gz, and so on; the oldest disappears. Two rotations
# at once would lose data, so a lock folder is taken first: creating a folder either succeeds
# or fails as a whole. The writing program keeps its file open, so the file is COPIED and then
# truncated instead of being renamed under its feet.
#
# Usage: rotate_logs.sh MAX_BYTES KEEP FILE...

set -euo pipefail

note() { echo "rotate: $*" >&2; }

# Take the lock of a log file, waiting a little; a lock whose owner is dead is broken.
take_lock() {
    local lock=$1.lock tries owner
    for ((tries = 0; tries < 20; tries++)); do
        if mkdir -- "$lock" 2>/dev/null; then
            echo "$BASHPID" >"$lock/owner"
            return 0
        fi
        owner=$(cat -- "$lock/owner" 2>/dev/null || true)
        if [[ -n $owner ]] && ! kill -0 "$owner" 2>/dev/null; then
            note "breaking the lock of process $owner, which is gone"
            rm -rf -- "$lock"
        else
            sleep 0.1
        fi
    done
    note "$1 is locked by process ${owner:-unknown}"
    return 1
}

drop_lock() { rm -rf -- "$1.lock"; }

# Move file.N.gz to file.N+1.gz, starting with the oldest, so nothing is overwritten.
shift_generations() {
    local file=$1 keep=$2 n
    rm -f -- "$file.$keep.gz"
    for ((n = keep - 1; n >= 1; n--)); do
        if [[ -e $file.$n.gz ]]; then
            mv -- "$file.$n.gz" "$file.$((n + 1)).gz"
        fi
    done
}

# rotate FILE MAX_BYTES KEEP: prints what was done.
rotate() {
    local file=$1 limit=$2 keep=$3 size
    [[ -f $file ]] || { note "no file $file"; return 1; }
    take_lock "$file" || return 1
    size=$(stat -c %s -- "$file")
    if ((size <= limit)); then
        echo "${file##*/}: $size bytes, nothing to do"
        drop_lock "$file"
        return 0
    fi
    # Compress under another name first; if the disk is full, the log stays as it is.
    if gzip -c -- "$file" >"$file.new.gz"; then
        shift_generations "$file" "$keep"
        mv -- "$file.new.gz" "$file.1.gz"
        : >"$file"
        echo "${file##*/}: $size bytes rotated"
        drop_lock "$file"
    else
        rm -f -- "$file.new.gz"
        drop_lock "$file"
        note "could not compress $file"
        return 1
    fi
}

# Count lines by level over the log and all its generations.
level_summary() {
    local file=$1
    { gzip -dc -- "$file".*.gz 2>/dev/null || true; cat -- "$file"; } |
        awk '{ count[$2]++ } END { for (level in count) print level, count[level] }' | sort
}

demonstrate() {
    local work log round i
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf -- '$work'" EXIT
    log="$work/app.log"
    for round in 1 2 3 4; do
        for i in {1..40}; do
            case $((i % 10)) in
                0) echo "round$round ERROR disk sector $i" ;;
                5) echo "round$round WARN slow answer $i" ;;
                *) echo "round$round INFO request $i" ;;
            esac
        done >>"$log"
        rotate "$log" 500 3
    done
    rotate "$log" 500 3
    [[ ! -s $log && -e $log.3.gz && ! -e $log.4.gz ]] || { note "wrong generations"; exit 1; }
    [[ $(gzip -dc "$log.1.gz" | head -n 1) == round4* ]] || { note "wrong order"; exit 1; }
    level_summary "$log"
    [[ $(level_summary "$log" | tr '\n' ' ') == "ERROR 12 INFO 96 WARN 12 " ]] || exit 1

    # A lock left behind by a process that no longer exists must not stop the rotation.
    mkdir "$log.lock"
    (exit 0) &
    wait $!
    echo $! >"$log.lock/owner"
    rotate "$log" 500 3
    rotate "$work/absent.log" 1 1 && exit 1
    echo "rotation checks passed"
}

if (($# == 0)); then
    demonstrate
elif (($# >= 3)) && [[ $1 =~ ^[0-9]+$ && $2 =~ ^[1-9][0-9]*$ ]]; then
    status=0
    for file in "${@:3}"; do rotate "$file" "$1" "$2" || status=1; done
    exit "$status"
else
    echo "usage: ${0##*/} MAX_BYTES KEEP FILE..." >&2
    exit 2
fi
