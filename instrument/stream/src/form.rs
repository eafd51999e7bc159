//! Operands that are more than an address: what `enum ml_form` means. `PROTOCOL.md`, "Forms", is the prose.

use crate::layout::{
    ABSENT, Form, NO_SLOT, OPERAND_ADDRESS_32, OPERAND_CONDITIONAL, OPERAND_FS, OPERAND_VECTOR_MASK,
};
use crate::run::{RunBatch, RunOperand};
use crate::site::{Operand, Site, SiteId, SiteTable};

/// Strings are handed on in pieces of this size, each inside one such line.
const STRING_LINE_BYTES: u64 = 64;

/// Address of a plain operand, or where the lanes of another start. Slots were checked when the site was read.
#[inline]
pub(crate) fn address(operand: &Operand, slots: &[u64], fs_base: u64) -> u64 {
    let word = |slot: u16| slots.get(usize::from(slot)).copied().unwrap_or(0);
    let base = if operand.slot == NO_SLOT {
        0
    } else {
        word(operand.slot)
    };
    let index = if operand.scale == 0 {
        0
    } else {
        word(operand.index_slot)
    };
    finish(
        operand,
        base.wrapping_add(index.wrapping_mul(u64::from(operand.scale))),
        fs_base,
    )
}

#[inline]
fn finish(operand: &Operand, sum: u64, fs_base: u64) -> u64 {
    let mut address = sum.wrapping_add_signed(operand.displacement);
    if operand.flags & OPERAND_ADDRESS_32 != 0 {
        address &= 0xffff_ffff;
    }
    if operand.flags & OPERAND_FS != 0 {
        address = address.wrapping_add(fs_base);
    }
    address
}

/// Pushes the runs of one execution of a block whose operands are not all plain, in a loop that of iteration `iteration`. A
/// `rep` string that spans several lines becomes runs of its own, which have no fetch.
pub(crate) fn expand(
    batch: &mut RunBatch,
    id: u32,
    sites: &SiteTable,
    slots: &[u64],
    fs_base: u64,
    iteration: u64,
) {
    let Some(block) = sites.block(id) else { return };
    let mut string = RepString::default();
    batch.push_fetch(block);
    for (site_id, site) in (block.first_operand..).zip(sites.operands_of(block)) {
        let mut push = |address, bytes| {
            batch.push_operand(RunOperand {
                address,
                stride: 0,
                site: site_id,
                bytes,
                kind: site.kind,
            });
        };
        if site.operand.is_direct {
            push(site.operand.direct_address(slots, iteration), site.bytes);
            continue;
        }
        let operand = &site.operand.in_iteration(iteration);
        match operand.form {
            Form::Plain => {
                let absent = operand.flags & OPERAND_CONDITIONAL != 0
                    && slots.get(usize::from(operand.slot)) == Some(&ABSENT);
                if !absent {
                    push(address(operand, slots, fs_base), site.bytes);
                }
            }
            Form::Gather => {
                let active = Lanes::of(operand, site.bytes, slots);
                let base = address(&Operand { scale: 0, ..*operand }, slots, 0);
                for lane in (0..operand.lanes).filter(|&lane| active.is_active(lane)) {
                    let width = u32::from(operand.index_bytes);
                    let bits = lane_bits(slots, operand.index_slot, u32::from(lane) * width, width);
                    let unused = 64 - width * 8;
                    let index = (bits << unused).cast_signed() >> unused;
                    let offset = index.wrapping_mul(i64::from(operand.scale)).cast_unsigned();
                    let bare = Operand {
                        displacement: 0,
                        ..*operand
                    };
                    push(finish(&bare, base.wrapping_add(offset), fs_base), site.bytes);
                }
            }
            Form::Masked => {
                let active = Lanes::of(operand, site.bytes, slots);
                let start = address(operand, slots, fs_base);
                active.rows(operand.lanes, |first, lanes| {
                    push(
                        start.wrapping_add(u64::from(first) * u64::from(site.bytes)),
                        lanes * site.bytes,
                    );
                });
            }
            Form::AnyLane => {
                if Lanes::of(operand, site.bytes, slots).count(operand.lanes) > 0 {
                    push(address(operand, slots, fs_base), site.bytes);
                }
            }
            Form::Compress => {
                let lanes = Lanes::of(operand, site.bytes, slots).count(operand.lanes);
                if lanes > 0 {
                    push(address(operand, slots, fs_base), lanes * site.bytes);
                }
            }
            Form::Table => {
                let index = slots
                    .get(usize::from(operand.index_slot))
                    .map_or(0, |word| word & 0xff);
                push(address(operand, slots, fs_base).wrapping_add(index), site.bytes);
            }
            Form::Tile => tile(operand, slots, fs_base, &mut push),
            Form::Bits => {
                let unit_bits = site.bytes * 8;
                let unused = 64 - unit_bits.clamp(8, 64);
                let number = lane_bits(slots, operand.mask_slot, 0, site.bytes);
                let number = (number << unused).cast_signed() >> unused;
                let units = number.div_euclid(i64::from(unit_bits.max(8)));
                let moved = Operand {
                    displacement: operand
                        .displacement
                        .wrapping_add(units.wrapping_mul(i64::from(site.bytes))),
                    ..*operand
                };
                push(address(&moved, slots, fs_base), site.bytes);
            }
            Form::String => string.add(site_id, site, slots, fs_base),
        }
    }
    string.push(batch, id);
}

