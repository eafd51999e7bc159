//! DRAM devices: organisation and timing as data.
//!
//! The values are those that Ramulator 2.1 (commit c5b1c3a, `python/ramulator/dram/`) resolves for the speed bin and
//! organisation named; they were not held against the JEDEC documents, which are named for reference. Adding a speed
//! bin is adding an entry.

/// One channel of a kind of DRAM: its rank as the controller sees it, all chips in lockstep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// What machine files call it: standard, data rate in MT/s, speed bin.
    pub name: &'static str,
    /// The JEDEC document that defines the standard.
    pub jedec: &'static str,
    /// The chip's organisation.
    pub organisation: &'static str,
    /// Bank groups per rank.
    pub bank_groups: u32,
    /// Banks per bank group.
    pub banks: u32,
    /// Bytes of one row over all chips of the rank.
    pub row_bytes: u32,
    /// Bytes that one read or write command moves.
    pub burst_bytes: u32,
    /// Command clock period.
    pub t_ck_ps: u64,
    /// Column read to first data, in clocks.
    pub n_cl: u64,
    /// Activate to column read, in clocks.
    pub n_rcd: u64,
    /// Precharge to activate, in clocks.
    pub n_rp: u64,
    /// Data transfer of one burst, in clocks.
    pub n_bl: u64,
    /// Column read to column read in one bank group, in clocks.
    pub n_ccd_l: u64,
}

/// All devices.
#[rustfmt::skip]
pub const DEVICES: &[Device] = &[
    Device { name: "DDR4-2400R", jedec: "JESD79-4", organisation: "8 Gb x8, 64-bit channel",
             bank_groups: 4, banks: 4, row_bytes: 8192, burst_bytes: 64,
             t_ck_ps: 833, n_cl: 16, n_rcd: 16, n_rp: 16, n_bl: 4, n_ccd_l: 6 },
    Device { name: "DDR4-3200AA", jedec: "JESD79-4", organisation: "8 Gb x8, 64-bit channel",
             bank_groups: 4, banks: 4, row_bytes: 8192, burst_bytes: 64,
             t_ck_ps: 625, n_cl: 22, n_rcd: 22, n_rp: 22, n_bl: 4, n_ccd_l: 8 },
    Device { name: "DDR5-4800BN", jedec: "JESD79-5", organisation: "16 Gb x8, 32-bit subchannel",
             bank_groups: 8, banks: 4, row_bytes: 4096, burst_bytes: 64,
             t_ck_ps: 416, n_cl: 36, n_rcd: 36, n_rp: 36, n_bl: 8, n_ccd_l: 12 },
    // n_bl is the shorter of LPDDR5's two burst spacings: the time until the data of one burst is there.
    Device { name: "LPDDR5-6400", jedec: "JESD209-5", organisation: "16 Gb x16, 16-bit channel",
             bank_groups: 4, banks: 4, row_bytes: 2048, burst_bytes: 32,
             t_ck_ps: 1250, n_cl: 17, n_rcd: 15, n_rp: 15, n_bl: 2, n_ccd_l: 4 },
    // One pseudo-channel; n_rcd is that of reads.
    Device { name: "HBM2-2000", jedec: "JESD235", organisation: "8 Gb, 64-bit pseudo-channel",
             bank_groups: 4, banks: 4, row_bytes: 1024, burst_bytes: 32,
             t_ck_ps: 1000, n_cl: 14, n_rcd: 14, n_rp: 14, n_bl: 2, n_ccd_l: 4 },
];

impl Device {
    /// The device of this name.
    pub fn find(name: &str) -> Option<&'static Device> {
        DEVICES.iter().find(|device| device.name == name)
    }

    /// Time from the first column read of a line to its last data; a line larger than a burst takes several from one
    /// row.
    pub fn read_hit_ps(&self, line_bytes: u32) -> u64 {
        let bursts = u64::from(line_bytes.div_ceil(self.burst_bytes));
        (self.n_cl + (bursts - 1) * self.n_ccd_l + self.n_bl) * self.t_ck_ps
    }

    /// Time from an activate to the first column read.
    pub fn activate_ps(&self) -> u64 {
        self.n_rcd * self.t_ck_ps
    }

    /// Time from a precharge to the activate.
    pub fn precharge_ps(&self) -> u64 {
        self.n_rp * self.t_ck_ps
    }
}
