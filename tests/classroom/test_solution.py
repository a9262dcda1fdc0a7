"""What a student gets of a solution: everything but the bodies to be written."""

import ast
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.classroom.solution import AssignmentError, read_solution
from minillm.formulas.optimizers import adam_step


def run(text):
    module = types.ModuleType("m")
    exec(compile(text, "<m>", "exec", dont_inherit=True), module.__dict__)
    return module


DOC = ["", '"""One line."""', '"""Two\n\n    lines, with f(x): return x in them.\n    """', "# a comment"]


@st.composite
def functions(draw, name, method=False):
    """(source, function's name, whether it is to be written)"""
    token = f"secret_{name}"
    body = draw(st.sampled_from([
        [f"{token} = x + 1", f"return {token}"],
        [f"def inner_{token}(y):", f"    return y + 1 # {token}", f"return inner_{token}(x)"],
        [f"# {token}: think first", "", f"{token} = [x,", f"    1 + 0 * len('{token}')]",
         f"return sum({token})"],
        [f"for {token} in (1,):", f"    x = x + {token}", "return x"],
    ]))
    written = draw(st.booleans())
    me = "self, " if method else ""
    lines = draw(st.sampled_from([[f"def {name}({me}x,", "        unused=None):"], [f"def {name}({me}x):"]]))
    doc = draw(st.sampled_from(DOC))
    lines += f"    {doc}".split("\n") if doc else []
    if written:
        lines += ["    # BEGIN SOLUTION", *(f"    {line}".rstrip() for line in body), "    # END SOLUTION"]
    else:
        lines += [f"    {line}".rstrip().replace(token, f"open_{name}") for line in body]
    return lines, name, written


@st.composite
def modules(draw):
    lines, wanted, given_ = ['"""A module."""', "", "CONSTANT = 3"], [], []
    for i in range(draw(st.integers(1, 4))):
        source, name, written = draw(functions(f"f{i}"))
        lines += ["", "", *source]
        (wanted if written else given_).append(name)
    if draw(st.booleans()):
        source, name, written = draw(functions("method", method=True))
        lines += ["", "", "class Box:", "    size = 1", "", *(f"    {line}".rstrip() for line in source)]
        (wanted if written else given_).append(f"Box.{name}")
    if draw(st.booleans()):
        lines += ["", "", "# TAKE minillm.formulas.optimizers:gradient_descent_step", "", "LAST = CONSTANT"]
        wanted.append("gradient_descent_step")
        lines.insert(2, "from typing import Any")
    return "\n".join(lines) + "\n", wanted, given_


def call(module, name):
    owner, _, method = name.rpartition(".")
    if name == "gradient_descent_step":
        return module.gradient_descent_step(2.0, -0.5, alpha=2.0)
    return getattr(getattr(module, owner)(), method)(2) if owner else getattr(module, name)(2)


@given(modules())
def test_bodies_go_and_all_the_rest_stays(made):
    source, wanted, given_ = made
    if not wanted:
        with pytest.raises(AssignmentError, match="nothing to write"):
            read_solution(source)
        return
    solution = read_solution(source, {wanted[0]: ["think", "then write"]})
    assert solution.functions == tuple(wanted)
    whole, student = run(solution.text), run(solution.student)
    for name in given_:
        assert call(whole, name) == call(student, name) == 3
    for name in wanted:
        assert call(whole, name) == 3
        with pytest.raises(NotImplementedError, match=f"^write {name} here$"):
            call(student, name)
    assert "secret" not in solution.student
    assert not any(mark in solution.text + solution.student for mark in ("SOLUTION", "# TAKE", "# GIVE"))
    assert solution.student.count("# think\n") == 1
    # Every line that was not taken out is there, in its order; docstrings and signatures too.
    rest = iter(solution.student.split("\n"))
    inside = False
    for line in source.split("\n"):
        if line.strip() in ("# BEGIN SOLUTION", "# END SOLUTION"):
            inside = line.strip() == "# BEGIN SOLUTION"
        elif not inside and not line.startswith("# TAKE"):
            assert line in rest


def test_a_function_of_the_package_is_taken_with_signature_and_docstring():
    source = ("from typing import Any\n\nimport numpy as np\n\n\n"
              "# TAKE minillm.formulas.optimizers:adam_step\n")
    solution = read_solution(source, {"adam_step": ["看公式"]}, lang="zh")
    student, whole = run(solution.student).adam_step, run(solution.text).adam_step
    assert student.__doc__ == whole.__doc__
    assert student.__kwdefaults__ == whole.__kwdefaults__
    with pytest.raises(NotImplementedError, match="请写出 adam_step"):
        student(1, 2, 3, 4, 5)
    given_ = (np.ones(3), np.ones(3), np.zeros(3), np.zeros(3), 1)
    for got, want in zip(whole(*given_), adam_step(*given_), strict=True):
        assert np.array_equal(got, want)
    assert "    # 看公式\n" in solution.student
    assert all(line not in solution.student for line in solution.removed)
    assert "@equation" not in solution.text
    assert len(solution.removed) >= 5


