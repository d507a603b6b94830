"""A digit that the transfer set lacks: what the student says about it all the same.

The teacher is plain_net(24), trained by labels of all digits with seed 0. The student
plain_net(6) sees no image of the missing digit, and learns from labels, or from the
teacher alone at T = 20. The bias of the missing digit is chosen on validation images.

    recall, recall_after    share of the missing digit that is recognised
    test, test_after        accuracy on all digits; "after" with the bias
    bias                    what is added to the logit
    teacher_recall          of the same digit, by the teacher, who has seen it
"""

from __future__ import annotations

from functools import cache

from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.kd import distil
from effdl.distill.missing_class import best_bias, recall, shifted, without_class
from effdl.distill.recipe import Recipe
from effdl.distill.teacher import answers
from effdl.seed import seeded
from effdl.train import train_classifier

MISSING = 3
TAUGHT_BY = {"labels": (1.0, 0.0), "teacher": (20.0, 1.0)}  # temperature, alpha


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def teacher() -> nn.Module:
    """Return the trained teacher, in eval mode."""
    with seeded(0):
        net = plain_net(24)
        train_classifier(net, data().train, seed=0)
    return net.eval()


def right(logits: Tensor) -> float:
    """Return the accuracy on the test images."""
    return float((logits.argmax(dim=1) == data().test.targets).double().mean())


def measure(taught_by: str, missing: int, seed: int) -> Case:
    """Return what a student knows about the missing digit, and about all."""
    temperature, alpha = TAUGHT_BY[taught_by]
    transfer, recipe = without_class(data().train, missing), Recipe(seed=seed)
    with seeded(seed):
        student = plain_net(6)
    distil(student, teacher(), transfer, recipe, temperature=temperature, alpha=alpha)
    validation = answers(student.eval(), data().validation.inputs)
    bias = best_bias(validation, data().validation.targets, missing)
    before, targets = answers(student, data().test.inputs), data().test.targets
    after = shifted(before, missing, bias)
    return {
        "recall": recall(before, targets, missing),
        "recall_after": recall(after, targets, missing),
        "test": right(before),
        "test_after": right(after),
        "bias": bias,
        "teacher_recall": recall(
            answers(teacher(), data().test.inputs), targets, missing
        ),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    cases: list[Case] = [
        {"taught_by": taught_by, "missing": MISSING, "seed": seed}
        for seed in seeds
        for taught_by in TAUGHT_BY
    ]
    fill_table(__file__, cases, measure)
