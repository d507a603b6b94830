"""Distillation: training a small network on what a large one says.

    a loss      of the student's logits or features and the teacher's    kd, hints, ...
    a training  by any such loss, otherwise that of all chapters         recipe
    answers     of a teacher that is finished and stays as it is         teacher, taps

Begin with :mod:`effdl.distill.kd`.
"""
