//! The portable format of 64-bit Roaring bitmaps (<https://github.com/RoaringBitmap/RoaringFormatSpec>, of 2024), written from
//! stretches of numbers. The library's own writer wants its own bitmap, and building one for each row of a ledger took longer
//! than the run; it reads them.

use std::ops::Range;

use super::LineSet;

/// Cookie of a 32-bit bitmap without run containers.
const NO_RUNS: u32 = 12346;
/// Cookie of one with run containers.
const RUNS: u32 = 12347;
/// Bitmaps with run containers and less containers than this have no offsets.
const OFFSETS_MIN: usize = 4;
/// Numbers of an array container at most.
const ARRAY_MAX: usize = 4096;
const BITMAP_BYTES: usize = 8192;

/// Numbers that agree in all but 16 bits.
#[derive(Clone, Copy, Debug)]
struct Container {
    /// What they agree in.
    key: u64,
    /// Where its runs begin.
    first_run: usize,
    runs: usize,
    numbers: usize,
}

/// How a container is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Array,
    Bitmap,
    Runs,
}

impl Container {
    /// The smallest form, and its bytes.
    fn form(&self) -> (Form, usize) {
        let runs = 2 + 4 * self.runs;
        let (form, bytes) = if self.numbers <= ARRAY_MAX {
            (Form::Array, 2 * self.numbers)
        } else {
            (Form::Bitmap, BITMAP_BYTES)
        };
        if runs < bytes {
            (Form::Runs, runs)
        } else {
            (form, bytes)
        }
    }

    fn has_runs(&self) -> bool {
        self.form().0 == Form::Runs
    }
}

/// Writes bitmaps one behind the other.
#[derive(Debug, Default)]
pub struct PortableWriter {
    out: Vec<u8>,
    /// Of the bitmap that is being written: its containers, and their stretches of the 16 bits that their numbers differ in,
    /// the last included.
    containers: Vec<Container>,
    runs: Vec<(u16, u16)>,
}

impl PortableWriter {
    /// All bitmaps.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Adds a bitmap of the lines of a [compact](LineSet::compact) set. Returns where it lies.
    pub fn write(&mut self, lines: &LineSet) -> Range<usize> {
        self.write_stretches(lines.stretches())
    }

    /// Adds a bitmap of the numbers of some stretches, the last of each included, which come in order.
    fn write_stretches(&mut self, stretches: impl Iterator<Item = (u64, u64)>) -> Range<usize> {
        let start = self.out.len();
        self.containers.clear();
        self.runs.clear();
        stretches.for_each(|(first, last)| self.divide(first, last));
        let bitmaps = || self.containers.chunk_by(|a, b| a.key >> 16 == b.key >> 16);
        self.out.extend((bitmaps().count() as u64).to_le_bytes());
        for bitmap in bitmaps() {
            self.out.extend(((bitmap[0].key >> 16) as u32).to_le_bytes());
            write_bitmap(bitmap, &self.runs, &mut self.out);
        }
        start..self.out.len()
    }

    /// Gives the containers their parts of a stretch.
    fn divide(&mut self, first: u64, last: u64) {
        for key in first >> 16..=last >> 16 {
            let start = if key == first >> 16 { first as u16 } else { 0 };
            let end = if key == last >> 16 { last as u16 } else { u16::MAX };
            if self
                .containers
                .last()
                .is_none_or(|container| container.key != key)
            {
                self.containers.push(Container {
                    key,
                    first_run: self.runs.len(),
                    runs: 0,
                    numbers: 0,
                });
            }
            let at = self.containers.len() - 1;
            let container = &mut self.containers[at];
            container.numbers += usize::from(end - start) + 1;
            match self.runs[container.first_run..].last_mut() {
                Some(run) if run.1.checked_add(1) == Some(start) => run.1 = end,
                _ => {
                    self.runs.push((start, end));
                    container.runs += 1;
                }
            }
        }
    }
}

/// Writes a bitmap of 32-bit numbers.
fn write_bitmap(containers: &[Container], runs: &[(u16, u16)], out: &mut Vec<u8>) {
    let start = out.len();
    let any_runs = containers.iter().any(Container::has_runs);
    if any_runs {
        out.extend((RUNS | (containers.len() as u32 - 1) << 16).to_le_bytes());
        for eight in containers.chunks(8) {
            let flags = eight.iter().rev();
            out.push(flags.fold(0, |byte, container| byte << 1 | u8::from(container.has_runs())));
        }
    } else {
        out.extend(NO_RUNS.to_le_bytes());
        out.extend((containers.len() as u32).to_le_bytes());
    }
    for container in containers {
        out.extend((container.key as u16).to_le_bytes());
        out.extend(((container.numbers - 1) as u16).to_le_bytes());
    }
    if !any_runs || containers.len() >= OFFSETS_MIN {
        let mut offset = out.len() - start + 4 * containers.len();
        for container in containers {
            out.extend((offset as u32).to_le_bytes());
            offset += container.form().1;
        }
    }
    for container in containers {
        let runs = &runs[container.first_run..][..container.runs];
        write_container(container.form().0, runs, out);
    }
}

fn write_container(form: Form, runs: &[(u16, u16)], out: &mut Vec<u8>) {
    let numbers = || runs.iter().flat_map(|(first, last)| *first..=*last);
    match form {
        Form::Array => numbers().for_each(|number| out.extend(number.to_le_bytes())),
        Form::Bitmap => {
            let mut words = [0u64; BITMAP_BYTES / 8];
            for number in numbers() {
                words[usize::from(number >> 6)] |= 1 << (number & 63);
            }
            words.iter().for_each(|word| out.extend(word.to_le_bytes()));
        }
        Form::Runs => {
            out.extend((runs.len() as u16).to_le_bytes());
            for (first, last) in runs {
                out.extend(first.to_le_bytes());
                out.extend((last - first).to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use roaring::RoaringTreemap;

    use super::*;

    proptest! {
        #[test]
        fn the_library_reads_what_is_written(
            places in prop::collection::vec(
                (prop_oneof![0u64..100_000, 0u64..1 << 20, 0u64..1 << 40], prop_oneof![0u64..3, 0u64..90_000]), 0..40,
            ),
            sparse in prop::collection::vec(0u64..200_000, 0..6000),
        ) {
            let mut numbers: BTreeSet<u64> = sparse.into_iter().collect();
            for (first, length) in places.iter().take(8) {
                numbers.extend(*first..=first + length);
            }
            let mut stretches: Vec<(u64, u64)> = Vec::new();
            for number in &numbers {
                match stretches.last_mut() {
                    // Stretches may lie one behind the other.
                    Some(last) if last.1 + 1 == *number && number % 64 != 0 => last.1 = *number,
                    _ => stretches.push((*number, *number)),
                }
            }
            let mut writer = PortableWriter::default();
            let place = writer.write_stretches(stretches.clone().into_iter());
            let again = writer.write_stretches(stretches.into_iter());
            let all = writer.into_bytes();
            let bytes = &all[place];
            prop_assert_eq!(bytes, &all[again]);
            let read = RoaringTreemap::deserialize_from(bytes).expect("the format");
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), numbers.iter().copied().collect::<Vec<_>>());
            let mut own: RoaringTreemap = numbers.into_iter().collect();
            own.optimize();
            prop_assert_eq!(bytes.len(), own.serialized_size());
        }
    }
}
