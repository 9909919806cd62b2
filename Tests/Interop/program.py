"""Runs the attune program as a person would: lines in, lines out."""

import json
import subprocess


class Refused(Exception):
    """The program ended with a status other than 0; `status` and what it said."""

    def __init__(self, command, status, text):
        super().__init__(f"exit {status}: {' '.join(command)}\n{text.strip()[-2000:]}")
        self.status, self.text = status, text


class Program:
    def __init__(self, path):
        self.path = path

    def run(self, *arguments, input=None, cwd=None):
        """Standard output as text.

        Raises: Refused when the status is not 0.
        """
        command = [self.path, *map(str, arguments)]
        found = subprocess.run(command, input=input, capture_output=True, text=True, encoding="utf-8", cwd=cwd)
        if found.returncode != 0:
            raise Refused(command, found.returncode, found.stderr or found.stdout)
        return found.stdout

    def lines(self, command, rows, *flags):
        """One answer (a mapping) per row."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        # Not splitlines: it would also cut at separators that may stand inside a JSON string.
        answers = [json.loads(line) for line in self.run(command, *flags, input=text).split("\n") if line]
        assert len(answers) == len(rows), f"{len(answers)} answers to {len(rows)} lines"
        return answers

    def score(self, folder, rows, *flags):
        return self.lines("score", rows, "--model", folder, *flags)

    def greedy(self, folder, rows, count, *flags):
        """The ids of one greedy completion per row, each with its log-probabilities."""
        found = self.lines("generate", rows, "--model", folder, "--temperature", 0, "--max-new-tokens", count, *flags)
        return [row["completions"][0] for row in found]
