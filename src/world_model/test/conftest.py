import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small networks gain nothing from a second thread, and lose much when tests share the machine."""
    torch.set_num_threads(1)
