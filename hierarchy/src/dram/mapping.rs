//! From address to channel, bank, row and column.
//!
//! Three notations:
//! - **an order of fields** from the most to the least significant: `row-rank-bank-bankgroup-column-channel`, or with
//!   two letters each: `RoRaBaBgCoCh`. Fields are peeled off from the low end: by bits where a size is a power of
//!   two, by division otherwise (three or six channels). The row takes what is left. Where the order does not name
//!   them, the bank group lies below the bank, the pseudo-channel below the rank, and the channel lowest.
//! - **a name** of [`NAMED`], for an order that others know by it.
//! - **bits**: `row=33:18; bank=17^21 16^20; bankgroup=15^19 14^18; column=13:6`. Each field lists its bits from the
//!   most significant; a bit is an address bit or the XOR of several, `hi:lo` a range of them.
//!
//! Below the last field lie the bytes of a unit (a line, or a burst), which is never split.

mod inverse;

use super::device::Device;
use super::error::DramError;

/// Consecutive lines go to consecutive channels, then along a row, then to the next bank group.
pub const DEFAULT_MAPPING: &str = "row-rank-bank-bankgroup-column-channel";

/// Orders that have a name.
pub const NAMED: &[(&str, &str)] = &[
    // Ramulator 2 and DRAMSys.
    (
        "RoBaRaCoCh",
        "row-bank-bankgroup-rank-pseudochannel-column-channel",
    ),
    (
        "ChRaBaRoCo",
        "channel-pseudochannel-rank-bank-bankgroup-row-column",
    ),
    (
        "RoRaBaCoCh",
        "row-rank-bank-bankgroup-pseudochannel-column-channel",
    ),
    // DRAMsim3.
    (
        "rochrababgco",
        "row-channel-pseudochannel-rank-bank-bankgroup-column",
    ),
    (
        "rorabgbachco",
        "row-rank-bankgroup-bank-channel-pseudochannel-column",
    ),
    // Bank groups by the lowest bits, so that a stream alternates between them.
    (
        "RoRaBaCoBgCh",
        "row-rank-bank-column-bankgroup-pseudochannel-channel",
    ),
];

/// Where a unit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Channel.
    pub channel: u32,
    /// Number of the bank in its channel, over pseudo-channels, ranks and bank groups.
    pub bank: u32,
    /// Row in the bank.
    pub row: u64,
    /// Unit in the row.
    pub column: u32,
}

const FIELDS: [(&str, &str); 7] = [
    ("row", "ro"),
    ("channel", "ch"),
    ("pseudochannel", "pc"),
    ("rank", "ra"),
    ("bankgroup", "bg"),
    ("bank", "ba"),
    ("column", "co"),
];
/// Units of the blocks of [`AddressMapping::neighbours`].
pub(crate) const NEIGHBOURS: usize = 16;
const ROW: usize = 0;
const CHANNEL: usize = 1;
const PSEUDO_CHANNEL: usize = 2;
const RANK: usize = 3;
const BANK_GROUP: usize = 4;
const BANK: usize = 5;
const COLUMN: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Divisor {
    Shift(u32),
    Number(u64),
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Method {
    /// Fields from the least significant on.
    Order(Vec<(usize, Divisor)>),
    /// Of each field, the address bits of each of its bits from the most significant on.
    Bits(Vec<(usize, Vec<u64>)>),
}

/// A bit string of the address: where it ends, its bits, and what a step of it adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slice {
    shift: u32,
    mask: u64,
    step: u64,
}

impl Slice {
    #[inline(always)]
    fn of(&self, address: u64) -> u64 {
        (address >> self.shift & self.mask) * self.step
    }
}

/// The mapping of one memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressMapping {
    unit_shift: u32,
    method: Method,
    // By field, where every field of an order is a bit string.
    slices: Option<[Slice; 7]>,
    // What a step of each field adds to the bank's number.
    bank_steps: [u32; 7],
    banks_per_channel: u32,
    channels: u32,
}

