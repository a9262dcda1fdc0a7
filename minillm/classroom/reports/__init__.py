"""Reports of a graded assignment: one page for the teacher, one for each student."""

from .student import student_html, student_markdown
from .summary import Summary, summarise
from .teacher import teacher_html
from .write import write_reports

__all__ = ["write_reports", "teacher_html", "student_html", "student_markdown", "Summary", "summarise"]