def test_a_class_may_be_given_whole():
    solution = read_solution("# GIVE minillm.classroom.solution:AssignmentError\n\n\ndef f(x):\n"
                             "    # BEGIN SOLUTION\n    return x\n    # END SOLUTION\n")
    assert issubclass(run(solution.student).AssignmentError, ValueError)


def test_a_solution_behind_an_inner_function_belongs_to_the_outer_one():
    solution = read_solution("def outer(x):\n    def inner(y):\n        return y\n    # BEGIN SOLUTION\n"
                             "    return inner(x)\n    # END SOLUTION\n")
    assert solution.functions == ("outer",)


def test_two_parts_of_one_function_are_asked_for_once():
    solution = read_solution("def f(x):\n    # BEGIN SOLUTION\n    x += 1\n    # END SOLUTION\n    x += 2\n"
                             "    # BEGIN SOLUTION\n    return x\n    # END SOLUTION\n", {"f": ["a hint"]})
    assert solution.functions == ("f",)
    assert solution.student.count("# a hint") == 1
    assert run(solution.text).f(0) == 3


def test_line_ends_of_windows_and_form_feeds_are_kept_apart():
    solution = read_solution('TEXT = "a\x0cb"\r\n\r\ndef f():\r\n    # BEGIN SOLUTION\r\n    return 1\r\n'
                             "    # END SOLUTION\r\n")
    assert run(solution.student).TEXT == "a\x0cb"
    assert "\r" not in solution.text


BODY = "    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION\n"


@pytest.mark.parametrize(("source", "said"), [
    ("x = 1\n", "nothing to write"),
    ("def f():\n    # BEGIN SOLUTION\n    return 1\n", "BEGIN SOLUTION without END"),
    ("def f():\n    return 1\n    # END SOLUTION\n", "line 3: END SOLUTION without BEGIN"),
    ("def f():\n    # BEGIN SOLUTION\n    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION\n", "line 3"),
    ("def f():\n    # BEGIN SOLUTION\n    x = 1\n# GIVE minillm.formulas:softmax\n    # END SOLUTION\n",
     "inside a solution"),
    ("x = 1\n# BEGIN SOLUTION\ny = 2\n# END SOLUTION\n", "line 2: BEGIN SOLUTION outside a function"),
    ("class A:\n    # BEGIN SOLUTION\n    x = 1\n    # END SOLUTION\n", "outside a function"),
    ("def f():\n    x = 1\n    # BEGIN SOLUTION\n    # a comment\n    # END SOLUTION\n", "nothing between"),
    ("# TAKE minillm.nowhere:f\n", "there is no minillm.nowhere:f"),
    ("# TAKE minillm.formulas.optimizers:nothing\n", "there is no minillm.formulas.optimizers:nothing"),
    ("# TAKE minillm.classroom.solution:Solution\n", "TAKE needs a function, not ClassDef"),
    ("# Take minillm.formulas.optimizers:adam_step\n", "is no mark"),
    ("class A:\n    # TAKE minillm.formulas.optimizers:adam_step\n    pass\n", "line 2: '# TAKE minillm"),
    ("def f():\n    # Begin solution\n    return 1\n", "is no mark"),
    ("def f(:\n" + BODY, "is not Python"),
    ("def f():\n    if True:\n        # BEGIN SOLUTION\n        x = 1\n        # END SOLUTION\n    else:\n"
     "        pass\n\ndef g()\n    pass\n", "is not Python"),
    ("def f():\n    # BEGIN SOLUTION\n    if True:\n        x = 1\n    # END SOLUTION\n"
     "    else:\n        x = 2\n", "without the solution it is not Python"),
])
def test_what_is_wrong_is_one_line(source, said):
    with pytest.raises(AssignmentError) as caught:
        read_solution(source, where="solution.py")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hint_for_something_else_is_refused():
    with pytest.raises(AssignmentError, match="hints for g, which solution.py does not ask for"):
        read_solution("def f():\n" + BODY, {"g": ["?"]})


ONE_LINE = "def crowded(x): return x\n"
BESIDE = 'def beside(x):\n    """Doc."""; return x\n'
BARE = "def bare(x):\n    # the trick is this\n    return x\n"


@pytest.mark.parametrize(("text", "name", "said"), [
    (ONE_LINE, "crowded", "cannot be taken out"), (BESIDE, "beside", "cannot be taken out"),
    (BARE, "bare", "")])
def test_bodies_that_hide(tmp_path, monkeypatch, text, name, said):
    (tmp_path / f"taken_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    source = f"# TAKE taken_{name}:{name}\n"
    if said:
        with pytest.raises(AssignmentError, match=said):
            read_solution(source)
    else:
        student = read_solution(source).student
        assert "trick" not in student
        ast.parse(student)
