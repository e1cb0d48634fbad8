"""Ratios between two results of one benchmark: ``python benchmarks/compare.py before.json after.json``.

Takes the files that the benchmarks here write beside their Markdown, and those of pytest-benchmark
(``make bench ARGS=--benchmark-json=before.json``). Runs with the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import sys

NOTABLE = 1.2
"""Factor from which on a line is marked."""


def main(arguments: list[str] | None = None) -> int:
    """Prints the table.

    Returns:
        0; 2 if a file cannot be read or the two have nothing in common.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=pathlib.Path)
    parser.add_argument("after", type=pathlib.Path)
    options = parser.parse_args(arguments)
    try:
        (before, about_before), (after, about_after) = read(options.before), read(options.after)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    common = [name for name in before if name in after]
    if not common:
        print(f"{options.before} and {options.after} have no figure in common.", file=sys.stderr)
        return 2
    print(f"before: {options.before}, {about_before}\nafter:  {options.after}, {about_after}\n")
    print("| what | before | after | after / before | |\n|---|---|---|---|---|")
    ratios = []
    for name in common:
        a, b = before[name], after[name]
        ratio = b / a if a else math.nan
        if a > 0 and b > 0:
            ratios.append(ratio)
        mark = "!" if a and not 1 / NOTABLE < ratio < NOTABLE else ""
        print(f"| {name} | {a:g} | {b:g} | {ratio:.2f} | {mark} |")
    if ratios:
        print(f"\ngeometric mean of {len(ratios)} ratios: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")
    for title, names in (("before", set(before) - set(after)), ("after", set(after) - set(before))):
        if names:
            print(f"only {title}: {'; '.join(sorted(names))}")
    return 0


def read(path: pathlib.Path) -> tuple[dict[str, float], str]:
    """Figures by name, and where they are from."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from None
    if "figures" in document:
        return document["figures"], f"{document['written']}, load {document['load']}, {document['machine']}"
    if "benchmarks" in document:
        figures = {f"{one['fullname']}: median s": one["stats"]["median"] for one in document["benchmarks"]}
        return figures, f"{document['datetime']}, {document['machine_info']['node']}"
    raise ValueError(f"{path} holds no results of a benchmark: expected the key figures, or those of pytest-benchmark.")


if __name__ == "__main__":
    sys.exit(main())
