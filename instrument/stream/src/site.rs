//! Static facts: which code there is and what memory operands it has. They travel once, in the site table.

use crate::layout::{self, Form};

/// Index of a translated block in the site table.
pub type BlockId = u32;
/// Index of a static memory operand over all blocks. Each block's first site stands for its instruction fetch.
pub type SiteId = u32;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum AccessKind {
    /// Reads memory.
    Load = 0,
    /// Writes memory.
    Store = 1,
    /// Reads and writes the same bytes in one instruction; one access.
    ReadModifyWrite = 2,
    /// A software prefetch.
    Prefetch = 3,
    /// A store with the non-temporal hint.
    NonTemporalStore = 4,
    /// The instruction bytes of a block.
    Fetch = 5,
}

impl AccessKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 6] = [
        Self::Load,
        Self::Store,
        Self::ReadModifyWrite,
        Self::Prefetch,
        Self::NonTemporalStore,
        Self::Fetch,
    ];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL
            .get(usize::from(code))
            .copied()
            .filter(|kind| *kind != Self::Fetch)
    }

    /// The word used in tables and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::ReadModifyWrite => "read-modify-write",
            Self::Prefetch => "prefetch",
            Self::NonTemporalStore => "non-temporal store",
            Self::Fetch => "fetch",
        }
    }

    /// Whether it reads data (1) and writes data (1), as `loads` and `stores` are counted.
    #[must_use]
    pub fn loads_and_stores(self) -> (u64, u64) {
        match self {
            Self::Load => (1, 0),
            Self::Store | Self::NonTemporalStore => (0, 1),
            Self::ReadModifyWrite => (1, 1),
            Self::Prefetch | Self::Fetch => (0, 0),
        }
    }
}

/// One static memory operand, or a block's instruction fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Address of the instruction in the target.
    pub ip: u64,
    /// Bytes of one access.
    pub bytes: u32,
    /// What it does.
    pub kind: AccessKind,
    /// The block it belongs to.
    pub block: BlockId,
    pub(crate) operand: Operand,
}

/// How an operand's address is found in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) form: Form,
    /// `OPERAND_…` bits.
    pub(crate) flags: u8,
    pub(crate) slot: u16,
    pub(crate) index_slot: u16,
    pub(crate) mask_slot: u16,
    pub(crate) scale: u8,
    pub(crate) lanes: u8,
    pub(crate) index_bytes: u8,
    pub(crate) stride: i32,
    pub(crate) displacement: i64,
    /// It is one access, at a word plus the displacement: what most operands are.
    pub(crate) is_direct: bool,
}

impl Operand {
    /// Of a block's instruction fetch, which no record describes.
    const FETCH: Self = Self {
        form: Form::Plain,
        flags: 0,
        slot: layout::NO_SLOT,
        index_slot: 0,
        mask_slot: 0,
        scale: 0,
        lanes: 0,
        index_bytes: 0,
        stride: 0,
        displacement: 0,
        is_direct: true,
    };

    /// Reads an operand of the site table.
    ///
    /// # Errors
    /// What breaks the protocol: an unknown form, or words outside the record.
    fn parse(bytes: &[u8], slots: u16, access_bytes: u16) -> Result<Self, String> {
        let operand = Self {
            form: *Form::ALL
                .get(usize::from(bytes[14]))
                .ok_or_else(|| format!("has an operand of form {}", bytes[14]))?,
            flags: bytes[7],
            slot: u16_at(bytes, 8),
            index_slot: u16_at(bytes, 10),
            mask_slot: u16_at(bytes, 12),
            scale: bytes[15],
            displacement: u64_at(bytes, 16).cast_signed(),
            stride: u32_at(bytes, 24).cast_signed(),
            lanes: bytes[28],
            index_bytes: bytes[29],
            is_direct: bytes[14] == Form::Plain as u8 && bytes[7] == 0 && bytes[15] == 0,
        };
        let end = operand.slots_end(u32::from(access_bytes));
        if end > u32::from(slots) {
            return Err(format!("has an operand that needs {end} slots of {slots}"));
        }
        Ok(operand)
    }

