#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A METIS graph file as a MatrixMarket pattern: make_metis.py GRAPH OUT.mtx[.xz] [COMMENT ...]

The adjacency matrix, symmetric, without diagonal. Graphs with weights are refused."""
import sys

from matrix_market import write_pattern


def read_graph(path):
    with open(path, encoding="ascii") as file:
        lines = [line for line in file if not line.startswith("%")]
    header = lines[0].split()
    num_vertices, num_edges = int(header[0]), int(header[1])
    if header[2:] and int(header[2]) != 0:
        raise SystemExit(f"{path}: the graph has weights (format {header[2]})")
    edges = {(vertex, int(other) - 1)
             for vertex, line in enumerate(lines[1:num_vertices + 1]) for other in line.split()}
    if len(edges) != 2 * num_edges or any((other, vertex) not in edges for vertex, other in edges):
        raise SystemExit(f"{path}: {len(edges)} neighbours for {num_edges} edges, or an edge that is not mutual")
    return num_vertices, edges


def main():
    source, target, *comments = sys.argv[1:]
    num_vertices, edges = read_graph(source)
    write_pattern(target, comments, num_vertices, num_vertices, edges, symmetric=True)


main()
