"""Pictures of every kind, tiles and films through `attune preprocess`, beside Pillow and the library's processors."""

from pathlib import Path

from libraries import torch, transformers

import numpy as np
from PIL import Image, ImageOps
from safetensors.torch import load_file
from transformers import Qwen2VLImageProcessorPil
from transformers.video_utils import VideoMetadata

import families
from tiles import tile_views
from pictures import QwenProcessor
from program import Refused
from weights import stream, write_side_files

# Levels of 255: decoders of the lossy formats differ by a rounding, more where chroma was stored at half size.
EXACT, LOSSY, SUBSAMPLED = (0, 0.0), (1, 0.2), (4, 0.6)
COUNT = 48


def check(report, program, work, wanted):
    work = Path(work) / "preprocess"
    work.mkdir(parents=True, exist_ok=True)
    random = stream("preprocess")
    drawn = [draw(random, work / f"{i:03d}") for i in range(COUNT)]
    if "qwen3_vl" in wanted:
        report.guard("pictures", pictures, report, program, work, drawn)
        report.guard("films", films, report, program, work, random)
    if "deepseek_vl_v2" in wanted:
        report.guard("tiles", tiles, report, program, work, drawn)


def noisy(random, height, width, channels):
    coarse = random.integers(0, 256, (3, 4, channels)).astype(np.uint8)
    planes = [np.asarray(Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC)) for c in range(channels)]
    value = np.stack(planes, -1).astype(int) + random.integers(-20, 21, (height, width, channels))
    return np.clip(value, 0, 255).astype(np.uint8)


def draw(random, path):
    """Writes a picture of a random kind and size; returns its path and how near another decoder may be expected."""
    pick = lambda *choices: choices[int(random.integers(0, len(choices)))]
    height, width = int(random.integers(1, 160)), int(random.integers(1, 160))
    make = lambda channels: noisy(random, height, width, channels)
    rgb = Image.fromarray(make(3))
    kind = pick("rgb", "rgba", "grey", "grey alpha", "palette", "bilevel", "grey16", "jpeg", "jpeg", "jpeg grey", "jpeg turned", "cmyk", "webp", "webp alpha", "webp lossy")
    if kind == "rgb":
        rgb.save(path := f"{path}.png", compress_level=pick(0, 6))
    elif kind == "rgba":
        Image.fromarray(make(4)).save(path := f"{path}.png")
    elif kind == "grey":
        Image.fromarray(make(1)[..., 0]).save(path := f"{path}.png")
    elif kind == "grey alpha":
        Image.fromarray(make(2)).save(path := f"{path}.png")
    elif kind == "palette":
        rgb.quantize(pick(2, 7, 16, 256)).save(path := f"{path}.png", **pick({}, {"transparency": 0}))
    elif kind == "bilevel":
        rgb.convert("1").save(path := f"{path}.png")
    elif kind == "grey16":
        Image.fromarray((make(1)[..., 0].astype(np.uint16) * 3)).save(path := f"{path}.png")
    elif kind.startswith("jpeg"):
        sampling = pick(0, 1, 2)
        options = dict(quality=int(random.integers(30, 96)), progressive=pick(True, False), optimize=pick(True, False))
        image = rgb.convert("L") if kind == "jpeg grey" else rgb
        if kind == "jpeg turned":
            exif = Image.Exif()
            exif[0x0112] = int(random.integers(1, 9))
            options["exif"] = exif
        image.save(path := f"{path}.jpg", subsampling=sampling, **options)
        return path, kind, LOSSY if sampling == 0 or kind == "jpeg grey" else SUBSAMPLED
    elif kind == "cmyk":
        rgb.convert("CMYK").save(path := f"{path}.jpg", quality=90, subsampling=0)
        return path, kind, SUBSAMPLED
    else:
        image = Image.fromarray(make(4)) if kind == "webp alpha" else rgb
        image.save(path := f"{path}.webp", lossless=kind != "webp lossy", quality=80, exact=True)
        return path, kind, SUBSAMPLED if kind == "webp lossy" else EXACT
    return path, kind, EXACT


def upright(path):
    """As the library's `load_image` gives it, with the transparent colour that Pillow keeps beside the pixels."""
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def within(difference, limits):
    """`difference` in levels."""
    return float(difference.max()) <= limits[0] + 0.01 and float(difference.mean()) <= max(limits[1], 0.001)


def pictures(report, program, work, drawn):
    for name, spec in processors().items():
        folder = work / name
        write_side_files(folder, spec)
        settings = {k: v for k, v in spec["files"]["preprocessor_config.json"].items() if k not in ("processor_class", "image_processor_type")}
        reference = Qwen2VLImageProcessorPil(**settings)
        std = settings["image_std"][0]
        wrong, refused = [], 0
        for path, kind, limits in drawn:
            image = upright(path)
            try:
                truth = reference(images=[image], return_tensors="pt")
            except ValueError:  # aspect ratios that the library refuses
                refused += 1
                continue
            try:
                program.run("preprocess", "--model", folder, "--output", work / "out.safetensors", path)
            except Refused as refusal:
                wrong.append((path, kind, image.size, refusal.text))
                continue
            found = load_file(work / "out.safetensors")
            if found["image_grid_thw"].tolist() != truth["image_grid_thw"].tolist():
                wrong.append((path, kind, image.size, found["image_grid_thw"].tolist(), truth["image_grid_thw"].tolist()))
                continue
            levels = (found["pixel_values"].float() - truth["pixel_values"]).abs() * 255 * std
            # Resizing passes a level of difference on, and the bicubic kernel can add a little.
            if not within(levels, (limits[0] * 1.5, limits[1])):
                wrong.append((path, kind, image.size, f"{float(levels.max()):.1f} levels, mean {float(levels.mean()):.3f}"))
        note = f"{len(wrong)} of {len(drawn)} differ, first {wrong[:3]}" if wrong else f"{len(drawn) - refused} pictures"
        report.expect(f"pictures, {name}", not wrong, note)
    decoded(report, program, work, drawn)


