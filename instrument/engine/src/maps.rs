//! What is mapped where, as the kernel tells it in `/proc/self/maps`.

use std::ops::Range;

use crate::{HEAP, stream, system};

/// One mapping.
#[derive(Clone)]
pub(crate) struct Mapping {
    pub(crate) range: Range<u64>,
    /// `PROT_…` bits.
    pub(crate) protection: u64,
    pub(crate) shared: bool,
    pub(crate) offset: u64,
    pub(crate) path: Vec<u8>,
}

pub(crate) const PROTECTION_READ: u64 = 1;
pub(crate) const PROTECTION_WRITE: u64 = 2;
pub(crate) const PROTECTION_EXECUTE: u64 = 4;

impl Mapping {
    /// `enum ml_map`.
    pub(crate) fn kind(&self) -> u64 {
        match self.path.as_slice() {
            b"[stack]" => 2,
            b"[heap]" => 3,
            path if path.starts_with(b"/") => 1,
            _ => 0,
        }
    }

    /// Whether the target can change its code without telling the kernel.
    pub(crate) fn is_rewritable(&self) -> bool {
        self.shared || self.protection & PROTECTION_WRITE != 0
    }
}

/// All mappings, read again when something has changed.
pub(crate) struct Maps {
    mappings: Vec<Mapping>,
    stale: bool,
}

impl Maps {
    pub(crate) const fn new() -> Self {
        Self {
            mappings: Vec::new(),
            stale: true,
        }
    }

    /// Something was mapped, unmapped or protected.
    pub(crate) fn invalidate(&mut self) {
        self.stale = true;
    }

    /// All of them, the engine's own left out.
    pub(crate) fn all(&mut self) -> &[Mapping] {
        if self.stale {
            let own = [HEAP.range(), stream::range()];
            self.mappings = parse(&system::read_file(b"/proc/self/maps\0"));
            self.mappings.retain(|mapping| {
                !own.iter()
                    .any(|own| own.start <= mapping.range.start && mapping.range.end <= own.end)
            });
            self.stale = false;
        }
        &self.mappings
    }

    /// The mapping that holds `address`.
    pub(crate) fn find(&mut self, address: u64) -> Option<&Mapping> {
        let mappings = self.all();
        let index = mappings.partition_point(|mapping| mapping.range.end <= address);
        mappings
            .get(index)
            .filter(|mapping| mapping.range.contains(&address))
    }

    /// Reads memory of the target; whether all of it could be read. Without a system call where a mapping is known: entries
    /// of operators read dozens of values.
    pub(crate) fn read(&mut self, address: u64, out: &mut [u8]) -> bool {
        let bytes = out.len() as u64;
        match self.find(address) {
            Some(mapping)
                if mapping.protection & PROTECTION_READ != 0 && bytes <= mapping.range.end - address =>
            {
                // SAFETY: mapped and readable; what is unmapped or protected meanwhile would be the target's own
                // argument, taken away under the call that it was made with.
                unsafe { std::ptr::copy_nonoverlapping(address as *const u8, out.as_mut_ptr(), out.len()) };
                true
            }
            Some(_) => system::read_memory(address, out),
            None => {
                // Mapped since, perhaps: stacks and heaps grow without our knowing.
                let is_there = system::read_memory(address, out);
                self.stale |= is_there;
                is_there
            }
        }
    }
}

fn parse(text: &[u8]) -> Vec<Mapping> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut bounds = fields.next()?.split(|&byte| byte == b'-').map(hexadecimal);
    let range = bounds.next()??..bounds.next()??;
    let flags = fields.next()?;
    let bit = |place: usize, letter: u8, value: u64| {
        if flags.get(place) == Some(&letter) {
            value
        } else {
            0
        }
    };
    let offset = hexadecimal(fields.next()?)?;
    let path = fields.nth(2).unwrap_or_default().trim_ascii().to_vec();
    Some(Mapping {
        range,
        protection: bit(0, b'r', PROTECTION_READ)
            | bit(1, b'w', PROTECTION_WRITE)
            | bit(2, b'x', PROTECTION_EXECUTE),
        shared: flags.get(3) == Some(&b's'),
        offset,
        path,
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
