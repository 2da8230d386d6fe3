"""The gateway that tests of conformance send through."""

from collections.abc import Iterator

import pytest

from isthmus.datapath import Capacity
from tests.differential.compare import Bench
from tests.differential.place import bench

PLACES = {"place", "strict_place"}
"""Fixtures that load programs into the kernel."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "proves(*names): requirements of RFCs that the test shows to be met")
    config.addinivalue_line("markers", "instead(*names): requirements that are declined; the test shows what is done")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that load programs need what those under tests/bpf need."""
    for item in items:
        if PLACES & {*getattr(item, "fixturenames", ())}:
            item.add_marker("bpf")


@pytest.fixture(scope="package")
def place() -> Iterator[Bench]:
    """A loaded packet path whose clock tests set."""
    with bench(Capacity(flows=1 << 15, fragments=1 << 12)) as made:
        yield made
