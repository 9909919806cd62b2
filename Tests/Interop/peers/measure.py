"""One peer on one workload; prints one JSON object with the median seconds and the peak of memory.

    python measure.py checkpoints OUT              the three checkpoints that all programs read
    python measure.py rollout CKPT [--pictures]    transformers' generate
    python measure.py vllm CKPT                    vLLM (in its own environment)
    python measure.py train CKPT --lora [--compile]
    python measure.py trl CKPT --trainer grpo|rloo|sft|dpo|cpo|orpo|kto [--full] [--pictures]
    python measure.py gguf CKPT OUT.gguf           the checkpoint as llama.cpp reads it

Sizes: mini 8 x 8 completions of 128 + 128 tokens, 8 rows of 256 tokens; half (494 million parameters) 2 x 8 of 128 + 64 and
2 rows of 512. A picture is 224 x 224 and takes 49 of the prompt's tokens. Weights bf16, LoRA of rank 16, temperature 1.
"""
import argparse
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
THREADS = int(os.environ.get("THREADS", "2"))
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
            "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}"
            "{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def torch_ready():
    import torch

    side = os.path.join(sys.prefix, "vision")
    if os.path.isdir(side):
        sys.path.append(side)
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["kept"] = library
        import torchvision  # noqa: F401
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    return torch


def report(seconds, **more):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": statistics.median(seconds), "samples_s": seconds, "peak_rss_mib": peak, **more}))


def timed(body, repeats, warm=1):
    for _ in range(warm):
        body()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        body()
        seconds.append(time.perf_counter() - start)
    return seconds


def load(folder):
    torch = torch_ready()
    import transformers

    kind = transformers.AutoConfig.from_pretrained(folder).model_type
    maker = transformers.Qwen3VLForConditionalGeneration if kind == "qwen3_vl" else transformers.AutoModelForCausalLM
    return torch, maker.from_pretrained(folder, dtype=torch.bfloat16)


def is_half(folder):
    return json.load(open(os.path.join(folder, "config.json"))).get("hidden_size") == 896


def tokenizer():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    t = Tokenizer(models.BPE())
    split = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    dice = random.Random(3)
    words = ["".join(dice.choice("bdfgklmnprstvz") + dice.choice("aeiou") for _ in range(dice.randint(1, 4)))
             for _ in range(60000)]
    t.train_from_iterator((" ".join(words[i:i + 12]) for i in range(0, len(words), 12)), trainers.BpeTrainer(
        vocab_size=8192 - len(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=t, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE,
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>",
                              "vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"})


def checkpoints(out):
    torch = torch_ready()
    import transformers as hf

    tok = tokenizer()
    i = tok.convert_tokens_to_ids
    ends = dict(eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id)
    text = dict(vocab_size=8192, hidden_size=384, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=6,
                num_key_value_heads=2, head_dim=64, max_position_embeddings=4096, rms_norm_eps=1e-6, attention_bias=False,
                tie_word_embeddings=True)
    rope = {"rope_type": "default", "rope_theta": 1e6}

    def save(name, model):
        torch.manual_seed(1)
        model.to(torch.bfloat16).save_pretrained(os.path.join(out, name))
        tok.save_pretrained(os.path.join(out, name))

    save("mini", hf.Qwen3ForCausalLM(hf.Qwen3Config(**text, **ends, rope_parameters=rope)))
    save("half", hf.Qwen2ForCausalLM(hf.Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, max_position_embeddings=4096, rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=rope,
        **ends)))
    save("mini-vl", hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(
        text_config=dict(**text, **ends, rope_parameters={**rope, "mrope_section": [12, 10, 10], "mrope_interleaved": True}),
        vision_config=dict(depth=6, hidden_size=256, intermediate_size=1024, num_heads=4, patch_size=16, spatial_merge_size=2,
                           temporal_patch_size=2, out_hidden_size=384, num_position_embeddings=196,
                           deepstack_visual_indexes=[1, 3, 5]),
        image_token_id=i("<|image_pad|>"), video_token_id=i("<|video_pad|>"), vision_start_token_id=i("<|vision_start|>"),
        vision_end_token_id=i("<|vision_end|>"), tie_word_embeddings=True, **ends)))
    sizes = {"shortest_edge": 32 * 32, "longest_edge": 224 * 224}
    picture = dict(patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3, size=sizes)
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
    hf.Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**picture), tokenizer=tok, chat_template=TEMPLATE,
        video_processor=Qwen3VLVideoProcessor(patch_size=16, merge_size=2, temporal_patch_size=2)
    ).save_pretrained(os.path.join(out, "mini-vl"))


