//! Functions that can be entered, by their symbols.

use object::{ObjectSymbol, SymbolKind};

use crate::demangle::{Copied, Parameters, copied, demangle};
use crate::module::{Image, defined};

/// A defined function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Function {
    /// ELF virtual address.
    pub(super) address: u64,
    /// Demangled, without parameters and clone suffixes.
    pub(super) name: String,
    /// Whether the compiler changed a copy of the function, so that its arguments may differ.
    pub(super) is_clone: bool,
}

/// Functions whose name satisfies `wanted`, in order of address. `maybe` is asked first, with the mangled name, to save
/// demangling. Unlike the symbol table of a module, this keeps every name that an address has: a preset may know any.
pub(super) fn functions(
    image: &Image,
    maybe: impl Fn(&str) -> bool,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Function> {
    let mut functions = image.with_elf(|elf_file| {
        defined(elf_file, SymbolKind::Text)
            .filter_map(|(symbol, mangled)| Some((symbol.address(), std::str::from_utf8(mangled).ok()?)))
            .filter(|(_, mangled)| maybe(mangled))
            .filter_map(|(address, mangled)| {
                let copied = copied(mangled);
                let name = demangle(mangled, Parameters::Omitted);
                (copied != Copied::InPart && wanted(&name)).then_some(Function {
                    address,
                    name,
                    is_clone: copied == Copied::WithOtherArguments,
                })
            })
            .collect::<Vec<_>>()
    });
    functions.sort();
    functions.dedup_by(|a, b| (a.address, &a.name) == (b.address, &b.name));
    functions
}
