//! A program file or library together with its separate debug files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use object::Object;

use super::image::{Image, ImageError, Reader};
use super::symbols::{Symbol, SymbolTable};

/// Where distributions put separate debug files.
const DEBUG_ROOT: &str = "/usr/lib/debug";

/// An ELF file and what belongs to it.
#[derive(Debug)]
pub(crate) struct Binary {
    image: Image,
    /// The separate file with its debug information, if there is one.
    debug: Option<Image>,
    /// What the file with the debug information shares with others (`dwz`).
    supplementary: Option<Image>,
    functions: OnceLock<SymbolTable>,
    variables: OnceLock<SymbolTable>,
}

impl Binary {
    /// Opens a file and looks for its debug files.
    ///
    /// # Errors
    /// If the file itself can't be read or is not an ELF file for x86-64.
    pub(crate) fn open(path: &Path) -> Result<Self, ImageError> {
        let image = Image::open(path)?;
        let debug = if image.has_debug_info() {
            None
        } else {
            separate_debug_file(&image)
        };
        let supplementary = supplementary_file(debug.as_ref().unwrap_or(&image));
        Ok(Self {
            image,
            debug,
            supplementary,
            functions: OnceLock::new(),
            variables: OnceLock::new(),
        })
    }

    /// The file that is loaded.
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// The file that holds its debug information, be it itself or another.
    pub(crate) fn debug_image(&self) -> Option<&Image> {
        self.debug
            .as_ref()
            .or_else(|| self.image.has_debug_info().then_some(&self.image))
    }

    /// Its DWARF, wherever it is; empty if there is none.
    pub(crate) fn dwarf(&self) -> gimli::Dwarf<Reader> {
        self.debug_image()
            .unwrap_or(&self.image)
            .dwarf(self.supplementary.as_ref())
    }

    /// The function at a link-time address, or the gap between functions around it.
    pub(crate) fn function(&self, address: u64) -> Result<Symbol<'_>, (u64, u64)> {
        self.functions
            .get_or_init(|| SymbolTable::functions(self.symbol_image()))
            .at(address)
    }

    /// The variable at a link-time address, or the gap between variables around it.
    pub(crate) fn variable(&self, address: u64) -> Result<Symbol<'_>, (u64, u64)> {
        self.variables
            .get_or_init(|| SymbolTable::variables(self.symbol_image()))
            .at(address)
    }

    /// The file with the better symbol table, be it itself or the one with its debug information.
    pub(crate) fn symbol_image(&self) -> &Image {
        self.debug
            .as_ref()
            .filter(|debug| !self.image.has_symbol_table() && debug.has_symbol_table())
            .unwrap_or(&self.image)
    }
}

/// `.build-id/xx/yyyy.debug` below a folder.
fn build_id_path(root: &Path, build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first()?;
    Some(
        root.join(".build-id")
            .join(format!("{first:02x}"))
            .join(format!("{}.debug", hex(rest))),
    )
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The places that GDB and debuginfod clients agree on, best first.
fn separate_debug_file(image: &Image) -> Option<Image> {
    let mut candidates = Vec::new();
    let link = image.with_elf(|elf_file| {
        let (name, checksum) = elf_file.gnu_debuglink().ok()??;
        Some((PathBuf::from(OsStr::from_bytes(name)), checksum))
    });
    if let Some(build_id) = image.build_id() {
        candidates.extend(build_id_path(Path::new(DEBUG_ROOT), build_id));
    }
    let folder = image.path().parent().unwrap_or(Path::new("/"));
    if let Some((name, _)) = &link {
        candidates.push(folder.join(name));
        candidates.push(folder.join(".debug").join(name));
        candidates.push(
            Path::new(DEBUG_ROOT)
                .join(folder.strip_prefix("/").unwrap_or(folder))
                .join(name),
        );
    }
    if let Some(build_id) = image.build_id() {
        let cache = std::env::var_os("DEBUGINFOD_CACHE_PATH")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("debuginfod_client")))
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/debuginfod_client")));
        candidates.extend(cache.map(|cache| cache.join(hex(build_id)).join("debuginfo")));
    }
    candidates
        .into_iter()
        .filter(|path| path != image.path())
        .find_map(|path| {
            let debug = Image::open(&path).ok()?;
            let belongs = match (image.build_id(), debug.build_id()) {
                (Some(of_image), Some(of_debug)) => of_image == of_debug,
                _ => link
                    .as_ref()
                    .is_some_and(|(_, checksum)| crc32(debug.file()) == *checksum),
            };
            (belongs && debug.has_debug_info()).then_some(debug)
        })
}

fn supplementary_file(image: &Image) -> Option<Image> {
    let (name, build_id) = image.with_elf(|elf_file| {
        let (name, build_id) = elf_file.gnu_debugaltlink().ok()??;
        Some((PathBuf::from(OsStr::from_bytes(name)), build_id.to_vec()))
    })?;
    // A relative name is relative to the real place of the file that names it, not to a link to it.
    let real = image.path().canonicalize().ok()?;
    let beside = real.parent()?.join(name);
    [Some(beside), build_id_path(Path::new(DEBUG_ROOT), &build_id)]
        .into_iter()
        .flatten()
        .find_map(|path| {
            Image::open(&path)
                .ok()
                .filter(|found| found.build_id() == Some(&build_id))
        })
}

/// The checksum of `.gnu_debuglink`: CRC-32 as in ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 {
                    value >> 1 ^ 0xedb8_8320
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, byte| {
        TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ sum >> 8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_has_the_standard_check_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
