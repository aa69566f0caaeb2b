#!/usr/bin/env python3
"""Prints the table of src/strategy/README.md: simulated time over the bound, by setting, of every strategy.

    benches/strategies.py [--tiersim PATH] [--recorded FOLDER] [--out FOLDER]

Runs `tiersim strategies` on the study's eight settings and, with a folder of recordings (.kvs), on each of them with four
capacities of HBM. Takes about ten minutes on two cores. Needs Python alone."""
import argparse, json, pathlib, subprocess

parser = argparse.ArgumentParser()
parser.add_argument("--tiersim", default="target/release/tiersim")
parser.add_argument("--recorded", type=pathlib.Path)
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/strategies-table"))
args = parser.parse_args()

settings = []
for decode in (1024, 4096, 8192, 16384):
    for skip, words in (("0", "nothing skipped"), ("40%", "40 % skipped")):
        settings.append((f"{decode} tokens, {words}", ["study", "--decode", str(decode), "--skip", skip]))
if args.recorded:
    names = {"forced_python_heapq_skip40": "Python source", "forced_shakespeare_skip40": "Shakespeare", "chat_mtbench81_skip40": "chat"}
    for file, name in names.items():
        for hbm in ("1.05GiB", "1.2GiB", "1.5GiB", "3GiB"):
            trace = ["--trace", str(args.recorded / f"{file}.kvs"), "--layer-map", "Scale", "--hbm-capacity", hbm]
            settings.append((f"{name}, {hbm.replace('GiB', ' GiB')}", ["study", *trace]))

NAMED = ("baseline", "best-ratio", "balanced", "balanced-online")
print("| setting | baseline | best-ratio (oracle: sees 1 step) | best other | worst other | balanced (oracle: sees 8 steps) | balanced-online |")
print("| --- | --- | --- | --- | --- | --- | --- |")
for index, (title, command) in enumerate(settings):
    folder = args.out / str(index)
    subprocess.run([args.tiersim, "-q", "strategies", *command, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    over = {}
    for path in sorted(folder.glob("*/summary.json")):
        summary = json.loads(path.read_text())
        if summary["complete"]:
            over[summary["strategy"]] = summary["bound"]["achieved_over_bound"]
    # Balanced on other layouts and ByRoom alone are left out: they are parts of the strategies that
    # the others are compared with.
    others = {name: value for name, value in over.items()
              if name not in NAMED and "/Balanced" not in name and not name.startswith("ByRoom/")}
    best, worst = min(others, key=others.get), max(others, key=others.get)
    cells = [f"{over[name]:.4f}" for name in NAMED[:2]]
    cells += [f"{others[name]:.4f} {name}" for name in (best, worst)]
    cells += [f"{over[name]:.4f}" for name in NAMED[2:]]
    print(f"| {title} | " + " | ".join(cells) + " |", flush=True)