def pictured(torch, ids, config, dtype):
    ids[:, 4] = config.vision_start_token_id
    ids[:, 5:54] = config.image_token_id
    ids[:, 54] = config.vision_end_token_id
    return dict(pixel_values=torch.randn(len(ids) * 196, 1536).to(dtype), image_grid_thw=torch.tensor([[1, 14, 14]] * len(ids)),
                mm_token_type_ids=(ids == config.image_token_id).to(torch.int32))


def rollout(a):
    torch, model = load(a.ckpt)
    model.eval()
    prompts, new = (2, 64) if is_half(a.ckpt) else (8, 128)
    model.generation_config.eos_token_id = None
    ids = torch.randint(300, 8000, (prompts, 128))
    more = pictured(torch, ids, model.config, torch.bfloat16) if a.pictures else {}

    def run():
        with torch.inference_mode():
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **more, do_sample=True, temperature=1.0, top_k=0,
                           top_p=1.0, num_return_sequences=8, max_new_tokens=new, min_new_tokens=new, pad_token_id=0)

    report(timed(run, a.repeats), tokens=prompts * 8 * new)


def vllm(a):
    from vllm import LLM, SamplingParams

    prompts, new = (2, 64) if is_half(a.ckpt) else (8, 128)
    engine = LLM(model=a.ckpt, dtype="bfloat16", max_model_len=512, enforce_eager=True, max_num_seqs=64,
                 enable_prefix_caching=True, seed=0)
    dice = random.Random(7)
    how = SamplingParams(n=8, temperature=1.0, max_tokens=new, min_tokens=new, ignore_eos=True, detokenize=False)

    def run():
        ids = [[dice.randrange(300, 8000) for _ in range(128)] for _ in range(prompts)]
        engine.generate([{"prompt_token_ids": x} for x in ids], how, use_tqdm=False)

    report(timed(run, a.repeats), tokens=prompts * 8 * new)


