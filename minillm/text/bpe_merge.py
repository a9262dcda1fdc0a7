"""Apply learned merges to one chunk: the earliest learned first, of equals the leftmost."""

import heapq
from collections.abc import Mapping
from itertools import pairwise

# (left id, right id) -> (rank, id of the merged token); the lowest rank was learned first.
Merges = Mapping[tuple[int, int], tuple[int, int]]

_NEVER = (1 << 62, -1)
_SHORT = 256  # symbols, up to which the quadratic loop is the quicker one


def merge(ids: list[int], merges: Merges) -> list[int]:
    """The ids of a chunk, after all merges that apply; `ids` are those of its bytes."""
    return _merge_short(ids, merges) if len(ids) <= _SHORT else _merge_long(ids, merges)


def _merge_short(ids: list[int], merges: Merges) -> list[int]:
    # O(n^2), but what is quadratic runs in C: min, index, del
    ids = list(ids)
    ranks = [merges.get(pair, _NEVER) for pair in pairwise(ids)]
    while ranks:
        lowest = min(ranks)
        if lowest is _NEVER:
            break
        i = ranks.index(lowest)
        ids[i] = lowest[1]
        del ids[i + 1], ranks[i]
        if i > 0:
            ranks[i - 1] = merges.get((ids[i - 1], ids[i]), _NEVER)
        if i < len(ranks):
            ranks[i] = merges.get((ids[i], ids[i + 1]), _NEVER)
    return ids


def _merge_long(ids: list[int], merges: Merges) -> list[int]:
    # O(n log n): a linked list, and a heap whose entries may be out of date
    ids = [*ids, -1]  # -1: the end, which merges with nothing
    n = len(ids)
    following, preceding = list(range(1, n + 1)), list(range(-1, n - 1))
    found = ((i, merges.get(pair)) for i, pair in enumerate(pairwise(ids)))
    heap = [(known[0], i, known[1]) for i, known in found if known is not None]
    heapq.heapify(heap)
    while heap:
        rank, i, new = heapq.heappop(heap)
        j = following[i]
        if ids[i] < 0 or merges.get((ids[i], ids[j]), _NEVER)[0] != rank:
            continue  # one of the two has merged since
        ids[i], ids[j] = new, -1
        following[i] = right = following[j]
        preceding[right] = i
        for left in (preceding[i], i):
            if left >= 0:
                known = merges.get((ids[left], ids[following[left]]))
                if known is not None:
                    heapq.heappush(heap, (known[0], left, known[1]))
    return [i for i in ids if i >= 0]
