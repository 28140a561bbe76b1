#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bring the emulated cluster up, find its nodes from inside a job, and see that nothing stays, after crashes neither.

test_cluster.py SOURCE_DIR BUILD_DIR
Exit status 77: this machine cannot emulate a cluster, or one is up already.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
STATE = "/run/tulle-cluster"


class Cluster:
    def __init__(self, source_dir, build_dir):
        self.command = os.path.join(source_dir, "perf", "cluster")
        self.build_dir = build_dir
        self.tool = os.path.join(build_dir, "perf", "tulle_perf")

    def call(self, *words):
        command = ["timeout", "--kill-after=20", "100", self.command, *map(str, words)]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def do(self, *words):
        done = self.call(*words)
        assert done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *words):
        return self.do("up", *words, "--build", self.build_dir)


def processes():
    """(id, start time) of the recorded processes that are running."""
    found = []
    for name in filter(lambda name: name.endswith(".process"), os.listdir(STATE) if os.path.isdir(STATE) else []):
        with open(os.path.join(STATE, name), encoding="utf-8") as file:
            pid, start = file.read().split()[:2]
        found.append((int(pid), start))
    return found


def is_running(pid, start):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return False
    return fields[19] == start and fields[0] not in "ZX"


def namespaces():
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if line.startswith("tulle")]


def expect_nothing(was_running):
    assert not namespaces(), namespaces()
    assert not os.path.exists(STATE)
    left = [process for process in was_running if is_running(*process)]
    assert not left, left


def check_discovery(cluster):
    """Two nodes of two ranks, found and not declared; rows cross between them, and every value is right."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        cluster.do("run", "--ranks-per-node", 2, cluster.tool, "--grid", "40x40", "--iterations", 2, "--peers",
                   "alltoallv", "--json", path)
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    assert (report["ranks"], report["topology"], report["emulated"]) == (4, "2x2", False), report
    assert report["volume"]["inter_node_rows"]["plan"] == 80, report["volume"]  # the two rows of cells at the border
    assert all(result["wrong"] == 0 and result["iterations"] == 2 for result in report["results"])


def check_jobs(cluster):
    assert sorted(cluster.do("run", "--ranks-per-node", 2, "hostname").split()) == ["tulle0"] * 2 + ["tulle1"] * 2
    assert cluster.do("exec", 1, "hostname").strip() == "tulle1"
    assert cluster.call("run", "--timeout", 2, "sleep", 60).returncode == 124
    assert "sleep 60" not in cluster.do("exec", 0, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert cluster.call("run", "false").returncode == 1
    assert " 0 frames dropped" in cluster.do("status")


def check_remains(cluster):
    """A killed switch is noticed; a new cluster replaces the remains, even when their records are lost."""
    old = processes()
    with open(os.path.join(STATE, "switch.process"), encoding="utf-8") as file:
        pid, start = file.read().split()[:2]
    os.kill(int(pid), 9)
    for _ in range(100):
        if not is_running(int(pid), start):
            break
        time.sleep(0.05)
    assert cluster.call("status").returncode == 1
    cluster.up(1, "--rate-mbit", 100)
    assert not [process for process in old if is_running(*process)]
    old = processes()
    assert len(old) == 3 and all(is_running(*process) for process in old)  # head, node and switch
    for name in os.listdir(STATE):
        os.remove(os.path.join(STATE, name))
    cluster.up(1)
    assert not [process for process in old if is_running(*process)]


def main():
    cluster = Cluster(*sys.argv[1:])
    if shutil.which("ip") and namespaces():
        sys.exit(SKIPPED)
    first = cluster.call("up", 2, "--build", cluster.build_dir)
    if first.returncode == SKIPPED:
        print(first.stderr)
        sys.exit(SKIPPED)
    try:
        assert first.returncode == 0, first.stdout + first.stderr
        check_discovery(cluster)
        check_jobs(cluster)
        check_remains(cluster)
    finally:
        was_running = processes()
        cluster.do("down")
        cluster.do("down")
    expect_nothing(was_running)
    assert cluster.call("run", "true").returncode == 1


if __name__ == "__main__":
    main()