def train(a):
    torch, model = load(a.ckpt)
    model.config.use_cache = False
    rows, length = (2, 512) if is_half(a.ckpt) else (8, 256)
    if a.lora:
        from peft import LoraConfig, get_peft_model
        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    ids = torch.randint(300, 8000, (rows, length))
    forward = torch.compile(model) if a.compile else model

    def step():
        forward(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    report(timed(step, a.repeats, 2), tokens=rows * length)


def trl(a):
    torch, model = load(a.ckpt)
    import contextlib
    import io

    import trl as library
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoProcessor, AutoTokenizer, TrainerCallback

    tok = AutoTokenizer.from_pretrained(a.ckpt)
    words = sorted(w[1:] for w in tok.get_vocab() if len(w) > 3 and w[0] == "\u0120" and w[1:].isalpha())
    dice = random.Random(5)

    def text(n):
        return "".join(" " + w for w in dice.choices(words, k=n))

    seconds, begun = [], []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            begun.append(time.perf_counter())

        def on_step_end(self, *_, **__):
            seconds.append(time.perf_counter() - begun[-1])

    inner = r".*language_model.*\.(" + "|".join(TARGETS) + ")"
    adapter = LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules=inner if a.pictures else TARGETS)
    common = dict(output_dir=tempfile.mkdtemp(), max_steps=a.repeats + 1, learning_rate=1e-5, logging_strategy="no",
                  save_strategy="no", report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, disable_tqdm=True, seed=0)
    more = dict(model=model, peft_config=None if a.full else adapter, callbacks=[Clock()], processing_class=tok)
    steps = a.repeats + 2
    pairs = {k: [text(128) for _ in range(8 * steps)] for k in ("prompt", "chosen", "rejected")}
    if a.trainer in ("grpo", "rloo"):
        rows = 4 * steps
        data = {"prompt": [text(64) for _ in range(rows)]}
        if a.pictures:
            from PIL import Image
            noise = random.Random(9)
            data = {"prompt": [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text(52)}]}]
                               for _ in range(rows)],
                    "image": [Image.frombytes("RGB", (224, 224), noise.randbytes(224 * 224 * 3)) for _ in range(rows)]}
            more["processing_class"] = AutoProcessor.from_pretrained(a.ckpt)
        config, maker = {"grpo": (library.GRPOConfig, library.GRPOTrainer),
                         "rloo": (library.RLOOConfig, library.RLOOTrainer)}[a.trainer]
        args = config(per_device_train_batch_size=32, num_generations=8, max_completion_length=64, beta=0.04,
                      temperature=1.0, generation_kwargs={"min_new_tokens": 64}, **common)
        trainer = maker(
            reward_funcs=lambda completions, **_: [float(len(str(c)) % 17) for c in completions], args=args,
            train_dataset=Dataset.from_dict(data), **more)
    elif a.trainer == "dpo":
        trainer = library.DPOTrainer(args=library.DPOConfig(per_device_train_batch_size=8, max_length=512, **common),
                                     train_dataset=Dataset.from_dict(pairs), **more)
    elif a.trainer in ("cpo", "orpo"):
        from trl.experimental import cpo, orpo
        config, maker = {"cpo": (cpo.CPOConfig, cpo.CPOTrainer), "orpo": (orpo.ORPOConfig, orpo.ORPOTrainer)}[a.trainer]
        trainer = maker(args=config(per_device_train_batch_size=8, max_length=512, **common),
                        train_dataset=Dataset.from_dict(pairs), **more)
    elif a.trainer == "sft":
        data = {"prompt": pairs["prompt"], "completion": pairs["chosen"]}
        trainer = library.SFTTrainer(args=library.SFTConfig(per_device_train_batch_size=8, max_length=512, **common),
                                     train_dataset=Dataset.from_dict(data), **more)
    else:
        data = {"prompt": [text(128) for _ in range(8 * steps)], "completion": [text(128) for _ in range(8 * steps)],
                "label": [i % 2 == 0 for i in range(8 * steps)]}
        trainer = library.KTOTrainer(args=library.KTOConfig(per_device_train_batch_size=8, max_length=512, **common),
                                     train_dataset=Dataset.from_dict(data), **more)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    report(seconds[1:])


def gguf_file(a):
    import gguf
    import numpy as np
    import torch
    from safetensors.torch import load_file

    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    c = json.load(open(os.path.join(a.ckpt, "config.json")))
    w = gguf.GGUFWriter(a.out, c["model_type"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(1e6)
    vocabulary = json.load(open(os.path.join(a.ckpt, "tokenizer.json")))["model"]
    tokens = [t for t, _ in sorted(vocabulary["vocab"].items(), key=lambda x: x[1])]
    tokens += [f"[unused{i}]" for i in range(c["vocab_size"] - len(tokens))]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in vocabulary["merges"]])
    for name, value in load_file(os.path.join(a.ckpt, "model.safetensors")).items():
        parts = name.removeprefix("model.").split(".")
        if parts[0] == "layers":
            key = ".".join(parts[2:-1])
            name = f"blk.{parts[1]}.{names[key]}.{parts[-1]}"
        else:
            name = {"embed_tokens": "token_embd", "norm": "output_norm"}[parts[0]] + ".weight"
        if value.ndim == 1:
            w.add_tensor(name, value.float().numpy())
        else:
            w.add_tensor(name, value.view(torch.int16).numpy().view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["checkpoints", "rollout", "vllm", "train", "trl", "gguf"])
    p.add_argument("ckpt")
    p.add_argument("out", nargs="?")
    p.add_argument("--lora", action="store_true")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--pictures", action="store_true")
    p.add_argument("--trainer", choices=["grpo", "rloo", "sft", "dpo", "cpo", "orpo", "kto"], default="grpo")
    p.add_argument("--full", action="store_true", help="trl: all weights instead of LoRA")
    p.add_argument("--repeats", type=int, default=3)
    a = p.parse_args()
    {"checkpoints": lambda a: checkpoints(a.ckpt), "rollout": rollout, "vllm": vllm, "train": train, "trl": trl,
     "gguf": gguf_file}[a.what](a)


if __name__ == "__main__":
    main()
