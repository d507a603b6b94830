"""The machine's result, and what it counts on the way."""

import pytest
import torch

from effdl.prune.eie import interleave, run
from effdl.prune.eie_storage import decode, encode, nearest_codes

# whole numbers: sums are exact in any order
CODEBOOK = torch.tensor([0.0, *range(1, 8), *range(-8, 0)])


def layer(rows=48, columns=40, density=0.2, alive=0.5):
    """Return codes and activations with zeros, all whole numbers."""
    codes = torch.randint(1, 16, (rows, columns)) * (
        torch.rand(rows, columns) < density
    )
    activations = torch.randint(1, 9, (columns,)) * (torch.rand(columns) < alive)
    return codes, activations.float()


def has_work(queue):
    """Drop the columns at the head that have no entry left; return if one has."""
    while queue and queue[0] == 0:
        queue.pop(0)
    return bool(queue)


def has_room(queue, depth):
    """Return whether another activation fits in."""
    has_work(queue)
    return len(queue) < depth


def literal_cycles(memories, activations, depth):
    """Return the cycles by moving every element one cycle at a time."""
    waiting = [j for j, a in enumerate(activations.tolist()) if a]
    columns = [stored.pointers.diff().tolist() for stored in memories]
    queues, now, last = [[] for _ in memories], 0, 0
    while waiting or any(has_work(queue) for queue in queues):
        if waiting and all(has_room(q, depth) for q in queues):
            j = waiting.pop(0)
            for queue, column in zip(queues, columns, strict=True):
                queue.append(column[j])
        now += 1
        for queue in queues:
            if has_work(queue):
                queue[0] -= 1
                last = now
    return last


@pytest.mark.parametrize("depth", [1, 2, 8])
@pytest.mark.parametrize("density", [0.05, 0.4])
def test_cycles_are_those_of_moving_every_element_cycle_by_cycle(depth, density):
    codes, activations = layer(density=density)
    memories = interleave(codes, 6)
    found = run(memories, CODEBOOK, activations, depth=depth).cycles
    assert found == literal_cycles(memories, activations, depth)


def test_a_small_machine_by_hand():
    """Two elements. Column 0: one entry for each; 1: skipped; 2: two and none.

    5 * 1 + 1 * 7 = 12 and 3 * 7 = 21 for the rows 0 and 2, 4 * 1 for row 1.
    """
    codes = torch.tensor([[5, 1, 1], [4, 1, 0], [0, 1, 3]])
    done = run(interleave(codes, 2), CODEBOOK, torch.tensor([1.0, 0.0, 7.0]))
    assert done.output.tolist() == [12.0, 4.0, 21.0]
    assert done.work.tolist() == [3, 1]
    assert (done.macs, done.padding, done.cycles) == (4, 0, 3)
    assert done.efficiency == pytest.approx(4 / 6)


@pytest.mark.parametrize("elements", [1, 4, 7, 48])
def test_the_output_is_that_of_the_dense_layer_exactly(elements):
    codes, activations = layer()
    done = run(interleave(codes, elements), CODEBOOK, activations)
    assert torch.equal(done.output, CODEBOOK[codes] @ activations)


def test_multiply_adds_are_the_non_zeros_in_columns_of_non_zero_activations():
    codes, activations = layer(rows=300, density=0.04)
    done = run(interleave(codes, 4), CODEBOOK, activations)
    expected = sum(
        int(codes[:, j].count_nonzero()) for j in range(40) if activations[j] != 0
    )
    assert done.macs == expected
    assert done.padding > 0
    assert done.work.sum() == expected + done.padding


def test_row_i_belongs_to_element_i_modulo_n():
    codes, _ = layer()
    for k, stored in enumerate(interleave(codes, 5)):
        assert torch.equal(decode(stored), codes[k::5])


def test_more_elements_need_less_padding_since_each_sees_shorter_gaps():
    """A gap in a column is n times shorter in the rows of one of n elements."""
    codes, _ = layer(rows=1920, density=0.02)
    padding = [
        sum(stored.padding for stored in interleave(codes, n)) for n in (1, 8, 64)
    ]
    assert padding[0] > padding[1] > padding[2]


def test_cycles_lie_between_the_busiest_element_and_going_in_step():
    codes, activations = layer(rows=256, columns=80)
    memories = interleave(codes, 16)
    sent = activations.nonzero().flatten()
    entries = torch.stack([stored.pointers.diff()[sent] for stored in memories])
    in_step = int(entries.amax(dim=0).clamp(min=1).sum())
    cycles = [
        run(memories, CODEBOOK, activations, depth=d).cycles for d in (1, 2, 8, 1000)
    ]
    assert cycles[0] == in_step
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[2] >= cycles[3] >= entries.sum(dim=1).max()


def test_a_queue_lets_one_element_run_ahead_of_another_by_hand():
    """Element 1 works on column 0 for 20 cycles, element 0 has 1 and then 2 each.

    With 8 places element 0 does columns 0 to 7 by cycle 15, waits until 20, and needs 8
    more for the other four. With 7 it has five left; in step all eleven.
    """
    codes = torch.zeros(40, 12, dtype=torch.long)
    codes[1::2, 0] = 1
    codes[0, 0] = 1
    codes[0:4:2, 1:] = 1
    memories = interleave(codes, 2)
    ones = torch.ones(12)
    assert run(memories, CODEBOOK, ones).cycles == 28
    assert run(memories, CODEBOOK, ones, depth=7).cycles == 30
    assert run(memories, CODEBOOK, ones, depth=1).cycles == 20 + 22
    assert run(memories, CODEBOOK, ones, depth=99).cycles == 23


def test_one_element_is_always_in_balance():
    codes, activations = layer(density=1.0, alive=1.0)
    done = run(interleave(codes, 1), CODEBOOK, activations)
    assert done.cycles == done.work.item() == codes.numel()
    assert done.efficiency == 1.0


def test_without_activations_nothing_happens():
    codes, activations = layer()
    done = run(interleave(codes, 4), CODEBOOK, activations * 0)
    assert not done.output.any()
    assert (done.macs, done.cycles, done.efficiency) == (0, 0, 0.0)


def test_a_pruned_layer_of_floats_comes_out_up_to_rounding():
    weight = torch.randn(64, 32) * (torch.rand(64, 32) < 0.1)
    codebook = torch.tensor([0.0, *torch.linspace(-2, 2, 14)])
    codes = nearest_codes(weight, codebook)
    x = torch.relu(torch.randn(32))
    done = run(interleave(codes, 8), codebook, x)
    torch.testing.assert_close(done.output, codebook[codes] @ x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, a: interleave(c, 49), "elements must be at most 48 rows, got 49"),
        (lambda c, a: interleave(c, 0), "elements must be at least 1, got 0"),
        (lambda c, a: run([encode(c)], CODEBOOK, a[1:]), r"shape \(40,\), got \(39,\)"),
        (lambda c, a: run([encode(c)], CODEBOOK, a, depth=0), "depth must be at least"),
        (lambda c, a: run([encode(c)], CODEBOOK + 1, a), "begin with 0, got 1.0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*layer())
