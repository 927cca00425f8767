#!/usr/bin/env bash
#
# Space-saving snapshots of a folder, made with hard links, and their thinning.
#
# Problem: keep many complete copies of a folder although little changes between them. Each
# snapshot looks like a full copy, but a file that equals the one in the previous snapshot is
# a second NAME of the same data and costs no space. Old snapshots can be removed in any
# order, since data lives as long as one name refers to it.
#
# A snapshot is built under a name that starts with "partial-" and renamed when it is
# complete, so an interrupted run is never mistaken for a good one.

set -euo pipefail
shopt -s nullglob dotglob

fail() {
    echo "snapshots: $*" >&2
    return 1
}

# Print the names of complete snapshots, oldest first.
list_snapshots() {
    local path
    for path in "$1"/snap-*/; do
        basename -- "$path"
    done
}

# Copy one tree; files equal to those in the reference folder become links to them.
copy_tree() {
    local source=$1 target=$2 reference=$3 entry name
    mkdir -p -- "$target"
    for entry in "$source"/*; do
        name=${entry##*/}
        if [[ -L $entry || ! -d $entry ]]; then
            if [[ ! -L $entry && -f $reference/$name ]] &&
                cmp -s -- "$entry" "$reference/$name"; then
                ln -- "$reference/$name" "$target/$name"
            else
                cp -pP -- "$entry" "$target/$name"
            fi
        else
            copy_tree "$entry" "$target/$name" "$reference/$name"
        fi
    done
}

# make_snapshot SOURCE STORE LABEL: the label must sort by time, for example 2024-05-17.
make_snapshot() {
    local source=$1 store=$2 label=$3 previous
    [[ -d $source ]] || { fail "no folder $source"; return; }
    [[ $label =~ ^[0-9A-Za-z.-]+$ ]] || { fail "bad label '$label'"; return; }
    [[ ! -e $store/snap-$label ]] || { fail "snapshot $label exists already"; return; }
    mkdir -p -- "$store"
    rm -rf -- "$store"/partial-*
    previous=$(list_snapshots "$store" | tail -n 1)
    copy_tree "$source" "$store/partial-$label" "$store/${previous:-none}"
    mv -- "$store/partial-$label" "$store/snap-$label"
}

# thin STORE RECENT: keep the newest RECENT snapshots, and the first one of every month.
thin() {
    local store=$1 recent=$2 name month seen='' position=0
    local -a names
    mapfile -t names < <(list_snapshots "$store")
    for name in "${names[@]}"; do
        month=${name:5:7}
        position=$((position + 1))
        if [[ $month != "$seen" ]]; then
            seen=$month
        elif ((position <= ${#names[@]} - recent)); then
            rm -rf -- "${store:?}/$name"
            echo "removed $name"
        fi
    done
}

# Check that two files are names of the same data.
same_data() {
    [[ $1 -ef $2 ]]
}

demonstrate() {
    local work
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf -- '$work'" EXIT
    local home="$work/home" store="$work/store"
    mkdir -p "$home/letters" "$store/partial-2023-12-31"
    echo "Dear Jo" >"$home/letters/jo.txt"
    echo "milk" >"$home/shopping list.txt"
    ln -s letters/jo.txt "$home/newest"

    make_snapshot "$home" "$store" 2024-01-05
    echo "bread" >>"$home/shopping list.txt"
    make_snapshot "$home" "$store" 2024-01-06
    rm "$home/letters/jo.txt"
    make_snapshot "$home" "$store" 2024-01-07
    make_snapshot "$home" "$store" 2024-02-01
    make_snapshot "$home" "$store" 2024-02-02

    local first="$store/snap-2024-01-05" second="$store/snap-2024-01-06"
    same_data "$first/letters/jo.txt" "$second/letters/jo.txt" || fail "unchanged file copied"
    same_data "$first/shopping list.txt" "$second/shopping list.txt" && fail "change was lost"
    [[ -L $second/newest ]] || fail "symbolic link was followed"
    [[ ! -e $store/snap-2024-01-07/letters/jo.txt ]] || fail "removed file came back"
    [[ ! -e $store/partial-2023-12-31 ]] || fail "broken snapshot was kept"
    make_snapshot "$home" "$store" 2024-02-02 2>/dev/null && fail "overwrote a snapshot"

    thin "$store" 1
    [[ $(list_snapshots "$store" | tr '\n' ' ') == \
        "snap-2024-01-05 snap-2024-02-01 snap-2024-02-02 " ]] || fail "wrong ones removed"
    [[ $(<"$first/letters/jo.txt") == "Dear Jo" ]] || fail "data disappeared"
    echo "all snapshot checks passed"
}

demonstrate
