#!/usr/bin/env python3
"""Prints the figures of "Results of the shipped sweeps" in src/sweep/README.md: mean token latency, by axis.

    benches/sweeps.py [--tiersim PATH] [--out FOLDER] [SWEEP...]

Runs the sweeps that the section speaks of, or those that are named, and goes on with what is
finished in FOLDER. The first axis of a sweep goes down, the others across. Takes about two minutes
on two cores. Needs Python alone."""
import argparse, pathlib, subprocess

SHIPPED = ("hbm-or-link", "skip-and-migration", "gh200-hbm-or-link", "gh200-skip-and-migration")
FIGURE = "token_latency_ns.mean"

parser = argparse.ArgumentParser()
parser.add_argument("sweeps", nargs="*", default=SHIPPED)
parser.add_argument("--tiersim", default="target/release/tiersim")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/sweeps"))
args = parser.parse_args()


def cells(line):
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def table(folder):
    """The rows of a sweep's report, the axes first."""
    command = [args.tiersim, "-q", "sweep", "report", str(folder), "--top", "100000"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    lines = lines[: lines.index("")]
    head = cells(lines[0])
    axes = head[: head.index(FIGURE)]
    return axes, [cells(line)[: len(axes) + 1] for line in lines[2:]]


def size(text):
    """Sorts sizes and shares as numbers, and names as they are."""
    number, _, unit = text.partition(" ")
    factor = {"GB/s": 1e9, "TB/s": 1e12, "GB": 1e9, "GiB": 2**30}.get(unit, 1)
    try:
        return (float(number) * factor, text)
    except ValueError:
        return (0, text)


for sweep in args.sweeps:
    folder = args.out / sweep
    run = [args.tiersim, "-q", "sweep", sweep, "--resume", "--out", str(folder)]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    axes, rows = table(folder)
    found = {(row[0], tuple(row[1:-1])): row[-1] for row in rows}
    across = sorted({key[1] for key in found}, key=lambda names: [size(name) for name in names])
    print(f"{sweep}: {FIGURE}\n")
    print(f"| {axes[0]} | " + " | ".join(", ".join(names) for names in across) + " |")
    print("| --- " * (len(across) + 1) + "|")
    for first in sorted({key[0] for key in found}, key=size):
        print(f"| {first} | " + " | ".join(found.get((first, names), "") for names in across) + " |")
    print(flush=True)
