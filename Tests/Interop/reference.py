"""The other side: what transformers (for DeepSeek-VL2 a script over its modules) computes for one line of input."""

import json
from pathlib import Path

from libraries import torch, transformers

from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer

import deepseek_vl2_reference
from tiles import tile_views
from pictures import qwen_processor

# Below this the choice of an expert is left to rounding.
ROUTER_GAP = 5e-6
MULTIMODAL = ("qwen3_vl", "qwen3_vl_moe")


def next_logprobs(logits, ids):
    """Log-probability of each id after the first, given those before it. `logits` [length, vocabulary]."""
    return torch.log_softmax(logits[:-1].float(), -1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]


class RouterGaps:
    """Smallest distance of a routing decision from another one: below rounding, the decision is nobody's mistake."""

    def __init__(self, model):
        self.smallest = float("inf")
        for module in model.modules():
            if type(module).__name__.endswith("Router"):
                module.register_forward_hook(self.watch)

    def watch(self, router, _, output):
        logits = output[0] if isinstance(output, tuple) else output
        bias = getattr(router, "e_score_correction_bias", None)
        scores = torch.softmax(logits.double(), -1) if bias is None else torch.sigmoid(logits.double()) + bias.double()
        groups, kept = getattr(router, "num_group", None) or 1, getattr(router, "topk_group", None) or 1
        method = getattr(router, "topk_method", None)
        if groups > kept and (bias is not None or method == "group_limited_greedy"):
            parts = scores.reshape(scores.shape[0], groups, -1)
            level = parts.amax(-1) if bias is None else parts.topk(min(2, parts.shape[-1]), -1).values.sum(-1)
            self.note(level, kept)
            best = torch.zeros_like(level, dtype=torch.bool).scatter_(1, level.topk(kept, -1).indices, True)
            scores = scores.masked_fill(~best[..., None].expand(parts.shape).reshape(scores.shape), -1.0)
        self.note(scores, router.top_k)

    def note(self, scores, chosen):
        top = scores.sort(-1, descending=True).values
        if chosen < top.shape[-1]:
            self.smallest = min(self.smallest, float((top[:, chosen - 1] - top[:, chosen]).min()))


