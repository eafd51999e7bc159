"""A board of gem5's standard library with one CPU above two interleaved channels, each a MemloupeMemory.

build/X86/gem5.opt board.py
"""

from m5.objects import AddrRange, MemloupeMemory
from m5.util.convert import toMemorySize

from gem5.components.boards.simple_board import SimpleBoard
from gem5.components.cachehierarchies.classic.private_l1_cache_hierarchy import (
    PrivateL1CacheHierarchy,
)
from gem5.components.memory.abstract_memory_system import AbstractMemorySystem
from gem5.components.processors.cpu_types import CPUTypes
from gem5.components.processors.simple_processor import SimpleProcessor
from gem5.isas import ISA
from gem5.resources.resource import obtain_resource
from gem5.simulate.simulator import Simulator

MACHINE = 'extends = "desktop"\n[memory]\nchannels = 1\n'


class TwoChannels(AbstractMemorySystem):
    """Two memories that share a range, 64 bytes in turn."""

    def __init__(self, size):
        super().__init__()
        self._bytes = toMemorySize(size)
        self.mem_ctrl = [MemloupeMemory(machine=MACHINE) for _ in range(2)]

    def incorporate_memory(self, board):
        pass

    def get_mem_ports(self):
        return [(memory.range, memory.port) for memory in self.mem_ctrl]

    def get_memory_controllers(self):
        return self.mem_ctrl

    def get_size(self):
        return self._bytes

    def get_uninterleaved_range(self):
        return [self._range]

    def set_memory_range(self, ranges):
        if len(ranges) != 1 or ranges[0].size() != self._bytes:
            raise ValueError("two channels share one range of the memory's size")
        self._range = ranges[0]
        for match, memory in enumerate(self.mem_ctrl):
            memory.range = AddrRange(
                start=ranges[0].start,
                size=ranges[0].size(),
                intlvHighBit=6,
                intlvBits=1,
                intlvMatch=match,
            )


board = SimpleBoard(
    clk_freq="3GHz",
    processor=SimpleProcessor(CPUTypes.TIMING, isa=ISA.X86, num_cores=1),
    memory=TwoChannels("2GiB"),
    cache_hierarchy=PrivateL1CacheHierarchy(
        l1d_size="32KiB", l1i_size="32KiB"
    ),
)
board.set_se_binary_workload(obtain_resource("x86-hello64-static"))
Simulator(board=board).run()
