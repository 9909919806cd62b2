"""Attune and the libraries whose formats it reads and writes, on the same files.

    check.py ATTUNE WORK [--only SUBJECT]... [--family NAME]... [--sweep N] [--seed S]

SUBJECT: checkpoints, fine_tunes, merged, texts, preprocess, second_set. WORK is a folder for what is written on the way.
"""

import argparse
import importlib
import sys

import families
from program import Program
from report import Report

SUBJECTS = ["checkpoints", "fine_tunes", "texts", "preprocess", "second_set"]


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
        module = importlib.import_module(subject)
        if subject == "second_set":
            module.check(report, program, options.work, wanted, options.sweep, options.seed)
        else:
            module.check(report, program, options.work, wanted)
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
