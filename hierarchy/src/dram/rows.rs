//! DRAM with open rows.
//!
//! Modelled: channels, ranks, bank groups, banks, one open row per bank under an open-page policy, and from it
//! whether a request is a row hit (CL + burst), a row miss on a closed bank (RCD before it) or a row conflict (RP and
//! RCD before it). Requests are served one by one in the order in which they come, each on an idle device.
//!
//! Of a technology whose cells wear out, writes of each line or page are counted besides.
//!
//! Not modelled: queues and scheduling, bus and bank contention, refresh, activation windows, read-write turnaround,
//! power. So the latencies are those of an unloaded device, there is no bandwidth limit, and a real controller, which
//! reorders for row hits, may see fewer conflicts. Addresses are taken as they come: a target's virtual addresses
//! are used as if they were physical, and the rows of a bank have no end.

use memloupe_cachesim::Memory;

use super::device::Device;
use super::error::DramError;
use super::mapping::{AddressMapping, NEIGHBOURS};
use super::wear::{Wear, Written};
use crate::machine::MemoryDevice;

/// What DRAM did on behalf of one owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DramCounters {
    /// Bytes of fills.
    pub read_bytes: u64,
    /// Bytes of writebacks and non-temporal stores.
    pub write_bytes: u64,
    /// Requests to the open row.
    pub row_hits: u64,
    /// Requests to a bank without an open row.
    pub row_misses: u64,
    /// Requests to a bank that had another row open.
    pub row_conflicts: u64,
    /// Device latency of all reads, from the first command to the last data; pages that move are not waited for.
    pub read_latency_ps: u64,
    /// Time of the same reads outside of the device: on-chip network, controller, link.
    pub outside_ps: u64,
    /// Of the bytes above, those of pages that moved to another memory.
    pub migrated_out_bytes: u64,
    /// Of the bytes above, those of pages that moved here.
    pub migrated_in_bytes: u64,
}

impl std::ops::AddAssign<&DramCounters> for DramCounters {
    fn add_assign(&mut self, other: &DramCounters) {
        self.read_bytes += other.read_bytes;
        self.write_bytes += other.write_bytes;
        self.row_hits += other.row_hits;
        self.row_misses += other.row_misses;
        self.row_conflicts += other.row_conflicts;
        self.read_latency_ps += other.read_latency_ps;
        self.outside_ps += other.outside_ps;
        self.migrated_out_bytes += other.migrated_out_bytes;
        self.migrated_in_bytes += other.migrated_in_bytes;
    }
}

/// All channels of one kind of device.
#[derive(Clone, Debug)]
pub struct Dram {
    mapping: AddressMapping,
    line_bytes: u64,
    hit_ps: u64,
    activate_ps: u64,
    precharge_ps: u64,
    outside_ps: u64,
    // Where lines of a block of neighbours lie.
    neighbours: Option<[u32; NEIGHBOURS]>,
    // By bank, over all channels and ranks.
    open_rows: Vec<Option<u64>>,
    owners: Vec<DramCounters>,
    // Over all owners: for a view of the run so far that does not add up every row.
    read_lines: u64,
    write_lines: u64,
    // Where cells wear out.
    wear: Option<Box<CellWear>>,
}

/// Writes of cells, and how a write reaches them.
#[derive(Clone, Debug)]
struct CellWear {
    wear: Wear,
    unit_bytes: u64,
    /// By bank, if pages are written: the open row, and whether it was written.
    pages: Option<Vec<(u64, bool)>>,
}

impl Dram {
    /// All banks closed.
    pub fn new(memory: &MemoryDevice, line_bytes: u32) -> Result<Self, DramError> {
        let device = Device::find(&memory.device)?;
        let mapping = AddressMapping::new(
            &memory.mapping,
            &device,
            memory.channels,
            memory.ranks,
            line_bytes,
        )?;
        let banks = mapping.banks();
        let wears = device
            .technology
            .filter(|technology| technology.endurance.is_some());
        let wear = wears.map(|technology| {
            Box::new(CellWear {
                wear: Wear::default(),
                unit_bytes: if technology.writes_pages {
                    device.row_bytes
                } else {
                    line_bytes
                }
                .into(),
                pages: technology.writes_pages.then(|| vec![(u64::MAX, false); banks]),
            })
        });
        Ok(Self {
            wear,
            neighbours: mapping.neighbours(),
            mapping,
            line_bytes: line_bytes.into(),
            hit_ps: device.read_hit_ps(line_bytes),
            activate_ps: device.activate_ps(),
            precharge_ps: device.precharge_ps(),
            outside_ps: memory.outside_ps(line_bytes),
            open_rows: vec![None; banks],
            owners: Vec::new(),
            read_lines: 0,
            write_lines: 0,
        })
    }

