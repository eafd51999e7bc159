//! A producer for tests, written from the C header's numbers alone (not from `memloupe-layout`).
#![allow(unsafe_code, dead_code)] // each test file uses its part

use std::os::fd::BorrowedFd;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap};

pub(crate) struct Producer {
    base: *mut u8,
    next_order: u64,
    blocks: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Operand {
    pub(crate) ip_offset: i32,
    pub(crate) bytes: u16,
    pub(crate) kind: u8,
    pub(crate) conditional: bool,
    pub(crate) slot: u16,
    pub(crate) displacement: i64,
    /// Flags beside `conditional`.
    pub(crate) flags: u8,
    pub(crate) index_slot: u16,
    pub(crate) mask_slot: u16,
    pub(crate) form: u8,
    pub(crate) scale: u8,
    pub(crate) stride: i32,
    pub(crate) lanes: u8,
    pub(crate) index_bytes: u8,
}

/// One thread's ring.
pub(crate) struct Writer {
    ring: usize,
    cursor: usize,
}

impl Producer {
    pub(crate) fn attach(fd: BorrowedFd<'_>) -> Self {
        let bytes = rustix::fs::fstat(fd).expect("stat").st_size as usize;
        // SAFETY: a fresh mapping of the stream's file.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
        }
        .expect("map")
        .cast::<u8>();
        let producer = Self {
            base,
            next_order: 0,
            blocks: 0,
        };
        assert_eq!(producer.read::<[u8; 8]>(0), *b"STREAM01");
        assert_eq!(producer.read::<u32>(8), 5, "version");
        producer.write(196, std::process::id());
        producer.write(200, 2u32);
        producer
    }

