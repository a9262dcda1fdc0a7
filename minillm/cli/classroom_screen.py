"""What `minillm class` says, in English or Chinese."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from minillm.classroom.assignment import Assignment
from minillm.classroom.batch import Batch
from minillm.classroom.report import Report


class Screen:
    """Speaks to the teacher.

    Attributes:
        zh: in Chinese.
        console: where to.
    """

    def __init__(self, lang: str) -> None:
        self.zh = lang == "zh"
        self.console = Console(highlight=False, emoji=False)

    def say(self, en: str, zh: str, style: str = "") -> None:
        """A line."""
        self.console.print(zh if self.zh else en, style=style, markup=False, soft_wrap=True)

    def code(self, line: str) -> None:
        """A line to type."""
        self.console.print(f"    {line}", style="cyan", markup=False, soft_wrap=True)

    def lines(self, title: tuple[str, str], lines: Sequence[tuple[str, str, str]],
              style: str = "yellow") -> None:
        """A heading with a line for each (what, English, Chinese), if there are any."""
        if lines:
            self.say(f"{title[0]} ({len(lines)}):", f"{title[1]}（{len(lines)}）：", style)
            for what, en, zh in lines:
                self.say(f"  {what}: {en}", f"  {what}：{zh}")

    def assignments(self, found: Iterable[Assignment], graded: dict[str, int] | None) -> None:
        """A table of assignments; `graded`: assignment's id -> submissions that were graded."""
        names = ("编号", "题目", "文件", "公开/隐藏测试", "分钟") if self.zh else (
            "assignment", "title", "file", "public/hidden tests", "minutes")
        table = Table(box=None, pad_edge=False)
        for name in (*names, *((("已评分",) if self.zh else ("graded",)) if graded is not None else ())):
            table.add_column(name, no_wrap=name in ("assignment", "编号"))
        for a in found:
            kinds = Counter(t.visibility for t in a.tests)
            row = [a.id, a.title_zh if self.zh else a.title, a.file, f"{kinds['public']}/{kinds['hidden']}",
                   str(a.minutes)]
            table.add_row(*row, *([str(graded.get(a.id, 0))] if graded is not None else []))
        self.console.print(table)

    def stopped(self, done: int, found: int, older: Sequence[str], go_on: str) -> None:
        """A grading was stopped; `older`: whose marks are of an older file, `go_on`: what to type."""
        en = f" (marks of an older file: {', '.join(older)})" if older else ""
        zh = f"（{'、'.join(older)} 的分数还是旧文件的）" if older else ""
        self.say(f"Grading was stopped: {done} of {found}{en}; go on with: {go_on}",
                 f"评分曾中断：已完成 {done} / {found}{zh}；继续评分：{go_on}", "yellow")

    def batch(self, batch: Batch, reports: Iterable[Report], go_on: str, after: str) -> None:
        """What became of a batch. `go_on`, `after`: what to type if it was stopped, and if not."""
        self.lines(("Not readable", "无法读取"), batch.unreadable)
        self.lines(("The grader itself failed; the next run tries again", "评分程序出错，下次会重试"),
                   [(student, what, what) for student, what in batch.failed], "red")
        self.lines(("Nobody in the roster", "与名单对不上"), batch.unmatched)
        if batch.missing:
            names = ", ".join(batch.missing)
            self.say(f"Nothing handed in ({len(batch.missing)}): {names}", "没有提交"
                                                                           f"（{len(batch.missing)}）：{names}",
                     "yellow")
        if batch.elsewhere:
            self.say(f"Not in this folder: {len(batch.elsewhere)} (all graded before)",
                     f"不在这个文件夹里：{len(batch.elsewhere)} 人（以前都评过分）", "dim")
        done = batch.graded + batch.kept + len(batch.unreadable) + len(batch.failed)
        if batch.interrupted:
            self.say(f"Stopped: {done} of {len(batch.students)} are in the journal. Go on with:",
                     f"已停止：日志里有 {done} / {len(batch.students)} 份。接着评分：")
            self.code(go_on)
            return
        scores, layers = [], set()
        for report in reports:  # one at a time: a class may be large
            if report.state == "graded":
                scores.append(report.score)
                layers.add(", ".join(report.layers))
        mean = sum(scores) / len(scores) if scores else 0.0
        of_en, of_zh = ("", "") if len(scores) == done else (f" of the {len(scores)} graded",
                                                             f"能评分的 {len(scores)} 份")
        self.say(f"{done} submissions: {batch.graded} graded now, {batch.kept} kept from before; "
                 f"mean{of_en} {mean:.1f} of 100, full marks {sum(s >= 100 for s in scores)}",
                 f"共 {done} 份提交：本次评分 {batch.graded} 份，沿用 {batch.kept} 份；"
                 f"{of_zh}平均 {mean:.1f} 分（满分 100），满分 {sum(s >= 100 for s in scores)} 人", "bold")
        for names in sorted(filter(None, layers)):
            self.say(f"Protections: {names}", f"防护：{names}", "dim")
        self.say("Next:", "下一步：")
        self.code(after)

    def written(self, path: Path) -> None:
        """Where something was written."""
        self.say(f"Written: {path}", f"已写入：{path}")
