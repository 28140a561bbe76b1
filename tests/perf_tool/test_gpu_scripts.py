#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""perf/gpu_check with made-up test programs, and what perf/gpu_pack packs of this build.

test_gpu_scripts.py check SOURCE_DIR           needs no GPU and no MPI
test_gpu_scripts.py pack SOURCE_DIR BUILD_DIR  exit status 77: not built with Open MPI
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
PROGRAMS = {
    "good": "echo working; echo 'figure: copy 1200 GB/s of 1600 GB/s'; echo 'figure: latency 3.5 us'",
    "bad": "echo 'this went wrong'; exit 3",
    "skipping": "echo 'skipped: no device'; exit 77",
    "endless": "sleep 600",
    "arguments": 'echo "figure: ranks $RANKS ranks"; [[ "$*" == "--memory device" ]]',
}
MPIRUN = 'shift; export RANKS=$1; shift; exec "$@"'
SANITIZER = 'echo "figure: $2 1 run"; [[ $1 == --tool && $3 == --error-exitcode && $4 == 1 ]] || exit 9; exec "$5"'


class Folder:
    """A packed folder: the script, lists, and programs that are shell scripts."""

    def __init__(self, source_dir, folder):
        self.folder, self.output = folder, ""
        self.write("run", 'PATH=$(dirname "$0")/bin:$PATH; exec "$@"')
        self.write("bin/mpirun", MPIRUN)
        for name, text in PROGRAMS.items():
            self.write(f"build/tests/{name}", text)
        os.makedirs(os.path.join(folder, "perf"))
        shutil.copy(os.path.join(source_dir, "perf", "gpu_check"), os.path.join(folder, "perf"))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/usr/bin/env bash\n{text}\n")
        os.chmod(path, 0o755)

    def check(self, tests, *words, benchmarks="", status=0):
        """Run the script on these lists; return the rows of its table as (name, result, figure)."""
        for name, lines in (("build/gpu_tests.txt", tests), ("perf/gpu_benchmarks.txt", benchmarks)):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(lines)
        done = subprocess.run([os.path.join(self.folder, "perf", "gpu_check"), *words], capture_output=True, text=True,
                              check=False)
        assert done.returncode == status, f"status {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
        self.output = done.stdout
        lines = done.stdout.split("\n")
        first = next(i for i, line in enumerate(lines) if re.match(r"name +result +figure$", line))
        table = lines[first + 1:lines.index("", first)]
        return [(line[:44].strip(), line[45:53].strip(), line[54:].strip()) for line in table]


def check_passed_with_figures(folder):
    rows = folder.check("a.good 0 60 tests/good\n", "--assume-gpu",
                        benchmarks="# comment\n\nb.np4 4 60 tests/arguments --memory device\n")
    assert rows == [("a.good", "passed", ""), ("", "", "copy 1200 GB/s of 1600 GB/s, 75 %"), ("", "", "latency 3.5 us"),
                    ("b.np4", "passed", ""), ("", "", "ranks 4 ranks")], rows


def check_failure_is_shown_and_others_go_on(folder):
    rows = folder.check("a 0 60 tests/bad\nb 0 60 tests/missing\nc 0 60 tests/skipping\nd 0 60 tests/good\n",
                        "--assume-gpu", status=1)
    results = [(name, result) for name, result, _ in rows if name]
    assert results == [("a", "failed"), ("b", "failed"), ("c", "skipped"), ("d", "passed")], rows
    assert rows[0][2] == "exit status 3" and rows[2][2] == "skipped: no device", rows
    assert "this went wrong" in folder.output and "1 passed, 2 failed or not run, of 4" in folder.output


def check_all_skipped_is_skipped(folder):
    rows = folder.check("a 0 60 tests/skipping\nb 2 60 tests/skipping\n", "--assume-gpu", status=SKIPPED)
    assert [result for _, result, _ in rows] == ["skipped", "skipped"], rows


def check_limits_are_kept(folder):
    """One second by its own limit, then two as a quarter of all; then, sooner on a busy machine, time is up."""
    tests = "".join(f"{name} 0 {limit} tests/endless\n" for name, limit in zip("abcdef", (1, 60, 60, 60, 60, 60)))
    rows = folder.check(tests, "--assume-gpu", "--seconds", "8", status=1)
    results = [result for _, result, _ in rows]
    num_run = results.count("failed")
    assert 2 <= num_run < 6 and results == ["failed"] * num_run + ["not run"] * (6 - num_run), rows
    assert rows[0][2].endswith(" 1 s") and rows[1][2].endswith(" 2 s") and rows[5][2] == "no time left", rows


