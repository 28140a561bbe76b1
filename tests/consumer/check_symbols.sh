#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the headers declare, what the library exports and what the consumer calls must be the same functions.
# Usage: check_symbols.sh LIBRARY INCLUDE_FOLDER CONSUMER
set -euo pipefail
library=$1 include=$2 consumer=$3

declared=$(sed -n 's/^TULLE_API .*\(tulle_[a-z0-9_]*\)(.*/\1/p' "$include"/tulle/*.h | sort)
exported=$(nm -D --defined-only "$library" | awk '{print $NF}' | sort)
called=$(nm -D --undefined-only "$consumer" | awk '{print $NF}' | grep '^tulle_' | sort)

failures=0
report() { # LIST MESSAGE
    [[ -z $1 ]] && return
    echo "$2: ${1//$'\n'/ }"
    failures=1
}
report "$(grep -v '^tulle_' <<<"$exported" || true)" "exported, but not named tulle_*"
report "$(comm -13 <(echo "$declared") <(echo "$exported"))" "exported, but not declared with TULLE_API"
report "$(comm -23 <(echo "$declared") <(echo "$exported"))" "declared with TULLE_API, but not exported"
report "$(comm -13 <(echo "$called") <(echo "$exported"))" "exported, but not called by tests/consumer/consumer.c"
echo "$(wc -l <<<"$exported") functions exported"
exit "$failures"