class Reference:
    """A checkpoint folder (with a PEFT adapter, if given) in float32."""

    def __init__(self, folder, adapter=None):
        self.folder = Path(folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        self.kind = self.config["model_type"]
        # tokenizer.json is the truth; the class that tokenizer_config.json names may rebuild the pipeline.
        self.tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))
        self.model = self.load(adapter).eval()
        self.gaps = RouterGaps(self.model)
        self.processor = qwen_processor(folder, self.tokenizer) if self.kind in MULTIMODAL else None

    def load(self, adapter):
        if self.kind == "deepseek_vl_v2":
            model = deepseek_vl2_reference.DeepseekVL2(self.config)
            state = {}
            for path in sorted(self.folder.glob("model*.safetensors")):
                state.update({name: value.float() for name, value in load_file(path).items()})
            return model.load(state)
        auto = transformers.AutoModelForImageTextToText if self.kind in MULTIMODAL else transformers.AutoModelForCausalLM
        model, info = auto.from_pretrained(
            str(self.folder), dtype=torch.float32, attn_implementation="eager", experts_implementation="eager",
            output_loading_info=True,
        )
        wrong = {key: value for key, value in info.items() if value}
        assert not wrong, f"transformers could not place everything of {self.folder}: {str(wrong)[:600]}"
        if adapter is None:
            return model
        from peft import PeftModel

        return PeftModel.from_pretrained(model, str(adapter), is_trainable=True)

    # ---- from a line to the model's input

    def inputs(self, line):
        """Keyword arguments of the model; `input_ids` is among them."""
        if self.kind == "deepseek_vl_v2":
            return self.deepseek_vl2_inputs(line)
        if "input_ids" in line and not line.get("images"):
            return {"input_ids": torch.tensor([line["input_ids"]])}
        if "text" in line:
            text = line["text"]
        else:
            text = self.render(line)
        if self.processor is not None:
            return self.processor.inputs(text, line, self.folder)
        return {"input_ids": torch.tensor([self.tokenizer.encode(text, add_special_tokens="text" in line)])}

    def render(self, line):
        template = (self.folder / "chat_template.jinja").read_text(encoding="utf-8")
        return self.tokenizer.apply_chat_template(
            line["messages"],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=line.get("add_generation_prompt", False),
        )

    def deepseek_vl2_inputs(self, line):
        if "input_ids" in line:
            return {"input_ids": torch.tensor([line["input_ids"]])}
        begin = self.tokenizer.bos_token
        text = line["text"] if "text" in line else self.render(line)
        text = text.removeprefix(begin)
        processor = json.loads((self.folder / "processor_config.json").read_text())
        base = self.config["vision_config"]["image_size"]
        candidates = [tuple(c) for c in self.config["candidate_resolutions"]]
        mean, std = (torch.tensor(processor[key])[:, None, None] for key in ("image_mean", "image_std"))
        fill = tuple(int(255 * value) for value in processor["image_mean"])
        pictures = [Image.open(path).convert("RGB") for path in line.get("images", [])]
        pixels, crops = [], []
        for picture in pictures:
            views, crop = tile_views(picture, base, candidates, cropping=len(pictures) <= 2, fill=fill)
            pixels.append((torch.from_numpy(views).permute(0, 3, 1, 2).float() / 255 - mean) / std)
            crops.append(crop)
        pipeline = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        ids, mask = deepseek_vl2_reference.encode_prompt(pipeline, text, crops, self.config)
        views = torch.cat(pixels) if pixels else None
        return dict(input_ids=torch.tensor([ids]), views=views, crops=crops, image_mask=torch.tensor([mask]))

    # ---- from the model's input to numbers

    def logits(self, inputs):
        """[length, vocabulary]"""
        with torch.no_grad():
            if self.kind == "deepseek_vl_v2":
                return self.model(**inputs)[0]
            return self.model(**inputs, use_cache=False).logits[0]

    def logprobs(self, line):
        """Ids, log-probabilities of all but the first, and the smallest gap of a router."""
        self.gaps.smallest = float("inf")
        inputs = self.inputs(line)
        ids = inputs["input_ids"][0].tolist()
        return ids, next_logprobs(self.logits(inputs), ids), self.gaps.smallest

    def padded_logprobs(self, rows):
        """The rows in one batch, padded on the left."""
        longest = max(len(row) for row in rows)
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        with torch.no_grad():
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return [next_logprobs(logits[i, longest - len(row) :], row) for i, row in enumerate(rows)]

    def greedy(self, line, count):
        """The likeliest ids one after the other, computed anew each time, and the gap to the second at each place."""
        inputs, found, gaps = self.inputs(line), [], []
        for _ in range(count):
            self.gaps.smallest = float("inf")
            best = self.logits(inputs)[-1].float().topk(2)
            found.append(int(best.indices[0]))
            clear = self.gaps.smallest >= ROUTER_GAP
            place = found[-1] in (self.config.get("image_token_id"), self.config.get("video_token_id"))
            gaps.append(float(best.values[0] - best.values[1]) if clear and not place else 0.0)
            if place:  # the library would now ask for a picture
                break
            inputs = self.grown(inputs, found[-1])
        return found, gaps

    def grown(self, inputs, id):
        more = dict(inputs, input_ids=torch.cat([inputs["input_ids"], torch.tensor([[id]])], 1))
        for key, blank in (("mm_token_type_ids", 0), ("image_mask", False)):
            if key in inputs:
                more[key] = torch.cat([inputs[key], torch.full((1, 1), blank, dtype=inputs[key].dtype)], 1)
        return more
