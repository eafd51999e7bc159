//! Call stacks that allocate and map, and the names that they give to memory.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::table::{ObjectId, ObjectTable};
use crate::class::Class;
use crate::module::Modules;
use crate::probe::{Pattern, StackRule};

#[derive(Debug)]
struct CallStack {
    /// Instruction addresses, innermost first.
    frames: Vec<u64>,
    /// What it allocates, once it was needed.
    object: Option<ObjectId>,
}

/// The call stacks that allocate and map.
#[derive(Debug, Default)]
pub(super) struct CallStacks {
    rules: Vec<StackRule>,
    stacks: HashMap<u64, CallStack>,
}

impl CallStacks {
    pub(super) fn new(rules: Vec<StackRule>) -> Self {
        Self {
            rules,
            stacks: HashMap::new(),
        }
    }

    /// A call stack gets an id.
    pub(super) fn define(&mut self, id: u64, frames: &[u64]) {
        self.stacks.insert(
            id,
            CallStack {
                frames: frames.to_vec(),
                object: None,
            },
        );
    }

    /// Names are found anew, as other code may come to where some was unloaded.
    pub(super) fn forget_names(&mut self) {
        self.stacks.values_mut().for_each(|stack| stack.object = None);
    }

    /// Another program's stacks are defined anew.
    pub(super) fn clear(&mut self) {
        self.stacks.clear();
    }

    /// The object that a call stack allocates.
    pub(super) fn object(&mut self, id: u64, table: &mut ObjectTable, modules: &Modules) -> ObjectId {
        let stack = self.stacks.entry(id).or_insert_with(|| CallStack {
            frames: Vec::new(),
            object: None,
        });
        if let Some(object) = stack.object {
            return object;
        }
        let (class, name) = name("heap", &stack.frames, &self.rules, modules);
        let object = table.intern(class, &name);
        table.note_stack(object, &stack.frames);
        stack.object = Some(object);
        object
    }

    /// The object that a call stack maps.
    pub(super) fn mapped(&self, id: u64, table: &mut ObjectTable, modules: &Modules) -> ObjectId {
        let frames = self.stacks.get(&id).map_or(&[][..], |stack| &stack.frames);
        let (class, name) = name("mapped", frames, &self.rules, modules);
        let object = table.intern(class, &name);
        table.note_stack(object, frames);
        object
    }
}

/// Functions that allocate for others: naming memory after them would tell nothing.
const GO_BETWEENS: [&str; 31] = [
    // The C allocator and the wrappers in front of it
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "__libc_*",
    "_int_*",
    "_mid_memalign",
    "strdup",
    "__strdup",
    "strndup",
    "__strndup",
    "mmap",
    "mmap64",
    // C++ and its library
    "operator new*",
    "std::*",
    "__gnu_cxx::*",
    // Rust and its library
    "__rust_*",
    "__rdl_*",
    "__rg_*",
    "alloc::*",
    "<alloc::*",
    "core::*",
    "<core::*",
    "<std::*",
    "hashbrown::*",
    "<hashbrown::*",
];

static GO_BETWEEN_PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let parse = |text: &&str| Pattern::try_from((*text).to_owned()).expect("the table holds valid patterns");
    GO_BETWEENS.iter().map(parse).collect()
});

/// How many functions a name shows: the one that wanted the memory, and on whose behalf.
const SHOWN_FRAMES: usize = 2;

/// The class and name of what this call stack, innermost frame first, comes by. The innermost function that a rule matches
/// decides; of several rules for it, the first. Code without a symbol goes by its module and place.
fn name(kind: &str, frames: &[u64], rules: &[StackRule], modules: &Modules) -> (Class, String) {
    let function = |ip: &u64| match modules.function_name(*ip) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(nameless(*ip, modules)),
    };
    let functions: Vec<Cow<str>> = frames.iter().map(function).collect();
    let rule = (0..functions.len())
        .find_map(|innermost| rules.iter().find(|rule| rule.matches(&functions[innermost..])));
    if let Some(rule) = rule {
        return (rule.class, rule.name.clone());
    }
    let is_go_between = |name: &Cow<str>| GO_BETWEEN_PATTERNS.iter().any(|pattern| pattern.matches(name));
    let first = functions
        .iter()
        .position(|function| !is_go_between(function))
        .unwrap_or(0);
    let shown: Vec<String> = functions[first..]
        .iter()
        .filter(|function| !is_go_between(function))
        .take(SHOWN_FRAMES)
        .map(|function| without_template_arguments(function))
        .collect();
    if shown.is_empty() {
        return (Class::Heap, format!("{kind}: unknown caller"));
    }
    let module = modules
        .module_at(frames[first])
        .map(|id| format!(" ({})", modules.get(id).name()));
    (
        Class::Heap,
        format!("{kind}: {}{}", shown.join(" < "), module.unwrap_or_default()),
    )
}

fn nameless(ip: u64, modules: &Modules) -> String {
    let at = modules.code_address(ip);
    match modules.module_at(ip) {
        Some(module) => format!("[{}+{:#x}]", modules.get(module).name(), at.offset),
        None => at.region.name().to_owned(),
    }
}

/// `std::map<int, A>::at` is shown as `std::map::at`. A leading `<T as Trait>` of Rust stays, and so do operators.
fn without_template_arguments(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut depth = 0u32;
    let mut before_arrow = ' ';
    for c in name.chars() {
        match c {
            '<' if depth > 0 => depth += 1,
            '<' if opens_arguments(&out) => depth = 1,
            '>' if depth > 0 && before_arrow != '-' => {
                depth -= 1;
                // Rust writes `Vec::<u8>::push` with one separator more.
                if depth == 0 && out.ends_with("::") {
                    out.truncate(out.len() - 2);
                }
            }
            _ if depth == 0 => out.push(c),
            _ => {}
        }
        before_arrow = c;
    }
    // Unbalanced: not a template after all.
    if depth == 0 { out } else { name.to_owned() }
}

fn opens_arguments(before: &str) -> bool {
    let is_operator = before.ends_with("operator") || before.ends_with("operator<");
    let follows_name = before.ends_with(|c: char| c.is_alphanumeric() || c == '_') || before.ends_with("::");
    follows_name && !is_operator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_arguments_are_left_out() {
        let table = [
            ("std::map<int, std::vector<char> >::at", "std::map::at"),
            ("f<(A<3>)>", "f"),
            ("operator<", "operator<"),
            ("operator<< <char>", "operator<< <char>"),
            ("alloc::vec::Vec::<u8>::push", "alloc::vec::Vec::push"),
            (
                "<alloc::vec::Vec<u8> as core::clone::Clone>::clone",
                "<alloc::vec::Vec as core::clone::Clone>::clone",
            ),
            ("call<fn() -> u8>", "call"),
        ];
        for (name, expected) in table {
            assert_eq!(without_template_arguments(name), expected);
        }
    }
}