    /// One more than the last slot that it needs.
    fn slots_end(&self, access_bytes: u32) -> u32 {
        let lanes = u32::from(self.lanes);
        let index_bytes = match self.form {
            Form::Gather => lanes * u32::from(self.index_bytes),
            Form::String | Form::Table => 8,
            _ if self.scale != 0 => 8,
            _ => 0,
        };
        let mask_bytes = match self.form {
            Form::Gather | Form::Masked | Form::AnyLane | Form::Compress => {
                if self.flags & layout::OPERAND_VECTOR_MASK == 0 {
                    8
                } else {
                    lanes * access_bytes
                }
            }
            Form::String | Form::Bits => 8,
            Form::Tile => 64,
            Form::Plain | Form::Table => 0,
        };
        let base_bytes = if self.slot == layout::NO_SLOT { 0 } else { 8 };
        [
            (self.slot, base_bytes),
            (self.index_slot, index_bytes),
            (self.mask_slot, mask_bytes),
        ]
        .into_iter()
        .filter(|&(_, bytes)| bytes > 0)
        .map(|(slot, bytes)| u32::from(slot) + bytes.div_ceil(8))
        .max()
        .unwrap_or(0)
    }

    /// The operand as it is in an iteration of its loop.
    pub(crate) fn in_iteration(&self, iteration: u64) -> Self {
        let grown = i64::from(self.stride).wrapping_mul(iteration.cast_signed());
        Self {
            displacement: self.displacement.wrapping_add(grown),
            ..*self
        }
    }

    /// Its address in an iteration of its loop, if it is direct.
    #[inline]
    pub(crate) fn direct_address(&self, slots: &[u64], iteration: u64) -> u64 {
        // No record has a word with the number `NO_SLOT`.
        let word = slots.get(usize::from(self.slot)).copied().unwrap_or(0);
        let grown = i64::from(self.stride).wrapping_mul(iteration.cast_signed());
        word.wrapping_add_signed(self.displacement.wrapping_add(grown))
    }

    /// Whether each execution makes exactly one access, at the sum of its slots.
    fn is_plain(&self) -> bool {
        self.form == Form::Plain
            && self.flags & (layout::OPERAND_CONDITIONAL | layout::OPERAND_ADDRESS_32) == 0
    }
}

/// What a block's last instruction does to the stack of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Nothing.
    #[default]
    Plain,
    /// It calls: the last access of an execution is the push of the return address.
    Call,
    /// It returns: the last access of an execution is the pop of the return address.
    Return,
}

/// Contiguous code that executes as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Address of its first instruction in the target.
    pub address: u64,
    /// Length of its code.
    pub code_bytes: u32,
    /// Instructions that start in it.
    pub instructions: u32,
    /// Floating-point operations of one execution, an FMA counted as two.
    pub flops: u32,
    /// The site of its instruction fetch.
    pub fetch_site: SiteId,
    /// The site of its first memory operand; those of the others follow. A block that is the beginning of another shares
    /// its sites.
    pub first_operand: SiteId,
    /// Number of memory operands, the fetch not included.
    pub operands: u32,
    /// What its last instruction does to the stack of calls.
    pub ending: Ending,
    /// Words of a record behind its first; of a loop's, of its header.
    pub(crate) slots: u32,
    /// Words of each iteration of a loop.
    pub(crate) iteration_slots: u32,
    pub(crate) role: Role,
    /// All operands are plain ones without conditions: each yields exactly one access.
    pub(crate) is_plain: bool,
}

/// What records of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One execution each.
    Straight,
    /// Several executions each.
    Loop,
    /// The beginning of this loop: it has no records, it is what the last iteration in one of the loop's was.
    PartOfLoop(BlockId),
}

/// The consumer's copy of the site table.
#[derive(Debug, Default)]
pub struct SiteTable {
    blocks: Vec<Block>,
    sites: Vec<Site>,
    parsed_bytes: usize,
}

impl SiteTable {
    /// The block with this id.
    #[must_use]
    pub fn block(&self, id: BlockId) -> Option<&Block> {
        self.blocks.get(id as usize)
    }

