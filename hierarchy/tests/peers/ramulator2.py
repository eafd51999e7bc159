"""Configurations of Ramulator 2.1 for ramulator2.cpp: python -m ramulator export ramulator2.py > ddr4.yaml, with DEVICE set to
a key of this table."""

import os

import ramulator

DEVICES = {
    "ddr4": ("DDR4", "DDR4_8Gb_x8", "DDR4_3200AA", "GenericDDR", {"rank": 1}),
    "ddr5": ("DDR5", "DDR5_16Gb_x8", "DDR5_4800BN", "GenericDDR", {"rank": 1}),
    "hbm2": ("HBM2", "HBM2_4Gb", "HBM2_2000Mbps", "HBM12", {}),
    "hbm3": ("HBM3", "HBM3_16Gb_8hi", "HBM3_6400Mbps", "HBM34", {}),
    "lpddr5": ("LPDDR5", "LPDDR5_16Gb_x16", "LPDDR5_6400", "LPDDR5", {"rank": 1}),
}

standard, organisation, timing, controller, levels = DEVICES[os.environ["DEVICE"]]
dram = getattr(ramulator.dram, standard)(org_preset=organisation, timing_preset=timing, **levels)
channel = getattr(ramulator.controller, controller)(
    dram=dram,
    scheduler=ramulator.scheduler.FRFCFS(),
    refresh_manager=ramulator.refresh_manager.AllBank(),
    row_policy=ramulator.row_policy.Open(),
    addr_mapper=ramulator.addr_mapper.RoBaRaCoCh(),
)
memory = ramulator.memory_system.GenericDRAM(
    clock_ratio=1,
    controllers=[channel],
    channel_mapper=ramulator.channel_mapper.CacheLineInterleave(),
)
ramulator.Simulation(ramulator.frontend.External(clock_ratio=1), memory).run()