impl AddressMapping {
    /// Reads `text`; `unit_bytes` is a power of two that fits a row. `ranks` are chip selects: the stack ids of HBM
    /// are further ranks.
    pub fn new(
        text: &str,
        device: &Device,
        channels: u32,
        ranks: u32,
        unit_bytes: u32,
    ) -> Result<Self, DramError> {
        if unit_bytes > device.row_bytes || !unit_bytes.is_power_of_two() {
            return Err(DramError::LineSize {
                line_bytes: unit_bytes,
                row_bytes: device.row_bytes,
            });
        }
        let refused = |message: String| DramError::Mapping {
            text: text.into(),
            message,
        };
        let ranks = ranks * device.stack_ids;
        let mut sizes = [0; 7];
        sizes[CHANNEL] = channels;
        sizes[PSEUDO_CHANNEL] = device.pseudo_channels;
        sizes[RANK] = ranks;
        sizes[BANK_GROUP] = device.bank_groups;
        sizes[BANK] = device.banks;
        sizes[COLUMN] = device.row_bytes / unit_bytes;
        if sizes[1..].contains(&0) {
            return Err(refused("there must be at least one channel and rank".into()));
        }
        let mut bank_steps = [0; 7];
        bank_steps[BANK] = 1;
        bank_steps[BANK_GROUP] = device.banks;
        bank_steps[RANK] = device.banks * device.bank_groups;
        bank_steps[PSEUDO_CHANNEL] = bank_steps[RANK] * ranks;
        let method = if text.contains('=') {
            Method::Bits(bits(text, &sizes, unit_bytes).map_err(refused)?)
        } else {
            let mut fields = order(text, &sizes, device.rows).map_err(refused)?;
            fields.retain(|(_, size)| *size != Divisor::Shift(0));
            Method::Order(fields)
        };
        let slices = match &method {
            Method::Order(fields) => slices(fields, unit_bytes.trailing_zeros(), &bank_steps),
            Method::Bits(_) => None,
        };
        Ok(Self {
            unit_shift: unit_bytes.trailing_zeros(),
            method,
            slices,
            bank_steps,
            banks_per_channel: bank_steps[PSEUDO_CHANNEL] * device.pseudo_channels,
            channels,
        })
    }

    /// Banks of one channel.
    pub fn banks_per_channel(&self) -> usize {
        self.banks_per_channel as usize
    }

    /// Banks of all channels.
    pub fn banks(&self) -> usize {
        (self.banks_per_channel * self.channels) as usize
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels as usize
    }

    /// For each of the [`NEIGHBOURS`] units of an aligned block: by what its bank's number, over all channels, differs (XOR)
    /// from that of the first. None unless they always lie in one row number and differ so, wherever the block is.
    pub(crate) fn neighbours(&self) -> Option<[u32; NEIGHBOURS]> {
        let block_bytes = (NEIGHBOURS as u64) << self.unit_shift;
        let alike = match &self.method {
            // The lowest fields are bit strings, and the row is none of them.
            Method::Order(fields) => {
                let mut bits = 0;
                let mut low = fields.iter().take_while(|(_, size)| {
                    let within = bits < NEIGHBOURS.trailing_zeros();
                    if let Divisor::Shift(more) = size {
                        bits += more;
                    }
                    within
                });
                low.all(|(field, size)| *field != ROW && matches!(size, Divisor::Shift(_)))
                    && !fields.iter().any(|(_, size)| matches!(size, Divisor::Number(_)))
            }
            Method::Bits(fields) => fields
                .iter()
                .filter(|(field, _)| *field == ROW)
                .all(|(_, masks)| masks.iter().all(|mask| mask & (block_bytes - 1) == 0)),
        };
        // Numbers of banks are put together from the bits of fields.
        let powers = self.banks_per_channel.is_power_of_two()
            && self.bank_steps[PSEUDO_CHANNEL..=BANK]
                .iter()
                .all(|step| step.is_power_of_two());
        (alike && powers).then(|| {
            std::array::from_fn(|unit| self.bank_of(&self.locate((unit as u64) << self.unit_shift)) as u32)
        })
    }

