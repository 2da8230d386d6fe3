"""Ten thousand peerings: a generator for measuring by hand, and a small run of it here.

``python tests/unit/test_model_scale.py 142 > all.yaml`` writes 10,011 peerings, every VPC with every other;
``... 10000 --hub > hub.yaml`` writes one VPC with 10,000 peers. Then ``time isthmus check all.yaml``.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from itertools import combinations

import pytest

from isthmus.api.objects import read_objects
from isthmus.api.sources import Source
from isthmus.model.build import build
from isthmus.problems import Severity

PEERING = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata:
  name: {one}--{other}
spec:
  {one}:
    ips:
      - cidr: 10.{high}.{low}.0/24
      - not: 10.{high}.{low}.7/32
    as:
      - 100.{high}.{low}.0/24
    ingress:
      - allow:
          stateless: true
          tcp:
            dstPort: 443
  {other}:
    ips:
      - cidr: 10.{high}.{low}.0/24
    as:
      - 101.{high}.{low}.0/24
    ingress:
      - allow:
          stateless: true
          tcp:
            srcPort: 443
"""


def peerings(pairs: Iterable[tuple[int, int]]) -> Iterator[str]:
    """A translated peering for each pair, with public addresses of its own."""
    for number, (one, other) in enumerate(pairs):
        high, low = divmod(number, 256)
        yield PEERING.format(one=f"vpc-{one}", other=f"vpc-{other}", high=high, low=low)


def all_to_all(vpcs: int) -> str:
    """Every VPC with every other: 142 make 10,011 peerings."""
    return "".join(peerings(combinations(range(vpcs), 2)))


def hub(peers: int) -> str:
    """One VPC with all others."""
    return "".join(peerings((0, other) for other in range(1, peers + 1)))


def measured(text: str) -> tuple[float, float]:
    """CPU seconds for reading and for the model; the text has to be right."""
    start = time.process_time()
    objects, _ = read_objects([Source("in.yaml", text.encode(), True)])
    read = time.process_time()
    model, problems = build(objects)
    done = time.process_time()
    assert not [problem for problem in problems if problem.severity is Severity.ERROR]
    assert len(model.peerings) == text.count("kind: Peering")
    return read - start, done - read


@pytest.mark.parametrize(("few", "many"), [(all_to_all(25), all_to_all(50)), (hub(300), hub(1225))])
def test_time_grows_with_the_text_and_not_with_its_square(few: str, many: str) -> None:
    ratio = len(many) / len(few)
    fast = min(sum(measured(few)) for _ in range(3))
    slow = min(sum(measured(many)) for _ in range(3))
    assert slow / fast < ratio * 2


if __name__ == "__main__":
    count = int(sys.argv[1])
    sys.stdout.write(hub(count) if "--hub" in sys.argv else all_to_all(count))