def check_selection(folder):
    rows = folder.check("one.np2 2 9 tests/good\ntwo.np2 2 9 tests/bad\n", "--assume-gpu", "--only", "^one")
    assert [name for name, _, _ in rows if name] == ["one.np2"], rows


def check_no_gpu_runs_nothing(folder):
    if os.path.exists("/dev/nvidiactl") or shutil.which("nvidia-smi"):
        return
    rows = folder.check("a 0 60 tests/bad\n", status=SKIPPED)
    assert rows == [("a", "skipped", "no GPU")] and "No GPU here" in folder.output, rows


def check_sanitizer_runs_kernels_and_pairs(folder):
    folder.write("sanitizer/compute-sanitizer", SANITIZER)
    rows = folder.check("a 0 60 tests/skipping\nb 2 60 tests/good\nc 4 60 tests/good\n", "--assume-gpu",
                        benchmarks="d 2 60 tests/good\n")
    names = [name for name, _, _ in rows if name]
    assert names == ["a", "b", "c", "d", "a.memcheck", "a.racecheck", "b.memcheck"], rows
    tools = [figure for _, _, figure in rows if figure.endswith("1 run")]
    assert tools == ["memcheck 1 run", "racecheck 1 run", "memcheck 1 run"], rows


def case_check(source_dir):
    for check in (check_passed_with_figures, check_failure_is_shown_and_others_go_on, check_all_skipped_is_skipped,
                  check_limits_are_kept, check_selection, check_no_gpu_runs_nothing,
                  check_sanitizer_runs_kernels_and_pairs):
        with tempfile.TemporaryDirectory() as folder:
            check(Folder(source_dir, folder))


def is_of_glibc(library):
    return re.match(r"(ld-linux.*|lib(c|m|mvec|pthread|dl|rt|util|resolv|anl))\.so\.\d+$", library)


def expect_closed(folder):
    """Every program and plugin finds all its libraries in the folder, but those of glibc."""
    num_libraries = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                if file.read(4) != b"\x7fELF":
                    continue
            linked = subprocess.run([os.path.join(folder, "run"), "ldd", os.path.join(path, name)], check=True,
                                    capture_output=True, text=True).stdout
            for library, target in re.findall(r"^\s*(\S+) => (not found|\S+)", linked, re.MULTILINE):
                assert is_of_glibc(library) or target.startswith(folder), f"{name}: {library} => {target}"
                num_libraries += 1
    assert num_libraries > 0


def case_pack(source_dir, build_dir):
    """Pack, move the folder away, and run from there with nothing of this environment."""
    with open(os.path.join(build_dir, "CMakeCache.txt"), encoding="utf-8") as file:
        mpirun = re.search(r"^MPIEXEC_EXECUTABLE:FILEPATH=(.*)$", file.read(), re.MULTILINE)[1]
    version = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=True).stdout
    if not re.search("Open MPI|OpenRTE", version):
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as temporary:
        packed, moved = os.path.join(temporary, "packed"), os.path.join(temporary, "elsewhere")
        cusparse = os.path.join(temporary, "cuda", "libcusparse.so.12")
        os.mkdir(os.path.dirname(cusparse))
        subprocess.run(["gcc", "-shared", "-o", cusparse, "-x", "c", os.devnull], check=True)
        subprocess.run([os.path.join(source_dir, "perf", "gpu_pack"), "--limit", "1000", "--cusparse",
                        os.path.dirname(cusparse), "--output", packed, build_dir], check=True)
        os.rename(packed, moved)
        assert os.path.exists(os.path.join(moved, "lib", os.path.basename(cusparse)))
        expect_closed(moved)
        done = subprocess.run(["env", "-i", "PATH=/usr/bin:/bin", f"HOME={moved}", "timeout", "60", "./run", "mpirun", "-n",
                               "4", "build/perf/tulle_perf", "--matrix", "perf/data/add32.mtx.xz", "--topology", "2x2"],
                              cwd=moved, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stdout.rstrip().endswith("# Out of bounds values : 0 OK"), \
            done.stdout + done.stderr
        assert "error" not in done.stderr.lower() and "not found" not in done.stderr, done.stderr


CASES = {"check": case_check, "pack": case_pack}

if __name__ == "__main__":
    CASES[sys.argv[1]](*sys.argv[2:])
