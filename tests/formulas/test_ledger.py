"""The ledger: every equation of the article is there, and every cell names something that exists."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from minillm import check_gradients, formulas
from minillm.formulas import LEDGER
from minillm.formulas.ledger import equation

ROOT = Path(__file__).resolve().parents[2]
CHINESE = re.compile("[\u4e00-\u9fff]")
each_row = pytest.mark.parametrize("row", LEDGER.values(), ids=lambda r: r.name)

# What the article writes down or names, by section: the functions that have it, and what their LaTeX
# must contain (spaces aside) where the article prints a formula.
ARTICLE = {
    ("3.3", "l1_penalty"): [r"\lVert\theta\rVert_1"],
    ("3.3", "l2_penalty"): [r"\lVert\theta\rVert_2^2"],
    ("3.3", "dropout"): [],
    ("4.1", "cross_entropy"): [
        r"L(\theta) = -\frac{1}{N}\sum_{i=1}^{N} \sum_{j=1}^{V} y_{ij} \log p(x_i; \theta)_j"],
    ("4.1", "cross_entropy_of_labels"): [],
    ("4.2", "gradient_descent_step"): [r"\theta_{t+1} = \theta_t - \alpha \nabla L(\theta_t)"],
    ("4.3", "adam_step"): [
        r"m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t", r"v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2",
        r"\hat{m}_t = \frac{m_t}{1 - \beta_1^t}", r"\hat{v}_t = \frac{v_t}{1 - \beta_2^t}",
        r"\theta_{t+1} = \theta_t - \frac{\alpha}{\sqrt{\hat{v}_t} + \epsilon} \hat{m}_t"],
    ("5.1", "lstm_cell"): [],
    ("5.1", "lstm"): [],
    ("5.1", "linear"): [],
}


@pytest.mark.parametrize(("section", "name"), ARTICLE, ids=lambda s: s)
def test_the_article_is_covered(section, name):
    row = LEDGER[name]
    assert row.section == section
    assert f"section {section}" in row.source
    latex = row.latex.replace(" ", "")
    lines = ARTICLE[section, name]
    for line in lines:
        assert line.replace(" ", "") in latex
    if len(lines) > 1:
        assert len(row.latex.split(r"\\")) == len(lines)


@each_row
def test_no_cell_is_empty(row):
    for cell in ("name", "section", "title", "title_zh", "latex", "symbols", "symbols_zh", "function",
                 "source", "test"):
        assert getattr(row, cell), f"{row.name} has no {cell}"
    assert all(row.symbols.values())
    assert CHINESE.search(row.title_zh)
    assert row.lesson or row.section == "-", f"{row.name} is in no lesson"
    assert re.fullmatch(r"-|\d\.\d", row.section)
    if row.section in ("3.3", "4.2", "4.3", "5.1") or row.name == "cross_entropy":
        assert row.fused, f"{row.name} has no counterpart that is used in training"
    if row.name in ("cross_entropy", "softmax_cross_entropy", "softmax", "adam_step"):
        assert row.kernels, f"{row.name} has no GPU kernel"


@each_row
def test_every_letter_is_explained_in_both_languages(row):
    assert list(row.symbols_zh) == list(row.symbols)
    for symbol, meaning in row.symbols_zh.items():
        assert CHINESE.search(meaning), f"{row.name}: {symbol} is not explained in Chinese"
        assert not CHINESE.search(row.symbols[symbol]), f"{row.name}: {symbol} is not explained in English"


@each_row
def test_derivatives_to_second_order(row):
    for seed in range(3):
        check_gradients(row.reference, row.example(np.random.default_rng(seed)), order=2, seed=seed)


@each_row
def test_the_test_that_is_named_exists(row):
    file, _, name = row.test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    tests = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert name in tests
    names = {n.id for n in ast.walk(tests[name]) if isinstance(n, ast.Name)}
    names |= {n.attr for n in ast.walk(tests[name]) if isinstance(n, ast.Attribute)}
    assert row.name in names, f"{row.test} does not call {row.name}"
    assert any(isinstance(n, ast.Assert) or "assert" in ast.unparse(n) for n in tests[name].body)


# What a lesson has a formula as, where it uses the package's own layer or schedule.
USED_AS = {"lstm": "nn.LSTMLayer", "linear": "nn.Linear", "warmup_cosine": "optim.WarmupCosine"}


@pytest.mark.parametrize("row", [r for r in LEDGER.values() if r.lesson], ids=lambda r: r.name)
def test_the_lesson_that_is_named_has_the_formula(row):
    """Its code uses the function or has the learner write it; text alone does not count."""
    tree = ast.parse((ROOT / "lessons" / row.lesson / "lesson.py").read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    imported = {a.name for n in nodes if isinstance(n, ast.ImportFrom) and n.module == "minillm.formulas"
                for a in n.names}
    found = {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    found |= {n.id for n in nodes if isinstance(n, ast.Name) and n.id in imported}
    attributes = {ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute)}
    assert (row.name in found or f"formulas.{row.name}" in attributes
            or USED_AS.get(row.name) in attributes), f"lessons/{row.lesson} does not use {row.name}"


def resolve(path):
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


@each_row
def test_functions_are_where_the_ledger_says(row):
    assert resolve(row.function) is row.reference
    assert getattr(formulas, row.name) is row.reference
    if row.fused:
        assert callable(resolve(row.fused))
    for path in row.kernels:  # read, not imported: Triton is not on every machine
        module, _, name = path.partition(":")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@each_row
def test_docstrings_say_what_goes_in_and_out_and_where_it_is_from(row):
    text = inspect.getdoc(row.reference)
    assert text
    for part in ("Args:", "Returns:", "Source:"):
        assert part in text, f"{row.name}: no {part}"
    described = text[text.index("Args:"):text.index("Returns:")]
    for parameter in inspect.signature(row.reference).parameters:
        assert re.search(rf"\b{parameter}\b", described), f"{row.name}: {parameter} is not described"


@each_row
def test_formulas_keep_float32(row):
    """Written with Python numbers only, a formula does not widen its input."""
    args = [a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
            for a in row.example(np.random.default_rng(0))]
    if row.name == "cross_entropy":  # one-hot rows of integers are as wide as float64
        args[0] = args[0].astype(np.float32)
    results = row.reference(*args)
    for y in results if isinstance(results, tuple) else (results,):
        assert y.dtype == np.float32


def test_public_formulas_are_listed():
    assert set(formulas.__all__) - {"LEDGER", "Equation", "equation"} == set(LEDGER)
    defined = {name for file in sorted((ROOT / "minillm/formulas").glob("*.py"))
               if file.stem not in ("ledger", "checks", "__init__")
               for name, value in vars(importlib.import_module(f"minillm.formulas.{file.stem}")).items()
               if inspect.isfunction(value) and value.__module__ == f"minillm.formulas.{file.stem}"
               and not name.startswith("_")}
    assert defined - {"check_labels"} == set(LEDGER)


def test_what_the_article_does_not_print_is_in_no_section_of_it():
    for name in ("perplexity", "bits_per_character", "decoupled_weight_decay"):
        assert LEDGER[name].section == "-"


def test_json_has_every_cell_that_is_data():
    row = LEDGER["adam_step"].to_json()
    assert row["section"] == "4.3"
    assert row["kernels"] == list(LEDGER["adam_step"].kernels)
    assert row["symbols"]["alpha"] == "learning rate"
    assert row["symbols_zh"]["alpha"] == "\u5b66\u4e60\u7387"
    assert row["lesson"] == "04_adam"
    assert not {"example", "reference"} & set(row)


def test_a_name_is_taken_once():
    def softmax():
        pass

    with pytest.raises(ValueError, match="the ledger already has an equation named 'softmax'"):
        equation("-", "x", title="x", title_zh="x", symbols={}, symbols_zh={}, example=lambda rng: (),
                 test="", source="")(softmax)
