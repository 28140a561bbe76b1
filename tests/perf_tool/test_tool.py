#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run tulle_perf as a user does and judge what it prints, writes and returns; volumes are counted again from the file.

test_tool.py CASE TOOL SOURCE_DIR MPIEXEC...    CASE: a key of CASES; MPIEXEC: what comes before the number of ranks
Exit status 77: the case needs data that is not here.
"""
import json
import lzma
import math
import os
import subprocess
import sys
import tempfile

SKIPPED = 77
METHODS = ["tulle", "naive", "alltoallv", "neighbor_alltoallv"]
OPTIONAL = ["neighbor_alltoallv_init", "petsc_basic", "petsc_neighbor", "hypre"]  # as the build found them
# What issue 2 promises; more members may come.
MEMBERS = {
    "": {"ranks": int, "topology": str, "emulated": bool, "input": dict, "width": int, "dtype": str, "row_bytes": int,
         "volume": dict, "plan": dict, "results": list},
    "input": {"name": str, "rows": int, "cols": int, "nnz": int},
    "volume": {"inter_node_rows": dict, "inter_node_messages": dict, "levels": list},
    "volume.inter_node_rows": {"naive": int, "direct": int, "plan": int, "limit": int},
    "volume.inter_node_messages": {"naive": int, "direct": int, "plan": int},
    "volume.levels.0": {"name": str, "rows": int, "bytes": int, "messages": int},
    "plan": {"strategy": str, "setup_us": float, "break_even_exchanges": int},
    "results.0": {"method": str, "op": str, "iterations": int, "min_us": float, "median_us": float, "p99_us": float,
                  "wrong": int},
}


class Tool:
    """The tool, the launcher, and a folder for what they write."""

    def __init__(self, tool, source_dir, mpiexec, folder):
        self.tool, self.source_dir, self.mpiexec, self.folder = tool, source_dir, mpiexec, folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def data(self, name):
        return os.path.join(self.source_dir, "perf", "data", name)

    def run(self, ranks, *words):
        # Ended by a signal that the launcher passes on to its ranks.
        command = ["timeout", "--kill-after=10", "150", *self.mpiexec, str(ranks), self.tool, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def report(self, ranks, *words):
        """Run with --json; the run must succeed, and say so."""
        path = self.path("report.json")
        done = self.run(ranks, *words, "--json", path)
        assert done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.stdout.rstrip().endswith("# Out of bounds values : 0 OK"), done.stdout
        with open(path, encoding="utf-8") as file:
            return json.load(file)


def member(report, path):
    for name in filter(None, path.split(".")):
        report = report[int(name)] if name.isdigit() else report[name]
    return report


def check_members(report):
    for path, members in MEMBERS.items():
        if path.startswith("results") and not report["results"]:
            continue
        for name, kind in members.items():
            value = member(report, path)[name]
            # bool is an int to Python, and 3.0 may be written as 3.0 or 3
            is_right = type(value) is kind or (kind is float and type(value) is int)
            assert is_right, f"{path}.{name} is {value!r}, not {kind.__name__}"


def check_volumes(report):
    rows, levels = report["volume"]["inter_node_rows"], report["volume"]["levels"]
    strategy = report["plan"]["strategy"]
    assert report["volume"]["check"] == "ok"
    assert rows["limit"] <= rows["plan"] <= rows["direct"] <= rows["naive"], rows
    if strategy in ("rail", "balanced", "aggregated"):
        assert rows["plan"] == rows["limit"], (strategy, rows)
    if strategy == "direct":
        assert rows["plan"] == rows["direct"], rows
    assert levels[0]["name"] == "node" and levels[0]["rows"] == rows["plan"]
    assert levels[0]["messages"] == report["volume"]["inter_node_messages"]["plan"]
    for level in levels:
        assert level["bytes"] == level["rows"] * report["row_bytes"]


def check_ratio(result, report):
    """Of medians, by that of tulle in the same direction; so no ratio for tulle itself, nor without it."""
    tulle = [r["median_us"] for r in report["results"] if (r["method"], r["op"]) == ("tulle", result["op"])]
    if result["method"] == "tulle" or not tulle:
        assert "ratio" not in result, result
    elif "note" not in result:
        assert math.isclose(result["ratio"], result["median_us"] / tulle[0], rel_tol=1e-6), (result, tulle)
        assert 0 < result["ratio_low"] <= result["ratio_high"], result


def check_results(report, directions, methods):
    found = [(result["op"], result["method"]) for result in report["results"]]
    built = [method for method in OPTIONAL if methods == METHODS and (directions[0], method) in found]
    assert found == [(op, method) for op in directions for method in methods + built], found
    for result in report["results"]:
        assert result["wrong"] == 0, result
        if "skipped" in result:
            assert result["iterations"] == 0 and result["skipped"], result
        else:
            assert result["iterations"] > 0, result
            assert 0 < result["min_us"] <= result["median_us"] <= result["p99_us"], result
            check_ratio(result, report)


def check_break_even(report):
    medians = {r["method"]: r["median_us"] for r in reversed(report["results"]) if r["op"] == report["results"][0]["op"]}
    saved = medians["alltoallv"] - medians["tulle"]
    setup, given = report["plan"]["setup_us"], report["plan"]["break_even_exchanges"]
    if saved <= 0:
        assert given == -1, given
    else:  # the file rounds what the tool divides
        assert abs(given - math.ceil(setup / saved)) <= 1 + 1e-6 * given, (given, setup, saved)


def check(report, directions=("gather", "scatter"), methods=METHODS):
    check_members(report)
    check_volumes(report)
    check_results(report, directions, methods)
    if "tulle" in methods and "alltoallv" in methods:
        check_break_even(report)


def read_places(path):
    """(rows, columns, set of entries) of a MatrixMarket file of coordinates."""
    with lzma.open(path, "rt") as file:
        words = file.readline().split()
        line = file.readline()
        while line.startswith("%"):
            line = file.readline()
        rows, columns, _ = map(int, line.split())
        places = {(int(i) - 1, int(j) - 1) for i, j in (line.split()[:2] for line in file)}
    if words[4] != "general":
        places |= {(j, i) for i, j in places}
    return rows, columns, places


def owners(num_ids, ranks):
    """Owner of each id: contiguous blocks, one more on each of the first (n mod ranks)."""
    return [r for r in range(ranks) for _ in range(num_ids // ranks + (r < num_ids % ranks))]


def count_volumes(matrix, node_of):
    """Rows between nodes, by the definitions of naive, direct and limit."""
    rows, columns, places = matrix
    row_owner, column_owner = owners(rows, len(node_of)), owners(columns, len(node_of))
    needs = {(row_owner[i], j) for i, j in places if node_of[row_owner[i]] != node_of[column_owner[j]]}
    naive = sum(node_of[owner] != node for owner in column_owner for node in node_of)
    crossing = {(node_of[rank], j) for rank, j in needs}
    entering = [sum(to == node for to, _ in crossing) for node in set(node_of)]
    leaving = [sum(node_of[column_owner[j]] == node for _, j in crossing) for node in set(node_of)]
    busiest = max(entering + leaving)
    return {"naive": naive, "direct": len(needs), "limit": len(crossing), "busiest": busiest}


def expect_volumes(report, expected):
    rows = {"busiest": report["volume"]["limit_busiest_rows"], **report["volume"]["inter_node_rows"]}
    assert {name: rows[name] for name in expected} == expected, (rows, expected)


def case_mesh(tool, ranks, topology, node_of, *words):
    path = tool.data("debian-4elt.mtx.xz")
    matrix = read_places(path)
    report = tool.report(ranks, "--matrix", path, "--topology", topology, "--iterations", 3, *words)
    check(report)
    expect_volumes(report, count_volumes(matrix, node_of))
    assert (report["ranks"], report["topology"], report["emulated"]) == (ranks, topology, True), report
    assert report["input"] == {"name": "debian-4elt", "rows": 7434, "cols": 7434, "nnz": len(matrix[2])}
    assert (report["width"], report["dtype"], report["row_bytes"]) == (64, "f32", 256)


def case_strategies(tool, ranks):
    for strategy in ("auto", "direct", "rail", "balanced", "aggregated"):
        for order in ("caller", "plan"):
            report = tool.report(ranks, "--random", "2000,6,1", "--topology", "3,1,4", "--strategy", strategy,
                                 "--ghost-order", order, "--width", 3, "--dtype", "f64", "--iterations", 2)
            check(report)
            assert report["plan"]["strategy"] == strategy


def case_datatypes(tool, ranks):
    for dtype in ("f64", "f32", "f16", "bf16", "i8", "i32", "i64", "u8", "c64", "c128", "byte"):
        ops = {"c64": ["sum", "prod", "replace"], "c128": ["sum", "prod", "replace"], "byte": ["replace"]}
        for reduce in ops.get(dtype, ["sum", "min", "max", "prod", "replace"]):
            report = tool.report(ranks, "--grid", "12x12", "--stencil", 9, "--periodic", "xy", "--topology", "2x2",
                                 "--dtype", dtype, "--reduce", reduce, "--width", 5, "--iterations", 1, "--warmup", 0)
            check(report)
            naive = [r for r in report["results"] if (r["method"], r["op"]) == ("naive", "scatter")][0]
            assert ("skipped" in naive) == (reduce == "replace"), naive


def case_grid(tool, ranks):
    """Slabs of a box, three nodes in a ring: each slab has two faces of 16 x 8 cells."""
    report = tool.report(ranks, "--grid", "16x8x12", "--stencil", 7, "--periodic", "z", "--topology", f"{ranks}x1",
                         "--op", "gather", "--methods", "tulle,alltoallv", "--iterations", 2)
    check(report, ["gather"], ["tulle", "alltoallv"])
    expect_volumes(report, {"naive": 16 * 8 * 12 * (ranks - 1), "direct": 2 * 16 * 8 * ranks,
                            "limit": 2 * 16 * 8 * ranks})
    report = tool.report(ranks, "--grid", "16x8x12", "--no-shared-memory", "--methods", "none")
    check(report, [], [])
    assert report["emulated"] is False and report["plan"]["break_even_exchanges"] == -1


def count_crossings(side, angles):
    """Pixels that rays cross, as Siddon traced them: each ray is cut where it meets the lines between pixels."""
    count = 0
    lines = [i - side / 2 for i in range(side + 1)]
    for angle in (math.pi * k / angles for k in range(angles)):
        normal = math.cos(angle), math.sin(angle)
        way = -normal[1], normal[0]
        for s in (d + 0.5 - side / 2 for d in range(side)):
            cuts = sorted((line - s * normal[axis]) / way[axis]
                          for axis in (0, 1) if abs(way[axis]) > 1e-12 for line in lines)
            middles = [(a + b) / 2 for a, b in zip(cuts, cuts[1:]) if b - a > 1e-9]
            count += sum(all(abs(s * normal[axis] + t * way[axis]) < side / 2 for axis in (0, 1)) for t in middles)
    return count


def case_tomography(tool, ranks):
    """Rows of a scan are shared by many ranks of a node, so that a plan saves much between nodes."""
    report = tool.report(ranks, "--tomography", "24,17", "--topology", "2x2x3", "--width", 3, "--iterations", 2,
                         "--strategy", "balanced")
    check(report)
    assert report["input"] == {"name": "tomography-24x17", "rows": 24 * 24, "cols": 24 * 17,
                               "nnz": count_crossings(24, 17)}
    rows = report["volume"]["inter_node_rows"]
    assert 2 * rows["plan"] < rows["direct"], rows


def case_plan_file(tool, ranks):
    words = ["--random", "500,5,9", "--topology", "2x2", "--iterations", 2]
    plan = tool.path("plan")
    made = tool.report(ranks, *words, "--strategy", "rail", "--ghost-order", "plan", "--save-plan", plan)
    loaded = tool.report(ranks, *words, "--load-plan", plan)
    check(loaded)
    assert loaded["plan"]["loaded"] and loaded["volume"] == made["volume"], loaded
    expect_failure(tool.run(ranks, "--random", "400,5,9", "--topology", "2x2", "--load-plan", plan), 1, "another matrix")
    expect_failure(tool.run(ranks, *words, "--topology", "4x1", "--load-plan", plan), 1, "topology")
    with open(plan, "rb") as file:
        half = file.read()
    with open(tool.path("half"), "wb") as file:
        file.write(half[:len(half) // 2])
    expect_failure(tool.run(ranks, *words, "--load-plan", tool.path("half")), 1, "half")


def expect_failure(done, status, text):
    said = [line for line in done.stderr.splitlines() if line.startswith("tulle_perf: ")]
    assert done.returncode == status, f"status {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
    assert len(said) == 1 and text in said[0], f"{text!r} is not in {said}\n{done.stderr}"


def case_bad_input(tool, ranks):
    with open(tool.path("foreign.mtx"), "w", encoding="utf-8") as file:
        file.write("a matrix this is not\n")
    expect_failure(tool.run(ranks), 2, "no input")
    expect_failure(tool.run(ranks, "--grid", "4x4", "--width", "-1"), 2, "--width is '-1'")
    expect_failure(tool.run(ranks, "--grid", "4x4", "--topology", f"{ranks + 1}"), 2, f"{ranks}")
    expect_failure(tool.run(ranks, "--grid", "4x4", "--topology", "2y2"), 2, "2y2")
    expect_failure(tool.run(ranks, "--grid", "4x4", "--peers", "fast"), 2, "petsc_basic, petsc_neighbor, hypre")
    expect_failure(tool.run(ranks, "--grid", "4x4", "--json", tool.path("no/where.json")), 2, "where.json")
    expect_failure(tool.run(ranks, "--matrix", tool.path("missing.mtx")), 1, "missing.mtx")
    expect_failure(tool.run(ranks, "--matrix", tool.path("foreign.mtx")), 1, "foreign.mtx")
    expect_failure(tool.run(ranks, "--grid", "4x4", "--load-plan", tool.path("none")), 1, "none")
    help_text = tool.run(ranks, "--help")
    assert help_text.returncode == 0 and help_text.stdout.count("Usage: tulle_perf") == 1, help_text.stdout
    version = tool.run(ranks, "--version")
    assert version.returncode == 0 and len(version.stdout.splitlines()) == 1, version.stdout


def case_explain(tool, ranks):
    done = tool.run(ranks, "--grid", "32x32", "--topology", "2x2", "--explain", "--methods", "tulle", "--iterations", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("strategy auto on topology 2x2") == 1, done.stdout


def case_table(tool, ranks):
    """The figures of issue 2, where the real matrices are at hand; they may not be shipped."""
    folder = os.path.join(tool.source_dir, "..", "shared", "data")
    if not os.path.isdir(folder):
        sys.exit(SKIPPED)
    table = [("4elt", "4x4", 187272, 2265, 2120), ("memplus", "4x4", 213096, 20639, 18064),
             ("finan512", "4x4", 897024, 47150, 46183), ("bcsstk33_pattern", "4x4", 104856, 2796, 2781),
             ("email-Enron", "2x8", 293536, 25030, 17290), ("wiki-Vote", "2x8", 56920, 6142, 1244),
             ("pubmed", "2x8", 157736, 31071, 14002), ("ISPD98_ibm14", "2x8", 1180840, 127549, 88524)]
    for name, topology, naive, direct, limit in table:
        report = tool.report(ranks, "--matrix", os.path.join(folder, name, name + ".mtx.xz"), "--topology", topology,
                             "--strategy", "balanced", "--width", 4, "--methods", "tulle", "--iterations", 1)
        check(report, methods=["tulle"])
        expect_volumes(report, {"naive": naive, "direct": direct, "limit": limit, "plan": limit})


def case_partition(tool, ranks):
    """A mesh in an order of its generator: METIS must at least halve its volume; a file that deals it out as blocks do
    must change nothing, and one that deals it out in turn must give what is counted from it."""
    path = tool.data("debian-4elt.mtx.xz")
    words = ["--matrix", path, "--topology", "2x4", "--iterations", 2]
    rows, columns, places = read_places(path)
    node_of = [0] * 4 + [1] * 4
    block = count_volumes((rows, columns, places), node_of)
    before = {"direct": block["direct"], "limit": block["limit"]}
    metis = tool.run(ranks, *words, "--partition", "metis", "--methods", "none")
    if "needs a build with METIS" not in metis.stderr:
        report = tool.report(ranks, *words, "--partition", "metis")
        check(report)
        assert report["input"]["partition"]["inter_node_rows_before"] == before, report["input"]
        assert 2 * report["volume"]["inter_node_rows"]["limit"] <= before["limit"], report["volume"]
    parts = tool.path("parts")
    for part_of in (owners(rows, ranks), [row % ranks for row in range(rows)]):
        with open(parts, "w", encoding="utf-8") as file:
            file.writelines(f"{part}\n" for part in part_of)
        report = tool.report(ranks, *words, "--partition", parts)
        check(report)
        new_row = {old: new for new, old in enumerate(sorted(range(rows), key=lambda row: (part_of[row], row)))}
        expect_volumes(report, count_volumes((rows, columns, {(new_row[i], new_row[j]) for i, j in places}), node_of))
        assert report["input"]["partition"]["moved_rows"] == 0, report["input"]
    expect_failure(tool.run(ranks, *words, "--partition", tool.path("none")), 1, "none")


def case_memory(tool, ranks):
    """Of the tool on an emulated GPU: rows in every kind of memory, by transports that lead there."""
    for memory, transport, said in (("plain", "auto", "by the host"), ("pinned", "mpi", "messages of MPI"),
                                    ("device", "auto", "cuda_ipc"), ("device", "cuda_staged", "as asked"),
                                    ("managed", "cuda_ipc", "by GPUs")):
        words = ["--grid", "24x24", "--topology", "2x2", "--memory", memory, "--transport", transport, "--width", 3,
                 "--iterations", 2]
        report = tool.report(ranks, *words)
        assert (report["memory"], report["transport"]) == (memory, transport)
        check(report)
        done = tool.run(ranks, *words, "--explain", "--methods", "tulle")
        assert said in done.stdout and f"rows in {memory} memory" in done.stdout, done.stdout
    expect_failure(tool.run(ranks, "--grid", "24x24", "--transport", "cuda_ipc"), 1, "does not move rows in host memory")


def case_wire_precision(tool, ranks):
    """Rows between nodes in less: fewer bytes, errors within their bounds and not always zero, peers exact."""
    words = ["--random", "600,8,3", "--topology", "2x2", "--width", 20, "--iterations", 2]
    whole = tool.report(ranks, *words, "--methods", "tulle")
    assert whole["wire_precision"] == "none" and not any("error_of_bound" in r for r in whole["results"]), whole
    for precision, row_bytes, reduces in (("bf16", 40, ["sum", "prod"]), ("f16", 40, ["min"]), ("fp8", 21, ["sum"])):
        for reduce in reduces:
            report = tool.report(ranks, *words, "--wire-precision", precision, "--reduce", reduce,
                                 "--methods", "tulle,alltoallv")
            assert report["wire_precision"] == precision and not any(r["wrong"] for r in report["results"]), report
            levels = report["volume"]["levels"]
            assert [level["bytes"] // level["rows"] for level in levels] == [row_bytes, 80], levels
            errors = {(r["method"], r["op"]): r.get("error_of_bound", 0) for r in report["results"]}
            assert 0.1 < errors["tulle", "gather"] <= 1 and 0 <= errors["tulle", "scatter"] <= 1, errors
            # products are exact, and small contributions in f16
            assert precision == "f16" or reduce == "prod" or errors["tulle", "scatter"] > 0.1, errors
            assert errors["alltoallv", "gather"] == errors["alltoallv", "scatter"] == 0, errors
    done = tool.run(ranks, *words, "--wire-precision", "fp8", "--methods", "tulle", "--explain")
    assert "carry fp8" in done.stdout and "Largest error of gather by fp8" in done.stdout, done.stdout
    expect_failure(tool.run(ranks, *words, "--wire-precision", "fp8", "--dtype", "f64"), 2, "rows of f32")


def count_cover(matrix, node_of):
    """Rows that cross between nodes at least: per ordered pair of nodes a largest matching of the block between them,
    which is as large as the smallest cover (Koenig); columns find rows one by one, moving those who have one."""
    rows, cols, places = matrix
    row_owner, col_owner = owners(rows, len(node_of)), owners(cols, len(node_of))
    blocks = {}
    for row, col in places:
        pair = node_of[col_owner[col]], node_of[row_owner[row]]
        if pair[0] != pair[1]:
            blocks.setdefault(pair, {}).setdefault(col, []).append(row)
    size = 0
    for block in blocks.values():
        mate = {}

        def find_mate(col, tried):
            for row in block[col]:
                if row not in tried:
                    tried.add(row)
                    if row not in mate or find_mate(mate[row], tried):
                        mate[row] = col
                        return True
            return False

        size += sum(find_mate(col, set()) for col in block)
    return size


def check_spmm(report, methods, cover):
    assert (report["op"], report["volume"]["check"]) == ("spmm", "ok"), report
    rows, results = report["volume"]["inter_node_rows"], {r["method"]: r for r in report["results"]}
    assert rows["cover"] == rows["cover_b"] + rows["cover_c"] == cover <= rows["limit"] <= rows["direct"], rows
    assert cover <= rows["plan"] <= rows["direct"], rows
    assert set(methods) <= set(results) and not any(r["wrong"] for r in results.values()), results
    for result in results.values():
        assert result["op"] == "spmm" and ("skipped" in result or 0 < result["min_us"] <= result["median_us"]), result
        assert ("ratio" in result) == (result["method"] != "tulle" and "skipped" not in result), result
    assert report["plan"]["setup_us"] > 0 and report["limits"]["total_by_longer_half"] > 0, report


def case_spmm(tool, ranks):
    sys.setrecursionlimit(20000)
    path, node_of = tool.data("add32.mtx.xz"), [0] * 4 + [1] * 4
    matrix = read_places(path)
    least, limit = count_cover(matrix, node_of), count_volumes(matrix, node_of)["limit"]
    own = ["tulle", "exchange", "multiply"]
    words = ["spmm", "--matrix", path, "--topology", "2x4", "--iterations", 2, "--warmup", 1]
    check_spmm(tool.report(ranks, *words, "--width", 8, "--cover", "least"), [*own, "allgather"], least)
    check_spmm(tool.report(ranks, *words, "--width", 9, "--dtype", "bf16", "--cover", "columns", "--peers", "allgather"),
               [*own, "allgather"], limit)
    check_spmm(tool.report(ranks, *words, "--width", 5, "--dtype", "f32", "--cover", "columns", "--trusted",
                           "--peers", "none"), own, limit)
    report = tool.report(ranks, *words, "--transpose", "--cover", "least", "--threads", 2)
    check_spmm(report, own, least)
    assert report["transposed"] and report["plan"]["cover"] == "least", report
    for bad, text in ((["--width", 0], "--width"), (["--cover", "most"], "most"), (["--peers", "hypre"], "--peers"),
                      (["--dtype", "i8"], "--dtype"), (["--topology", "3x3"], "3x3"), (["nonsense"], "nonsense")):
        expect_failure(tool.run(2, *words[:3], *bad), 2, text)
    assert "--transpose" in tool.run(1, "spmm", "--help").stdout


def case_spmm_table(tool, ranks):
    """Rows of minimum covers, where the real matrices are at hand; they may not be shipped."""
    folder = os.path.join(tool.source_dir, "..", "shared", "data")
    if not os.path.isdir(folder):
        sys.exit(SKIPPED)
    table = [("4elt", "4x4", 1124), ("memplus", "4x4", 9594), ("finan512", "4x4", 34296), ("email-Enron", "2x8", 6648),
             ("pubmed", "2x8", 7078), ("dblp-2010", "2x8", 29900)]
    for name, topology, cover in table:
        report = tool.report(ranks, "spmm", "--matrix", os.path.join(folder, name, name + ".mtx.xz"), "--topology",
                             topology, "--cover", "least", "--width", 2, "--peers", "none", "--iterations", 1,
                             "--warmup", 0)
        check_spmm(report, ["tulle"], cover)


CASES = {
    "spmm": lambda tool: case_spmm(tool, 8),
    "spmm_table": lambda tool: case_spmm_table(tool, 16),
    "mesh_2x4": lambda tool: case_mesh(tool, 8, "2x4", [0] * 4 + [1] * 4),
    "mesh_4x4": lambda tool: case_mesh(tool, 16, "4x4", [r // 4 for r in range(16)], "--strategy", "balanced"),
    "mesh_ragged": lambda tool: case_mesh(tool, 8, "3,1,4", [0, 0, 0, 1, 2, 2, 2, 2], "--strategy", "rail"),
    "mesh_cyclic": lambda tool: case_mesh(tool, 8, "2x4:cyclic", [0, 1] * 4, "--strategy", "aggregated"),
    "mesh_three_levels": lambda tool: case_mesh(tool, 8, "2x2x2", [0] * 4 + [1] * 4, "--ghost-order", "plan"),
    "strategies": lambda tool: case_strategies(tool, 8),
    "datatypes": lambda tool: case_datatypes(tool, 4),
    "grid": lambda tool: case_grid(tool, 3),
    "tomography": lambda tool: case_tomography(tool, 12),
    "plan_file": lambda tool: case_plan_file(tool, 4),
    "bad_input": lambda tool: case_bad_input(tool, 2),
    "explain": lambda tool: case_explain(tool, 4),
    "wire_precision": lambda tool: case_wire_precision(tool, 4),
    "memory": lambda tool: case_memory(tool, 4),
    "partition": lambda tool: case_partition(tool, 8),
    "table": lambda tool: case_table(tool, 16),
}


def main():
    case, tool, source_dir, *mpiexec = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        CASES[case](Tool(tool, source_dir, mpiexec, folder))


if __name__ == "__main__":
    main()
