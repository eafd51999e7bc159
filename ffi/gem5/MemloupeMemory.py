from m5.objects.AbstractMemory import AbstractMemory
from m5.params import *


class MemloupeMemory(AbstractMemory):
    """The memory of a machine of memloupe: its DRAM channels with their controllers."""

    type = "MemloupeMemory"
    cxx_header = "gem5/memloupe_memory.hh"
    cxx_class = "gem5::memory::MemloupeMemory"

    port = ResponsePort("requests from a crossbar, a cache or a generator")

    machine = Param.String(
        "desktop",
        "a preset of memloupe, the path of a machine file, or its text; one channel of gem5 is one such memory",
    )
    config = Param.String(
        "", "TOML as memloupe_memory_create takes it in memloupe.h"
    )
    early_writes = Param.Bool(
        False, "answer writes once they are accepted, not once they are written"
    )
    front_latency = Param.Latency(
        "10ns", "added to every response, for gem5's part of the way"
    )
    atomic_latency = Param.Latency(
        "50ns", "of every access in atomic mode, where there is no time to model"
    )

    # configs/common/MemConfig.py asks every memory for the controller to connect.
    def controller(self):
        return self
