//! An ELF file, mapped into memory: where its segments load and what its sections hold.
//!
//! Only 64-bit little-endian files are read: those are what an x86-64 process can load.

use std::fmt;
use std::fs::{File, Metadata};
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimli::LittleEndian;
use memmap2::Mmap;
use object::read::elf::{ElfFile64, ProgramHeader, SectionHeader};
use object::{Object, ObjectSection, elf};

/// Page size of x86-64.
const PAGE_BYTES: u64 = 4096;

/// Reads DWARF in place.
pub(crate) type Reader = gimli::EndianReader<LittleEndian, Bytes>;

#[derive(Debug)]
enum Owner {
    Mapped(Mmap),
    Decompressed(Vec<u8>),
}

/// A part of a file, or of what was decompressed from it. Copies share the memory.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    owner: Arc<Owner>,
    start: usize,
    end: usize,
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.owner {
            Owner::Mapped(map) => &map[self.start..self.end],
            Owner::Decompressed(bytes) => &bytes[self.start..self.end],
        }
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            start: 0,
            end: bytes.len(),
            owner: Arc::new(Owner::Decompressed(bytes)),
        }
    }
}

// SAFETY: the bytes live in a mapping or a vector that is never touched again, behind an `Arc`: moving or cloning a
// `Bytes` moves neither.
#[allow(unsafe_code)]
unsafe impl gimli::StableDeref for Bytes {}
// SAFETY: a clone derefs to the same memory.
#[allow(unsafe_code)]
unsafe impl gimli::CloneStableDeref for Bytes {}

/// Why a file is no [`Image`].
#[derive(Debug)]
pub(crate) enum ImageError {
    /// It can't be opened or mapped.
    Io(PathBuf, std::io::Error),
    /// It is not an ELF file that an x86-64 process can load.
    NotElf(PathBuf, String),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: cannot be read: {error}", path.display()),
            Self::NotElf(path, why) => write!(f, "{}: not a 64-bit x86-64 ELF file: {why}", path.display()),
        }
    }
}

impl std::error::Error for ImageError {}

/// A `PT_LOAD` program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Link-time address.
    pub(crate) address: u64,
    /// Bytes in memory.
    pub(crate) memory_bytes: u64,
    /// Where its contents start in the file.
    pub(crate) file_offset: u64,
    /// Bytes in the file; the rest of its memory is zero.
    pub(crate) file_bytes: u64,
    /// Whether it holds instructions.
    pub(crate) is_executable: bool,
}

impl Segment {
    /// Its link-time addresses [start, end).
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.address, self.address.saturating_add(self.memory_bytes))
    }
}

/// A section that is part of the loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// `.data`, `.bss`…
    pub(crate) name: String,
    /// Link-time address.
    pub(crate) address: u64,
    /// Bytes in memory.
    pub(crate) bytes: u64,
    /// Whether it holds instructions.
    pub(crate) is_executable: bool,
}

impl Section {
    /// Its link-time addresses [start, end).
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.address, self.address.saturating_add(self.bytes))
    }
}

/// A mapped ELF file.
#[derive(Debug)]
pub(crate) struct Image {
    path: PathBuf,
    /// As it was when it was opened.
    metadata: Metadata,
    file: Bytes,
    segments: Vec<Segment>,
    sections: Vec<Section>,
    build_id: Option<Vec<u8>>,
}

