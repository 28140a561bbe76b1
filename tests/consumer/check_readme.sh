#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The first C program in README.md is readme.c, to the letter.
# Usage: check_readme.sh README.md readme.c
set -euo pipefail
awk '/^```$/ { if (inside) exit } inside { print } /^```c$/ { inside = 1 }' "$1" | diff - "$2"
