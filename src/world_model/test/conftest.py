import json

import pytest
import torch


def pytest_addoption(parser):
    parser.addoption("--renew-golden", action="store_true", help="write golden files with what is found now")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small networks gain nothing from a second thread, and lose much when tests share the machine."""
    torch.set_num_threads(1)


@pytest.fixture
def golden(request):
    """Return what reads a golden file; only ``--renew-golden`` ever writes one, with what was found."""

    def read(path, found):
        if request.config.getoption("--renew-golden", False):
            path.write_text(json.dumps(_rounded(found), indent=1) + "\n")
        return json.loads(path.read_text())

    return read


def _rounded(found):
    return {name: _rounded(value) if isinstance(value, dict) else round(value, 4) for name, value in found.items()}
