"""Writes extra/: pictures of kinds that generate.py does not make, and what Pillow and transformers make of them.

    python extra.py

Made with Pillow 13.0.0, transformers 5.23.0, torch 2.13.0 and torchvision 0.28.0. extra.json: `files` as in decoded.json
(tensors `<file>.rgb`, `.white`, `.upright`), `transparent` (pictures with one transparent colour: `.rgb` as `load_image` gives
them, `.reference` as processors then see them), `smart_resize_video` as in resize.json but for small and short films,
`sampling` (frames that Qwen3VLVideoProcessor takes of a list of frames, with and without metadata), `tiles` (published
settings of DeepSeek-VL2: size of a picture, tiles, places).
"""

import io
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import pngwrite
import torchvision_shim
from tiles import best_resolution

torchvision_shim.load()
from transformers import Qwen3VLVideoProcessor
from transformers.image_transforms import convert_to_rgb
from transformers.image_utils import load_image
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize
from transformers.video_utils import VideoMetadata


def picture(seed, height, width, channels=3):
    stream = np.random.Generator(np.random.PCG64(seed))
    coarse = stream.integers(0, 256, (4, 5, channels)).astype(np.uint8)
    planes = [np.asarray(Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC)) for c in range(channels)]
    return np.stack(planes, -1)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def make_files():
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.fromarray(picture(40 + i, 37, 53, 4)) for i in range(3)]
    inks = saved(Image.fromarray(picture(50, 48, 64, 4), "CMYK"), "jpeg", quality=95)
    marker = inks.index(b"Adobe") + 11
    assert inks[marker] == 0
    return {
        "animated.webp": saved(frames[0], "webp", save_all=True, append_images=frames[1:], lossless=True, duration=100),
        "animated_lossy.webp": saved(frames[0], "webp", save_all=True, append_images=frames[1:], quality=80, duration=100),
        "exif6.webp": saved(Image.fromarray(picture(44, 30, 41)), "webp", lossless=True, exif=exif),
        "lossless_alpha.webp": saved(Image.fromarray(picture(45, 31, 33, 4)), "webp", lossless=True, exact=True),
        # The same data read as YCCK: only the transform in the Adobe marker says which it is.
        "ycck.jpg": inks[:marker] + b"\x02" + inks[marker + 1 :],
    }


def make_transparent():
    """The chunk's numbers meet 8-bit levels in ways of Pillow's own: low bytes, unscaled greys, red alone of 1 and 16 bits."""
    def levels(*values):
        return np.resize(np.array(values), (5, 7))[..., None]

    colors = np.resize(np.array([(1, 2, 3), (52, 120, 188), (0, 0, 0), (255, 0, 0)]), (5, 6, 3))
    deep = np.resize(np.array([(0x1234, 0x5678, 0x9ABC), (0x3400, 0x7800, 0xBC00), (0, 255, 1), (65535, 65535, 65535)]), (5, 6, 3))
    palette = np.array([(9, 9, 9), (1, 2, 3), (1, 2, 3), (4, 4, 4)], np.uint8)
    files = {}
    for name, key in {"rgb": (52, 120, 188), "rgb_wide": (257, 2, 3), "rgb_beyond": (300, 300, 300)}.items():
        files[name] = pngwrite.encode(colors, color=2, transparency=struct.pack(">HHH", *key))
    for name, key in {"rgb16": (0x1234, 0x5678, 0x9ABC), "rgb16_high": (0x3400, 0x7800, 0xBC00)}.items():
        files[name] = pngwrite.encode(deep, depth=16, color=2, transparency=struct.pack(">HHH", *key))
    for depth, values, keys in [(1, (0, 1), (0, 1)), (2, (0, 1, 2, 3), (0, 2)), (4, (0, 1, 2, 15), (0, 15)), (8, (0, 1, 44, 255), (44, 300)),
                                (16, (0, 1, 256, 65535), (0, 1, 256))]:
        for key in keys:
            files[f"grey{depth}_{key}"] = pngwrite.encode(levels(*values), depth=depth, color=0, transparency=struct.pack(">H", key))
    for name, alphas in {"palette": b"\xff\0", "palette_two": b"\0\0", "palette_half": b"\xff\0\x80", "palette_opaque": b"\xff\xff"}.items():
        files[name] = pngwrite.encode(levels(0, 1, 2, 3), color=3, palette=palette, transparency=alphas)
    return {f"transparent_{name}.png": data for name, data in files.items()}


