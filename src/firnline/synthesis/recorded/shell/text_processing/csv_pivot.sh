#!/usr/bin/env bash
#
# Summarise a CSV file as a cross table: one column gives the rows, another the columns, and
# a third is summed up in the cells.
#
# Problem: "cut -d," breaks as soon as a field is quoted, because it may contain commas,
# doubled quotation marks, and even line ends. The awk program below reads the file with a
# small state machine, letter by letter, and hands complete records to the summary.
#
# Usage: csv_pivot.sh ROW_COLUMN COLUMN_COLUMN VALUE_COLUMN <file.csv

set -euo pipefail

pivot() {
    LC_ALL=C awk -v rows="$1" -v columns="$2" -v values="$3" '
        # Find the position of a heading; stop with a message if there is none.
        function heading(name,    i) {
            for (i = 1; i <= count; i++) if (field[i] == name) return i
            printf "no column called \"%s\"\n", name > "/dev/stderr"
            failed = 1
            exit 1
        }

        function record(    r, c) {
            records++
            if (records == 1) {
                width = count
                row_at = heading(rows); column_at = heading(columns); value_at = heading(values)
                return
            }
            if (count == 1 && field[1] == "") return
            if (count != width || field[value_at] !~ /^[ ]*-?[0-9]+([.][0-9]+)?[ ]*$/) {
                printf "record %d skipped\n", records > "/dev/stderr"
                return
            }
            r = field[row_at]; c = field[column_at]
            if (!(r in row_sum)) row_name[++row_count] = r
            if (!(c in column_sum)) column_name[++column_count] = c
            cell[r, c] += field[value_at]
            row_sum[r] += field[value_at]
            column_sum[c] += field[value_at]
            total += field[value_at]
        }

        # Sort names in place by insertion: the tables are small.
        function sort_names(names, n,    i, j, held) {
            for (i = 2; i <= n; i++) {
                held = names[i]
                for (j = i - 1; j >= 1 && names[j] > held; j--) names[j + 1] = names[j]
                names[j + 1] = held
            }
        }

        {
            line = $0
            sub(/\r$/, "", line)
            if (quoted) field[count] = field[count] "\n"
            else { count = 1; field[1] = "" }
            for (i = 1; i <= length(line); i++) {
                ch = substr(line, i, 1)
                if (quoted && ch == "\"") {
                    if (substr(line, i + 1, 1) == "\"") { field[count] = field[count] ch; i++ }
                    else quoted = 0
                }
                else if (quoted) field[count] = field[count] ch
                else if (ch == "\"" && field[count] == "") quoted = 1
                else if (ch == ",") field[++count] = ""
                else field[count] = field[count] ch
            }
            if (!quoted) record()
        }

        END {
            if (failed) exit 1
            if (quoted) { print "the file ends inside a quoted field" > "/dev/stderr"; exit 1 }
            sort_names(row_name, row_count)
            sort_names(column_name, column_count)
            printf "%-14s", rows
            for (c = 1; c <= column_count; c++) printf "%10s", column_name[c]
            printf "%10s\n", "total"
            for (r = 1; r <= row_count; r++) {
                printf "%-14s", row_name[r]
                name = row_name[r]
                for (c = 1; c <= column_count; c++) printf "%10.2f", cell[name, column_name[c]]
                printf "%10.2f\n", row_sum[name]
            }
            printf "%-14s", "total"
            for (c = 1; c <= column_count; c++) printf "%10.2f", column_sum[column_name[c]]
            printf "%10.2f\n", total
        }'
}

demonstrate() {
    local data table
    data=$(
        cat <<'DATA'
shop,product,"price, net",remark
North,Tea,4.50,
South,"Tea",5,"said ""good"", twice"
North,"Coffee, ground",7.25,"two
lines, one record"
North,Tea,1.50,
South,Tea,unknown,
South,Tea
"East",Tea,-2,return
DATA
    )
    table=$(pivot shop product 'price, net' <<<"$data")
    echo "$table"
    grep -q '^North *7.25 *6.00 *13.25$' <<<"$table" || { echo "wrong North" >&2; exit 1; }
    grep -q '^total *7.25 *9.00 *16.25$' <<<"$table" || { echo "wrong total" >&2; exit 1; }
    if pivot shop colour remark <<<"$data"; then echo "accepted a wrong name" >&2; exit 1; fi
    if pivot a b c <<<$'a,b,c\n1,2,"3'; then echo "accepted an open quote" >&2; exit 1; fi
    echo "checks passed"
}

case $# in
    0) demonstrate ;;
    3) pivot "$@" ;;
    *) echo "usage: ${0##*/} ROW_COLUMN COLUMN_COLUMN VALUE_COLUMN <file.csv" >&2; exit 2 ;;
esac
