"""The course: lessons with steps and exercises, and checks that say what is wrong as a tutor would.

A lesson's file imports `says`, `picture` and `step`; its checks.py imports `Exercise`.
"""

from .checks import check
from .exercise import Exercise
from .lesson_api import LessonRun, picture, run_lesson, says, step
from .result import Result

__all__ = ["Exercise", "LessonRun", "Result", "check", "picture", "run_lesson", "says", "step"]
