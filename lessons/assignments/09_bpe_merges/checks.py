"""Tests and misconceptions of the assignment on byte-pair merges: words come as bytes and their lengths."""

import numpy as np

from minillm.classroom import Misconception, Scenario

LETTERS = np.frombuffer(b"abcdeo", np.uint8)


def stems_and_endings(rng):
    """Words in which some endings are frequent; no letter stands twice in a word."""
    stems = [rng.permutation(LETTERS[:3])[:rng.integers(1, 4)] for _ in range(8)]
    endings = [rng.permutation(LETTERS[3:])[:rng.integers(2, 4)] for _ in range(3)]
    return [np.concatenate([stems[int(rng.integers(8))], endings[int(rng.integers(3))]])
            for _ in range(int(rng.integers(20, 30)))]


def listed(found):
    return {"bytes": np.concatenate(found), "lengths": np.array([len(word) for word in found])}


def words(rng):
    """And many words of a single letter, side by side, in which there is nothing to merge."""
    return listed([*stems_and_endings(rng), *[rng.choice(LETTERS, 1)] * 40])


def words_and_runs(rng):
    """Runs of one letter, pairs that stand twice in a word, and words of one letter, too."""
    found = stems_and_endings(rng)
    found += [np.full(length, rng.choice(LETTERS)) for length in (1, 3, 4, 5)]
    found += [np.concatenate([found[0], found[0]])]
    return listed([found[i] for i in rng.permutation(len(found))])


def counted(student, inputs):
    ends = np.cumsum(inputs["lengths"])
    given = [inputs["bytes"][e - n:e].tolist() for e, n in zip(ends, inputs["lengths"])]
    counts = student.count_pairs(given)
    return {"counts": np.array([counts.get((a, b), 0) for a in range(97, 112) for b in range(97, 112)], int),
            "different_pairs": np.array(len(counts)),
            "in_a_word_of_one": np.array(len(student.count_pairs([given[0][:1]]))),
            "in_words_of_one": np.array(len(student.count_pairs([[x] for x in given[0]])))}


def long_word(rng):
    word = rng.choice(LETTERS[:3], int(rng.integers(40, 60)))
    pair = rng.permutation(LETTERS[:3])[:2]
    word[3:8] = pair[0]  # a run, in which the pair (a, a) overlaps itself
    word[-2:] = pair
    return {"word": word, "pair": pair}


def merged(student, inputs):
    word, (a, b) = inputs["word"].tolist(), inputs["pair"].tolist()
    two = student.merge_pair(list(word), (a, b), 300)
    same = student.merge_pair(list(word), (a, a), 301)
    kept = list(word)
    student.merge_pair(kept, (a, b), 302)
    return {"pair": np.array(two, int), "run": np.array(same, int), "empty": np.array(len(student.merge_pair(
        [], (a, b), 300))), "given_list_afterwards": np.array(kept, int)}


def learned(student, inputs):
    ends = np.cumsum(inputs["lengths"])
    given = [inputs["bytes"][e - n:e].tolist() for e, n in zip(ends, inputs["lengths"])]
    merges = student.train([list(word) for word in given], 6)
    return {"merges": np.array(merges, int).reshape(-1, 2)}


def few_words(rng):
    """Words in which many pairs are equally frequent, and merging must end for want of pairs."""
    a, b, c, d, e = (int(x) for x in rng.choice(np.arange(97, 123), 5, replace=False))
    a, b = max(a, b), min(a, b)  # so that (b, c) comes before (a, b)
    found = [[d, e], [c, e], [a, b, c], [c, e], [d, e], [a, b, c], [b, d], [e, b]]
    order = rng.permutation(len(found))
    found = [found[i] for i in order]
    return {"bytes": np.array([x for word in found for x in word], np.uint8),
            "lengths": np.array([len(word) for word in found])}


