"""What was handed in: a folder or zip of submissions -> for each student files, or one line on why not."""

from .entries import Entry, Refused, shown
from .receive import Intake, Submission, open_submissions
from .roster import Person
from .sort import Place

__all__ = ["open_submissions", "Intake", "Place", "Submission", "Person", "Entry",
           "Refused", "shown"]
