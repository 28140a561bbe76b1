#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build the consumer programs with what pkg-config says about an installed Tulle.
# Usage: pkg_config.sh LIBDIR OUTPUT_FOLDER CC CXX [FLAGS]...
set -euo pipefail
libdir=$1 output=$2 cc=$3 cxx=$4
shift 4
source=$(cd "$(dirname "$0")" && pwd)

export PKG_CONFIG_PATH=$libdir/pkgconfig
kind=()
[[ -e $libdir/libtulle.so ]] || kind=(--static)
# shellcheck disable=SC2046 # pkg-config separates words by spaces
flags=("$@" -Wall -Wextra -Werror $(pkg-config --cflags tulle))
# shellcheck disable=SC2207
libs=($(pkg-config "${kind[@]}" --libs tulle) "-Wl,-rpath,$libdir")

rm -rf "$output"
mkdir -p "$output"
"$cc" -std=c11 -o "$output/consumer_c" "$source/consumer.c" "${flags[@]}" "${libs[@]}"
"$cxx" -std=c++11 -o "$output/consumer_cxx" "$source/consumer.cpp" "${flags[@]}" "${libs[@]}"
