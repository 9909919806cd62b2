"""Attune and the libraries whose formats it reads and writes, on the same files.

    check.py ATTUNE WORK [--only SUBJECT]... [--family NAME]... [--sweep N] [--seed S]

README.md beside this file says what each SUBJECT proves. WORK is a folder for what is written on the way.
"""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import families
from program import Program
from report import Report

SUBJECTS = ["checkpoints", "fine_tunes", "training", "merged", "adapters", "experts", "reward_models", "texts", "preprocess", "damage", "second_set"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attune")
    parser.add_argument("work")
    parser.add_argument("--only", action="append", choices=SUBJECTS)
    parser.add_argument("--family", action="append", choices=list(families.FAMILIES))
    parser.add_argument("--sweep", type=int, default=0, help="random checkpoints besides the fixed ones")
    parser.add_argument("--seed", type=int, default=1, help="first seed of the sweep")
    options = parser.parse_args()
    report, program = Report(), Program(options.attune)
    wanted = options.family or list(families.FAMILIES)
    for subject in options.only or SUBJECTS:
        if subject == "adapters":
            adapters(report, options)
            continue
        module = importlib.import_module(subject)
        if subject == "second_set":
            module.check(report, program, options.work, wanted, options.sweep, options.seed)
        else:
            module.check(report, program, options.work, wanted)
    sys.exit(report.finish())


def adapters(report, options):
    """A script of its own, which counts by itself."""
    script = Path(__file__).resolve().parent / "adapters.py"
    work = Path(options.work) / "adapters"
    work.mkdir(parents=True, exist_ok=True)
    status = subprocess.run([sys.executable, str(script), options.attune, str(work)]).returncode
    report.expect("adapters", status == 0, f"exit status {status}")


if __name__ == "__main__":
    main()
