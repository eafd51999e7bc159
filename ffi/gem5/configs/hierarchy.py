"""gem5's MemTest on the caches of a machine of memloupe: testers, a port each, check every datum that they read.

build/NULL/gem5.opt hierarchy.py --machine desktop --testers 8 --loads 100000
"""

import argparse

import m5
from m5.objects import *

parser = argparse.ArgumentParser()
parser.add_argument("--machine", default="desktop")
parser.add_argument("--config", default="[controller]\nread_queue = 4\nwrite_queue = 4\n")
parser.add_argument("--testers", type=int, choices=range(1, 65), default=4)
parser.add_argument("--loads", type=int, default=100000)
parser.add_argument("--mode", choices=["timing", "atomic"], default="timing")
arguments = parser.parse_args()

system = System(
    clk_domain=SrcClockDomain(clock="2GHz", voltage_domain=VoltageDomain()),
    mem_mode=arguments.mode,
    mem_ranges=[AddrRange("256MiB")],
)
system.testers = [
    MemTest(max_loads=arguments.loads, progress_interval=arguments.loads // 10, percent_uncacheable=0)
    for _ in range(arguments.testers)
]
system.hierarchy = MemloupeHierarchy(
    range=system.mem_ranges[0],
    machine=arguments.machine,
    config=arguments.config,
)
for tester in system.testers:
    tester.port = system.hierarchy.cores

root = Root(full_system=False, system=system)
m5.instantiate()
exit_event = m5.simulate()
print(exit_event.getCause(), "at", m5.curTick())
