"""Pictures and films for the checks, and the real library's processor for the Qwen3-VL families."""

import json
from pathlib import Path

from libraries import torch

import numpy as np
from PIL import Image

from weights import stream


def picture(path, height, width, seed):
    """Writes an RGB picture of soft colours with some noise; returns the path as text."""
    random = stream("picture", seed, height, width)
    coarse = random.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    noisy = np.clip(smooth + random.integers(-25, 26, (height, width, 3)), 0, 255).astype(np.uint8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy).save(path)
    return str(path)


def film(folder, frames, height, width, seed):
    """Paths of the frames."""
    return [picture(Path(folder) / f"{i:03d}.png", height, width, (seed, i)) for i in range(frames)]


def qwen_processor(folder, tokenizer):
    return QwenProcessor(Path(folder), tokenizer)


class QwenProcessor:
    """Qwen3VLProcessor with Pillow's resizing for pictures, as the slow (exact) classes of the library have it."""

    def __init__(self, folder, tokenizer):
        from transformers import Qwen2VLImageProcessorPil, Qwen3VLProcessor

        def settings(name):
            path = folder / name
            found = json.loads(path.read_text()) if path.exists() else {}
            drop = ("processor_class", "image_processor_type", "video_processor_type")
            return {key: value for key, value in found.items() if key not in drop}

        image = Qwen2VLImageProcessorPil(**settings("preprocessor_config.json"))
        video = self.video_processor(settings("video_preprocessor_config.json"))
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        self.processor = Qwen3VLProcessor(
            image_processor=image, tokenizer=tokenizer, video_processor=video, chat_template=template
        )

    @staticmethod
    def video_processor(settings):
        from transformers import Qwen3VLVideoProcessor

        return Qwen3VLVideoProcessor(**settings)

    def inputs(self, text, line, folder):
        options = {}
        if line.get("images"):
            options["images"] = [Image.open(path).convert("RGB") for path in line["images"]]
        if line.get("videos"):
            from transformers.video_utils import VideoMetadata

            frames = [
                torch.from_numpy(np.stack([np.asarray(Image.open(path).convert("RGB")) for path in film])).permute(0, 3, 1, 2)
                for film in line["videos"]
            ]
            # A frame rate that nobody told: the library takes 24, and samples as the configuration says.
            options["videos"] = [frames]
            options["video_metadata"] = [
                [VideoMetadata(total_num_frames=len(film), fps=None, frames_indices=list(range(len(film)))) for film in frames]
            ]
        out = dict(self.processor(text=[text], return_tensors="pt", **options))
        for key in ("video_metadata", "attention_mask"):
            out.pop(key, None)
        return out
