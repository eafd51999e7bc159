//! The memory below the caches: one DRAM, or several of which each page lies in one.
//!
//! Modelled: pages are placed when a request first reaches memory for them: by the class of the owner that asks, if a
//! memory has claimed that class, otherwise by first touch or weighted interleave. Memories may have a capacity; what
//! finds no room goes to the next memory that has some. Each memory hands out its frames in order. Hot pages move to the
//! first memory, and cold ones make room for them; every line of a page that moves is read from one memory and written to
//! the other, charged to the owner whose request moved it. Each memory has its own device, channels, link and counters.
//!
//! Not modelled: the kernel's work for a page that moves (faults, scans, TLB shootdowns), lines of it that caches hold,
//! and which node a core is on: all cores are near to the first memory. A machine with one memory has no pages, and its
//! addresses are taken as they come.

mod page_table;
mod placement;

use memloupe_cachesim::Memory;

use self::page_table::{Page, PageTable};
use self::placement::Turns;
pub use self::placement::{Migration, Placement, PlacementPolicy};
use crate::dram::{Dram, DramCounters, DramError};
use crate::error::MachineError;
use crate::machine::Machine;
use crate::nearest::nearest;

/// The memories of a machine at work.
#[derive(Clone, Debug)]
pub struct MainMemory {
    memories: Vec<Dram>,
    // With several memories only.
    pages: Option<Box<Pages>>,
}

/// Pages looked at for one that may leave the first memory, each time that one wants to come in.
const CLOCK_STEPS: usize = 64;

#[derive(Clone, Debug)]
struct Pages {
    placement: Placement,
    page_shift: u32,
    line_bytes: u64,
    table: PageTable,
    turns: Turns,
    /// By memory.
    frames: Vec<Frames>,
    /// By class number: the memory that has claimed it.
    of_class: Vec<Option<u8>>,
    /// By owner: its class.
    classes: Vec<u8>,
    /// By frame of the first memory: the page in it.
    residents: Vec<u64>,
    /// Position of the search for a cold page among them.
    hand: usize,
    requests: u64,
    beyond_capacity: u64,
}

/// The frames of one memory.
#[derive(Clone, Debug)]
struct Frames {
    capacity: u64,
    next: u32,
    free: Vec<u32>,
}

impl Frames {
    fn has_room(&self) -> bool {
        !self.free.is_empty() || u64::from(self.next) < self.capacity
    }

    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

/// A page to be moved, and what must be moved for it.
struct Move {
    from: (u8, u32),
    to: (u8, u32),
}

impl MainMemory {
    /// All banks closed, no page placed.
    pub fn new(machine: &Machine) -> Result<Self, DramError> {
        let line_bytes = machine.line_bytes();
        let memories: Vec<Dram> = machine
            .memories()
            .map(|memory| Dram::new(memory, line_bytes))
            .collect::<Result<_, _>>()?;
        let pages = machine.placement.as_ref().map(|placement| {
            let frames = |capacity: Option<u64>| Frames {
                capacity: capacity.map_or(u64::MAX, |bytes| bytes / placement.page_bytes),
                next: 0,
                free: Vec::new(),
            };
            Box::new(Pages {
                page_shift: placement.page_bytes.trailing_zeros(),
                line_bytes: line_bytes.into(),
                table: PageTable::default(),
                turns: Turns::new(machine.memories().map(|memory| memory.weight).collect()),
                frames: machine
                    .memories()
                    .map(|memory| frames(memory.capacity_bytes))
                    .collect(),
                of_class: Vec::new(),
                classes: Vec::new(),
                residents: Vec::new(),
                hand: 0,
                requests: 0,
                beyond_capacity: 0,
                placement: placement.clone(),
            })
        });
        Ok(Self { memories, pages })
    }

