"""Bugs that kernels of others have had, and the test that would catch each here.

    python -m kernels.testing.peer_bugs

prints the table. References are to the project's own issues; where there is none, the version in which it was
seen or the source in which it was read is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .output import without_reader


class PeerBug(NamedTuple):
    """One bug.

    Attributes:
        peer: the project.
        reference: its issue, or where the bug was seen.
        what: what went wrong.
        test: of this package, "tests/kernels/file.py::test".
    """

    peer: str
    reference: str
    what: str
    test: str


_ROWS = "tests/kernels/test_kernels_cross_entropy.py::"
_ADAM = "tests/kernels/test_kernels_adam.py::"
_OWN = "tests/kernels/test_kernels_peer_bugs.py::"

PEER_BUGS = (
    PeerBug("Liger-Kernel", "#1268", "the label's gradient is read, changed and written in low precision: "
            "all of it is lost as p(y) goes to 1", _ROWS + "test_property[label_gradient]"),
    PeerBug("Liger-Kernel", "#272", "a second backward uses the gradient that the first overwrote",
            _OWN + "test_liger_272_gradient_is_used_twice"),
    PeerBug("Liger-Kernel", "#343", "logits are overwritten although the caller still needs them",
            _OWN + "test_liger_343_logits_are_needed_again"),
    PeerBug("Liger-Kernel", "#1251", "an in-place gradient is scaled once for each use",
            _OWN + "test_liger_1251_upstream_gradient_is_applied_once"),
    PeerBug("Unsloth", "#5002", "logits hold the gradient after the backward",
            _ROWS + "test_property[in_place]"),
    PeerBug("Liger-Kernel", "#177", "NaN when every label is ignored", _ROWS + "test_property[all_ignored]"),
    PeerBug("torch", "#116349", "NaN when every label is ignored",
            _OWN + "test_torch_116349_every_label_is_ignored"),
    PeerBug("torch", "#11551", "-inf leaks through ignored rows",
            _OWN + "test_torch_11551_minus_inf_in_ignored_rows"),
    PeerBug("Liger-Kernel", "#678", "the gradient of reduction='none' takes one upstream number for all rows",
            _OWN + "test_liger_678_gradient_of_reduction_none"),
    PeerBug("Liger-Kernel", "seen on CPU", "one -inf logit and label smoothing give an infinite loss",
            _ROWS + "test_property[minus_inf_and_smoothing]"),
    PeerBug("Liger-Kernel", "seen on CPU", "NaN when the first block of the vocabulary is -inf",
            _ROWS + "test_property[minus_inf_long_row]"),
    PeerBug("flash-attn", "seen on CPU", "NaN when the first block of the vocabulary is -inf",
            _ROWS + "test_triton_two_sweeps[minus_inf_blocks]"),
    PeerBug("Quack", "online path", "NaN when the first block of the vocabulary is -inf",
            _ROWS + "test_cuda_kernels_for_long_rows[minus_inf_blocks]"),
    PeerBug("Unsloth", "source", "NaN when the first block of the vocabulary is -inf",
            _ROWS + "test_property[minus_inf_blocks]"),
    PeerBug("flash-attn", "#714", "32-bit offsets overflow in large batches of logits",
            _ROWS + "test_property[overflow_by_stride]"),
    PeerBug("torch", "#111484", "32-bit offsets overflow in cross-entropy",
            _ROWS + "test_property[overflow_by_stride]"),
    PeerBug("Apex", "#1825", "32-bit offsets overflow in a fused optimizer",
            _ADAM + "test_elements_beyond_2_to_the_31"),
    PeerBug("TransformerEngine", "#2918", "32-bit offsets overflow in a fused optimizer",
            _ADAM + "test_elements_beyond_2_to_the_31"),
    PeerBug("DeepSpeed", "#7640", "a tensor of 2^31 elements is silently not updated",
            _ADAM + "test_elements_beyond_2_to_the_31"),
    PeerBug("TransformerEngine", "#3202", "an empty tensor in the last slot of the table",
            _ADAM + "test_property[empty_tensors]"),
    PeerBug("torchao", "#4915", "a bfloat16 step counter sticks at 256",
            _OWN + "test_torchao_4915_step_counter_sticks"),
    PeerBug("bitsandbytes", "#2010", "weight decay after the update, not before it",
            _OWN + "test_bitsandbytes_2010_decay_comes_first"),
    PeerBug("Liger-Kernel", "#1362", "a Python float makes the kernel compute in float64, 24 times slower",
            _OWN + "test_liger_1362_python_floats_are_float32"),
    PeerBug("Liger-Kernel", "source", "the host waits for the device several times a call",
            _OWN + "test_liger_no_value_comes_back_to_the_host"),
    PeerBug("Liger-Kernel", "source", "the loss has the logits' type, and loses what bfloat16 cannot hold",
            _OWN + "test_liger_loss_is_float32"),
    PeerBug("Unsloth", "source", "ignore_index is fixed at -100",
            _OWN + "test_unsloth_ignore_index_is_the_callers"),
    PeerBug("Apex", "source", "amsgrad raises", _ADAM + "test_property[amsgrad]"),
    PeerBug("torch", "source", "16-byte accesses only if the number of elements is a multiple of 4",
            _ADAM + "test_property[odd_sizes]"),
)


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table."""
    argparse.ArgumentParser(
        prog="python -m kernels.testing.peer_bugs",
        description="Print the bugs that kernels of others have had, and the test that catches each here.",
    ).parse_args(arguments)
    wide = [max(len(bug[k]) for bug in PEER_BUGS) for k in range(2)]
    for bug in PEER_BUGS:
        print(f"{bug.peer:{wide[0]}}  {bug.reference:{wide[1]}}  {bug.what}\n"
              f"{'':{sum(wide) + 2}}  {bug.test}")
    return 0


if __name__ == "__main__":
    sys.exit(without_reader(lambda: main(sys.argv[1:])))