fn tile(operand: &Operand, slots: &[u64], fs_base: u64, push: &mut impl FnMut(u64, u32)) {
    let configuration = |offset: u32, bytes| lane_bits(slots, operand.mask_slot, offset, bytes);
    // Intel SDM, "Tile configuration": bytes of a row at 16 + 2t, rows at 48 + t.
    let row_bytes = configuration(16 + 2 * u32::from(operand.lanes), 2) as u32;
    let rows = configuration(48 + u32::from(operand.lanes), 1);
    let stride = slots
        .get(usize::from(operand.index_slot))
        .map_or(0, |word| word.wrapping_mul(u64::from(operand.scale)));
    let first = address(&Operand { scale: 0, ..*operand }, slots, fs_base);
    for row in (0..rows).filter(|_| row_bytes > 0) {
        push(first.wrapping_add(stride.wrapping_mul(row)), row_bytes);
    }
}

/// `width` bytes at a byte offset from a slot; they don't cross a word.
fn lane_bits(slots: &[u64], slot: u16, offset: u32, width: u32) -> u64 {
    let word = slots
        .get(usize::from(slot) + offset as usize / 8)
        .copied()
        .unwrap_or(0);
    let bits = word >> (offset % 8 * 8);
    if width >= 8 {
        bits
    } else {
        bits & ((1 << (width * 8)) - 1)
    }
}

/// The active lanes, one bit each.
struct Lanes(u64);

impl Lanes {
    fn of(operand: &Operand, lane_bytes: u32, slots: &[u64]) -> Self {
        if operand.flags & OPERAND_VECTOR_MASK == 0 {
            return Self(slots.get(usize::from(operand.mask_slot)).copied().unwrap_or(0));
        }
        let sign = |lane: u8| {
            let top = (u32::from(lane) + 1) * lane_bytes - 1;
            lane_bits(slots, operand.mask_slot, top, 1) >> 7
        };
        Self((0..operand.lanes).fold(0, |bits, lane| bits | sign(lane) << lane))
    }

    fn is_active(&self, lane: u8) -> bool {
        self.0 >> lane & 1 != 0
    }

    fn count(&self, lanes: u8) -> u32 {
        (0..lanes).map(|lane| u32::from(self.is_active(lane))).sum()
    }

    /// Calls `each(first, lanes)` for the rows of neighbouring active lanes.
    fn rows(&self, lanes: u8, mut each: impl FnMut(u8, u32)) {
        let mut lane = 0;
        while lane < lanes {
            let row = (lane..lanes).take_while(|&lane| self.is_active(lane)).count() as u8;
            if row > 0 {
                each(lane, u32::from(row));
            }
            lane += row + 1;
        }
    }
}

/// The operands of one `rep` string instruction: they advance together.
#[derive(Default)]
struct RepString {
    operands: Vec<RunOperand>,
    /// What one iteration moves.
    element_bytes: u64,
    /// How far the pointers went.
    length: i64,
}

impl RepString {
    fn add(&mut self, site_id: SiteId, site: &Site, slots: &[u64], fs_base: u64) {
        let operand = &site.operand;
        let word = |slot: u16| slots.get(usize::from(slot)).copied().unwrap_or(0);
        self.length = word(operand.index_slot)
            .wrapping_sub(word(operand.mask_slot))
            .cast_signed();
        self.element_bytes = u64::from(site.bytes);
        self.operands.push(RunOperand {
            address: address(&Operand { scale: 0, ..*operand }, slots, fs_base),
            stride: 0,
            site: site_id,
            bytes: 0,
            kind: site.kind,
        });
    }

    /// Closes the run that the block began with and adds the string's pieces: up to the first line boundary of its last
    /// operand, whole lines, the rest. A downward string is handed on from its end down.
    fn push(self, batch: &mut RunBatch, id: u32) {
        let total = self.length.unsigned_abs();
        let Some(guide) = self.operands.last().filter(|_| total > 0) else {
            batch.end_run(id, 1);
            return;
        };
        let down = self.length < 0;
        // Downwards, the first element lies at the pointer and the others below: the string ends behind that element.
        let edge = if down {
            guide.address.wrapping_add(self.element_bytes)
        } else {
            guide.address
        };
        let head = if down {
            edge % STRING_LINE_BYTES
        } else {
            edge.wrapping_neg() % STRING_LINE_BYTES
        };
        let head = head.min(total);
        let lines = (total - head) / STRING_LINE_BYTES;
        let tail = (total - head) % STRING_LINE_BYTES;
        let mut done = 0;
        for (bytes, count) in [(head, 1), (STRING_LINE_BYTES, lines), (tail, 1)] {
            if bytes == 0 || count == 0 {
                continue;
            }
            if done > 0 || count > 1 {
                batch.end_run_if_open(id);
            }
            for operand in &self.operands {
                let (address, stride) = if down {
                    let end = operand.address.wrapping_add(self.element_bytes);
                    (end.wrapping_sub(done + bytes), -(bytes.cast_signed()))
                } else {
                    (operand.address.wrapping_add(done), bytes.cast_signed())
                };
                batch.push_operand(RunOperand {
                    address,
                    stride: if count > 1 { stride } else { 0 },
                    bytes: bytes as u32,
                    ..*operand
                });
            }
            if count > 1 {
                batch.end_run(id, count);
            }
            done += bytes * count;
        }
        batch.end_run_if_open(id);
    }
}
