"""TrafficGen above a MemloupeMemory: linear or random requests at a rate.

build/NULL/gem5.opt traffic.py --machine desktop --mode random --period 2ns --reads 70
"""

import argparse

import m5
from m5.objects import *
from m5.util.convert import toLatency

parser = argparse.ArgumentParser()
parser.add_argument("--machine", default="desktop")
parser.add_argument("--config", default="")
parser.add_argument("--mode", choices=["linear", "random"], default="linear")
parser.add_argument("--period", default="2ns", help="between two requests")
parser.add_argument("--reads", type=int, default=100, help="percent")
parser.add_argument("--duration", default="1ms")
arguments = parser.parse_args()

system = System(
    clk_domain=SrcClockDomain(clock="2GHz", voltage_domain=VoltageDomain()),
    mem_mode="timing",
    mem_ranges=[AddrRange("256MiB")],
)
system.membus = SystemXBar()
system.generator = PyTrafficGen()
system.generator.port = system.membus.cpu_side_ports
system.memory = MemloupeMemory(
    range=system.mem_ranges[0],
    machine=arguments.machine,
    config=arguments.config,
)
system.memory.port = system.membus.mem_side_ports
system.system_port = system.membus.cpu_side_ports

root = Root(full_system=False, system=system)
m5.instantiate()

ticks = lambda text: m5.ticks.fromSeconds(toLatency(text))
create = {
    "linear": system.generator.createLinear,
    "random": system.generator.createRandom,
}[arguments.mode]
duration, period = ticks(arguments.duration), ticks(arguments.period)
end = system.mem_ranges[0].end - 1
state = create(
    duration, 0, end, 64, period, period, arguments.reads, 0
)
system.generator.start(iter([state, system.generator.createExit(0)]))
exit_event = m5.simulate()
m5.stats.dump()
print(exit_event.getCause(), "at", m5.curTick())
