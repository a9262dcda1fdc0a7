"""Byte-pair encoding: training and encoding beside Hugging Face's `tokenizers` and plain counting.

    python benchmarks/bpe.py            5 MB of each text, 32,768 ids: about two minutes
    python benchmarks/bpe.py --out benchmarks/results/bpe.json

The texts are found on every machine: the source of Python's standard library, and invented Chinese, whose
words and characters are as unevenly frequent as a language's and whose chunks are long and hardly ever
repeat, the worst case for training. Merges and ids must be the same as those of `tokenizers`, which uses
all cores; minillm uses one. "Counting anew" is what minbpe does for each merge, though on unique chunks:
the time is that of its first merges, and hours for all of them.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from machine import facts

from minillm.text import BPETokenizer, pretokenize
from minillm.text.byte_alphabet import byte_alphabet
from minillm.text.tokenizer_json import to_tokenizer_json

ANEW_MERGES = 5


def library_source(size: int) -> str:
    """`size` bytes of the standard library's source, file by file in the order of their names."""
    parts, left = [], size
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")) + sorted(
        p for p in Path(sysconfig.get_paths()["stdlib"]).glob("*/*.py") if "-packages" not in p.parent.name
    ):
        parts.append(path.read_bytes()[:left])
        left -= len(parts[-1])
        if not left:
            break
    return b"".join(parts).decode("utf-8", "ignore")


def invented_chinese(size: int, seed: int = 0) -> str:
    """`size` bytes of sentences of words of characters, both drawn with frequency 1 / rank."""
    rng = np.random.default_rng(seed)

    def draw(kinds, n):
        weights = 1 / np.arange(1, kinds + 1)
        return rng.choice(kinds, n, p=weights / weights.sum())

    words = ["".join(chr(0x4E00 + c) for c in draw(3500, n)) for n in rng.integers(1, 4, 20_000)]
    parts = []
    for n in rng.integers(2, 8, size // 20 + 1):  # a sentence has some 30 bytes
        parts.append("".join(words[i] for i in draw(len(words), n)) + "，。！\n"[rng.integers(4)])
    return "".join(parts).encode()[:size].decode("utf-8", "ignore")


def timed(call) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def count_anew(text: str, merges: int) -> list[tuple[bytes, bytes]]:
    """The first merges by counting all pairs for each: what incremental counting saves."""
    rank = {ord(c): i for i, c in enumerate(sorted(byte_alphabet()))}  # ties go by the ids, see train_merges
    order = [rank[ord(c)] for c in byte_alphabet()]
    names = [b""] * 256
    for b, i in enumerate(order):
        names[i] = bytes([b])
    chunks = [([order[b] for b in chunk.encode()], n) for chunk, n in Counter(pretokenize(text)).items()]
    learned = []
    for _ in range(merges):
        counts: Counter[tuple[int, int]] = Counter()
        for ids, n in chunks:
            for pair in pairwise(ids):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        learned.append((names[best[0]], names[best[1]]))
        names.append(names[best[0]] + names[best[1]])
        for ids, _ in chunks:
            for i in range(len(ids) - 1):
                if i + 1 < len(ids) and (ids[i], ids[i + 1]) == best:
                    ids[i : i + 2] = [len(names) - 1]
    return learned


def peer(text: str, vocab_size: int) -> tuple[Any, float] | tuple[None, None]:
    """What `tokenizers` learns from `text`, and in how many seconds; (None, None) if it is absent."""
    try:
        import tokenizers
    except ImportError:
        return None, None
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    _, seconds = timed(lambda: theirs.train_from_iterator([text], trainer))
    return theirs, seconds


def measure(name: str, text: str, vocab_size: int) -> dict[str, Any]:
    ours, train = timed(lambda: BPETokenizer.train(text, vocab_size=vocab_size))
    ids, encode = timed(lambda: ours.encode(text))  # its cache of chunks is empty
    back, decode = timed(lambda: ours.decode(ids))
    if back != text:
        raise SystemExit(f"{name}: decode(encode(text)) is another text")
    anew, counting = timed(lambda: count_anew(text, ANEW_MERGES))
    first = [tuple(bytes(map(byte_alphabet().index, token)) for token in pair)
             for pair in ours.merges[:ANEW_MERGES]]
    if anew != first:
        raise SystemExit(f"{name}: counting anew gives other merges: {anew}, not {first}")
    megabytes = len(text.encode()) / 1e6
    result = {"text": name, "megabytes": megabytes, "vocab_size": ours.vocab_size, "ids": len(ids),
              "bytes_per_id": megabytes * 1e6 / len(ids), "train_s": train, "encode_s": encode,
              "decode_s": decode, "counting_anew_s_per_merge": counting / ANEW_MERGES,
              "train_s_per_merge": train / len(ours.merges)}
    theirs, seconds = peer(text, vocab_size)
    if theirs is not None:
        if json.loads(theirs.to_str())["model"]["merges"] != to_tokenizer_json(ours)["model"]["merges"]:
            raise SystemExit(f"{name}: tokenizers learns other merges")
        encoding, their_encode = timed(lambda: theirs.encode(text))
        if encoding.ids != ids.tolist():
            raise SystemExit(f"{name}: tokenizers gives other ids")
        result |= {"tokenizers_train_s": seconds, "tokenizers_encode_s": their_encode}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=5.0, help="of each text")
    parser.add_argument("--vocab-size", type=int, default=32_768)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    options = parser.parse_args()
    size = int(options.megabytes * 1e6)
    results = []
    for name, make in (("library source", library_source), ("invented Chinese", invented_chinese)):
        r = measure(name, make(size), options.vocab_size)
        results.append(r)
        print(f"{name}: {r['megabytes']:.1f} MB, {r['vocab_size']} ids, {r['bytes_per_id']:.2f} bytes an id")
        train, encode = (r.get(f"tokenizers_{key}_s", np.nan) for key in ("train", "encode"))
        print(f"    training   {r['train_s']:7.1f} s   tokenizers {train:7.1f} s"
              f"   {r['train_s_per_merge'] * 1e3:.2f} ms a merge; counting anew"
              f" {r['counting_anew_s_per_merge'] * 1e3:.0f} ms")
        print(f"    encoding   {r['encode_s']:7.1f} s   tokenizers {encode:7.1f} s"
              f"   decoding {r['decode_s']:.2f} s")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": facts(), "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
