//! Names of heap memory, from call stacks in a real C++ program.

mod compiled;

use compiled::{compile, load, symbol};
use memloupe_attribute::{Class, Modules, Objects, Pattern, StackRule};
use memloupe_stream::Event;
use object::{Object, ObjectSymbol};

/// Compiled without optimisation, so that the library's templates are functions of their own.
const SOURCE: &str = r#"
#include <vector>
namespace app {
struct Vocabulary {
    std::vector<int> tokens;
    __attribute__((noinline)) void load(int n) { for (int i = 0; i < n; i++) tokens.push_back(i); }
};
template <typename T> __attribute__((noinline)) void load_model(T &vocabulary, int n) { vocabulary.load(n); }
}
int main(int argc, char **) {
    app::Vocabulary vocabulary;
    app::load_model(vocabulary, argc);
    return vocabulary.tokens.size();
}
"#;

const BASE: u64 = 0x5555_0000_0000;

#[test]
fn memory_is_named_after_who_wanted_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = compile(folder.path(), "c++", SOURCE, "app", &["-O0"]);
    let mut modules = Modules::default();
    let (events, bias) = load(&program, BASE);
    events.iter().for_each(|event| modules.event(event));

    let bytes = std::fs::read(&program).expect("readable");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    // An instruction inside the first function whose mangled name begins like this.
    let inside = |prefix: &str| {
        let mut symbols = file
            .symbols()
            .filter(|symbol| symbol.is_definition() && symbol.size() > 0);
        let symbol = symbols.find(|symbol| symbol.name().is_ok_and(|name| name.starts_with(prefix)));
        symbol.unwrap_or_else(|| panic!("a function {prefix}")).address() + bias + 3
    };
    let allocator = inside("_ZN9__gnu_cxx").min(inside("_ZNSt"));
    let vector = inside("_ZNSt6vectorIiSaIiEE");
    let load_tokens = inside("_ZN3app10Vocabulary4loadEi");
    let load_model = inside("_ZN3app10load_modelI");
    let main = symbol(&program, "main").0 + bias + 3;
    let frames = vec![allocator, vector, load_tokens, load_model, main];

    let name = |rules: Vec<StackRule>, frames: &[u64]| {
        let mut objects = Objects::new(rules);
        objects.event(
            &Event::Stack {
                stack: 7,
                frames: frames.to_vec(),
            },
            &modules,
        );
        for address in [0x1000, 0x2000] {
            objects.event(
                &Event::Alloc {
                    address,
                    bytes: 48,
                    stack: 7,
                },
                &modules,
            );
        }
        let extent = objects.lookup(0x1010, &modules);
        assert_eq!((extent.start, extent.end), (0x1000, 0x1030));
        let object = objects.table()[extent.object as usize].clone();
        assert_eq!((object.bytes, object.allocations), (96, 2));
        assert_eq!(object.stack.as_deref(), Some(frames));
        (object.class, object.name)
    };
    let heap = |name: &str| (Class::Heap, name.to_owned());
    assert_eq!(
        name(Vec::new(), &frames),
        heap("heap: app::Vocabulary::load < app::load_model (app)")
    );
    assert_eq!(name(Vec::new(), &[main]), heap("heap: main (app)"));
    assert_eq!(name(Vec::new(), &[]), heap("heap: unknown caller"));
    assert_eq!(name(Vec::new(), &[0x10, main]), heap("heap: [unknown] < main"));

    let pattern = |text: &str| Pattern::try_from(text.to_owned()).expect("a valid pattern");
    let rule = |function: &str, name: &str| StackRule {
        function: pattern(function),
        within: None,
        class: Class::Workspace,
        name: name.to_owned(),
    };
    let rules = vec![
        rule("main", "everything"),
        rule("app::Vocabulary::*", "vocabulary"),
        rule("app::*", "app"),
    ];
    assert_eq!(
        name(rules.clone(), &frames),
        (Class::Workspace, "vocabulary".to_owned()),
        "innermost first"
    );
    assert_eq!(name(rules, &[main]), (Class::Workspace, "everything".to_owned()));

    let for_caller = |caller: &str, label: &str| StackRule {
        within: Some(pattern(caller)),
        ..rule("app::Vocabulary::load", label)
    };
    let rules = vec![
        for_caller("app::Vocabulary::load", "called by itself"),
        for_caller("std::*", "called by what it calls"),
        for_caller("main", "called indirectly by main"),
        rule("app::load_model<*", "further out"),
    ];
    assert_eq!(
        name(rules.clone(), &frames),
        (Class::Workspace, "called indirectly by main".to_owned())
    );
    assert_eq!(
        name(rules, &[load_tokens, load_model]),
        (Class::Workspace, "further out".to_owned()),
        "no such caller"
    );
}
