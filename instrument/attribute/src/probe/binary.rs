//! A module's file: its function symbols, and where its debug information is.

use std::path::{Path, PathBuf};

use memmap2::Mmap;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Where distributions put separate debug files.
const DEBUG_ROOT: &str = "/usr/lib/debug";

/// An ELF file, mapped.
pub(super) struct Binary {
    path: PathBuf,
    map: Mmap,
}

/// A defined function.
#[derive(Clone, Debug)]
pub(super) struct Function {
    /// As in the symbol table.
    pub(super) symbol: String,
    /// Demangled, without parameters and clone suffixes.
    pub(super) name: String,
    /// ELF virtual address.
    pub(super) address: u64,
    /// Whether the compiler changed a copy of the function, so that its arguments may differ.
    pub(super) is_clone: bool,
}

impl Binary {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::File::open(path)?;
        // SAFETY: the mapping is private and read-only; a file that is truncated while it is mapped ends in SIGBUS,
        // the same as for every debugger that maps the running program's files.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    pub(super) fn parse(&self) -> object::Result<object::File<'_>> {
        object::File::parse(&*self.map)
    }

    /// Functions whose plain or demangled name satisfies `wanted`, in order of address. `maybe` is asked first, with
    /// the mangled name, to save demangling.
    pub(super) fn functions(
        file: &object::File<'_>,
        maybe: impl Fn(&str) -> bool,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<Function> {
        let mut functions: Vec<_> = file
            .symbols()
            .chain(file.dynamic_symbols())
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
            .filter_map(|symbol| Some((symbol.name().ok()?, symbol.address())))
            .filter(|(symbol, _)| maybe(symbol))
            .filter_map(|(symbol, address)| {
                let (base, clones) = split_clone(symbol)?;
                let name = demangle(base);
                wanted(&name).then(|| Function {
                    symbol: symbol.to_owned(),
                    name,
                    address,
                    is_clone: clones,
                })
            })
            .collect();
        functions.sort_by(|a, b| (a.address, &a.symbol).cmp(&(b.address, &b.symbol)));
        functions.dedup_by_key(|function| (function.address, function.name.clone()));
        functions
    }

    /// The file with this one's debug information or, failing that, its full symbol table: itself or a separate file.
    pub(super) fn debug_file(&self, file: &object::File<'_>) -> Option<PathBuf> {
        if file.section_by_name(".debug_info").is_some() || file.section_by_name(".zdebug_info").is_some() {
            return Some(self.path.clone());
        }
        let build_id = file.build_id().ok().flatten();
        let by_id = build_id.filter(|id| id.len() > 1).map(|id| {
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            PathBuf::from(format!(
                "{DEBUG_ROOT}/.build-id/{}/{}.debug",
                &hex[..2],
                &hex[2..]
            ))
        });
        let folder = std::fs::canonicalize(&self.path)
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned));
        let by_link = file
            .gnu_debuglink()
            .ok()
            .flatten()
            .zip(folder)
            .map(|((name, _), folder)| {
                let name = String::from_utf8_lossy(name).into_owned();
                let inner = folder.strip_prefix("/").unwrap_or(&folder);
                [
                    folder.join(&name),
                    folder.join(".debug").join(&name),
                    Path::new(DEBUG_ROOT).join(inner).join(&name),
                ]
            });
        by_id
            .into_iter()
            .chain(by_link.into_iter().flatten())
            .find(|candidate| {
                // A file of another build would give wrong offsets without a sign.
                let Ok(debug) = Self::open(candidate) else {
                    return false;
                };
                debug
                    .parse()
                    .is_ok_and(|debug| debug.build_id().ok().flatten() == build_id)
            })
    }
}

/// Splits a compiler's suffixes off; `None` for parts of functions, which are no entries. The flag is set if arguments
/// may have been changed.
fn split_clone(symbol: &str) -> Option<(&str, bool)> {
    let mut base = symbol;
    let mut changed = false;
    loop {
        // `.isra.0`: a word and perhaps a number. Only these words are a compiler's; others belong to the name.
        let stem = base.trim_end_matches(|c: char| c.is_ascii_digit());
        let stem = stem.strip_suffix('.').unwrap_or(base);
        let Some((rest, word)) = stem.rsplit_once('.') else {
            break;
        };
        match word {
            "cold" | "part" => return None,
            "isra" | "constprop" | "specialized" => changed = true,
            "lto_priv" | "llvm" => {}
            _ => break,
        }
        base = rest;
    }
    Some((base, changed))
}

/// A function's qualified name without parameters and result; the symbol itself if it is not mangled.
fn demangle(symbol: &str) -> String {
    if let Ok(name) = rustc_demangle::try_demangle(symbol) {
        return format!("{name:#}");
    }
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    symbol
        .starts_with("_Z")
        .then(|| {
            cpp_demangle::Symbol::new(symbol)
                .ok()?
                .demangle_with_options(&options)
                .ok()
        })
        .flatten()
        .unwrap_or_else(|| symbol.to_owned())
}

/// A section's bytes, decompressed if need be; empty if it is missing.
pub(super) fn section<'data>(
    file: &object::File<'data>,
    name: &str,
) -> object::Result<std::borrow::Cow<'data, [u8]>> {
    file.section_by_name(name)
        .map_or(Ok(std::borrow::Cow::Borrowed(&[][..])), |s| s.uncompressed_data())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_suffixes() {
        assert_eq!(split_clone("f"), Some(("f", false)));
        assert_eq!(split_clone("f.isra.0"), Some(("f", true)));
        assert_eq!(split_clone("f.constprop.0.isra.12"), Some(("f", true)));
        assert_eq!(split_clone("f.lto_priv.0"), Some(("f", false)));
        assert_eq!(split_clone("f.llvm.1234"), Some(("f", false)));
        assert_eq!(split_clone("f.part.0"), None);
        assert_eq!(split_clone("f.cold"), None);
        assert_eq!(split_clone("f.constprop.0.cold"), None);
        assert_eq!(split_clone("f._omp_fn.0"), Some(("f._omp_fn.0", false)));
    }

    #[test]
    fn demangling() {
        assert_eq!(demangle("ggml_barrier"), "ggml_barrier");
        assert_eq!(
            demangle("_ZN13llama_context6decodeERK11llama_batch"),
            "llama_context::decode"
        );
    }
}
