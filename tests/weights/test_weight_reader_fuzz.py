"""Tens of thousands of damaged weight files: each is read or refused in one line, at once, in its bound.

The damage is drawn from a seed: bits flipped, bytes cut, put in, taken out, copied elsewhere, numbers
replaced by the extremes of their types. A failure names the number of its file, and that file is kept.
"""

import json
import random
import re
import signal
import struct
import threading
import time
import tracemalloc
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
import safetensors as package
from weight_writers import (
    ARRAY,
    BOOL,
    CODES,
    GGML,
    STRING,
    U8,
    U32,
    gguf,
)
from weight_writers import safetensors as written

from minillm.errors import UserError
from minillm.weights import GGUF, Safetensors

N_FILES = 10_000  # for each of the three
BOUND = 64 * 1024, 64  # bytes: so many, and so many for each byte of the file, reading included
SLOWEST = 2.0  # seconds a file; the usual is a thousandth of it
EXTREMES = [0, 1, 2, 7, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**60, 2**63 - 1, 2**63,
            2**64 - 32, 2**64 - 1]


@contextmanager
def alarm(seconds=5):
    """A loop that would never end fails where it hangs, on systems that have the signal."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_):
        raise TimeoutError(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- damage


def damaged(data, rng, head):
    """`data` with one to four wounds, most of them within its first `head` bytes."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        end = min(len(data), head) if rng.random() < 0.85 else len(data)
        at = rng.randrange(max(end, 1))
        wound = rng.randrange(8)
        if wound == 0:
            data[at : at + 1] = bytes([(data[at] if at < len(data) else 0) ^ 1 << rng.randrange(8)])
        elif wound == 1:
            data[at : at + 1] = rng.randbytes(1)
        elif wound == 2 and rng.random() < 0.3:
            del data[at:]
        elif wound == 3:
            data[at:at] = rng.choice([rng.randbytes(rng.randrange(1, 40)), bytes(rng.choice([1, 4, 8, 32]))])
        elif wound == 4:
            del data[at : at + rng.choice([1, 4, 8, rng.randrange(1, 100)])]
        elif wound == 5:
            start = rng.randrange(max(end, 1))
            data[at:at] = data[start : start + rng.randrange(1, 64)]
        else:
            size = rng.choice([4, 8])
            number = rng.choice(EXTREMES) % 2 ** (8 * size)
            data[at : at + size] = number.to_bytes(size, "little")
    return bytes(data)


def damaged_fields(data, rng, found):
    """A GGUF file with one to three of its counts, lengths, types and offsets replaced."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        at, size = rng.choice(found)
        old = int.from_bytes(data[at : at + size], "little")
        number = rng.choice([*EXTREMES, old + 1, old - 1, old * 2, old + 32, old ^ 8, rng.randrange(40)])
        data[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(data)


def fields(data):
    """(byte, size) of small integers of either size: counts, lengths, types and offsets are among them."""
    found = [(4, 4), (8, 8), (16, 8)]
    for at in range(24, min(len(data), 1500)):
        if data[at] and data[at + 1 : at + 8] == bytes(7):
            found.append((at, 8))
        elif data[at] and data[at + 1 : at + 4] == bytes(3):
            found.append((at, 4))
    return found


def slots(value):
    """(container, key) of everything within a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from slots(value[key])


def damaged_tree(text, rng):
    """JSON still, but one to three of its values or names are others, are missing, or are there twice."""
    tree = json.loads(text)
    for _ in range(rng.choice([1, 1, 2, 3])):
        places = list(slots(tree))
        if not places:
            break
        container, key = rng.choice(places)
        old = container[key]
        other, other_key = rng.choice(places)
        if type(old) is int and rng.random() < 0.8:
            numbers = [old + 1, old - 1, old * 2, old + 8, -old, 10**30, 0.5, old == 1, str(old)]
            container[key] = rng.choice(numbers + EXTREMES)
        elif rng.random() < 0.3:
            words = ["F16", "BOOL", "F64", "F8_E5M2", "", "../x.safetensors", "two.safetensors", "\ud800"]
            container[key] = rng.choice([*words, None, {}, [], [1] * 70, [2**62] * 3, [0, 2**63 - 1, 3]])
        elif rng.random() < 0.3:
            container.pop(key)
        elif rng.random() < 0.5 and isinstance(container, dict):
            name = rng.choice(["", "v", "__metadata__", "dtype", "\n" * 99, "\ud800"])
            container[name] = container.pop(key)
        else:
            container[key] = json.loads(json.dumps(other[other_key]))
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5)


