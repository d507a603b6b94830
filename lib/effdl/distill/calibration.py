"""Expected calibration error: whether a network is as sure as it is right.

Paper: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017,
https://arxiv.org/abs/1706.04599, section 2.

An answer's confidence is its largest probability. Sort N answers by it into bins of
equal width over (0, 1]. With n_b answers in bin b, of which the share right_b is right
and whose mean confidence is sure_b

    ECE = sum_b n_b / N |right_b - sure_b|

0 means that of the answers given with 70 per cent confidence, 70 per cent are right.
Accuracy plays no part: who always answers "10 per cent each" among ten classes of equal
size is calibrated. So read it beside the accuracy.

What differs: nothing. Fifteen bins, as in the paper's experiments.

Before trusting it: it depends on the bins, and on few answers it is above 0 by chance
alone, more so for many bins. Compare it on the same answers and bins only.
"""

from torch import Tensor

from effdl.checks import check_positive


def expected_calibration_error(
    logits: Tensor, targets: Tensor, *, bins: int = 15
) -> float:
    """Return ECE, 0 to 1.

    Args:
        logits: (N, C).
        targets: Class indices, (N,).
        bins: Of equal width.

    Raises:
        ValueError: If there are no answers, or not one target for each.

    Example:
        >>> import torch
        >>> sure = torch.tensor([[50.0, 0.0]]).repeat(4, 1)
        >>> expected_calibration_error(sure, torch.tensor([0, 0, 0, 1]))
        0.25
    """
    check_positive(bins=bins)
    if logits.ndim != 2 or len(logits) == 0 or targets.shape != logits.shape[:1]:
        raise ValueError(
            "logits must be (N, C) and targets (N,), N at least 1, got shapes "
            f"{tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    sure, answer = logits.double().softmax(dim=1).max(dim=1)
    right = (answer == targets).double()
    # (0, 1/bins] is bin 0, as in the paper.
    place = (sure * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gap = sure.new_zeros(bins).index_add(0, place, right - sure)  # (bins,), n_b times
    return float(gap.abs().sum() / len(logits))
