#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make every file of this folder afresh from Debian packages: apt-get update, then
# apt-get install libmetis-doc libsuperlu-dist-dev python3. Equal packages give equal matrices; the bytes of an .xz file
# also depend on the version of liblzma.
set -eu
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1

version() { dpkg-query -W -f '${Version}' "$1"; }

graphs=/usr/share/doc/libmetis-dev/examples/graphs
metis="Debian package libmetis-doc $(version libmetis-doc), Apache-2.0, (c) 1995-2013 Regents of the University of Minnesota"
python3 make_metis.py $graphs/4elt.graph debian-4elt.mtx.xz \
    "A mesh as a graph: examples/graphs/4elt.graph as Debian ships it, which is not the known 4elt of 15606 vertices." \
    "Origin: $metis" "Made by perf/data/make_metis.py"
python3 make_metis.py $graphs/copter2.graph copter2.mtx.xz \
    "A three-dimensional mesh as a graph: examples/graphs/copter2.graph." \
    "Origin: $metis" "Made by perf/data/make_metis.py"

big=$(dpkg -L libsuperlu-dist-dev | grep '/EXAMPLE/big.rua$')
python3 make_harwell_boeing.py "$big" add32.mtx.xz \
    "A circuit, 32-bit adder, by Steve Hamm (Motorola), key add32: EXAMPLE/big.rua, places only." \
    "Origin: Debian package libsuperlu-dist-dev $(version libsuperlu-dist-dev), BSD-3-Clause, see LICENSE.superlu-dist" \
    "Made by perf/data/make_harwell_boeing.py"

packages=$(ls /var/lib/apt/lists/*_dists_bookworm_main_binary-amd64_Packages*)
release=$(ls /var/lib/apt/lists/*_dists_bookworm_InRelease)
python3 make_debian_depends.py "$packages" debian-depends.mtx.xz \
    "Which package needs which: Debian $(sed -n 's/^Version: //p' "$release") bookworm, main, amd64, index of $(sed -n 's/^Date: //p' "$release")." \
    "Packages are numbered by name; entry (i, j): i names j in Depends or Pre-Depends, in any alternative." \
    "Origin: the package index, which states no licence; here are only numbers: no name, no text of it." \
    "Made by perf/data/make_debian_depends.py"
