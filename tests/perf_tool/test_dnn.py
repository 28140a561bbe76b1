#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run tulle_perf dnn as a user does; rows between nodes and categories are computed again here.

test_dnn.py TOOL MPIEXEC...    MPIEXEC: what comes before the number of ranks
"""
import json
import os
import random
import subprocess
import sys
import tempfile

RANKS = 4
NODE_OF = [0, 0, 1, 1]


def run(tool, mpiexec, *words):
    # Ended by a signal that the launcher passes on to its ranks.
    command = ["timeout", "--kill-after=10", "150", *mpiexec, str(RANKS), tool, "dnn", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def report(tool, mpiexec, folder, *words):
    path = os.path.join(folder, "report.json")
    done = run(tool, mpiexec, *words, "--topology", "2x2", "--iterations", 2, "--json", path)
    assert done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.stdout.rstrip().endswith("# Outputs, categories and volumes : OK"), done.stdout
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def count_rows(layers, neurons, place):
    """Direct and limit between nodes, of layers that map each output to its inputs."""
    node = lambda neuron: NODE_OF[place(neuron) * RANKS // neurons]
    direct = limit = 0
    for inputs_of in layers:
        needs = {(place(j) * RANKS // neurons, i) for j, inputs in inputs_of.items() for i in inputs
                 if node(i) != node(j)}
        direct += len(needs)
        limit += len({(NODE_OF[rank], i) for rank, i in needs})
    return {"direct": direct, "limit": limit}


def expect_rows(found, layers, neurons):
    classes = neurons // 16
    places = {"contiguous": lambda j: j, "by_class": lambda j: j % classes * 16 + j // classes}
    assert [result["layout"] for result in found["results"]] == list(places), found
    for result in found["results"]:
        rows = dict(result["inter_node_rows"])
        cover = rows.pop("cover")
        assert rows == count_rows(layers, neurons, places[result["layout"]]), (result["layout"], rows)
        assert cover <= rows["limit"], result
        assert result["wrong"] == result["differing_categories"] == 0, result
        assert 0 < result["min_us"] <= result["median_us"] <= result["p99_us"], result
        edges = found["network"]["nnz"] * found["batch"]
        assert abs(result["edges_per_s"] * result["median_us"] / 1e6 / edges - 1) < 1e-6, result


def check_first_block(tool, mpiexec, folder):
    """Layers of the first block are the same in every network of the family."""
    layers = [{j: [i for i in range(1024) if (i - j) % 64 in (0, 1 << layer)] for j in range(1024)}
              for layer in range(4)]
    for words in ([], ["--dtype", "f64", "--cover", "columns"]):
        found = report(tool, mpiexec, folder, "--neurons", 1024, "--layers", 4, "--batch", 16, *words)
        assert (found["network"]["nnz"], found["batch"]) == (4 * 32768, 16), found
        assert found["memory"] == "host", found
        expect_rows(found, layers, 1024)
        assert all(0 < result["categories"] < 16 for result in found["results"]), found


def write_matrix(path, rows, cols, places):
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"%%MatrixMarket matrix coordinate pattern general\n{rows} {cols} {len(places)}\n")
        file.writelines(f"{i + 1} {j + 1}\n" for i, j in sorted(places))


def infer(layers, images):
    for inputs_of in layers:
        sums = [{j: sum(x.get(i, 0) for i in inputs) / 16 for j, inputs in inputs_of.items()} for x in images]
        images = [{j: min(s - 0.45, 32) for j, s in x.items() if s > 0.45} for x in sums]
    return sum(bool(x) for x in images)


def check_folder(tool, mpiexec, folder):
    """A network of no family: 48 neurons, uneven numbers of inputs, some inputs that die out."""
    numbers = random.Random(1)
    layers = [{j: sorted(numbers.sample(range(48), numbers.randrange(48))) for j in range(48)} for _ in range(3)]
    images = [{i: 1 for i in range(48) if numbers.randrange(7) < k % 7} for k in range(20)]
    for number, inputs_of in enumerate(layers, 1):
        write_matrix(os.path.join(folder, f"n48-l{number}.mtx"), 48, 48,
                     {(i, j) for j, inputs in inputs_of.items() for i in inputs})
    write_matrix(os.path.join(folder, "sparse-images-48.mtx"), 20, 48,
                 {(k, i) for k, image in enumerate(images) for i in image})
    for batch in (20, 7):
        found = report(tool, mpiexec, folder, "--layers", folder, "--batch", batch)
        assert found["network"]["layers"] == 3 and found["network"]["neurons"] == 48, found
        expect_rows(found, layers, 48)
        assert {result["categories"] for result in found["results"]} == {infer(layers, images[:batch])}, found


def expect_failure(done, status, text):
    assert done.returncode == status and text in done.stderr, f"{status}, {text!r}: {done.returncode}\n{done.stderr}"


def check_bad_input(tool, mpiexec, folder):
    expect_failure(run(tool, mpiexec, "--neurons", 1000), 2, "--neurons is '1000'")
    expect_failure(run(tool, mpiexec, "--layers", 0), 2, "--layers is '0'")
    expect_failure(run(tool, mpiexec, "--memory", "pinned"), 2, "--memory is 'pinned'")
    expect_failure(run(tool, mpiexec, "more"), 2, "more")
    expect_failure(run(tool, mpiexec, "--layers", os.path.join(folder, "none")), 1, "none")
    expect_failure(run(tool, mpiexec, "--layers", folder, "--batch", 21), 1, "there are 20 inputs")
    assert "Usage: tulle_perf dnn" in run(tool, mpiexec, "--help").stdout


def main():
    tool, *mpiexec = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        check_first_block(tool, mpiexec, folder)
        check_folder(tool, mpiexec, folder)
        check_bad_input(tool, mpiexec, folder)


if __name__ == "__main__":
    main()
