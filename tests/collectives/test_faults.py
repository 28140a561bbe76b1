#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A rank is killed, stopped, missing or late: the others get a status that names it, destroy all, and end. Or nothing
fails, but it destroys late: nobody waits for it beyond the limit.

test_faults.py CARRIER PROGRAM MPIEXEC...    MPIEXEC: what comes before the number of ranks
"""
import os
import re
import subprocess
import sys
import time

SKIPPED = 77
RANKS = 3
VICTIM = RANKS - 1
TIMEOUT_MS = 800
KINDS = ["killed", "stopped", "absent", "late", "idle"]


def launch(mpiexec, program, kind, carrier):
    """Both launchers end a job when a signal ends a rank; here they must not."""
    environment = dict(os.environ, TULLE_TIMEOUT_MS=str(TIMEOUT_MS), OMPI_MCA_orte_abort_on_non_zero_status="0",
                       PRTE_MCA_prte_abort_on_non_zero_status="0")
    version = subprocess.run([mpiexec[0], "--version"], capture_output=True, text=True, check=False).stdout
    words = ["-disable-auto-cleanup"] if "HYDRA" in version else []
    command = ["timeout", "--kill-after=5", "60", mpiexec[0], *words, *mpiexec[1:], str(RANKS), program, kind, carrier]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done, time.monotonic() - began


def line_of(done, rank, what):
    lines = re.findall(rf"^rank {rank} {what}: (\w+): (.*)$", done.stdout, re.MULTILINE)
    assert len(lines) == 1, f"rank {rank} does not say how its {what} went\n{done.stdout}{done.stderr}"
    return lines[0]


def blamed(done, rank, what, carrier):
    """Which rank a survivor names. One that the victim's last messages carried a round further may find another survivor
    missing, which has given up by then."""
    level = "rank" if carrier == "shared_memory" else "node"
    status, text = line_of(done, rank, what)
    assert status in ["TULLE_ERR_TIMEOUT", "TULLE_ERR_TRANSPORT"], f"{status}: {text}"
    found = re.search(rf"(?:for|lost) rank (\d+) \(level {level}, transport {carrier.replace('_', ' ')}", text)
    assert found, text
    return int(found[1])


def check_survivors(done, carrier):
    for what in ["gather", "gather again", "scatter"]:
        culprits = [blamed(done, rank, what, carrier) for rank in range(VICTIM)]
        assert VICTIM in culprits, f"{culprits}\n{done.stdout}"


def check_calls_of_all(done, rank):
    """All ranks must make such a call, and MPI does not say which does not."""
    for what in ["one-shot", "product", "creation", "one-shot again"]:
        status, text = line_of(done, rank, what)
        assert status == "TULLE_ERR_TIMEOUT", text


def check_destroyed(done, rank):
    found = re.search(rf"^rank {rank} destroyed all in (\d+) ms, (\d+) abandoned$", done.stdout, re.MULTILINE)
    assert found, f"rank {rank} did not destroy all\n{done.stdout}{done.stderr}"
    assert int(found[1]) < 10000, found[0]


def check(done, kind, carrier):
    assert done.returncode != 124, f"hangs\n{done.stdout}{done.stderr}"
    for word in ["wrong values", "Sanitizer", "Segmentation"]:
        assert word not in done.stdout + done.stderr, f"{done.stdout}{done.stderr}"
    for rank in range(VICTIM):
        check_destroyed(done, rank)
    if kind != "idle":
        check_survivors(done, carrier)
        for rank in range(VICTIM):
            check_calls_of_all(done, rank)
    if kind == "late":  # right values or a status
        line_of(done, VICTIM, "gather")
    if kind in ["late", "idle"]:  # an orderly end
        check_destroyed(done, VICTIM)
        assert done.returncode == 0, f"{done.returncode}\n{done.stdout}{done.stderr}"


def main():
    carrier, program, *mpiexec = sys.argv[1:]
    for kind in KINDS:
        done, seconds = launch(mpiexec, program, kind, carrier)
        if "TULLE_ERR_UNSUPPORTED" in done.stdout:
            print(f"{carrier} is not in this build: skipped")
            sys.exit(SKIPPED)
        check(done, kind, carrier)
        print(f"{carrier}, {kind}: {seconds:.1f} s\n{done.stdout}")


main()