    /// Gives the owners `0..owners` a row of counters; rows that exist are kept.
    pub fn reserve_owners(&mut self, owners: usize) {
        if owners > self.owners.len() {
            self.owners.resize(owners, DramCounters::default());
        }
    }

    /// The counters of `owner`.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn counters(&self, owner: u32) -> &DramCounters {
        &self.owners[owner as usize]
    }

    /// Bytes read so far, over all owners.
    pub fn total_read_bytes(&self) -> u64 {
        self.read_lines * self.line_bytes
    }

    /// Bytes written so far, over all owners.
    pub fn total_write_bytes(&self) -> u64 {
        self.write_lines * self.line_bytes
    }

    /// What was written so far, if cells of this memory wear out.
    pub fn written(&self) -> Option<Written> {
        let CellWear { wear, unit_bytes, .. } = &**self.wear.as_ref()?;
        Some(wear.written(*unit_bytes))
    }

    /// Counts what lines that are written or read do to cells.
    #[cold]
    fn wear_out(&mut self, line_address: u64, lines: u64, write: bool) {
        let Some(cells) = &mut self.wear else { return };
        for line in 0..lines {
            let address = line_address + line * self.line_bytes;
            let Some(pages) = &mut cells.pages else {
                if write {
                    cells.wear.write(address / self.line_bytes);
                }
                continue;
            };
            let location = self.mapping.locate(address);
            let bank = self.mapping.bank_of(&location);
            let (row, is_written) = &mut pages[bank];
            if std::mem::replace(row, location.row) != location.row {
                *is_written = false;
            }
            if write && !std::mem::replace(is_written, true) {
                cells
                    .wear
                    .write(location.row * self.open_rows.len() as u64 + bank as u64);
            }
        }
    }

    /// Opens the rows of neighbouring lines; returns the device latency of reads of them.
    #[inline]
    fn open(&mut self, line_address: u64, lines: u64, owner: u32) -> u64 {
        let counters = &mut self.owners[owner as usize];
        let mut open = |bank: usize, row: u64| match self.open_rows[bank].replace(row) {
            Some(before) if row == before => {
                counters.row_hits += 1;
                self.hit_ps
            }
            Some(_) => {
                counters.row_conflicts += 1;
                self.precharge_ps + self.activate_ps + self.hit_ps
            }
            None => {
                counters.row_misses += 1;
                self.activate_ps + self.hit_ps
            }
        };
        let mut latency_ps = 0;
        let Some(neighbours) = &self.neighbours else {
            for line in 0..lines {
                let location = self.mapping.locate(line_address + line * self.line_bytes);
                latency_ps += open(self.mapping.bank_of(&location), location.row);
            }
            return latency_ps;
        };
        let mut number = line_address >> self.line_bytes.trailing_zeros();
        let mut rest = lines as usize;
        while rest > 0 {
            let first = number as usize % NEIGHBOURS;
            let here = rest.min(NEIGHBOURS - first);
            let block = (number - first as u64) * self.line_bytes;
            let location = self.mapping.locate(block);
            let bank = self.mapping.bank_of(&location);
            for other in &neighbours[first..first + here] {
                latency_ps += open(bank ^ *other as usize, location.row);
            }
            number += here as u64;
            rest -= here;
        }
        latency_ps
    }

    /// Reads lines of a page that moves to another memory.
    pub(crate) fn migrate_out(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.read_lines += lines;
        if self.wear.is_some() {
            self.wear_out(line_address, lines, false);
        }
        self.open(line_address, lines, owner);
        let counters = &mut self.owners[owner as usize];
        counters.read_bytes += lines * self.line_bytes;
        counters.migrated_out_bytes += lines * self.line_bytes;
    }

    /// Writes lines of a page that moves here.
    pub(crate) fn migrate_in(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.write(line_address, lines, owner);
        self.owners[owner as usize].migrated_in_bytes += lines * self.line_bytes;
    }
}

impl Memory for Dram {
    #[inline]
    fn read(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.read_lines += lines;
        if self.wear.is_some() {
            self.wear_out(line_address, lines, false);
        }
        let latency_ps = self.open(line_address, lines, owner);
        let counters = &mut self.owners[owner as usize];
        counters.read_bytes += lines * self.line_bytes;
        counters.read_latency_ps += latency_ps;
        counters.outside_ps += lines * self.outside_ps;
    }

    #[inline]
    fn write(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.write_lines += lines;
        if self.wear.is_some() {
            self.wear_out(line_address, lines, true);
        }
        self.open(line_address, lines, owner);
        self.owners[owner as usize].write_bytes += lines * self.line_bytes;
    }
}
