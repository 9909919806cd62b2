"""Broken checkpoint folders: an error that names the file, or the very numbers of the whole folder; never a crash, never others."""

import json
import shutil
import struct
from pathlib import Path

import cases
from families import PICTURED, family
from program import Refused
from weights import stream, write_checkpoint

FLIPS = 24
# Reading files has little to do with the family.
FAMILIES = ("qwen2", "qwen3_vl", "deepseek_vl_v2")


def check(report, program, work, wanted):
    for name in [name for name in wanted if name in FAMILIES or len(wanted) < len(FAMILIES)]:
        report.guard(f"{name} damaged", one_family, report, program, work, name)


def one_family(report, program, work, name):
    spec = family(name, 21)
    whole = write_checkpoint(f"{work}/damage/{name}", spec, shard="60KB" if name in ("qwen2", "qwen3_vl") else None)
    lines = [line for _, line in cases.ids_cases(spec["config"], 1, (12,)) + cases.text_cases(spec["config"])[:1] + cases.chat_cases()[:1]]
    if name in PICTURED:
        lines.append(cases.picture_cases(f"{work}/damage/pictures", 1)[0][1])
    truth = program.score(whole, lines)
    broken = Path(f"{work}/damage/{name}-broken")
    shutil.rmtree(broken, ignore_errors=True)
    trial = Trial(program, whole, broken, lines, truth)
    files = sorted(path.name for path in whole.iterdir() if path.is_file())
    files = [name for name in files if not name.startswith("model-") or name.startswith("model-00001-")]
    for file in files:
        trial.make(file, None)
        trial.look(f"without {file}", file)
        size = (whole / file).stat().st_size
        # A template that was cut may still be a template.
        for length in (0,) if file.endswith(".jinja") else (0, 1, size // 3, size - 1):
            trial.make(file, (whole / file).read_bytes()[:length])
            trial.look(f"{file} cut to {length} of {size} bytes", file)
    random = stream("flips", name)
    for file in [f for f in files if f.endswith(".safetensors")]:
        content = (whole / file).read_bytes()
        header = 8 + struct.unpack("<Q", content[:8])[0]
        bits = random.integers(0, 64, FLIPS // 2).tolist() + random.integers(64, header * 8, FLIPS).tolist()
        for bit in bits:
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            trial.make(file, bytes(changed))
            trial.look(f"{file}, bit {bit} of its header flipped", file)
    trial.finish(report, name)


class Trial:
    def __init__(self, program, whole, broken, lines, truth):
        self.program, self.whole, self.broken, self.lines, self.truth = program, whole, broken, lines, truth
        self.refused = self.same = 0
        self.wrong = []

    def make(self, file, content):
        """The folder with one file replaced; nothing takes it away."""
        if not self.broken.exists():
            shutil.copytree(self.whole, self.broken)
        if getattr(self, "touched", None):
            shutil.copyfile(self.whole / self.touched, self.broken / self.touched)
        self.touched = file
        if content is None:
            (self.broken / file).unlink()
        else:
            (self.broken / file).write_bytes(content)

    def look(self, what, file):
        try:
            answers = self.program.score(self.broken, self.lines)
        except Refused as refusal:
            named = file in refusal.text or "model.safetensors.index.json" in refusal.text
            if refusal.status in (1, 2) and named:
                self.refused += 1
            else:
                self.wrong.append(f"{what}: {refusal}")
            return
        if answers == self.truth:
            self.same += 1
        else:
            self.wrong.append(f"{what}: no error, other numbers: {json.dumps(answers)[:200]}")

    def finish(self, report, name):
        count = self.refused + self.same + len(self.wrong)
        for note in self.wrong[:12]:
            print(f"        {note}")
        report.expect(f"{name} damaged", not self.wrong, f"{count} broken folders, {self.refused} refused, {self.same} without effect, {len(self.wrong)} wrong")
