"""A miranda core with an L1 above memloupe.memory; with --trace FILE, prospero replays a trace instead.

sst miranda.py -- --machine desktop --requests 20000
"""

import argparse
import sys

import sst

parser = argparse.ArgumentParser()
parser.add_argument("--machine", default="desktop")
parser.add_argument("--controller", default="")
parser.add_argument("--requests", type=int, default=20000)
parser.add_argument("--trace", help="a text trace of prospero: CYCLE R|W ADDRESS LENGTH")
arguments = parser.parse_args(sys.argv[1:])

if arguments.trace:
    core = sst.Component("core", "prospero.prosperoCPU")
    core.addParams({"clock": "2GHz", "reader": "prospero.ProsperoTextTraceReader"})
    core.addParams({"readerParams.file": arguments.trace, "max_outstanding": 16})
    upper = (core, "cache_link")
else:
    core = sst.Component("core", "miranda.BaseCPU")
    core.addParams({"clock": "2GHz", "max_reqs_cycle": 2})
    generator = core.setSubComponent("generator", "miranda.RandomGenerator")
    generator.addParams({"count": arguments.requests, "max_address": 1 << 28, "length": 64})
    interface = core.setSubComponent("memory", "memHierarchy.standardInterface")
    upper = (interface, "lowlink")

cache = sst.Component("l1", "memHierarchy.Cache")
cache.addParams(
    {
        "access_latency_cycles": 2,
        "cache_frequency": "2GHz",
        "associativity": 4,
        "cache_line_size": 64,
        "cache_size": "32KiB",
        "L1": 1,
    }
)
controller = sst.Component("controller", "memHierarchy.MemController")
controller.addParams({"clock": "1GHz", "addr_range_start": 0, "addr_range_end": (1 << 32) - 1})
memory = controller.setSubComponent("backend", "memloupe.memory")
memory.addParams(
    {
        "machine": arguments.machine,
        "controller": arguments.controller,
        "mem_size": "4GiB",
        "statistics_file": "memloupe.json",
    }
)
sst.Link("core_to_l1").connect((*upper, "1ns"), (cache, "highlink", "1ns"))
sst.Link("l1_to_memory").connect((cache, "lowlink", "1ns"), (controller, "highlink", "1ns"))
