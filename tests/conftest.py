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