    /// Says which class each number of [`describe_owner`](crate::System::describe_owner) is: the machine file has words.
    pub fn name_classes(&mut self, machine: &Machine, names: &[&str]) -> Result<(), MachineError> {
        let mut of_class = vec![None; names.len()];
        for (tier, memory) in machine.memories().enumerate() {
            for class in &memory.classes {
                let Some(number) = names.iter().position(|name| name == class) else {
                    let meant = nearest(class, names.iter().copied());
                    return Err(MachineError::Inconsistent {
                        machine: machine.name.clone(),
                        message: format!(
                            "memory {}: unknown class '{class}'{}: one of: {}",
                            memory.name,
                            meant.map_or_else(String::new, |name| format!("; did you mean '{name}'?")),
                            names.join(", ")
                        ),
                    });
                };
                of_class[number] = Some(tier as u8);
            }
        }
        if let Some(pages) = &mut self.pages {
            pages.of_class = of_class;
        }
        Ok(())
    }

    /// Says of which class what `owner` touches is.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn describe_owner(&mut self, owner: u32, class: u8) {
        if let Some(pages) = &mut self.pages {
            pages.classes[owner as usize] = class;
        }
    }

    /// Gives the owners `0..owners` a row of counters; rows that exist are kept.
    pub fn reserve_owners(&mut self, owners: usize) {
        for memory in &mut self.memories {
            memory.reserve_owners(owners);
        }
        if let Some(pages) = &mut self.pages {
            pages.classes.resize(owners.max(pages.classes.len()), 0);
        }
    }

    /// The memories, in the order of the machine.
    pub fn memories(&self) -> &[Dram] {
        &self.memories
    }

    /// Adds the counters of `owner` to `sum`, over all memories.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn add_counters(&self, owner: u32, sum: &mut DramCounters) {
        for memory in &self.memories {
            *sum += memory.counters(owner);
        }
    }

    /// Latency of all reads of `owner`, from the core and back.
    pub(crate) fn read_latency_ps(&self, owner: u32) -> u64 {
        let of = |memory: &Dram| {
            let counters = memory.counters(owner);
            counters.read_latency_ps + counters.outside_ps
        };
        self.memories.iter().map(of).sum()
    }

    /// Bytes read so far, over all owners.
    pub fn total_read_bytes(&self) -> u64 {
        self.memories.iter().map(Dram::total_read_bytes).sum()
    }

    /// Bytes written so far, over all owners.
    pub fn total_write_bytes(&self) -> u64 {
        self.memories.iter().map(Dram::total_write_bytes).sum()
    }

    /// Pages that found all memories full and went to the last one.
    pub fn pages_beyond_capacity(&self) -> u64 {
        self.pages.as_ref().map_or(0, |pages| pages.beyond_capacity)
    }

    /// Lines within one page after the other: where they lie now.
    fn by_page(
        &mut self,
        line_address: u64,
        lines: u64,
        owner: u32,
        mut request: impl FnMut(&mut Dram, u64, u64),
    ) {
        let Some(pages) = &mut self.pages else {
            request(&mut self.memories[0], line_address, lines);
            return;
        };
        let page_bytes = pages.placement.page_bytes;
        let (mut address, end) = (line_address, line_address + lines * pages.line_bytes);
        while address < end {
            let page = address >> pages.page_shift;
            let part = end.min((page + 1) << pages.page_shift) - address;
            let part_lines = part / pages.line_bytes;
            let (tier, frame) = pages.place(page, owner);
            let offset = address & (page_bytes - 1);
            let at = (u64::from(frame) << pages.page_shift) + offset;
            request(&mut self.memories[usize::from(tier)], at, part_lines);
            let moves = pages.touched(page, part_lines);
            for Move { from, to } in moves.into_iter().flatten() {
                let lines = page_bytes / pages.line_bytes;
                let start = |frame: u32| u64::from(frame) << pages.page_shift;
                self.memories[usize::from(from.0)].migrate_out(start(from.1), lines, owner);
                self.memories[usize::from(to.0)].migrate_in(start(to.1), lines, owner);
            }
            address += part;
        }
    }
}

