//! The code cache: zones of memory near the code they hold translations of, the translated blocks, the links between
//! them, and how they are forgotten when the target's code changes. Cache memory is never reused: a thread may still be
//! on its way through a forgotten block.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::place::Places;
use crate::thread::offset;
use crate::translator::assembler::Assembler;
use crate::{stream, system};

const ZONE_BYTES: usize = 64 << 20;
/// A zone with less than this left is full: no block's translation is longer.
const ZONE_RESERVE_BYTES: usize = 64 << 10;
/// Zones lie so close to the code that RIP-relative operands reach from them what they reach from the code, as long as
/// it is not more than 250 MB away from the code.
const ZONE_REACH: i64 = 0x7000_0000;
/// Nothing is mapped below: that is where null pointers lead.
const LOWEST: i64 = 0x20_0000;
const PAGE_SHIFT: u32 = 12;

/// Stands for the record pointer's register where there is none: the stack pointer never is it.
pub(crate) const NO_POINTER: u8 = 4;

/// A multiplicative hash for addresses.
#[derive(Default)]
pub(crate) struct AddressHash(u64);

impl Hasher for AddressHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(26);
    }
}

/// A map keyed by addresses.
pub(crate) type AddressMap<T> = HashMap<u64, T, BuildHasherDefault<AddressHash>>;

pub(crate) const fn address_map<T>() -> AddressMap<T> {
    HashMap::with_hasher(BuildHasherDefault::new())
}

struct Zone {
    start: usize,
    next: usize,
    end: usize,
}

/// Which of a block's two translations: a thread runs one kind or the other (`gate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Records what it does.
    Recorded,
    /// Only does it.
    Bare,
}

/// What the dispatcher does when translated code leaves a block through it.
#[derive(Clone, Copy)]
pub(crate) enum Cause {
    /// Goes on at `target`, linking the two from then on if there is a place to patch.
    Branch,
    /// Runs the system call whose instruction lies at `plain` (goes on by itself) and at `watched` (comes back).
    SystemCall { plain: usize, watched: usize },
    /// A watched system call has returned.
    AfterSystemCall,
    /// The code at `target` is not what was translated.
    Stale,
    /// A probed or hooked function is entered; goes on where its block is told of it ([`Entry::told`]).
    Enter,
    /// A call of a probed or hooked function returns to `target`.
    Leave,
}

/// A way out of a block.
#[derive(Clone, Copy)]
pub(crate) struct Exit {
    pub(crate) cause: Cause,
    /// Of the block that it leaves, and of the one that it leads to.
    pub(crate) mode: Mode,
    /// In the target's addresses.
    pub(crate) target: u64,
    /// The rel32 to patch with the translation of `target`; 0 for none.
    pub(crate) patch: usize,
    /// Where the rel32 leads before.
    pub(crate) stub: usize,
    /// The register that holds the record pointer when the branch is taken; none if all are the target's.
    pub(crate) pointer: Option<u8>,
}

impl Exit {
    /// Not a branch: all registers are the target's, and there is nothing to patch.
    pub(crate) fn of(cause: Cause, mode: Mode, target: u64) -> Self {
        Self {
            cause,
            mode,
            target,
            patch: 0,
            stub: 0,
            pointer: None,
        }
    }
}

/// A translation of a block.
pub(crate) struct Entry {
    /// Where it begins if all registers are the target's.
    pub(crate) entry: usize,
    /// Where it begins *warm*: if this register holds the record pointer and its value for the target is spilled.
    pub(crate) warm: Option<(u8, usize)>,
    /// Where it goes on when the engine has told that a function is entered there.
    pub(crate) told: Option<usize>,
}

struct Block {
    code: std::ops::Range<u64>,
    at: Entry,
    incoming: Vec<usize>,
}

/// The cache.
pub(crate) struct Cache {
    zones: Vec<Zone>,
    /// By mode.
    blocks: [AddressMap<Block>; 2],
    /// Starts of the blocks that touch a page.
    pages: AddressMap<Vec<u64>>,
    exits: Vec<Exit>,
    /// Stubs of places that calls of probed functions return to.
    pub(crate) leave_stubs: AddressMap<usize>,
    pub(crate) places: Places,
    /// Prefixes of blocks that were interrupted: their ids, by block and code length.
    pub(crate) prefixes: AddressMap<u32>,
    /// Code that makes all registers the target's and goes to an entry, by entry and pointer's register.
    adapters: AddressMap<usize>,
    /// Where the code that is being written begins, and its exits.
    opened: usize,
    unlinked: Vec<usize>,
}

