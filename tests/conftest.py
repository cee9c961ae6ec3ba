"""What every test gets: one thread, because the tensors here are small, and the same random numbers each time."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