def damaged_text(text, rng):
    """Almost JSON: a number, a word or a piece replaced by another, copied or left out."""
    for _ in range(rng.choice([1, 1, 2])):
        pieces = [m.span() for m in re.finditer(r'-?\d+|"[^"]*"|[][{}:,]', text)]
        start, end = rng.choice(pieces)
        other = text[slice(*rng.choice(pieces))]
        if rng.random() < 0.3:
            other = rng.choice(["NaN", "1e400", "-0", "[" * 2000, "9" * 5000, '"\\ud800"', "", " "])
        elif rng.random() < 0.4:
            other = text[start:end] + "," + text[start : rng.choice(pieces)[1]][:200]
        text = text[:start] + other + text[end:]
    return text


def damaged_json(text, rng):
    broken = damaged_tree(text, rng) if rng.random() < 0.8 else damaged_text(text, rng)
    return broken.encode("utf-8", "surrogatepass")


# ---- what must hold


class Tally:
    """One damaged file after another, held against the promises."""

    def __init__(self, keep):
        self.keep = keep
        self.read = 0
        self.refused = Counter()
        self.slowest = self.largest = 0.0

    def check(self, number, size, use):
        tracemalloc.reset_peak()
        floor = tracemalloc.get_traced_memory()[0]
        start = time.perf_counter()
        try:
            with alarm():
                use()
            self.read += 1
        except UserError as error:
            message = str(error)
            assert "\n" not in message, self.say(number, message)
            assert len(message) < 1000, self.say(number, message)
            # the checks that were met: a message without names and numbers
            self.refused[re.sub(r"b?'.*'|\d+", "", message.replace('"', "'"))] += 1
        except BaseException as error:
            raise AssertionError(self.say(number, repr(error))) from error
        seconds = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1] - floor
        bound = BOUND[0] + BOUND[1] * size
        self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, peak / bound)
        assert seconds < SLOWEST, self.say(number, f"took {seconds} s")
        assert peak < bound, self.say(number, f"took {peak} bytes for {size}")

    def say(self, number, problem):
        return f"file {number} (kept as {self.keep}): {problem}"

    def finish(self, least_read, least_checks):
        """A fuzzer that is refused at the door, or always let in, finds nothing."""
        assert self.read >= least_read
        assert self.refused.total() >= N_FILES // 2
        assert len(self.refused) >= least_checks, self.refused


@contextmanager
def traced():
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def write(path, data):
    path.unlink(missing_ok=True)  # never in place: an older map may be alive
    path.write_bytes(data or b"\0")


def read_everything(file):
    for name, info in file.tensors.items():
        assert file.raw(name).nbytes == info.n_bytes
        assert file.read(name).shape == info.shape
        file.read(name, None)
    repr(file)


def gguf_seeds():
    rng = np.random.default_rng(7)
    kinds = list(GGML.items())
    rng.shuffle(kinds)
    tensors = [
        (f"blk.{i}.{kind}", kind, (2, n_weights), rng.bytes(2 * n_bytes))
        for i, (kind, (_, n_weights, n_bytes)) in enumerate(kinds)
    ]
    numbers = [(f"number.{kind}", kind, 1) for kind in CODES]
    arrays = [(f"array.{kind}", ARRAY, (kind, [0, 1, 1])) for kind in CODES]
    texts = [
        ("general.architecture", STRING, "llama"),
        ("tokens", ARRAY, (STRING, ["a", "ß", "", "模型"])),
        ("nested", ARRAY, (ARRAY, [(U8, [1, 2]), (STRING, ["x"]), (ARRAY, [(BOOL, [1])])])),
    ]
    yield gguf(numbers + texts, tensors[:6])
    yield gguf([("general.alignment", U32, 8), *arrays, *texts], tensors[6:12], alignment=8, version=2)
    yield gguf(texts, tensors)
    small = [("w", "F32", (2, 2), bytes(16)), ("s", "F16", (), bytes(2))]
    yield gguf([("general.alignment", U32, 1)], small, alignment=1)


