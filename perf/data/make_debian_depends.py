#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dependency graph of a distribution as a MatrixMarket pattern:
make_debian_depends.py PACKAGES OUT.mtx[.xz] [COMMENT ...]

PACKAGES is an index that apt keeps, compressed or not; apt-helper decompresses it. Packages are numbered in the order of
their names; row i has an entry in column j when package i names package j in Depends or Pre-Depends, in any alternative.
Names that are no packages (virtual ones) are left out."""
import re
import subprocess
import sys

from matrix_market import write_pattern

APT_HELPER = "/usr/lib/apt/apt-helper"


def read_packages(path):
    """{package: set of names that it depends on}; of several versions of a package, what any of them names."""
    text = subprocess.run([APT_HELPER, "cat-file", path], check=True, capture_output=True).stdout.decode("utf-8")
    packages = {}
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+):((?:.*\n?)(?:[ \t].*\n?)*)", paragraph, re.MULTILINE))
        if "Package" in fields:
            relations = fields.get("Depends", "") + "," + fields.get("Pre-Depends", "")
            names = {re.match(r"[^\s(:\[<]*", relation.strip()).group() for relation in re.split(r"[,|]", relations)}
            packages.setdefault(fields["Package"].strip(), set()).update(names)
    return packages


def main():
    source, target, *comments = sys.argv[1:]
    packages = read_packages(source)
    number = {name: k for k, name in enumerate(sorted(packages))}
    entries = {(number[name], number[other])
               for name, others in packages.items() for other in others if other in number}
    write_pattern(target, comments, len(number), len(number), entries)


main()