impl Image {
    /// Maps a file and reads its headers.
    ///
    /// # Errors
    /// If it can't be read or is not an ELF file for x86-64.
    pub(crate) fn open(path: &Path) -> Result<Self, ImageError> {
        let failed = |error| ImageError::Io(path.to_owned(), error);
        // Opening a FIFO would wait for its writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(ImageError::NotElf(
                path.to_owned(),
                "not a regular file".to_owned(),
            ));
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        // SAFETY: the file backs loaded code or its debug information. Linkers and package managers replace such
        // files rather than write into them, and a private mapping keeps the replaced one.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        let file = Bytes {
            start: 0,
            end: map.len(),
            owner: Arc::new(Owner::Mapped(map)),
        };
        Self::parse(path, metadata, file)
    }

    fn parse(path: &Path, metadata: Metadata, file: Bytes) -> Result<Self, ImageError> {
        let not_elf = |why: &dyn fmt::Display| ImageError::NotElf(path.to_owned(), why.to_string());
        let elf_file = ElfFile64::<object::LittleEndian>::parse(&*file).map_err(|error| not_elf(&error))?;
        let endian = object::LittleEndian;
        let machine = elf_file.elf_header().e_machine.get(endian);
        if machine != elf::EM_X86_64 {
            return Err(not_elf(&format_args!("it is for machine {}", machine.0)));
        }
        let segments = elf_file
            .elf_program_headers()
            .iter()
            .filter(|header| header.p_type(endian) == elf::PT_LOAD)
            .map(|header| Segment {
                address: header.p_vaddr(endian),
                memory_bytes: header.p_memsz(endian),
                file_offset: header.p_offset(endian),
                file_bytes: header.p_filesz(endian),
                is_executable: header.p_flags(endian).contains(elf::PF_X),
            })
            .collect();
        let mut sections: Vec<Section> = elf_file
            .sections()
            .filter_map(|section| {
                let flags = section.elf_section_header().sh_flags(endian);
                // Thread-local sections are templates: .tbss has an address range but no memory.
                let is_loaded = flags.contains(elf::SHF_ALLOC) && !flags.contains(elf::SHF_TLS);
                is_loaded.then(|| Section {
                    name: String::from_utf8_lossy(section.name_bytes().unwrap_or_default()).into_owned(),
                    address: section.address(),
                    bytes: section.size(),
                    is_executable: flags.contains(elf::SHF_EXECINSTR),
                })
            })
            .collect();
        sections.sort_by_key(|section| section.address);
        let build_id = elf_file.build_id().ok().flatten().map(<[u8]>::to_vec);
        Ok(Self {
            path: path.to_owned(),
            metadata,
            segments,
            sections,
            build_id,
            file,
        })
    }

    /// Where it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file was written since it was opened, so that what is read may be another build. A file that took its
    /// place does no harm: the old one stays mapped.
    pub(crate) fn is_overwritten(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|now| {
            let then = &self.metadata;
            (now.dev(), now.ino()) == (then.dev(), then.ino())
                && (now.mtime(), now.mtime_nsec()) != (then.mtime(), then.mtime_nsec())
        })
    }

    /// Its loadable segments, in the order of the file.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Its build id.
    pub(crate) fn build_id(&self) -> Option<&[u8]> {
        self.build_id.as_deref()
    }

    /// Whether it holds DWARF for functions and lines.
    pub(crate) fn has_debug_info(&self) -> bool {
        self.section(".debug_info").is_some()
    }

    /// Whether it holds a full symbol table, not just the one for dynamic linking.
    pub(crate) fn has_symbol_table(&self) -> bool {
        self.with_elf(|elf_file| elf_file.symbol_table().is_some())
    }

    /// The load bias, when the byte at `file_offset` is mapped executable at `address`: run-time address less
    /// link-time address.
    pub(crate) fn bias(&self, address: u64, file_offset: u64) -> Option<u64> {
        let holds = |segment: &&Segment| {
            let start = segment.file_offset & !(PAGE_BYTES - 1);
            let end = segment.file_offset.saturating_add(segment.file_bytes);
            (start..end).contains(&file_offset)
        };
        // Two segments may share a page of the file; the mapping is executable, so the executable one is meant.
        let candidates = || self.segments.iter().filter(holds);
        let segment = candidates()
            .find(|segment| segment.is_executable)
            .or_else(|| candidates().next())?;
        let linked = segment
            .address
            .wrapping_add(file_offset)
            .wrapping_sub(segment.file_offset);
        Some(address.wrapping_sub(linked))
    }

    /// Link-time addresses [start, end) that loading it occupies, in whole pages.
    pub(crate) fn span(&self) -> Option<(u64, u64)> {
        let start = self.segments.iter().map(|segment| segment.address).min()?;
        let end = self
            .segments
            .iter()
            .map(|segment| segment.address.saturating_add(segment.memory_bytes))
            .max()?;
        Some((
            start & !(PAGE_BYTES - 1),
            end.checked_next_multiple_of(PAGE_BYTES)?,
        ))
    }

    /// The segment at a link-time address, or else the gap between segments that the address is in.
    pub(crate) fn segment_at(&self, address: u64) -> Result<&Segment, (u64, u64)> {
        let found = self
            .segments
            .iter()
            .find(|segment| address.wrapping_sub(segment.address) < segment.memory_bytes);
        found.ok_or_else(|| {
            let ranges = || self.segments.iter().map(Segment::range);
            let start = ranges()
                .map(|(_, end)| end)
                .filter(|end| *end <= address)
                .max()
                .unwrap_or(0);
            let end = ranges()
                .map(|(start, _)| start)
                .filter(|start| *start > address)
                .min()
                .unwrap_or(u64::MAX);
            (start, end)
        })
    }

    /// The loaded section at a link-time address, or else the gap between sections that the address is in.
    pub(crate) fn section_at(&self, address: u64) -> Result<&Section, (u64, u64)> {
        let next = self
            .sections
            .partition_point(|section| section.address <= address);
        let end_of = |section: &Section| section.range().1;
        let found = self.sections[..next]
            .iter()
            .rev()
            .find(|section| address < end_of(section));
        found.ok_or_else(|| {
            let start = self.sections[..next].iter().map(end_of).max().unwrap_or(0);
            (
                start,
                self.sections
                    .get(next)
                    .map_or(u64::MAX, |section| section.address),
            )
        })
    }

    /// The file's bytes from a link-time address on, as far as its segment goes.
    fn bytes_at(&self, address: u64) -> Option<&[u8]> {
        let segment = self.segment_at(address).ok()?;
        let within = address - segment.address;
        let start = usize::try_from(segment.file_offset.checked_add(within)?).ok()?;
        let bytes = usize::try_from(segment.file_bytes.checked_sub(within)?).ok()?;
        self.file.get(start..start.checked_add(bytes)?)
    }

    /// The word that the file has for a link-time address.
    pub(crate) fn word_at(&self, address: u64) -> Option<u64> {
        let bytes = self.bytes_at(address)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    /// The text up to a zero byte that the file has for a link-time address.
    pub(crate) fn text_at(&self, address: u64) -> Option<&str> {
        let bytes = self.bytes_at(address)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok()
    }

    /// The contents of a section, decompressed if need be; none if it is missing, empty or broken.
    pub(crate) fn section(&self, name: &str) -> Option<Bytes> {
        self.with_elf(|elf_file| {
            let section = elf_file.section_by_name(name)?;
            let range = section.compressed_file_range().ok()?;
            if range.format == object::CompressionFormat::None {
                let start = usize::try_from(range.offset).ok()?;
                let end = start.checked_add(usize::try_from(range.uncompressed_size).ok()?)?;
                let is_present = start < end && end <= self.file.end;
                return is_present.then(|| Bytes {
                    owner: Arc::clone(&self.file.owner),
                    start,
                    end,
                });
            }
            let bytes = section.uncompressed_data().ok()?.into_owned();
            (!bytes.is_empty()).then(|| Bytes::from(bytes))
        })
    }

    /// Its DWARF, with what it shares with others.
    pub(crate) fn dwarf(&self, supplementary: Option<&Self>) -> gimli::Dwarf<Reader> {
        let shared = supplementary.map(Self::dwarf_sections);
        self.dwarf_sections().borrow_with_sup(shared.as_ref(), |section| {
            Reader::new(section.clone(), LittleEndian)
        })
    }

    /// The sections of its DWARF; those that it lacks are empty.
    pub(crate) fn dwarf_sections(&self) -> gimli::DwarfSections<Bytes> {
        let load = |id: gimli::SectionId| {
            Ok::<_, std::convert::Infallible>(self.section(id.name()).unwrap_or_default())
        };
        let Ok(sections) = gimli::DwarfSections::load(load);
        sections
    }

    /// The whole file.
    pub(crate) fn file(&self) -> &Bytes {
        &self.file
    }

    /// Calls `read` with the parsed headers. If the file became unreadable since it was opened, with those of no file.
    pub(crate) fn with_elf<T: Default>(
        &self,
        read: impl FnOnce(&ElfFile64<'_, object::LittleEndian>) -> T,
    ) -> T {
        ElfFile64::parse(&*self.file).map_or_else(|_| T::default(), |elf_file| read(&elf_file))
    }
}
