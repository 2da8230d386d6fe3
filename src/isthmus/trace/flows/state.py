"""All that one gateway remembers of its packets, and the clock by which it forgets."""

from __future__ import annotations

from isthmus.tables.entries import Tables
from isthmus.tables.learned import NOTHING_LEARNED, Learned
from isthmus.tables.verdicts import Verdict
from isthmus.trace.flows.again import End, judge_again
from isthmus.trace.flows.mappings import Mappings
from isthmus.trace.flows.noted import Note, Notes
from isthmus.trace.flows.records import Flow, Key
from isthmus.trace.flows.room import Room
from isthmus.trace.flows.tcp import timeout
from isthmus.trace.packet import Packet


class Flows:
    """Flows, mappings and notes on fragments. ``now`` is the clock, in ticks; whoever holds this sets it.

    ``secret``: 64 bits that decide where the search for addresses and ports begins. ``capacity``: how many flows there
    may be, and how many mappings and addresses in use together, those included that wait for the sweep; None: any
    number.
    """

    def __init__(self, secret: int = 0, capacity: int | None = None) -> None:
        self.now = 0
        self.generation = 0
        self._room = Room(capacity)
        self.mappings = Mappings(Room(capacity), secret)
        self._records: list[Flow] = []
        self._live: dict[Key, tuple[Flow, int]] = {}
        self._notes = Notes()

    def __len__(self) -> int:
        """How many flows are live."""
        return sum(self.is_live(flow) for flow in self._records)

    @property
    def records(self) -> int:
        """How many records are taken."""
        return self._room.taken + self.mappings.room.taken

    def reconfigured(self) -> None:
        """The tables are others from now on: every flow is to be judged again."""
        self.generation += 1

    def find(self, key: Key) -> tuple[Flow, int] | None:
        """The live flow that packets with this key belong to, and their direction in it."""
        found = self._live.get(key)
        return found if found is not None and self.is_live(found[0]) else None

    def is_live(self, flow: Flow) -> bool:
        """False: its time has come, or it was ended."""
        return not flow.over and self.now < flow.deadline

    def add(self, flow: Flow) -> Verdict | None:
        """Takes up a new flow; why it can't be. Its mapping is counted for it."""
        if not self._room.take():
            return Verdict.FLOW_TABLE_FULL
        if any(self.find(key) is not None for key in flow.keys):
            self._room.give_back()
            return Verdict.FLOW_CONFLICT
        self._records.append(flow)
        if flow.mapping is not None:
            flow.mapping.flows += 1
        for direction, key in enumerate(flow.keys):
            self._live[key] = flow, direction
        self.refresh(flow)
        return None

    def refresh(self, flow: Flow) -> None:
        """A packet followed it: the silence begins anew."""
        flow.deadline = self.now + timeout(flow)

    def end(self, flow: Flow) -> None:
        """It never matches again; its record, and its mapping, are counted until the sweep."""
        flow.over = True
        for key in flow.keys:
            if self._live.get(key, (None, 0))[0] is flow:
                del self._live[key]

    def revision(self, learned: Learned) -> tuple[int, int]:
        """What a flow is judged by now: the number of the configuration, and that of the learned routes."""
        return self.generation, learned.epoch

    def judge(self, tables: Tables, learned: Learned, flow: Flow) -> End | None:
        """Why a flow does not go on under the tables of now; it is judged once in a revision, or while it waits."""
        if flow.revision == self.revision(learned):
            return None
        terms = judge_again(tables, learned, flow)
        if terms is End.DEAD and flow.mapping is None:
            return End.DEAD
        if isinstance(terms, End):
            self.end(flow)
            return End.OVER
        flow.sides, flow.ways, flow.timeouts = terms
        flow.revision = self.revision(learned)
        return None

    def note(self, vpc: str, packet: Packet, flow: Flow | None = None, direction: int = 0) -> None:
        """What this packet found, if it is a first fragment: a flow, or (None) rules that allowed it."""
        self._notes.write(vpc, packet, self.now, self.generation, flow, direction)

    def noted(self, vpc: str, packet: Packet) -> Note | None:
        """What the first fragment of this later one found."""
        return self._notes.read(vpc, packet, self.now)

    def sweep(self, tables: Tables, learned: Learned = NOTHING_LEARNED) -> None:
        """Flows whose time has come or that are not permitted any more go, then what no flow needs any more."""
        for flow in self._records:
            if self.is_live(flow):
                self.judge(tables, learned, flow)
            else:
                self.end(flow)
        for flow in self._records:
            if flow.over:
                self._room.give_back()
                if flow.mapping is not None:
                    self.mappings.give_back(flow.mapping, self.now)
        self._records = [flow for flow in self._records if not flow.over]
        self.mappings.sweep(self.now, tables.vpcs.keys())
