"""Byte-pair encoding: learn merges from words, and use them."""

from collections import Counter
from itertools import pairwise
from typing import Any

Pair = tuple[int, int]


def count_pairs(words: list[list[int]]) -> dict[Pair, int]:
    """How often each pair of neighbours stands in the words; "aaa" holds (a, a) twice.

    Args:
        words: lists of ids; no pair crosses from one list into the next.

    Returns:
        (left id, right id) -> how often, for the pairs that occur.
    """
    # BEGIN SOLUTION
    counts: Any = Counter()
    for word in words:
        counts.update(pairwise(word))
    return dict(counts)
    # END SOLUTION


def merge_pair(word: list[int], pair: Pair, new: int) -> list[int]:
    """The word with each occurrence of `pair` replaced by `new`, from the left and without overlap.

    Args:
        word: ids; the list is not changed.
        pair: (left id, right id).
        new: the id that stands for both.

    Returns:
        A new list.
    """
    # BEGIN SOLUTION
    merged: list[int] = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged
    # END SOLUTION


def train(words: list[list[int]], n_merges: int) -> list[Pair]:
    """Learn merges: the most frequent pair becomes one token, again and again.

    The k-th merge makes the id 256 + k. Of equally frequent pairs the one with the smaller left id comes
    first, then the one with the smaller right id. It ends early when no pair stands twice.

    Args:
        words: lists of bytes, 0 to 255; they are not changed.
        n_merges: how many to learn at most.

    Returns:
        The pairs, the first learned first.
    """
    # BEGIN SOLUTION
    words = [list(word) for word in words]
    merges: list[Pair] = []
    while len(merges) < n_merges:
        counts = count_pairs(words)
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        words = [merge_pair(word, best, 256 + len(merges)) for word in words]
        merges.append(best)
    return merges
    # END SOLUTION


def encode(word: list[int], merges: list[Pair]) -> list[int]:
    """The ids of a word: of its pairs the one that was learned first is merged, until none is left.

    Args:
        word: bytes, 0 to 255; the list is not changed.
        merges: the pairs, the first learned first; the k-th made the id 256 + k.

    Returns:
        A new list.
    """
    # BEGIN SOLUTION
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    ids = list(word)
    while True:
        known = [ranks[pair] for pair in pairwise(ids) if pair in ranks]
        if not known:
            return ids
        rank = min(known)
        ids = merge_pair(ids, merges[rank], 256 + rank)
    # END SOLUTION


def decode(ids: list[int], merges: list[Pair]) -> list[int]:
    """The bytes that ids stand for.

    Args:
        ids: of `encode` with the same merges.
        merges: the pairs, the first learned first; the k-th made the id 256 + k.

    Returns:
        Bytes, 0 to 255.
    """
    # BEGIN SOLUTION
    table = [[b] for b in range(256)]
    for left, right in merges:
        table.append(table[left] + table[right])
    return [b for i in ids for b in table[i]]
    # END SOLUTION
