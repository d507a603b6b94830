"""GDAS: one operation an edge, drawn anew for every batch.

Paper: Dong and Yang, "Searching for a Robust Neural Architecture in Four GPU Hours",
CVPR 2019, https://arxiv.org/abs/1910.04465; equations of the draw in
:mod:`effdl.nas.gradient.gumbel`.

    h = onehot(argmax(a + g))     y = softmax((a + g) / tau)     w = h + (y - stop(y))

The network of a step is one discrete architecture. Only its operations run, forwards
and backwards, so that a step costs time and memory of one path however many candidates
there are. The architecture learns from the drawn operation k* alone:

    dL/dw_k = <dL/dout, o_k(x)>  if k = k*,  else 0
    dL/da_k = dL/dw_k* y_k* (1 if k = k* else 0, less y_k) / tau

If the drawn operation lowers the loss when scaled up, its logit rises and all others
fall. Nothing says what another would have done; that takes many draws.

tau falls linearly from 10 to 0.1. The weights of the network and the architecture move
one after the other, each with a draw of its own, as in first-order DARTS.

What differs from the authors' later code (AutoDL-Projects, ``forward_gdas`` of the
NAS-Bench-201 cells): there the sum over an edge also holds the bare weights of the
operations that were not drawn. They are 0, so the output is the same; but each gets the
gradient that an operation would get which returns 1 in every pixel. Here it is 0.
tau falls with every step here, with every epoch there.

When not to trust it: one sample is a noisy gradient. With few steps the logits barely
leave their start; look at how far they are apart before you read their order.
"""

from effdl.nas.gradient.gumbel import HardWeights, falling_linearly
from effdl.nas.gradient.method import Method

# One operation an edge, drawn anew in every step; tau from 10 to 0.1.
GDAS = Method(relax=HardWeights(falling_linearly(10.0, 0.1)))
