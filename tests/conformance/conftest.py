"""The gateway that tests of conformance send through."""

from collections.abc import Iterator

import pytest

from isthmus.datapath import Capacity
from tests.conftest import lack_for_bpf
from tests.differential.compare import Bench
from tests.differential.place import bench


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "proves(*names): requirements of RFCs that the test shows to be met")


@pytest.fixture(scope="session")
def place() -> Iterator[Bench]:
    """A loaded packet path whose clock tests set."""
    if reason := lack_for_bpf():
        pytest.skip(reason)
    with bench(Capacity(flows=1 << 15, fragments=1 << 12)) as made:
        yield made
