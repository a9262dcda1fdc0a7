"""Near-copies are found, and honest likeness is named as what it is."""

import csv

import pytest

from minillm.classroom import find_assignment
from minillm.classroom.similar import pairs, similar
from minillm.errors import UserError

LONG = '''
import numpy as np

def lstm_step(x, h, c, W, U, b):
    z = x @ W + h @ U + b
    n = h.shape[1]
    parts = [z[:, k * n:(k + 1) * n] for k in range(4)]
    gates = [1 / (1 + np.exp(-p)) for p in (parts[0], parts[1], parts[3])]
    candidate = np.tanh(parts[2])
    c = gates[1] * c + gates[0] * candidate
    return gates[2] * np.tanh(c), c
'''
RENAMED = LONG.replace("candidate", "neu").replace("gates", "tore").replace("    z =", "    # mine\n    z =")
OTHER = '''
import numpy as np

def lstm_step(x, h, c, W, U, b):
    def s(q):
        return 0.5 * np.tanh(q / 2) + 0.5
    i, f, g, o = np.split(np.concatenate([x, h], 1) @ np.concatenate([W, U]) + b, 4, 1)
    new = s(f) * c
    new += s(i) * np.tanh(g)
    shown = s(o)
    shown *= np.tanh(new)
    return shown, new
'''


@pytest.fixture(autouse=True)
def _copydetect():
    pytest.importorskip("copydetect")


def test_a_renamed_copy_is_found_and_independent_work_is_not():
    found = pairs({"ann": LONG, "bo": OTHER, "chen": RENAMED}, "import numpy as np\n", "x = 1\n")
    assert (found[0].one, found[0].other) == ("ann", "chen")
    assert found[0].share > 0.95
    assert all(p.share < 0.5 for p in found[1:])
    assert "gates" in found[0].passages[0][0]
    assert "tore" in found[0].passages[0][1]


def test_what_was_given_is_nobodys_copy():
    assert pairs({"ann": LONG, "bo": LONG}, LONG, "x = 1\n") == []


def test_likeness_to_the_solution_is_told():
    found = pairs({"ann": LONG, "bo": RENAMED}, "", LONG)
    assert found[0].of_reference == pytest.approx(1, abs=0.05)
    assert pairs({"ann": LONG, "bo": RENAMED}, "", "x = 1\n")[0].of_reference == 0


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_says_that_a_person_decides(lang, tmp_path):
    adam = find_assignment("04_adam")
    texts = {"<b>ann</b>": LONG, "bo": RENAMED, "chen": "x = '\ud800'\n", "dee": "def ("}
    path = similar(adam, texts, tmp_path / "out", lang=lang)
    text = path.read_text(encoding="utf-8")
    assert ("A person decides" if lang == "en" else "由教师判断") in text
    assert "<b>ann</b>" not in text
    rows = list(csv.reader((path.parent / "similar.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert rows[0] == ["one", "other", "share", "of_reference"]
    assert rows[1][:2] == ["<b>ann</b>", "bo"]


def test_one_alone_is_like_nobody(tmp_path):
    with pytest.raises(UserError, match="two at least"):
        similar(find_assignment("04_adam"), {"ann": LONG}, tmp_path)