def learned_all(student, inputs):
    ends = np.cumsum(inputs["lengths"])
    given = [inputs["bytes"][e - n:e].tolist() for e, n in zip(ends, inputs["lengths"])]
    kept = [list(word) for word in given]
    merges = student.train(kept, 50)
    return {"merges": np.array(merges, int).reshape(-1, 2), "none": np.array(len(student.train(given, 0))),
            "given_words_afterwards": np.array([x for word in kept for x in word], int)}


def with_merges(rng):
    """Merges in which the order decides: what was learned later stands further left, or more often."""
    a, b, c, d = (int(x) for x in rng.choice(LETTERS, 4, replace=False))
    merges = [(b, c), (a, b), (c, d), (256, d), (a, 258), (257, 257), (a, a)]
    runs = [[a, b, c, d], [a, b, a, b, a, b, c], [b, c, d], [a] * 5, [a, b, a, b], [c, d, c, d], [d],
            [a, c, d, b]]
    for _ in range(4):
        runs.append(rng.choice([a, b, c, d], int(rng.integers(6, 12))).tolist())
    order = rng.permutation(len(runs))
    runs = [runs[i] for i in order]
    return {"bytes": np.array([x for word in runs for x in word], np.uint8),
            "lengths": np.array([len(word) for word in runs]), "merges": np.array(merges)}


def encoded(student, inputs):
    ends = np.cumsum(inputs["lengths"])
    given = [inputs["bytes"][e - n:e].tolist() for e, n in zip(ends, inputs["lengths"])]
    merges = [(int(a), int(b)) for a, b in inputs["merges"]]
    found = [student.encode(list(word), merges) for word in given]
    return {"ids": np.array([i for ids in found for i in ids], int), "lengths":
            np.array([len(ids) for ids in found]),
            "without_merges": np.array(student.encode(list(given[0]), []), int)}


def ids_to_decode(rng):
    """Bytes of a text in two languages, and merges of merges."""
    text = np.frombuffer("naïve 词元 tokens".encode(), np.uint8)
    merges = [tuple(int(x) for x in rng.choice(text, 2))]
    while len(merges) < 8:
        merges.append((int(rng.choice([*text, 256 + len(merges) - 1])),
                       int(rng.integers(256, 256 + len(merges)))))
    ids = rng.permutation(np.concatenate([text, np.arange(256, 264), rng.integers(0, 256, 6)]))
    return {"ids": ids, "merges": np.array(merges)}


def decoded(student, inputs):
    merges = [(int(a), int(b)) for a, b in inputs["merges"]]
    ids = inputs["ids"].tolist()
    found = student.decode(list(ids), merges)
    return {"bytes": np.array(list(found), int), "of_nothing": np.array(len(student.decode([], merges)))}


TESTS = {
    "counts": Scenario(words_and_runs, counted),
    "merging": Scenario(long_word, merged),
    "training": Scenario(words, learned),
    "ties": Scenario(few_words, learned_all),
    "encoding": Scenario(with_merges, encoded),
    "decoding": Scenario(ids_to_decode, decoded),
}

COUNT = "        counts.update(pairwise(word))\n"
BOTH = "            merged.append(new)\n            i += 2\n"
BEST = "best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)"
STOP = "if best is None or counts[best] < 2:"
MERGE_ALL = "words = [merge_pair(word, best, 256 + len(merges)) for word in words]"
CHOOSE = "        rank = min(known)\n"
APPLY = "        ids = merge_pair(ids, merges[rank], 256 + rank)\n"
TABLE = "table.append(table[left] + table[right])"