    /// The number of a location's bank over all channels.
    #[inline]
    pub(crate) fn bank_of(&self, location: &Location) -> usize {
        location.channel as usize * self.banks_per_channel() + location.bank as usize
    }

    /// Where the unit at `address` lies.
    #[inline]
    pub fn locate(&self, address: u64) -> Location {
        let Some(slices) = &self.slices else {
            return self.locate_otherwise(address);
        };
        let of = |field: usize| slices[field].of(address);
        Location {
            channel: of(CHANNEL) as u32,
            bank: (of(PSEUDO_CHANNEL) + of(RANK) + of(BANK_GROUP) + of(BANK)) as u32,
            row: of(ROW),
            column: of(COLUMN) as u32,
        }
    }

    fn locate_otherwise(&self, address: u64) -> Location {
        let mut values = [0; 7];
        match &self.method {
            Method::Order(fields) => {
                let mut rest = address >> self.unit_shift;
                for &(field, size) in fields {
                    (rest, values[field]) = match size {
                        Divisor::Shift(bits) => (rest >> bits, rest & ((1 << bits) - 1)),
                        Divisor::Number(size) => (rest / size, rest % size),
                        Divisor::Rest => (0, rest),
                    };
                }
            }
            Method::Bits(fields) => {
                for (field, masks) in fields {
                    values[*field] = masks.iter().fold(0, |value, mask| {
                        value << 1 | u64::from((address & mask).count_ones() & 1)
                    });
                }
            }
        }
        let bank = (PSEUDO_CHANNEL..=BANK)
            .map(|field| values[field] as u32 * self.bank_steps[field])
            .sum();
        Location {
            channel: values[CHANNEL] as u32,
            bank,
            row: values[ROW],
            column: values[COLUMN] as u32,
        }
    }
}

/// The bit string of each field, least significant field first; none if one is not.
fn slices(fields: &[(usize, Divisor)], unit_shift: u32, bank_steps: &[u32; 7]) -> Option<[Slice; 7]> {
    let mut slices = [Slice::default(); 7];
    let mut shift = unit_shift;
    for &(field, size) in fields {
        let bits = match size {
            Divisor::Shift(bits) => bits,
            Divisor::Rest => 64 - shift,
            Divisor::Number(_) => return None,
        };
        if shift >= 64 {
            break;
        }
        slices[field] = Slice {
            shift,
            mask: 1u64.checked_shl(bits).map_or(u64::MAX, |end| end - 1),
            step: bank_steps[field].max(1).into(),
        };
        shift += bits;
    }
    Some(slices)
}