@pytest.mark.slow
def test_damaged_gguf_files(tmp_path):
    rng = random.Random(20)
    seeds = list(gguf_seeds())
    found = {seed: fields(seed) for seed in seeds}
    path = tmp_path / "w.gguf"
    for seed in seeds:
        write(path, seed)
        read_everything(GGUF(path))
    tally = Tally(path)
    with traced():
        for number in range(N_FILES):
            seed = rng.choice(seeds)
            by_field = rng.random() < 0.5
            data = damaged_fields(seed, rng, found[seed]) if by_field else damaged(seed, rng, 1500)
            write(path, data)
            tally.check(number, len(data) or 1, lambda: read_everything(GGUF(path)))
    tally.finish(least_read=N_FILES // 20, least_checks=25)


def safetensors_seeds():
    rng = np.random.default_rng(8)
    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
             "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
    every = [
        (f"{kind}.weight", kind, (2, 3), (bytes(6) if kind == "BOOL" else rng.bytes(6 * size)))
        for kind, size in sizes.items()
    ]
    yield written(every, {"format": "pt"})
    yield written([("w", "F32", (), bytes(4)), ("e", "F16", (0, 4), b""), ("v", "U8", (3,), b"abc")])
    yield written([("größe", "BF16", (1, 2, 3), bytes(12))], {})


def split(data):
    length = int.from_bytes(data[:8], "little")
    return data[8 : 8 + length].decode(), data[8 + length :]


def agrees_with_the_package(path):
    """What is read here, safetensors reads too, and the same."""
    data = path.read_bytes()
    file = Safetensors(path)
    theirs = dict(package.deserialize(data))
    assert theirs.keys() == file.tensors.keys()
    for name, tensor in theirs.items():
        info = file.tensors[name]
        assert (list(info.shape), info.type) == (tensor["shape"], tensor["dtype"])
        assert data[info.offset : info.offset + info.n_bytes] == bytes(tensor["data"])


@pytest.mark.slow
def test_damaged_safetensors_files(tmp_path):
    rng = random.Random(21)
    seeds = list(safetensors_seeds())
    path = tmp_path / "w.safetensors"
    for seed in seeds:
        write(path, seed)
        read_everything(Safetensors(path))
        agrees_with_the_package(path)
    tally = Tally(path)
    with traced():
        for number in range(N_FILES):
            seed = rng.choice(seeds)
            if rng.random() < 0.7:
                text, rest = split(seed)
                data = written(header=damaged_json(text, rng)) + rest
            else:
                data = damaged(seed, rng, 1500)
            write(path, data)
            before = tally.read
            tally.check(number, len(data) or 1, lambda: read_everything(Safetensors(path)))
            if tally.read > before:
                agrees_with_the_package(path)
    tally.finish(least_read=N_FILES // 50, least_checks=18)


@pytest.mark.slow
def test_damaged_indices(tmp_path):
    """A folder of two files and an index of them, all of which may be damaged."""
    rng = random.Random(22)
    one = written([("a", "F32", (2,), bytes(8)), ("b", "BF16", (2,), bytes(4))])
    two = written([("c", "U8", (3,), b"abc")])
    weight_map = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}
    index = json.dumps({"metadata": {"total_size": 15}, "weight_map": weight_map})
    path = tmp_path / "model.safetensors.index.json"
    tally = Tally(path)
    with traced():
        for number in range(N_FILES):
            data = {"one.safetensors": one, "two.safetensors": two}
            if rng.random() < 0.1:
                name = rng.choice(list(data))
                data[name] = damaged(data[name], rng, 100)
            text = damaged_json(index, rng)
            data[path.name] = text if rng.random() < 0.7 else damaged(index.encode(), rng, 500)
            for name, content in data.items():
                write(tmp_path / name, content)
            size = sum(map(len, data.values()))
            tally.check(number, size, lambda: read_everything(Safetensors(tmp_path)))
    tally.finish(least_read=N_FILES // 50, least_checks=10)


# ---- the harness itself


def test_the_harness_sees_a_crash_a_hang_and_an_allocation(tmp_path, monkeypatch):
    def crash():
        return struct.unpack("<Q", b"")

    def allocate():
        return bytes(1 << 20)

    def raise_two_lines():
        raise UserError("a\nb")

    tally = Tally(tmp_path)
    with traced():
        tally.check(1, 100, lambda: None)
        with pytest.raises(AssertionError, match=r"file 2 \(kept as .*error\('unpack"):
            tally.check(2, 100, crash)
        with pytest.raises(AssertionError, match=r"file 3 .*took 10\d{5} bytes for 100"):
            tally.check(3, 100, allocate)
        with pytest.raises(AssertionError, match="file 4"):
            tally.check(4, 100, raise_two_lines)
        monkeypatch.setitem(globals(), "SLOWEST", 0.05)
        with pytest.raises(AssertionError, match=r"file 5 .*took \d+\.\d+ s"):
            tally.check(5, 100, lambda: time.sleep(0.1))
    if hasattr(signal, "setitimer"):
        with pytest.raises(TimeoutError), alarm(0.05):
            time.sleep(3)
