"""gem5's MemTest above a MemloupeMemory: testers with caches of their own check every datum that they read.

build/NULL_MESI_Two_Level/gem5.opt is not needed: any build with MemTest will do.

build/X86/gem5.opt memtest.py --testers 8 --loads 100000
"""

import argparse

import m5
from m5.objects import *

parser = argparse.ArgumentParser()
parser.add_argument("--machine", default="desktop")
parser.add_argument("--config", default="[controller]\nread_queue = 4\nwrite_queue = 4\n")
parser.add_argument("--testers", type=int, choices=range(1, 65), default=4)
parser.add_argument("--loads", type=int, default=100000)
arguments = parser.parse_args()


class Cache1(Cache):
    size = "32KiB"
    assoc = 4
    tag_latency = data_latency = response_latency = 1
    mshrs = 4
    tgts_per_mshr = 8


system = System(
    clk_domain=SrcClockDomain(clock="2GHz", voltage_domain=VoltageDomain()),
    mem_mode="timing",
    mem_ranges=[AddrRange("256MiB")],
)
system.membus = SystemXBar()
system.testers = [
    MemTest(max_loads=arguments.loads, progress_interval=arguments.loads // 10)
    for _ in range(arguments.testers)
]
system.caches = [Cache1() for _ in system.testers]
for tester, cache in zip(system.testers, system.caches):
    tester.port = cache.cpu_side
    cache.mem_side = system.membus.cpu_side_ports
system.memory = MemloupeMemory(
    range=system.mem_ranges[0],
    machine=arguments.machine,
    config=arguments.config,
)
system.memory.port = system.membus.mem_side_ports
system.system_port = system.membus.cpu_side_ports

root = Root(full_system=False, system=system)
m5.instantiate()
exit_event = m5.simulate()
print(exit_event.getCause(), "at", m5.curTick())