MISCONCEPTIONS = [
    Misconception("crosses_words", {"    for word in words:\n" + COUNT:
                                    "    word = [i for one in words for i in one]\n"
                                    "    counts.update(zip(word, word[1:]))\n"},
                  "pairs are counted across the border of two words: each word stands alone.",
                  "跨词的对也数进去了：每个词各算各的。"),
    Misconception("without_overlap", {COUNT: """\
        i = 0
        while i + 1 < len(word):
            counts[word[i], word[i + 1]] += 1
            i += 2 if i + 2 < len(word) and word[i] == word[i + 1] == word[i + 2] else 1
"""},
                  "in a run such as \"aaa\" the pair is counted once: it stands at two places, and both "
                  "count.",
                  "像 \"aaa\" 这样的一串里只数了一次：它出现在两处，两处都要数。"),
    Misconception("once_a_word", {COUNT: "        counts.update(set(zip(word, word[1:])))\n"},
                  "a pair that stands twice in a word is counted once.", "一个词里出现两次的对只数了一次。"),
    Misconception("every_second", {COUNT: "        counts.update(zip(word[::2], word[1::2]))\n"},
                  "only every second pair of neighbours is counted: each id has a neighbour on either side.",
                  "相邻的对隔一个才数一个：每个编号左右都有邻居。"),
    Misconception("unordered",
                  {COUNT: "        counts.update(tuple(sorted(pair)) for pair in zip(word, word[1:]))\n"},
                  "(a, b) and (b, a) are counted together: the order matters.",
                  "(a, b) 和 (b, a) 算在了一起：次序是有区别的。"),
    Misconception("different_words",
                  {"    for word in words:\n": "    for word in set(map(tuple, words)):\n"},
                  "a word that stands twice is counted once: its pairs are twice as frequent.",
                  "出现两次的词只数了一遍：它的对也就出现了两倍。"),
    Misconception("overlapping_merge", {BOTH: "            merged.append(new)\n"
                                              "            i += 2 if i + 2 >= len(word) or "
                                              "(word[i + 1], word[i + 2]) != pair else 1\n"},
                  "merge_pair lets occurrences overlap: in \"aaa\" the middle one was used twice. It belongs "
                  "to the pair on the left.",
                  "merge_pair 让两次出现重叠了：\"aaa\" 中间的那个用了两次。它归左边的对。"),
    Misconception("from_the_right", {"    return merged\n": "    return merged[::-1]\n",
                                     "    merged: list[int] = []\n": "    merged: list[int] = []\n"
                                                                     "    word, pair = word[::-1], "
                                                                     "pair[::-1]\n"},
                  "merge_pair goes from the right: a run of three is merged from the left.",
                  "merge_pair 是从右往左走的：一串三个要从左边合并。"),
    Misconception("first_only", {BOTH: "            return merged + [new] + word[i + 2:]\n"},
                  "merge_pair replaces the first occurrence only: all of them are replaced.",
                  "merge_pair 只替换了第一处：每一处都要替换。"),
    Misconception("last_lost", {"while i < len(word):": "while i < len(word) - 1:"},
                  "merge_pair loses the last id where it is not part of a pair.",
                  "最后一个编号若没有配上对，merge_pair 就把它丢了。"),
    Misconception("word_changed", {BOTH: "            merged.append(new)\n            word[i:i + 2] = [new]\n"
                                         "            i += 1\n"},
                  "merge_pair changes the list that was passed in.", "merge_pair 改动了传进来的列表。"),
    Misconception("larger_of_equals",
                  {BEST: "best = max(counts, key=lambda pair: (counts[pair], pair), default=None)"},
                  "of equally frequent pairs the largest was taken: the smaller one comes first.",
                  "次数相同的对里取了最大的：较小的在前。"),
    Misconception("first_met", {BEST: "best = max(counts, key=counts.get, default=None)"},
                  "of equally frequent pairs the one that was met first was taken, so the merges depend on "
                  "the order of the words. The smaller pair comes first.",
                  "次数相同的对里取了先遇到的，于是合并会随词的先后而变。较小的对在前。"),
    Misconception("right_id_first", {BEST: "best = min(counts, key=lambda pair: (-counts[pair], pair[::-1]), "
                                           "default=None)"},
                  "of equally frequent pairs the one with the smaller *right* id was taken: the left id "
                  "decides first.",
                  "次数相同的对里取了*右边*编号小的：先比左边的编号。"),
    Misconception("never_ends", {STOP: "if best is None:"},
                  "pairs that stand only once are merged too: training ends before that.",
                  "只出现一次的对也合并了：训练在那之前就该结束。"),
    Misconception("ends_early", {STOP: "if best is None or counts[best] < 3:"},
                  "training ends while there are pairs that stand twice.", "还有出现两次的对，训练就结束了。"),
    Misconception("counted_once", {"    while len(merges) < n_merges:\n        counts = count_pairs(words)\n":
                                   "    counts = count_pairs(words)\n    while len(merges) < n_merges:\n",
                                   "        merges.append(best)\n": "        merges.append(best)\n"
                                                                    "        del counts[best]\n"},
                  "the pairs are counted once, at the beginning: after each merge the words are others, and "
                  "new pairs have come.",
                  "只在开头数了一遍：每合并一次，词就变了，还会出现新的对。"),
    Misconception("not_merged", {MERGE_ALL: "words = [[i for i in word] for word in words]",
                                 "        merges.append(best)\n": "        if best in merges:\n            "
                                                                  "break\n"
                                                                  "        merges.append(best)\n"},
                  "the words stay as they were after a merge, so the same pair is found again.",
                  "合并之后词还是原样，于是又找到同一个对。"),
    Misconception("ids_from_257",
                  {MERGE_ALL: "words = [merge_pair(word, best, 257 + len(merges)) for word in words]"},
                  "the first new id is 257: the bytes end at 255, so it is 256.",
                  "第一个新编号成了 257：字节到 255 为止，应当是 256。"),
    Misconception("leftmost_first", {CHOOSE: "        rank = known[0]\n"},
                  "encode merges the leftmost known pair: the one that was learned first has its turn first.",
                  "encode 合并了最靠左的对：应当先合并最早学到的。"),
    Misconception("last_learned_first", {CHOOSE: "        rank = max(known)\n"},
                  "encode merges the pair that was learned last: the one that was learned first comes first.",
                  "encode 先合并了最晚学到的对：应当先合并最早学到的。"),
    Misconception("most_frequent_here",
                  {CHOOSE: "        rank = max(known, key=lambda r: (known.count(r), -r))\n"},
                  "encode merges the pair that is most frequent in this word: frequency counted in training; "
                  "here it is the order in which pairs were learned.",
                  "encode 合并了在这个词里最常见的对：次数是训练时看的，这里要看学到的先后。"),
    Misconception("one_round", {APPLY: "        return merge_pair(ids, merges[rank], 256 + rank)\n"},
                  "encode stops after one merge: go on until no known pair is left.",
                  "encode 合并一次就停了：要一直做到没有可合并的对。"),
    Misconception("decode_one_level", {TABLE: "table.append([min(left, 255), min(right, 255)])"},
                  "decode opens a token only once: its parts may be tokens of merges themselves.",
                  "decode 只拆了一层：拆出来的部分可能还是合并出来的词元。"),
    Misconception("decode_swapped", {TABLE: "table.append(table[right] + table[left])"},
                  "decode puts the right part before the left one.", "decode 把右边的放到了左边的前面。"),
    Misconception("unmerged_first", {MERGE_ALL: "new = 256 + len(merges)\n"
                                                "        words = [merge_pair(word, best, new) for word in "
                                                "words]",
                                     COUNT: "        for i in range(1, len(word)):\n"
                                            "            counts[word[i - 1], word[i]] += 1\n"}, "", "",
                                            equivalent=True),
    Misconception("in_order_of_merges", {"    while True:\n": "    for rank, pair in enumerate(merges):\n"
                                                              "        ids = merge_pair(ids, pair, 256 + "
                                                              "rank)\n"
                                                              "    while True:\n"}, "", "", equivalent=True),
]