def decode_transparent(files):
    tensors = {}
    for name, data in files.items():
        image = load_image(Image.open(io.BytesIO(data)))
        tensors[f"{name}.rgb"] = np.asarray(image)
        tensors[f"{name}.reference"] = convert_to_rgb(image, return_numpy=True)
    return tensors


def on_white(image):
    if "A" not in image.getbands():
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def decode(files):
    tensors, rows = {}, []
    for name, data in files.items():
        image = Image.open(io.BytesIO(data))
        image.load()
        orientation = int(image.getexif().get(0x0112, 1))
        tensors[f"{name}.rgb"] = np.asarray(image.convert("RGB"))
        tensors[f"{name}.white"] = np.asarray(on_white(image))
        tensors[f"{name}.upright"] = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        rows.append({"file": name, "width": image.size[0], "height": image.size[1], "orientation": orientation,
                     "exact": name.endswith(".webp") and "lossy" not in name})
    return tensors, rows


def sizes():
    rows = []
    cases = [(1, 64, 64, 2), (2, 8, 8, 2), (3, 20, 700, 2), (5, 64, 96, 2), (7, 31, 33, 2), (4, 10, 2100, 2), (2, 1, 1, 2),
             (3, 100, 100, 3), (5, 100, 100, 3), (9, 200, 300, 4), (6, 200, 300, 4), (2, 4000, 30, 2), (2, 32, 6432, 2)]
    for frames, height, width, temporal in cases:
        for low, high in [(4096, 65536), (131072, 786432), (1, 25165824)]:
            try:
                result = list(smart_resize(frames, height, width, temporal, 32, low, high))
            except ValueError:
                result = None
            rows.append({"frames": frames, "height": height, "width": width, "temporal_factor": temporal, "factor": 32,
                         "min_pixels": low, "max_pixels": high, "result": result})
    return rows


def sampling():
    rows = []
    for options in [{}, {"fps": 4, "min_frames": 2, "max_frames": 6}, {"fps": None, "num_frames": 5}, {"do_sample_frames": False},
                    {"fps": None, "min_frames": 6, "max_frames": 9}]:
        processor = Qwen3VLVideoProcessor(cap_pixels_per_frame=False, **options)
        for count in [2, 3, 4, 5, 8, 13, 24, 60, 61, 97]:
            for rate in [None, 3.0, 29.97]:
                frames = [Image.new("RGB", (32, 32))] * count
                metadata = None if rate is None else [VideoMetadata(total_num_frames=count, fps=rate, duration=count / rate,
                                                                    frames_indices=list(range(count)))]
                out = processor([frames], video_metadata=metadata, return_metadata=True, return_tensors="pt")
                found = [int(i) for i in out["video_metadata"][0].frames_indices]
                rows.append({"options": options, "count": count, "fps": rate, "indices": found})
    return rows


def tiles():
    """Places by DeepSeek-VL2's layout: rows of the whole view and of the tiles, a newline each, and one separator."""
    candidates = [(384 * w, 384 * h) for w in range(1, 10) for h in range(1, 10) if w * h <= 9]
    rows = []
    for width, height in [(100, 100), (384, 384), (1000, 300), (4000, 3000), (300, 2700), (1, 1), (5000, 3)]:
        w, h = best_resolution(width, height, candidates)
        across, down = w // 384, h // 384
        side = math.ceil((384 // 14) / 2)
        rows.append({"width": width, "height": height, "tiles": [across, down],
                     "places": side * (side + 1) + 1 + down * side * (across * side + 1)})
    return {"candidates": candidates, "rows": rows}


def main():
    folder = HERE / "extra"
    folder.mkdir(exist_ok=True)
    files = make_files()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    tensors, rows = decode(files)
    keyed = make_transparent()
    for name, data in keyed.items():
        (folder / name).write_bytes(data)
    tensors.update(decode_transparent(keyed))
    save_file(tensors, folder / "extra.safetensors")
    lines = lambda rows: "[\n" + ",\n".join(json.dumps(r) for r in rows) + "]"
    found = tiles()
    parts = {"files": lines(rows), "transparent": json.dumps(list(keyed)), "smart_resize_video": lines(sizes()), "sampling": lines(sampling()),
             "tiles": "{\n" + f'"candidates": {json.dumps(found["candidates"])},\n"rows": ' + lines(found["rows"]) + "}"}
    text = "{\n" + ",\n".join(f'"{k}": {v}' for k, v in parts.items()) + "\n}\n"
    json.loads(text)
    (folder / "extra.json").write_text(text)


if __name__ == "__main__":
    main()
