# SPDX-License-Identifier: Apache-2.0
"""Write a MatrixMarket pattern file, compressed when the name ends in .xz. Used by the make_*.py scripts."""
import lzma


def write_pattern(path, comments, num_rows, num_cols, entries, symmetric=False):
    """entries: (row, column) pairs from 0; of a symmetric matrix only one half. Sorted by column, so that equal input
    gives equal text."""
    if symmetric:
        entries = {(max(row, col), min(row, col)) for row, col in entries}
    entries = sorted(set(entries), key=lambda entry: (entry[1], entry[0]))
    lines = ["%%MatrixMarket matrix coordinate pattern " + ("symmetric" if symmetric else "general")]
    lines += ["% " + comment for comment in comments]
    lines.append(f"{num_rows} {num_cols} {len(entries)}")
    lines += [f"{row + 1} {col + 1}" for row, col in entries]
    text = ("\n".join(lines) + "\n").encode("ascii")
    if path.endswith(".xz"):
        text = lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)
    with open(path, "wb") as file:
        file.write(text)
    print(f"{path}: {num_rows} x {num_cols}, {len(entries)} entries stored, {len(text)} bytes")
