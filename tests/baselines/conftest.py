import pytest
import torch

import baselines


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(params=baselines.names())
def name(request):
    """Every baseline in turn."""
    return request.param