/// The fields of an order, least significant first.
fn order(text: &str, sizes: &[u32; 7], rows: u32) -> Result<Vec<(usize, Divisor)>, String> {
    let named = NAMED.iter().find(|(name, _)| *name == text);
    let text = named.map_or(text, |(_, order)| order);
    let names: Vec<String> = if text.contains('-') {
        text.split('-').map(str::to_lowercase).collect()
    } else {
        let letters: Vec<char> = text.to_lowercase().chars().collect();
        letters.chunks(2).map(|pair| pair.iter().collect()).collect()
    };
    let mut fields = Vec::new();
    for name in &names {
        let field = FIELDS
            .iter()
            .position(|(long, short)| name == long || name == short)
            .ok_or_else(|| format!("'{name}' is no field"))?;
        if fields.contains(&field) {
            return Err(format!("it names {} twice", FIELDS[field].0));
        }
        fields.push(field);
    }
    for needed in [ROW, BANK, COLUMN] {
        if !fields.contains(&needed) {
            return Err(format!("it does not name {}", FIELDS[needed].0));
        }
    }
    // Where an order leaves a field out: behind which other it goes.
    for (field, after) in [(BANK_GROUP, BANK), (RANK, BANK_GROUP), (PSEUDO_CHANNEL, RANK)] {
        if !fields.contains(&field) {
            let place = fields
                .iter()
                .position(|other| *other == after)
                .expect("put there before");
            fields.insert(place + 1, field);
        }
    }
    if !fields.contains(&CHANNEL) {
        fields.push(CHANNEL);
    }
    fields.reverse();
    let top = fields.len() - 1;
    if fields[top] != ROW && !sizes[1..].iter().all(|size| size.is_power_of_two()) {
        return Err(
            "with a number of channels or ranks that is no power of two, the row must be first".into(),
        );
    }
    Ok(fields
        .iter()
        .enumerate()
        .map(|(place, &field)| {
            let size = match sizes[field] {
                _ if field == ROW && place == top => Divisor::Rest,
                _ if field == ROW => Divisor::Shift(rows.trailing_zeros()),
                size if size.is_power_of_two() => Divisor::Shift(size.trailing_zeros()),
                size => Divisor::Number(size.into()),
            };
            (field, size)
        })
        .collect())
}

/// The bits of each field.
fn bits(text: &str, sizes: &[u32; 7], unit_bytes: u32) -> Result<Vec<(usize, Vec<u64>)>, String> {
    let mut fields: Vec<(usize, Vec<u64>)> = Vec::new();
    let bit = |text: &str| {
        let number = text.parse().ok().filter(|bit: &u32| *bit < 64);
        let number = number.ok_or_else(|| format!("'{text}' is no address bit"))?;
        if number < unit_bytes.trailing_zeros() {
            return Err(format!("bit {number} lies within a unit of {unit_bytes} B"));
        }
        Ok(number)
    };
    for part in text.split(';').filter(|part| !part.trim().is_empty()) {
        let (name, list) = part
            .split_once('=')
            .ok_or_else(|| format!("'{part}' has no '='"))?;
        let name = name.trim().to_lowercase();
        let field = FIELDS
            .iter()
            .position(|(long, short)| name == *long || name == *short)
            .ok_or_else(|| format!("'{name}' is no field"))?;
        let mut masks = Vec::new();
        for token in list.split_whitespace() {
            if let Some((high, low)) = token.split_once(':') {
                let (high, low) = (bit(high)?, bit(low)?);
                if high < low {
                    return Err(format!("'{token}' must go down"));
                }
                masks.extend((low..=high).rev().map(|bit| 1u64 << bit));
            } else {
                let mut mask = 0;
                for number in token.split('^') {
                    mask ^= 1u64 << bit(number)?;
                }
                masks.push(mask);
            }
        }
        if field != ROW && 1u64.checked_shl(masks.len() as u32) != Some(sizes[field].into()) {
            return Err(format!(
                "{name} has {} bits, but the memory has {} of it",
                masks.len(),
                sizes[field]
            ));
        }
        if fields.iter().any(|(other, _)| *other == field) {
            return Err(format!("it names {name} twice"));
        }
        fields.push((field, masks));
    }
    for (field, (name, _)) in FIELDS.iter().enumerate() {
        let named = fields.iter().any(|(other, _)| *other == field);
        if !named && (field == ROW || sizes[field] > 1) {
            return Err(format!("it does not name {name}"));
        }
    }
    // One-to-one: the bits must be independent over XOR.
    let mut basis: Vec<u64> = Vec::new();
    for &mask in fields.iter().flat_map(|(_, masks)| masks) {
        let rest = basis.iter().fold(mask, |rest, other| rest.min(rest ^ other));
        if rest == 0 {
            return Err("two addresses would share a place: its bits are not independent".into());
        }
        basis.push(rest);
        basis.sort_unstable_by(|a, b| b.cmp(a));
    }
    Ok(fields)
}
