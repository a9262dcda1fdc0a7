"""`--help` of `minillm learn` in the reader's language: --lang, else the course's, else the locale's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import typer.rich_utils
from typer.core import TyperCommand, TyperGroup

from minillm.course.workspace import reader_language

_KEY = "minillm.learn.lang"  # in a context's meta, which the contexts of a command line share

_COMMANDS = {
    "learn": "课程：每一课都有逐步演示和练习，在你自己的副本里学。不带命令时，显示你学到哪里、下一步做什么。",
    "start": "在一个新文件夹里为你复制一份课程。",
    "next": "前往下一个练习或下一课，也可以直接去你指定的练习或课。",
    "prev": "回到上一个练习。",
    "check": "检查一个练习，或一课的所有练习；说明哪里不对、可能的原因是什么。",
    "hint": "给出提示，一次比一次具体；做对之后列出全部提示，并说明为什么对。",
    "reset": "把一个练习或一整课恢复原样；你写的内容保存在 backups/ 里。",
    "watch": "每次保存文件后重新检查，按 Ctrl-C 结束。要往下走，仍然由你用 `minillm learn next`。",
    "progress": "列出各课，以及你做对了哪些练习。",
    "read": "显示一课的课文和代码；加上 --run 还会运行代码，显示结果和图。",
    "step": "逐步演示一课中的计算，可前进，也可后退。",
}
_TEXTS = {
    "en or zh; else as the course was started.": "en 或 zh；不写时与创建课程时相同。",
    "Text alone: no colours, no boxes.": "只要文字：没有颜色，没有边框。",
    "An exercise, a lesson's name or its number; else where you are.":
        "一个练习、一课的名字或编号；不写时是你现在学到的地方。",
    "An exercise, a lesson's name or its number; else the next one.":
        "一个练习、一课的名字或编号；不写时是下一个。",
    "A new folder.": "一个新的文件夹。",
    "Texts of the lessons: en, zh or both; else as your locale says.":
        "课文的语言：en、zh 或 both（两种都要）；不写时随系统的语言环境。",
    "All hints at once.": "一次列出全部提示。",
    "Do not ask.": "不再询问。",
    "Seconds between looks.": "每隔多少秒看一次文件。",
    "Run your copy, and show what each cell prints and draws.":
        "运行你的这份课程，显示每个单元格的输出和图。",
    "With --run: the solutions in place of your exercises.": "与 --run 同用：用参考答案代替你写的练习。",
    "Which stepper; else all.": "第几个演示；不写时全部演示。",
    "Run the lesson with its solutions.": "用参考答案运行这一课。",
    "Show this message and exit.": "显示本说明后退出。",
}
_PANELS = {"ARGUMENTS_PANEL_TITLE": "参数", "OPTIONS_PANEL_TITLE": "选项", "COMMANDS_PANEL_TITLE": "命令",
           "DEFAULT_STRING": "[默认：{}]", "REQUIRED_LONG_STRING": "[必填]"}


class _InTheReadersLanguage:
    """What both kinds of command have: they note --lang, and show their help in that language."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        for k, word in enumerate(args):  # --help comes first, whatever its place: look before it is acted on
            if word.startswith("--lang="):
                ctx.meta[_KEY] = word.partition("=")[2]
            elif word == "--lang" and k + 1 < len(args):
                ctx.meta[_KEY] = args[k + 1]
        return super().parse_args(ctx, args)  # type: ignore[misc]

    def get_usage(self, ctx: Any) -> str:
        usage: str = super().get_usage(ctx)  # type: ignore[misc]
        return usage.replace("Usage:", "用法：", 1) if _lang(ctx) == "zh" else usage

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with _in_chinese(self, ctx) if _lang(ctx) == "zh" else contextlib.nullcontext():
            super().format_help(ctx, formatter)  # type: ignore[misc]


class LearnCommand(_InTheReadersLanguage, TyperCommand):
    """A command of `minillm learn`."""


class LearnGroup(_InTheReadersLanguage, TyperGroup):
    """`minillm learn` itself."""


def _lang(ctx: Any) -> str:
    given: str = ctx.meta.get(_KEY, "")
    return given if given in ("en", "zh") else reader_language()


@contextlib.contextmanager
def _in_chinese(command: Any, ctx: Any) -> Iterator[None]:
    """The command's texts, those of its commands and of its options, in Chinese, and English again after."""
    kept: list[tuple[Any, str, Any]] = []

    def put(thing: Any, name: str, text: Any) -> None:
        kept.append((thing, name, getattr(thing, name)))
        setattr(thing, name, text)

    for one in (command, *getattr(command, "commands", {}).values()):
        if one.name in _COMMANDS:
            # The examples stay: they are commands.
            examples = [p for p in (one.help or "").split("\n\n")[1:] if "Examples:" in p]
            put(one, "help", "\n\n".join([_COMMANDS[one.name], *examples]).replace("Examples:", "例如："))
    if command.epilog:
        put(command, "epilog", command.epilog.replace("Examples:", "例如："))
    for option in command.get_params(ctx):
        if getattr(option, "help", None) in _TEXTS:
            put(option, "help", _TEXTS[option.help])
    for name, text in _PANELS.items():
        if hasattr(typer.rich_utils, name):
            put(typer.rich_utils, name, text)
    try:
        yield
    finally:
        for thing, name, text in reversed(kept):
            setattr(thing, name, text)
