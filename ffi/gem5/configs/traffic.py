"""TrafficGen above one MemloupeMemory, or several that share its range: linear or random requests at a rate, or those of a trace.

build/NULL/gem5.opt traffic.py --machine desktop --mode random --period 2ns --reads 70
build/NULL/gem5.opt traffic.py --record packets.trc.gz           # what the memory is asked for: memloupe trace, memloupe dram
build/NULL/gem5.opt traffic.py --replay packets.trc.gz
build/NULL/gem5.opt traffic.py --memory gem5                     # gem5's own controller and DDR4-2400, to compare with
build/NULL/gem5.opt traffic.py --checkpoint FOLDER               # halfway; then --restore FOLDER, for the second half alone
"""

import argparse
import os

import m5
from m5.objects import *
from m5.util.convert import toLatency

parser = argparse.ArgumentParser()
parser.add_argument("--memory", choices=["memloupe", "gem5"], default="memloupe")
parser.add_argument("--machine", default="desktop", help="a preset, a file, or a machine file's text")
parser.add_argument("--config", default="", help="TOML as memloupe.h describes it")
parser.add_argument("--channels", type=int, choices=[1, 2, 4], default=1, help="memories that share the range by lines")
parser.add_argument("--mode", choices=["linear", "random"], default="linear")
parser.add_argument("--period", default="2ns", help="between two requests")
parser.add_argument("--reads", type=int, default=100, help="percent")
parser.add_argument("--duration", default="1ms")
parser.add_argument("--record", help="write a packet trace of what the memory is asked for, into gem5's output folder")
parser.add_argument("--replay", help="the requests of a packet trace instead")
parser.add_argument("--checkpoint", help="save to this folder halfway")
parser.add_argument("--restore", help="the second half, from this folder")
arguments = parser.parse_args()

m5.ticks.fixGlobalFrequency()
ticks = lambda text: m5.ticks.fromSeconds(toLatency(text))
RANGE = AddrRange("256MiB")

system = System(
    clk_domain=SrcClockDomain(clock="2GHz", voltage_domain=VoltageDomain()),
    mem_mode="timing",
    mem_ranges=[RANGE],
)
system.generator = PyTrafficGen()
if arguments.memory == "gem5":
    ranges = [RANGE]
    system.memory = [MemCtrl(dram=DDR4_2400_8x8(range=RANGE))]
else:
    bits = arguments.channels.bit_length() - 1
    ranges = [
        AddrRange(
            RANGE.start,
            size=RANGE.size(),
            intlvHighBit=6 + bits - 1 if bits else 0,
            intlvBits=bits,
            intlvMatch=channel,
        )
        for channel in range(arguments.channels)
    ]
    system.memory = [
        MemloupeMemory(range=part, machine=arguments.machine, config=arguments.config)
        for part in ranges
    ]
system.monitor = CommMonitor()
if arguments.record:
    system.monitor.trace = MemTraceProbe(trace_file=arguments.record)
system.generator.port = system.monitor.cpu_side_port
if len(system.memory) == 1:
    # Nothing in between: the generator's latencies are the memory's.
    system.monitor.mem_side_port = system.memory[0].port
else:
    system.membus = SystemXBar()
    system.monitor.mem_side_port = system.membus.cpu_side_ports
    for memory in system.memory:
        memory.port = system.membus.mem_side_ports

root = Root(full_system=False, system=system)
m5.instantiate(arguments.restore)


def drive(duration):
    """The generator's work for so many ticks, and what came of it."""
    period = ticks(arguments.period)
    generator = system.generator
    if arguments.replay:
        work = generator.createTrace(duration, os.path.abspath(arguments.replay), 0)
    else:
        create = {"linear": generator.createLinear, "random": generator.createRandom}
        work = create[arguments.mode](
            duration, 0, int(RANGE.end) - 1, 64, period, period, arguments.reads, 0
        )
    m5.stats.reset()
    generator.start(iter([work, generator.createExit(0)]))
    exit_event = m5.simulate()
    m5.stats.dump()
    print(exit_event.getCause().strip() or "the generator is done", "at", m5.curTick())


duration = ticks(arguments.duration)
if arguments.checkpoint:
    drive(duration // 2)
    m5.checkpoint(arguments.checkpoint)
    print("saved at", m5.curTick())
if arguments.checkpoint or arguments.restore:
    # The second half: from a checkpoint it must give what it gave behind it.
    drive(duration // 2)
else:
    drive(duration)
