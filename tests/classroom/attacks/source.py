"""Files that are bombs themselves: for the parser, the compiler, whoever decodes them."""

from tests.classroom.attacks.attack import Attack, rows

SYNTAX = {"kinds": ("syntax",), "whole": True, "says": "is not Python", "says_zh": "不是合法的 Python"}
BEGIN = "import numpy as np\ndef adam_step(theta, g, m, v, t, **options): return theta, m, v\n"

GROUP = rows(
    "The file itself",
    Attack("deep_parentheses", "100,000 opening brackets", "x = " + "(" * 100_000 + ")" * 100_000, **SYNTAX),
    Attack("deep_operators", "200,000 minus signs: a tree as deep", "x = " + "-" * 200_000 + "1",
           **{**SYNTAX, "kinds": ("syntax", "crashed", "memory", "exception"), "says": "", "says_zh": ""}),
    Attack("deep_attributes", "a chain of 60,000 attributes", BEGIN + "x = a" + ".b" * 60_000,
           **{**SYNTAX, "kinds": ("syntax", "crashed", "memory", "exception"), "says": "", "says_zh": ""}),
    Attack("ten_megabyte_line", "a line of 10 MB", b"x = '" + b"a" * (10 << 20) + b"'", whole=True,
           kinds=("not_run",), says="not run", says_zh="未运行"),
    Attack("constant_power", "9**9**9, which a compiler might want to work out beforehand",
           BEGIN + "def f():\n    return 9**9**9, (9**9)**(9**9), 1 << 10**10\n", whole=True),
    Attack("constant_string", "'a' * 10**10, and tuples of tuples multiplied",
           BEGIN + "def f():\n    return 'a' * 10**10, ((1,) * 255,) * 10**9, b'x' * 10**12\n", whole=True),
    Attack("long_integer", "an integer of 900,000 digits", BEGIN + "x = " + "9" * 900_000 + "\n", **SYNTAX),
    Attack("hex_integer", "an integer of 900,000 hexadecimal digits, printed",
           BEGIN + "x = 0x" + "f" * 900_000 + "\nprint(str(x))\n", whole=True, kinds=("exception",)),
    Attack("coding_cookie", "a coding cookie under which the file says something else than it seems to",
           b"# coding: utf-7\nimport numpy as np\ndef adam_step(theta, *a, **k): return 1, 2, 3\n"
           b"#+AAoAZ-lobal\n", whole=True, kinds=("wrong", "syntax", "exception")),
    Attack("unknown_cookie", "a coding cookie that there is not", b"# coding: of-my-own\nx = 1\n",
           **{**SYNTAX, "kinds": ("syntax", "missing")}),
    Attack("null_bytes", "null bytes in the file", b"x = 1\n\0\n", whole=True, kinds=("not_run",)),
    Attack("not_utf8", "bytes that are no UTF-8", b"x = '\xff\xfe\xfd'\n", whole=True, kinds=("not_run",)),
    Attack("utf16", "a file in UTF-16", BEGIN.encode("utf-16"), whole=True, kinds=("not_run",)),
    Attack("a_pyc", "compiled bytecode and a zip in place of a source", b"PK\x03\x04\xa7\r\r\n" + bytes(100),
           whole=True, kinds=("not_run",)),
    Attack("form_feeds_and_returns", "form feeds, carriage returns and bidirectional controls that hide code",
           "x = 1 # \u202e\u2066 right \r" + BEGIN.replace("\n", "\r") + "\f\f\n", whole=True,
           kinds=("wrong", "syntax")),
    Attack("twenty_thousand_functions", "20,000 empty functions",
           BEGIN + "".join(f"def f{n}():0\n" for n in range(20_000)), whole=True, kinds=("wrong",)),
    Attack("decorators_and_lambdas", "5,000 decorators and lambdas within lambdas",
           BEGIN + "@int\n" * 5_000 + "def g(): 0\n" + "h = " + "lambda: " * 5_000 + "0\n", whole=True,
           kinds=("syntax", "exception", "wrong", "crashed", "memory")),
    Attack("string_prefixes", "f-strings within f-strings, and a comprehension of 300 fors",
           BEGIN + "y = [0 " + "for x in '' " * 300 + "]\nz = f'{" * 200 + "1" + "}'" * 200 + "\n",
           whole=True, kinds=("syntax", "exception", "wrong", "crashed", "memory")),
)
