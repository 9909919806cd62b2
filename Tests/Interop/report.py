"""Counts and prints what held and what did not."""

import sys
import time
import traceback


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.started = time.monotonic()

    def ok(self, name, note=""):
        self.passed += 1
        print(f"ok      {name}{': ' + note if note else ''}", flush=True)

    def fail(self, name, note):
        self.failed += 1
        print(f"FAILED  {name}: {note}", flush=True)

    def skip(self, name, note):
        self.skipped += 1
        print(f"skipped {name}: {note}", flush=True)

    def expect(self, name, holds, note):
        (self.ok if holds else self.fail)(name, note)

    def guard(self, name, work, *arguments):
        """Runs one check; what it throws is a failure of that check alone."""
        try:
            return work(*arguments)
        except Exception as error:
            where = traceback.extract_tb(sys.exc_info()[2])[-1]
            self.fail(name, f"{type(error).__name__} at {where.filename.split('/')[-1]}:{where.lineno}: {error}")

    def finish(self):
        print(f"{time.monotonic() - self.started:.0f} s")
        tail = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{tail}")
        return 1 if self.failed or not self.passed else 0