impl Pages {
    /// Where a page lies; places it if it is new.
    #[inline]
    fn place(&mut self, page: u64, owner: u32) -> (u8, u32) {
        if let Some(page) = self.table.entry(page) {
            return (page.tier, page.frame);
        }
        let class = usize::from(self.classes[owner as usize]);
        let claimed = self.of_class.get(class).copied().flatten();
        let wanted = match claimed {
            Some(tier) => usize::from(tier),
            None if self.placement.policy == PlacementPolicy::Interleave => self.turns.next(),
            None => 0,
        };
        let tiers = self.frames.len();
        let with_room = (0..tiers)
            .map(|step| (wanted + step) % tiers)
            .find(|tier| self.frames[*tier].has_room());
        self.beyond_capacity += u64::from(with_room.is_none());
        let tier = with_room.unwrap_or(tiers - 1);
        let frame = self.frames[tier].take();
        *self.table.entry(page) = Some(Page {
            frame,
            tier: tier as u8,
            is_pinned: claimed.is_some(),
            requests: 0,
            epoch: 0,
        });
        self.occupies(page, tier as u8, frame);
        (tier as u8, frame)
    }

    fn occupies(&mut self, page: u64, tier: u8, frame: u32) {
        if tier == 0 {
            let least = self.residents.len().max(frame as usize + 1);
            self.residents.resize(least, page);
            self.residents[frame as usize] = page;
        }
    }

    /// Counts requests for a placed page; what moves because of them, the page that makes room first.
    #[inline]
    fn touched(&mut self, number: u64, requests: u64) -> [Option<Move>; 2] {
        self.requests += requests;
        let Some(migration) = self.placement.migration else {
            return [None, None];
        };
        let epoch = (self.requests / migration.epoch_requests) as u32;
        let Some(page) = self.table.entry(number) else {
            return [None, None];
        };
        if page.epoch != epoch {
            page.epoch = epoch;
            page.requests = 0;
        }
        page.requests = page.requests.saturating_add(requests as u32);
        if page.tier == 0 || page.is_pinned || page.requests < migration.promote_after {
            return [None, None];
        }
        page.requests = 0;
        let (tier, frame) = (page.tier, page.frame);
        if self.frames[0].has_room() {
            return [None, Some(self.moved(number, (tier, frame), 0))];
        }
        let Some(cold) = self.cold_page(epoch) else {
            return [None, None];
        };
        let Some(room) = (1..self.frames.len()).find(|tier| self.frames[*tier].has_room()) else {
            return [None, None];
        };
        let cold_frame = self.table.entry(cold).map_or(0, |page| page.frame);
        let out = self.moved(cold, (0, cold_frame), room as u8);
        [Some(out), Some(self.moved(number, (tier, frame), 0))]
    }

    /// A page of the first memory that was not asked for in this epoch or the one before.
    fn cold_page(&mut self, epoch: u32) -> Option<u64> {
        for _ in 0..CLOCK_STEPS.min(self.residents.len()) {
            self.hand = (self.hand + 1) % self.residents.len();
            let number = self.residents[self.hand];
            let page = self.table.entry(number).as_ref()?;
            if !page.is_pinned && page.epoch + 1 < epoch {
                return Some(number);
            }
        }
        None
    }

    fn moved(&mut self, number: u64, from: (u8, u32), tier: u8) -> Move {
        let frame = self.frames[usize::from(tier)].take();
        self.frames[usize::from(from.0)].free.push(from.1);
        if let Some(page) = self.table.entry(number) {
            (page.tier, page.frame) = (tier, frame);
        }
        self.occupies(number, tier, frame);
        Move {
            from,
            to: (tier, frame),
        }
    }
}

impl Memory for MainMemory {
    #[inline]
    fn read(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.by_page(line_address, lines, owner, |dram, address, lines| {
            dram.read(address, lines, owner);
        });
    }

    #[inline]
    fn write(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.by_page(line_address, lines, owner, |dram, address, lines| {
            dram.write(address, lines, owner);
        });
    }
}
