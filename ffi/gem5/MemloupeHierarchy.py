from m5.objects.AbstractMemory import AbstractMemory
from m5.params import *


class MemloupeHierarchy(AbstractMemory):
    """The caches of a machine of memloupe, coherent below a port for each core, and its memory."""

    type = "MemloupeHierarchy"
    cxx_header = "gem5/memloupe_hierarchy.hh"
    cxx_class = "gem5::memory::MemloupeHierarchy"

    cores = VectorResponsePort("one for each core, in the order of the machine's")

    machine = Param.String(
        "desktop",
        "a preset of memloupe, the path of a machine file, or its text",
    )
    config = Param.String(
        "", "TOML as memloupe_memory_create takes it in memloupe.h"
    )
    front_latency = Param.Latency(
        "0ns", "added to every response, for gem5's part of the way"
    )