impl Cache {
    pub(crate) const fn new() -> Self {
        Self {
            zones: Vec::new(),
            blocks: [address_map(), address_map()],
            pages: address_map(),
            exits: Vec::new(),
            leave_stubs: address_map(),
            places: Places::new(),
            prefixes: address_map(),
            adapters: address_map(),
            opened: 0,
            unlinked: Vec::new(),
        }
    }

    /// Where the translation of code at `pc` begins to be written.
    pub(crate) fn open(&mut self, pc: u64) -> Assembler {
        let index = self.zone_near(pc);
        self.opened = self.zones[index].next.next_multiple_of(16);
        Assembler::new(self.opened)
    }

    /// Ends what [`Cache::open`] began.
    pub(crate) fn close(&mut self, assembler: &Assembler) {
        let at = assembler.position();
        let zone = self
            .zones
            .iter_mut()
            .find(|zone| zone.start <= at && at <= zone.end)
            .expect("code is written in a zone");
        zone.next = at;
        stream::header()
            .translated_bytes
            .fetch_add((at - self.opened) as u64, Relaxed);
        self.places.close(self.opened, at);
        for exit in std::mem::take(&mut self.unlinked) {
            self.link(exit);
        }
    }

    /// Links an exit of the code that is being written once it is closed: a link may need a pad behind it.
    pub(crate) fn link_when_closed(&mut self, exit: usize) {
        self.unlinked.push(exit);
    }

    /// Whether an address lies in the cache.
    pub(crate) fn contains(&self, at: usize) -> bool {
        self.zones.iter().any(|zone| (zone.start..zone.end).contains(&at))
    }

    fn zone_near(&mut self, pc: u64) -> usize {
        let pc = pc.cast_signed();
        let reaches = |start: usize, end: usize| {
            (start as i64 - pc).abs() < ZONE_REACH && (end as i64 - pc).abs() < ZONE_REACH
        };
        if let Some(index) = self
            .zones
            .iter()
            .position(|zone| reaches(zone.start, zone.end) && zone.end - zone.next > ZONE_RESERVE_BYTES)
        {
            return index;
        }
        // Below the code first: above it, a program's heap or other libraries may want to grow. In a crowded
        // neighbourhood, smaller zones.
        for shift in 0..5 {
            let bytes = ZONE_BYTES >> shift;
            let step = bytes as i64;
            let page = pc >> PAGE_SHIFT << PAGE_SHIFT;
            let places = ZONE_REACH / step;
            let below = (1..places).map(|k| page - k * step);
            let above = (4..places).map(|k| page + k * step);
            let found = below
                .chain(above)
                .filter(|&start| start >= LOWEST && reaches(start as usize, start as usize + bytes))
                .find(|&start| system::map_code(start as usize, bytes));
            if let Some(start) = found {
                let start = start as usize;
                self.zones.push(Zone {
                    start,
                    next: start,
                    end: start + bytes,
                });
                return self.zones.len() - 1;
            }
        }
        system::fatal(format_args!(
            "no room for translated code within 1.8 GB of {pc:#x}"
        ));
    }

    /// The translation of the block at `pc`.
    pub(crate) fn find(&self, mode: Mode, pc: u64) -> Option<&Entry> {
        self.blocks[mode as usize].get(&pc).map(|block| &block.at)
    }

    /// Adds a translation.
    pub(crate) fn insert(&mut self, mode: Mode, code: std::ops::Range<u64>, at: Entry) {
        let start = code.start;
        for page in code.start >> PAGE_SHIFT..=(code.end - 1) >> PAGE_SHIFT {
            self.pages.entry(page).or_default().push(start);
        }
        let incoming = Vec::new();
        self.blocks[mode as usize].insert(start, Block { code, at, incoming });
    }

    pub(crate) fn new_exit(&mut self, exit: Exit) -> usize {
        self.exits.push(exit);
        self.exits.len() - 1
    }

    pub(crate) fn exit(&self, index: usize) -> Exit {
        self.exits[index]
    }

