"""Whether there was anything to run: of what was not, no protection has to be told."""

from __future__ import annotations

from minillm.classroom.report import Report

_NOT_RUN = ("syntax", "missing", "not_run")  # what a test can be where nothing was started


def ran(report: Report) -> bool:
    """Whether any of the student's code was run: there was a file, and it was Python."""
    return report.state == "graded" and (bool(report.layers)
                                         or any(t.kind not in _NOT_RUN for t in report.tests))