    /// The site with this id.
    ///
    /// # Panics
    /// If no such site was handed out.
    #[must_use]
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id as usize]
    }

    /// The sites of a block's operands.
    #[must_use]
    pub fn operands_of(&self, block: &Block) -> &[Site] {
        let first = block.first_operand as usize;
        &self.sites[first..first + block.operands as usize]
    }

    /// All blocks, in order of their ids.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// All sites, in order of their ids.
    #[must_use]
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Bytes of the published table that have been parsed.
    pub(crate) fn parsed_bytes(&self) -> usize {
        self.parsed_bytes
    }

    /// Parses whole entries, as `PROTOCOL.md` lays them out, and appends them.
    ///
    /// # Errors
    /// A sentence saying which entry breaks the protocol.
    pub fn extend(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let entry_bytes = self.parse_entry(bytes)?;
            bytes = &bytes[entry_bytes..];
            self.parsed_bytes += entry_bytes;
        }
        Ok(())
    }

    fn parse_entry(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let id = self.blocks.len();
        let broken = |what: &str| format!("site table entry {id}: {what}");
        if bytes.len() < layout::BLOCK_BYTES {
            return Err(broken("truncated"));
        }
        let entry_bytes = u32_at(bytes, 0) as usize * 8;
        let operands = u16_at(bytes, 26);
        let slots = u16_at(bytes, 28);
        let iteration_slots = u16_at(bytes, 36);
        let flags = u16_at(bytes, 30);
        let is_part = flags & layout::BLOCK_PART != 0;
        let own_operands = if is_part { 0 } else { usize::from(operands) };
        if u32_at(bytes, 4) as usize != id {
            return Err(broken(&format!("has id {}", u32_at(bytes, 4))));
        }
        if entry_bytes != layout::BLOCK_BYTES + own_operands * layout::OPERAND_BYTES
            || entry_bytes > bytes.len()
        {
            return Err(broken(&format!(
                "is {entry_bytes} bytes long with {own_operands} operands of its own"
            )));
        }
        let block_id = id as BlockId;
        let fetch_site = SiteId::try_from(self.sites.len()).map_err(|_| broken("more than 2^32 sites"))?;
        let mut block = Block {
            address: u64_at(bytes, 8),
            code_bytes: u32_at(bytes, 16),
            flops: u32_at(bytes, 20),
            instructions: u32::from(u16_at(bytes, 24)),
            operands: u32::from(operands),
            slots: u32::from(slots),
            iteration_slots: u32::from(iteration_slots),
            role: if flags & layout::BLOCK_LOOP == 0 {
                Role::Straight
            } else {
                Role::Loop
            },
            ending: match flags & (layout::BLOCK_CALL | layout::BLOCK_RETURN) {
                layout::BLOCK_CALL => Ending::Call,
                layout::BLOCK_RETURN => Ending::Return,
                _ => Ending::Plain,
            },
            is_plain: true,
            fetch_site,
            first_operand: fetch_site + 1,
        };
        self.sites.push(Site {
            ip: block.address,
            bytes: block.code_bytes,
            kind: AccessKind::Fetch,
            block: block_id,
            operand: Operand::FETCH,
        });
        if is_part {
            self.adopt(&mut block, u32_at(bytes, 32))
                .map_err(|what| broken(&what))?;
        }
        let all_slots = slots.saturating_add(iteration_slots);
        for operand in bytes[layout::BLOCK_BYTES..entry_bytes].chunks_exact(layout::OPERAND_BYTES) {
            let kind = AccessKind::from_code(operand[6])
                .ok_or_else(|| broken(&format!("has an operand of kind {}", operand[6])))?;
            let access_bytes = u16_at(operand, 4);
            let place = Operand::parse(operand, all_slots, access_bytes).map_err(|what| broken(&what))?;
            block.is_plain &= place.is_plain();
            self.sites.push(Site {
                ip: block
                    .address
                    .wrapping_add_signed(i64::from(u32_at(operand, 0).cast_signed())),
                bytes: u32::from(access_bytes),
                kind,
                block: block_id,
                operand: place,
            });
        }
        if block.role == Role::Straight && iteration_slots > 0 {
            return Err(broken("has iteration slots but is no loop"));
        }
        if block.role == Role::Loop && iteration_slots == 0 && !block.is_plain {
            return Err(broken(
                "is a loop without iteration slots with operands that are not plain",
            ));
        }
        self.blocks.push(block);
        Ok(entry_bytes)
    }

    /// Makes `part` the beginning of block `parent`.
    fn adopt(&self, part: &mut Block, parent: BlockId) -> Result<(), String> {
        let whole = self
            .block(parent)
            .ok_or_else(|| format!("is a part of block {parent}, which is not there yet"))?;
        let fits = part.operands <= whole.operands
            && part.iteration_slots <= whole.iteration_slots
            && match whole.role {
                Role::Straight => part.slots <= whole.slots,
                Role::Loop => part.slots == whole.slots,
                Role::PartOfLoop(_) => false,
            };
        if !fits {
            return Err(format!("is no beginning of block {parent}"));
        }
        part.first_operand = whole.first_operand;
        if whole.role == Role::Loop {
            part.role = Role::PartOfLoop(parent);
        }
        let all_slots = part.slots + part.iteration_slots;
        for site in self.operands_of(part) {
            part.is_plain &= site.operand.is_plain();
            if site.operand.slots_end(site.bytes) > all_slots {
                return Err(format!("has operands of block {parent} beyond its slots"));
            }
        }
        Ok(())
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}