    /// Lets an exit go straight to the translation of its target from now on.
    pub(crate) fn link(&mut self, index: usize) {
        let exit = self.exits[index];
        let Some(block) = self.blocks[exit.mode as usize].get_mut(&exit.target) else {
            return;
        };
        if exit.patch == 0 {
            return;
        }
        block.incoming.push(index);
        let entry = match (exit.pointer, block.at.warm, block.at.entry) {
            (None, _, entry) => entry,
            (Some(pointer), Some((own, warm)), _) if pointer == own => warm,
            (Some(pointer), _, entry) => self.adapter(entry, pointer),
        };
        let distance = |to: usize| i32::try_from(to as i64 - (exit.patch as i64 + 4));
        let distance = distance(entry).or_else(|_| distance(self.pad(exit.patch, entry)));
        patch(
            exit.patch,
            distance.expect("a pad lies in the zone of its branch"),
        );
    }

    /// Where the block at `pc` begins for a thread whose record pointer is in `pointer`, or that has none.
    pub(crate) fn find_warm(&mut self, mode: Mode, pc: u64, pointer: u8) -> Option<usize> {
        let at = &self.blocks[mode as usize].get(&pc)?.at;
        match at.warm {
            Some((own, warm)) if own == pointer => Some(warm),
            _ => Some(self.adapter(at.entry, pointer)),
        }
    }

    /// Code that makes all registers the target's, the record pointer being in `pointer`, and goes to `entry`: `entry` itself
    /// if there is none.
    pub(crate) fn adapter(&mut self, entry: usize, pointer: u8) -> usize {
        if pointer == NO_POINTER {
            return entry;
        }
        // Code lies below 2^47.
        let key = entry as u64 | u64::from(pointer) << 48;
        if let Some(&adapter) = self.adapters.get(&key) {
            return adapter;
        }
        let zone = self
            .zones
            .iter_mut()
            .find(|zone| (zone.start..zone.end).contains(&entry))
            .expect("an entry lies in a zone");
        let mut assembler = Assembler::new(zone.next);
        let adapter = assembler.position();
        assembler.load_state(pointer, offset::SCRATCH_0);
        let branch = assembler.branch(&[0xe9]);
        assembler.lead(branch, entry);
        zone.next = assembler.position();
        self.adapters.insert(key, adapter);
        adapter
    }

    /// A jump to far-away code, near the branch that needs it.
    fn pad(&mut self, near: usize, entry: usize) -> usize {
        let zone = self
            .zones
            .iter_mut()
            .find(|zone| (zone.start..zone.end).contains(&near))
            .expect("a branch lies in a zone");
        let mut assembler = Assembler::new(zone.next);
        let pad = assembler.position();
        assembler.jump_absolute(entry as u64);
        zone.next = assembler.position();
        pad
    }

    /// Forgets the block at `pc`: no link and no look-up leads to it any more.
    pub(crate) fn remove(&mut self, pc: u64) {
        let found = self.blocks.each_mut().map(|blocks| blocks.remove(&pc));
        for block in found.into_iter().flatten() {
            for index in block.incoming {
                let exit = self.exits[index];
                patch(exit.patch, (exit.stub as i64 - (exit.patch as i64 + 4)) as i32);
            }
            forget(pc);
            for page in block.code.start >> PAGE_SHIFT..=(block.code.end - 1) >> PAGE_SHIFT {
                if let Some(starts) = self.pages.get_mut(&page) {
                    starts.retain(|&start| start != pc);
                }
            }
        }
    }

    /// Forgets the blocks that touch a range of pages.
    pub(crate) fn remove_range(&mut self, start: u64, bytes: u64) {
        let pages = start >> PAGE_SHIFT..start.saturating_add(bytes).div_ceil(1 << PAGE_SHIFT);
        let touched: Vec<u64> = if pages.end - pages.start > self.pages.len() as u64 {
            self.pages
                .keys()
                .copied()
                .filter(|page| pages.contains(page))
                .collect()
        } else {
            pages.filter(|page| self.pages.contains_key(page)).collect()
        };
        for page in touched {
            for pc in self.pages.remove(&page).unwrap_or_default() {
                self.remove(pc);
            }
        }
    }
}

/// Makes all threads' indirect branches to `pc` come to the dispatcher.
pub(crate) fn forget(pc: u64) {
    for thread in stream::claimed() {
        // SAFETY: a claimed ring's state; the look-up tables are atomic and stay mapped.
        unsafe { (*thread).forget(pc) };
    }
}

/// Replaces a branch's distance while other threads may run it: an aligned store of four bytes.
fn patch(at: usize, distance: i32) {
    debug_assert!(at.is_multiple_of(4));
    // SAFETY: `at` is the aligned rel32 of a branch in the cache.
    unsafe { (*(at as *const AtomicU32)).store(distance.cast_unsigned(), Release) };
}
