//! From a linker's symbol to the name in the source: C++ and Rust demangling, and compilers' suffixes.

/// Whether a C++ function's name comes with its parameter types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameters {
    Shown,
    Omitted,
}

/// What a compiler made of a function when it gave it a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Copied {
    /// The same function under a name of its own.
    Whole,
    /// A copy whose arguments may differ.
    WithOtherArguments,
    /// A piece of it, which is no entry.
    InPart,
}

/// What compilers append to the names of copies and parts of functions. Other words after a dot belong to the name.
const SUFFIXES: [(&str, Copied); 8] = [
    (".clone.", Copied::Whole),
    (".cold", Copied::InPart),
    (".constprop.", Copied::WithOtherArguments),
    (".isra.", Copied::WithOtherArguments),
    (".llvm.", Copied::Whole),
    (".lto_priv.", Copied::Whole),
    (".part.", Copied::InPart),
    (".specialized.", Copied::WithOtherArguments),
];

/// What the suffixes of a symbol say, the gravest if it has several; `Whole` if it has none.
pub(crate) fn copied(mangled: &str) -> Copied {
    SUFFIXES
        .iter()
        .filter(|(suffix, _)| mangled.contains(suffix))
        .map(|(_, copied)| *copied)
        .max()
        .unwrap_or(Copied::Whole)
}

/// The name as its source has it: demangled for C++ and Rust, without what the compiler appends to copies.
pub(crate) fn demangle(mangled: &str, parameters: Parameters) -> String {
    let suffix = SUFFIXES
        .iter()
        .filter_map(|(suffix, _)| mangled.find(suffix))
        .min();
    let mangled = &mangled[..suffix.filter(|at| *at > 0).unwrap_or(mangled.len())];
    if let Ok(name) = rustc_demangle::try_demangle(mangled) {
        // The alternate form leaves out the hash.
        return format!("{name:#}");
    }
    let mut options = cpp_demangle::DemangleOptions::new().no_return_type();
    if parameters == Parameters::Omitted {
        options = options.no_params();
    }
    if !mangled.starts_with("_Z") {
        return mangled.to_owned();
    }
    cpp_demangle::Symbol::new(mangled)
        .ok()
        .and_then(|symbol| symbol.demangle_with_options(&options).ok())
        .unwrap_or_else(|| mangled.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        let table = [
            (
                "_ZN11llama_vocab4impl4loadER18llama_model_loaderRK6LLM_KV",
                "llama_vocab::impl::load(llama_model_loader&, LLM_KV const&)",
                "llama_vocab::impl::load",
            ),
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
                "core::fmt::Write::write_fmt",
                "core::fmt::Write::write_fmt",
            ),
            ("_RNvC6_123foo3bar", "123foo::bar", "123foo::bar"),
            ("measure.constprop.0.cold", "measure", "measure"),
            ("_ZN1a1bEi.isra.0", "a::b(int)", "a::b"),
            (
                "ggml_vec_dot_q4_0_q8_0",
                "ggml_vec_dot_q4_0_q8_0",
                "ggml_vec_dot_q4_0_q8_0",
            ),
            ("_Zbroken", "_Zbroken", "_Zbroken"),
            ("_Z3addIiET_S0_S0_", "add<int>(int, int)", "add<int>"),
        ];
        for (mangled, shown, omitted) in table {
            assert_eq!(demangle(mangled, Parameters::Shown), shown);
            assert_eq!(demangle(mangled, Parameters::Omitted), omitted);
        }
    }

    #[test]
    fn suffixes() {
        for (symbol, expected) in [
            ("f", Copied::Whole),
            ("f.lto_priv.0", Copied::Whole),
            ("f.llvm.1234", Copied::Whole),
            ("f.isra.0", Copied::WithOtherArguments),
            ("f.constprop.0.isra.12", Copied::WithOtherArguments),
            ("f.part.0", Copied::InPart),
            ("f.cold", Copied::InPart),
            ("f.constprop.0.cold", Copied::InPart),
            ("f._omp_fn.0", Copied::Whole),
        ] {
            assert_eq!(copied(symbol), expected, "{symbol}");
        }
        assert_eq!(
            demangle("f._omp_fn.0.constprop.1", Parameters::Omitted),
            "f._omp_fn.0"
        );
    }
}