    pub(crate) fn read<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: offsets come from the header's layout, inside the mapping.
        unsafe { ptr::read_volatile(self.base.add(offset).cast::<T>()) }
    }

    pub(crate) fn write<T: Copy>(&self, offset: usize, value: T) {
        // SAFETY: as for `read`.
        unsafe { ptr::write_volatile(self.base.add(offset).cast::<T>(), value) }
    }

    pub(crate) fn add_block(
        &mut self,
        address: u64,
        code_bytes: u32,
        slots: u16,
        operands: &[Operand],
    ) -> u32 {
        self.add_block_with_flags(address, code_bytes, slots, 0, operands)
    }

    pub(crate) fn add_block_with_flags(
        &mut self,
        address: u64,
        code_bytes: u32,
        slots: u16,
        flags: u16,
        operands: &[Operand],
    ) -> u32 {
        self.add_part(address, code_bytes, slots, flags, 0, 0, operands.len(), operands)
    }

    /// Adds an entry of the site table that may have a parent and iteration slots, and counts `count` operands.
    #[expect(clippy::too_many_arguments)]
    pub(crate) fn add_part(
        &mut self,
        address: u64,
        code_bytes: u32,
        slots: u16,
        flags: u16,
        parent: u32,
        iteration_slots: u16,
        count: usize,
        operands: &[Operand],
    ) -> u32 {
        let published: u64 = self.read(208);
        let at = self.read::<u64>(24) as usize + published as usize;
        let bytes = 40 + operands.len() * 32;
        self.write(at, (bytes / 8) as u32);
        self.write(at + 4, self.blocks);
        self.write(at + 8, address);
        self.write(at + 16, code_bytes);
        self.write(at + 20, 7u32);
        self.write(at + 24, 3u16);
        self.write(at + 26, count as u16);
        self.write(at + 28, slots);
        self.write(at + 30, flags);
        self.write(at + 32, parent);
        self.write(at + 36, iteration_slots);
        for (index, operand) in operands.iter().enumerate() {
            let place = at + 40 + index * 32;
            self.write(place, operand.ip_offset);
            self.write(place + 4, operand.bytes);
            self.write(place + 6, operand.kind);
            self.write(place + 7, u8::from(operand.conditional) | operand.flags);
            self.write(place + 8, operand.slot);
            self.write(place + 10, operand.index_slot);
            self.write(place + 12, operand.mask_slot);
            self.write(place + 14, operand.form);
            self.write(place + 15, operand.scale);
            self.write(place + 16, operand.displacement);
            self.write(place + 24, operand.stride);
            self.write(place + 28, operand.lanes);
            self.write(place + 29, operand.index_bytes);
        }
        self.write(208, published + bytes as u64);
        self.blocks += 1;
        self.blocks - 1
    }

    pub(crate) fn claim(&mut self, ring: usize, thread: u32) -> Writer {
        let at = self.read::<u64>(56) as usize + ring * self.read::<u64>(64) as usize;
        self.write(at + 4, thread);
        self.write(at + 16, self.base as u64 + at as u64);
        self.write(at + 72, 0u64);
        self.write(at + 128, 0u64);
        self.write(at, 1u32);
        let mut writer = Writer { ring: at, cursor: 0 };
        self.open(&mut writer);
        writer
    }

    fn chunk_start(&self, writer: &Writer) -> usize {
        let closed: u64 = self.read(writer.ring + 72);
        let place = closed as usize % self.read::<u32>(80) as usize;
        writer.ring + 4096 + place * self.read::<u32>(76) as usize
    }

    fn open(&mut self, writer: &mut Writer) {
        while self.read::<u64>(writer.ring + 72) - self.read::<u64>(writer.ring + 128)
            >= u64::from(self.read::<u32>(80))
        {
            std::thread::yield_now();
        }
        let start = self.chunk_start(writer);
        self.write(start, self.next_order);
        self.next_order += 1;
        writer.cursor = start + 64;
        self.write(writer.ring + 64, self.base as u64 + writer.cursor as u64);
    }

    pub(crate) fn close(&mut self, writer: &mut Writer) {
        self.close_without_reopening(writer);
        self.open(writer);
    }

    /// Counts what the open chunk holds and writes it anew, as engines do where nobody reads.
    pub(crate) fn discard(&mut self, writer: &mut Writer) {
        assert_eq!(self.read::<u32>(112), 1, "told that nobody reads");
        let used = writer.cursor - self.chunk_start(writer);
        self.write(320, self.read::<u64>(320) + used as u64);
        self.open(writer);
    }

    /// Numbers a SYNC, and rings.
    pub(crate) fn ask_for(&mut self, number: u32) {
        self.write(252, number);
        self.write(192, self.read::<u32>(192) + 1);
    }

    fn close_without_reopening(&mut self, writer: &Writer) {
        let start = self.chunk_start(writer);
        self.write(start + 8, (writer.cursor - start) as u32);
        self.write(writer.ring + 72, self.read::<u64>(writer.ring + 72) + 1);
        self.write(192, self.read::<u32>(192) + 1);
    }

    pub(crate) fn record(&mut self, writer: &mut Writer, words: &[u64]) {
        let end = self.chunk_start(writer) + self.read::<u32>(76) as usize;
        if writer.cursor + words.len() * 8 > end {
            self.close(writer);
        }
        for word in words {
            self.write(writer.cursor, *word);
            writer.cursor += 8;
        }
        self.write(writer.ring + 64, self.base as u64 + writer.cursor as u64);
    }

    pub(crate) fn event(&mut self, writer: &mut Writer, code: u64, payload: &[u64]) {
        let mut words = vec![1 << 56 | code | (payload.len() as u64) << 8];
        words.extend_from_slice(payload);
        self.record(writer, &words);
    }

    /// Begins a segment: what follows comes behind everything that any ring holds by now.
    pub(crate) fn mark(&mut self, writer: &mut Writer) {
        self.next_order += 1;
        self.event(writer, 18, &[self.next_order - 1]);
    }

    /// Takes the last `words` words back, which are one block record.
    pub(crate) fn take_back(&mut self, writer: &mut Writer, words: usize) {
        writer.cursor -= words * 8;
        self.write(writer.ring + 64, self.base as u64 + writer.cursor as u64);
    }

    pub(crate) fn end(&mut self, writer: &Writer) {
        self.close_without_reopening(writer);
        self.write(writer.ring, 2u32);
    }

    pub(crate) fn finish(&self) {
        self.write(204, 1u32);
    }
}

// SAFETY: the mapping is shared memory; a test moves the producer to one other thread.
unsafe impl Send for Producer {}

pub(crate) fn text(value: &str) -> Vec<u64> {
    let mut words = vec![value.len() as u64];
    words.extend(value.as_bytes().chunks(8).map(|part| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(word)
    }));
    words
}
