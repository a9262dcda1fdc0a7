"""Learn byte-pair merges: join the most frequent pair of neighbours, again and again.

The plain algorithm counts all pairs anew for every merge. This one counts once. Each different chunk
of the text is kept once, with how often it occurs, and a merge visits only the places where its pair
stands: it mends the counts of the pairs to the left and right of each, and a heap gives the next pair.
"""

import heapq
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from minillm.text.byte_alphabet import text_bytes
from minillm.text.pretokenize import pretokenize

_EDGE = -1  # stands between two chunks, so that no pair crosses
_GONE = -2  # was the right half of a pair that was merged
_SHIFT = 32  # a pair is one integer, left << 32 | right: quicker to look up than a tuple

# (-count, pair, places): the heap's smallest is the pair to merge next.
_Entry = tuple[int, int, "array[int]"]


def count_chunks(texts: Iterable[str | bytes], kind: str = "gpt2") -> Counter[bytes]:
    """How often each chunk (`pretokenize`) occurs in `texts`, as bytes. No chunk spans two texts."""
    counts: Counter[str] = Counter()
    for text in texts:
        # surrogateescape: bytes that are not UTF-8 pass through as characters, see text_bytes
        whole = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        counts.update(pretokenize(whole, kind))
    # Two texts may write the same bytes differently (a lone half of a surrogate pair): add them up.
    merged: Counter[bytes] = Counter()
    for chunk, count in counts.items():
        merged[text_bytes(chunk)] += count
    return merged


def train_merges(
    chunks: Mapping[bytes, int], tokens: list[str], byte_ids: list[int], vocab_size: int, min_frequency: int
) -> list[tuple[int, int]]:
    """The merges, as pairs of ids in the order they were learned; their tokens are added to `tokens`.

    chunks: bytes -> how often they occur. tokens: the vocabulary to begin with, `tokens[id]`; it
    grows to `vocab_size` at most. byte_ids: `byte_ids[b]` is the id of byte b. Merging stops early
    when no pair occurs `min_frequency` times (or once).

    Ties: of the pairs that occur most often, the one with the smallest left id, then the smallest
    right id. A pair counts at each place where it stands, so "aaa" holds (a, a) twice, and is merged
    from the left. A pair that spells a token of the vocabulary to begin with gets its id. All this
    is the rule of Hugging Face's `BpeTrainer`.

    Time: O(n log n) for n bytes of different chunks; memory: some 150 bytes for each of them at most.
    Source: Sennrich et al. (2016), arXiv:1508.07909.
    """
    symbols, following, preceding, weights = _chain(chunks, byte_ids)
    counts, heap = _first_pairs(symbols, weights)
    ids = {token: i for i, token in enumerate(tokens)}
    merges: list[tuple[int, int]] = []
    while heap and len(tokens) < vocab_size:
        negative, pair, places = heapq.heappop(heap)
        count = counts[pair]
        if count != -negative:  # other merges took some of its places away: back in the queue
            if count > 0:
                heapq.heappush(heap, (-count, pair, places))
            continue
        if count < max(min_frequency, 1):
            break
        a, b = pair >> _SHIFT, pair & ((1 << _SHIFT) - 1)
        token = tokens[a] + tokens[b]
        new = ids.setdefault(token, len(tokens))
        if new == len(tokens):
            tokens.append(token)
        merges.append((a, b))

        # Beside each place: (s, a) becomes (s, new) on the left, (b, s) becomes (new, s) on the right.
        before: dict[int, list[int]] = {}  # s -> [sum of weights, places ...], on the left
        behind: dict[int, list[int]] = {}
        for p in places:
            q = following[p]
            if symbols[p] != a or symbols[q] != b:
                continue  # taken by an earlier merge
            weight = weights[p]
            left, right = preceding[p], following[q]
            symbols[p], symbols[q] = new, _GONE
            following[p], preceding[right] = right, p
            s = symbols[left]
            if s in before:
                before[s].append(left)
                before[s][0] += weight
            elif s != _EDGE:
                before[s] = [weight, left]
            s = symbols[right]
            if s in behind:
                behind[s].append(p)
                behind[s][0] += weight
            elif s != _EDGE:
                behind[s] = [weight, p]
        stands: dict[int, list[int]] = {}
        for s, (weight, *where) in behind.items():
            counts[b << _SHIFT | s] -= weight
            fresh = new << _SHIFT | s
            counts[fresh] = counts.get(fresh, 0) + weight
            stands[fresh] = where
        for s, (weight, *where) in before.items():  # s may be `new`: that pair is counted by now
            counts[s << _SHIFT | a] -= weight
            fresh = s << _SHIFT | new
            counts[fresh] = counts.get(fresh, 0) + weight
            stands[fresh] = where
        for pair, where in stands.items():
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair, array("q", where)))
    return merges


def _chain(
    chunks: Mapping[bytes, int], byte_ids: list[int]
) -> tuple["array[int]", "array[int]", "array[int]", "array[int]"]:
    """All chunks in one row, an edge before, between and after: a linked list in arrays.

    symbols, following, preceding, weights (how often the chunk occurs), each of shape (n,). Arrays
    of the standard library: Python reads a single number from them quicker than from NumPy's.
    """
    lengths = np.fromiter(map(len, chunks), np.int64, len(chunks))
    edges = np.concatenate(([0], np.cumsum(lengths + 1)))  # (chunks + 1,)
    n = int(edges[-1]) + 1
    inside = np.ones(n, bool)
    inside[edges] = False
    symbols = np.full(n, _EDGE, np.int64)
    table = np.array(byte_ids, np.int64)
    symbols[inside] = table[np.frombuffer(b"".join(chunks), np.uint8)]
    weights = np.zeros(n, np.int64)
    occurs = np.fromiter(chunks.values(), np.int64, len(chunks))
    weights[inside] = np.repeat(occurs, lengths)
    place = np.arange(n)
    return _array(symbols), _array(place + 1), _array(place - 1), _array(weights)


def _array(values: NDArray[np.int64]) -> "array[int]":
    result = array("q")
    result.frombytes(values.tobytes())
    return result


def _first_pairs(symbols: "array[int]", weights: "array[int]") -> tuple[dict[int, int], list[_Entry]]:
    """The count of each pair of bytes, and the heap of pairs with the places where they stand."""
    s = np.frombuffer(symbols, np.int64)  # (n,)
    places = np.flatnonzero((s[:-1] != _EDGE) & (s[1:] != _EDGE))
    pairs = s[places] << _SHIFT | s[places + 1]
    kinds, inverse = np.unique(pairs, return_inverse=True)
    counts = np.zeros(len(kinds), np.int64)
    np.add.at(counts, inverse, np.frombuffer(weights, np.int64)[places])
    # Stable: places stay in ascending order, so that "aaa" is merged from the left.
    grouped = places[np.argsort(inverse, kind="stable")]
    ends = np.cumsum(np.bincount(inverse, minlength=len(kinds)))
    heap = [
        (-int(count), int(pair), _array(where))
        for count, pair, where in zip(counts, kinds, np.split(grouped, ends[:-1]))
    ]
    heapq.heapify(heap)
    return dict(zip(kinds.tolist(), counts.tolist())), heap
