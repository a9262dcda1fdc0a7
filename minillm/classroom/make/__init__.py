"""What students and teachers get of an assignment: folder, public checks, notebook, autograder."""

from .archive import archive
from .gradescope import gradescope_zip
from .notebook import notebook
from .out import Made, make
from .public_checks import public_checks
from .readme import readme
from .student_folder import make_student_folder, student_files

__all__ = ["make", "Made", "make_student_folder", "student_files", "public_checks", "readme", "notebook",
           "gradescope_zip", "archive"]
