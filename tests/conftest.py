"""What every test gets: one thread, because the tensors here are small, and the same random numbers each time."""

from collections.abc import Iterator

import pytest
import torch

from cosim.cosimulation import Spice

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def spice() -> Iterator[Spice]:
    """One ngspice for the parts of all networks: to start it costs more than most runs."""
    with Spice(workers=1) as runs:
        yield runs
