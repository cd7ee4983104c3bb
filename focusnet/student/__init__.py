"""The student: a network small enough for DCASE Task 1, which a larger one teaches."""

from focusnet.student.loss import student_loss
from focusnet.student.mel import StudentMel
from focusnet.student.network import build_student
from focusnet.student.size import Complexity, complexity, size_in_bytes

__all__ = [
    "Complexity",
    "StudentMel",
    "build_student",
    "complexity",
    "size_in_bytes",
    "student_loss",
]