def processors():
    """Small and large patches, limits below and above the pictures' sizes."""
    found = {}
    for name, patch, merge, low, high in (("patch16", 16, 2, 4096, 16384), ("patch14", 14, 2, 100, 10**6), ("patch8", 8, 3, 20000, 30000)):
        spec = families.family("qwen3_vl")
        spec["files"].update(families.processor_files(patch, merge, 2, low, high))
        found[name] = spec
    return found


def decoded(report, program, work, drawn):
    program.run("preprocess", "--decoded", "--output", work / "decoded.safetensors", *[path for path, _, _ in drawn])
    found, wrong = load_file(work / "decoded.safetensors"), []
    for i, (path, kind, limits) in enumerate(drawn):
        truth = torch.from_numpy(np.asarray(upright(path)).copy())
        if kind == "grey16":  # the decoded picture keeps the high byte, where Pillow clips
            high = torch.from_numpy((np.asarray(Image.open(path)) >> 8).astype(np.uint8))
            truth = high[..., None].expand(*high.shape, 3)
        own = found[f"image.{i}"]
        if own.shape != truth.shape or not within((own.float() - truth.float()).abs(), limits):
            wrong.append((path, kind, tuple(own.shape), tuple(truth.shape)))
    report.expect("pictures, decoded", not wrong, f"{len(wrong)} of {len(drawn)} differ, first {wrong[:3]}" if wrong else f"{len(drawn)} pictures")


def tiles(report, program, work, drawn):
    """DeepSeek-VL2: whole views and tiles, for several sets of candidates."""
    kinds = {"9 candidates": (72, [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 2), (2, 3), (1, 4)]), "2 candidates": (50, [(1, 1), (2, 2)])}
    for name, (base, across_down) in kinds.items():
        spec = families.deepseek_vl_v2(base=base, tiles=across_down)
        mean, std = [0.5, 0.4, 0.3], [0.5, 0.25, 0.3]
        spec["files"]["processor_config.json"].update(image_mean=mean, image_std=std)
        folder = work / f"tiles-{base}"
        write_side_files(folder, spec)
        wrong = []
        for path, kind, limits in drawn:
            program.run("preprocess", "--model", folder, "--output", work / "out.safetensors", path)
            found = load_file(work / "out.safetensors")
            fill = tuple(int(255 * value) for value in mean)
            candidates = [(base * a, base * d) for a, d in across_down]
            views, crop = tile_views(upright(path), base, candidates, fill=fill)
            if found["images_spatial_crop"].tolist() != [crop]:
                wrong.append((path, kind, found["images_spatial_crop"].tolist(), crop))
                continue
            scale = torch.tensor(std)[:, None, None]
            levels = (found["images"] * scale + torch.tensor(mean)[:, None, None]) * 255 - torch.from_numpy(views).permute(0, 3, 1, 2)
            if not within(levels.abs(), (limits[0] * 1.5, limits[1])):
                wrong.append((path, kind, f"{float(levels.abs().max()):.2f} levels"))
        note = f"{len(wrong)} of {len(drawn)} differ, first {wrong[:3]}" if wrong else f"{len(drawn)} pictures"
        report.expect(f"tiles, {name}", not wrong, note)


def films(report, program, work, random):
    """Frames at several rates; exact where nothing is resized, else near: the library has no exact class for films."""
    spec = families.family("qwen3_vl")
    folder = work / "films"
    write_side_files(folder, spec)
    processor = QwenProcessor(folder, transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))).processor.video_processor
    wrong = []
    for i in range(16):
        count, resized = int(random.integers(2, 40)), i % 2 == 1
        height, width = (int(random.integers(40, 120)), int(random.integers(40, 120))) if resized else (64, 96)
        rate = (None, 3.0, 29.97, 12.5)[i // 2 % 4]
        frames = np.stack([noisy(random, height, width, 3) for _ in range(count)])
        place = work / f"film{i}"
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        paths = [place / f"{k:03d}.png" for k in range(count)]
        for frame, path in zip(frames, paths):
            Image.fromarray(frame).save(path)
        metadata = VideoMetadata(total_num_frames=count, fps=rate)
        truth = processor(videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)], video_metadata=[metadata], return_tensors="pt")
        flags = ["--video", ",".join(map(str, paths))] + (["--video-fps", rate] if rate else [])
        program.run("preprocess", "--model", folder, "--output", work / "out.safetensors", *flags)
        found = load_file(work / "out.safetensors")
        if found["video_grid_thw"].tolist() != truth["video_grid_thw"].tolist():
            wrong.append((i, count, rate, found["video_grid_thw"].tolist(), truth["video_grid_thw"].tolist()))
            continue
        levels = (found["pixel_values_videos"] - truth["pixel_values_videos"]).abs() * 127.5
        if not within(levels, (25, 0.5) if resized else EXACT):
            wrong.append((i, count, rate, (height, width), f"{float(levels.max()):.2f} levels, mean {float(levels.mean()):.3f}"))
    report.expect("films", not wrong, f"{len(wrong)} of 16 differ, first {wrong[:3]}" if wrong else "16 films")
