"""The classroom: assignments cut from the package, and graded without trusting what is handed in."""

from .assignment import Assignment, Limits, Test, find_assignment, load_assignment
from .report import Report, TestResult
from .scenario import Misconception, Scenario
from .solution import AssignmentError

__all__ = ["Assignment", "Limits", "Test", "load_assignment", "find_assignment", "Scenario", "Misconception",
           "Report", "TestResult", "AssignmentError"]
