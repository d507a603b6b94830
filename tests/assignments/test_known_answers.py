"""Every assignment grades the reference, the stub, another good and eight wrong ones.

The verdict of each task is compared: its points, and the mistake that it names.
"""

import pytest

from grader.cells import Notebook, points_of, read_source, source_names
from grader.variants import answered, known_answers, reference, stub, wrong
from try_assignment import grade, verdicts

NAMES = source_names()
WRONG = [(name, k) for name in NAMES for k in range(8)]


def faults_of(
    name: str, notebook: Notebook, wanted: dict | None, seed: int | None
) -> list:
    result = grade(notebook, name, seed)
    return verdicts(result, read_source(name, seed=seed), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_gets_all_points(name: str) -> None:
    assert not faults_of(name, reference(read_source(name)), None, None)


@pytest.mark.parametrize("name", NAMES)
def test_another_good_solution_gets_all_points_in_another_variant(name: str) -> None:
    source = read_source(name, seed=2027)
    notebook = answered(source, known_answers(name)["other"])
    assert not faults_of(name, notebook, None, 2027)


@pytest.mark.parametrize("name", NAMES)
def test_the_stub_gets_nothing(name: str) -> None:
    assert not faults_of(name, stub(read_source(name)), {}, None)


@pytest.mark.parametrize(("name", "k"), WRONG, ids=lambda value: str(value))
def test_each_wrong_answer_is_named_and_gets_its_points(name: str, k: int) -> None:
    entry = known_answers(name)["wrong"][k]
    assert not faults_of(name, wrong(read_source(name), entry), entry, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_answer_is_known_for_every_task(name: str) -> None:
    answers = known_answers(name)
    tasks = set(points_of(read_source(name), written=False))
    assert len(answers["wrong"]) == 8
    assert set(answers["other"]) == tasks
    for entry in answers["wrong"]:
        assert set(entry) == tasks
        assert all(answer["remark"].strip() for answer in entry.values())
