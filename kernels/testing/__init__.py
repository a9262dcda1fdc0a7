"""Judges for kernels: the properties that the shipped kernels are held to, for anybody's own kernel."""

from .adam import check_adam
from .adam_reference import Case as AdamCase
from .cross_entropy import check_softmax_cross_entropy
from .cross_entropy_reference import Case as CrossEntropyCase
from .kernel_steps import KernelRecording, recording_kernels, trace_kernel
from .report import Report
from .triton_runner import run_triton

__all__ = ["AdamCase", "CrossEntropyCase", "KernelRecording", "Report", "check_adam",
           "check_softmax_cross_entropy", "recording_kernels", "run_triton", "trace_kernel"]
