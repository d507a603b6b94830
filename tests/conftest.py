"""What all tests share: the seed, and the helpers in this folder."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # as in the notebooks: small layers on two threads take longer


@pytest.fixture(autouse=True)
def seed() -> None:
    """Begin every test at the same random state."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names of tests that differ in each process: two workers would disagree."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: give the parameters ids=")
