#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run perf/bench and perf/plot as a user does: results are whole, are made once, and the table says who wins.

test_bench.py SOURCE_DIR BUILD_DIR
"""
import glob
import json
import os
import subprocess
import sys
import tempfile


class Bench:
    def __init__(self, source_dir, build_dir, folder):
        self.perf = os.path.join(source_dir, "perf")
        self.build_dir, self.folder = build_dir, folder
        self.results = os.path.join(folder, "some")

    def call(self, script, *words):
        program = os.path.join(self.perf, script)
        command = ["timeout", "--kill-after=10", "100", sys.executable, program, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def bench(self, *words):
        return self.call("bench", "some", "--results", self.folder, "--build", self.build_dir, "--machines", "host:2",
                         "--only", "add32", "--widths", "1,3", "--peers", "alltoallv", *words)

    def table(self):
        done = self.call("plot", self.results, "--table")
        assert done.returncode == 0, done.stderr
        return done.stdout


def check_results(bench):
    done = bench.bench("--iterations", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    files = sorted(glob.glob(os.path.join(bench.results, "host-2", "*.json")))
    assert [os.path.basename(file) for file in files] == [
        "add32-gather-1f64.json", "add32-gather-3f64.json", "add32-scatter-1f64.json", "add32-scatter-3f64.json"], files
    for file in files:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
        result = json.loads(text)
        assert {"cell", "date", "settings", "machine", "versions", "command", "report"} <= set(result), result
        assert result["report"]["input"]["name"] == result["cell"]["matrix"] == "add32"
        assert result["report"]["width"] == result["cell"]["width"]
        assert [r["op"] for r in result["report"]["results"]] == [result["cell"]["op"]] * 2, result
        assert bench.folder not in text and bench.build_dir not in text, "a result tells where it was made"
    return files


def check_continues(bench, files):
    """What is there is left alone, what is missing or failed is made, and other settings need another name."""
    os.remove(files[1])
    with open(files[2], "w", encoding="utf-8") as stream:
        json.dump({"failure": "for a test", "settings": {}}, stream)
    kept = [os.stat(file).st_mtime_ns for file in (files[0], files[3])]
    done = bench.bench("--iterations", 2)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2, done.stdout + done.stderr
    assert kept == [os.stat(file).st_mtime_ns for file in (files[0], files[3])]
    assert bench.bench("--iterations", 2).stdout == ""
    assert "give another name" in bench.bench("--iterations", 3).stderr


def check_failures(bench):
    """A cell that takes too long is recorded as failed and makes the exit status."""
    done = bench.bench("--iterations", 1000000, "--timeout", 2, "--ops", "gather", "--widths", 1, "--dtype", "f32")
    assert done.returncode == 1 and "status 124" in done.stdout, done.stdout + done.stderr
    assert "failed: status 124" in bench.table()
    assert bench.call("bench", "--only", "nothing").returncode != 0
    assert bench.call("bench", "--machines", "moon:4").returncode != 0
    assert bench.call("plot", os.path.join(bench.folder, "nowhere")).returncode != 0


def invent(bench, name, ratio, low, high):
    """A result on a link of 8 Mbit/s, that is 1 byte/us: 400 rows of 8 bytes take 3200 us, and tulle took 6400."""
    peer = {"method": "alltoallv", "op": "gather", "iterations": 9, "median_us": 6400 * ratio, "wrong": 0,
            "ratio": ratio, "ratio_low": low, "ratio_high": high}
    tulle = {"method": "tulle", "op": "gather", "iterations": 9, "median_us": 6400, "wrong": 0}
    naive = {"method": "naive", "op": "gather", "iterations": 0, "median_us": 0, "wrong": 0, "predicted_us": 7e6,
             "skipped": "too slow"}
    rows = {"naive": 9, "direct": 8, "plan": 7, "limit": 6}
    report = {"row_bytes": 8, "volume": {"limit_busiest_rows": 400, "inter_node_rows": rows},
              "results": [tulle, peer, naive]}
    cell = {"machine": "cluster:2x2", "matrix": name, "width": 1, "dtype": "f64", "op": "gather"}
    machine = {"processor": "none", "cores": 1, "system": "none"}
    with open(os.path.join(bench.results, name + ".json"), "w", encoding="utf-8") as file:
        json.dump({"cell": cell, "date": "2000-01-01", "settings": {"rate_mbit": 8, "delay_us": 1}, "machine": machine,
                   "versions": {}, "report": report}, file)


def check_table(bench):
    bench.results = os.path.join(bench.folder, "invented")
    os.mkdir(bench.results)
    for name, ratio, low, high in (("won", 2.0, 1.5, 2.5), ("even", 1.25, 0.9, 1.6), ("lost", 0.5, 0.4, 0.6)):
        invent(bench, name, ratio, low, high)
    lines = {line.split()[1]: line for line in bench.table().splitlines() if line.startswith("cluster:2x2 ")}
    for name, ratio in (("won", "2.00"), ("even", "1.25~"), ("lost", "0.50!")):
        words = lines[name].split()
        assert words[4:6] == ["6400.0", "50.0"], words  # us, and percent of the limit
        assert ratio in words and "(7" in words, words
    assert "Of 3 ratios 1 are above 1, 1 undecided, 1 below 1" in bench.table()


def main():
    source_dir, build_dir = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(source_dir, build_dir, folder)
        files = check_results(bench)
        check_continues(bench, files)
        check_failures(bench)
        check_table(bench)


if __name__ == "__main__":
    main()
