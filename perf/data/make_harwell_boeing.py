#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Harwell-Boeing file as a MatrixMarket pattern: make_harwell_boeing.py FILE OUT.mtx[.xz] [COMMENT ...]

Assembled matrices of any value type; explicit zeros stay entries. Format: Duff, Grimes, Lewis, ACM TOMS 15(1), 1989,
doi:10.1145/62038.62043."""
import re
import sys

from matrix_market import write_pattern


def read_integers(lines, num_lines, layout):
    """num_lines lines of a Fortran layout such as (16I5): fields of a fixed width, not always with blanks between."""
    width = int(re.fullmatch(r"\(\d*I(\d+)\)", layout.strip().upper()).group(1))
    numbers = []
    for _ in range(num_lines):
        line = next(lines).rstrip("\n").ljust(width)
        fields = [line[k:k + width] for k in range(0, len(line), width)]
        numbers += [int(field) for field in fields if field.strip()]
    return numbers


def read_pattern(path):
    with open(path, encoding="ascii") as file:
        lines = iter(file.readlines())
    next(lines)  # title and key
    counts = [int(word) for word in next(lines).split()]
    kind, *sizes = next(lines).split()
    num_rows, num_cols, num_entries = (int(word) for word in sizes[:3])
    layouts = next(lines)
    if len(counts) > 4 and counts[4] > 0:
        next(lines)  # layout of right-hand sides
    if kind[2].upper() != "A":
        raise SystemExit(f"{path}: type {kind} is not assembled")
    column_starts = read_integers(lines, counts[1], layouts[0:16])
    rows = read_integers(lines, counts[2], layouts[16:32])
    if len(column_starts) != num_cols + 1 or len(rows) != num_entries or column_starts[-1] != num_entries + 1:
        raise SystemExit(f"{path}: the numbers do not fit {num_rows} x {num_cols} with {num_entries} entries")
    entries = {(rows[k] - 1, col)
               for col in range(num_cols) for k in range(column_starts[col] - 1, column_starts[col + 1] - 1)}
    return num_rows, num_cols, entries, kind[1].upper() in "SHZ"


def main():
    source, target, *comments = sys.argv[1:]
    num_rows, num_cols, entries, is_symmetric = read_pattern(source)
    write_pattern(target, comments, num_rows, num_cols, entries, is_symmetric)


main()
