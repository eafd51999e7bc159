//! Probes against real compiler output: small C and C++ programs are built, run until they wait with their argument
//! registers and stack recorded, and the fetches of the resolved probes are executed over their memory.

mod target;

use std::path::Path;
use std::process::Command;

use memloupe_attribute::{Class, Ends, Entered, Lasts, Phase, Preset, PresetError, Probes, SeenObject};
use memloupe_stream::{Fetch, Probe};
use target::{Fixture, Target, build};

fn preset(text: &str) -> Preset {
    Preset::parse(
        &format!("name = \"test\"\ndescription = \"\"\n{text}"),
        "test.toml",
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

/// One probe whose operator's name is the expression's value.
fn naming(function: &str, expression: &str) -> Preset {
    preset(&format!(
        "[[probe]]\nfunctions = [\"{function}\"]\noperator = {{ kind = \"K\", name = \"{expression}\" }}"
    ))
}

/// The value of an expression at a recorded call.
fn evaluate(fixture: &Fixture, target: &Target, record: u64, function: &str, expression: &str) -> String {
    let mut probes = Probes::new(vec![naming(function, expression)]);
    let found = probes.resolve(&fixture.path, 0, 0);
    assert_eq!(found.len(), 1, "{expression}: {:?}", probes.notes());
    let (present, values) = target.execute(&found[0], record);
    let entered = probes.enter(0, present, &values);
    probes.operators()[entered.operator.expect("an operator") as usize]
        .name
        .clone()
}

/// The only note that resolving an expression leaves.
fn refusal(path: &Path, function: &str, expression: &str) -> String {
    let mut probes = Probes::new(vec![naming(function, expression)]);
    assert!(probes.resolve(path, 0, 0).is_empty(), "{expression}");
    assert_eq!(probes.notes().len(), 1, "{expression}: {:?}", probes.notes());
    probes.notes()[0].clone()
}

const C: &str = include_str!("arguments.c");

#[test]
fn values_of_c_arguments() {
    let fixture = build("c", C, &[]);
    let target = Target::start(&fixture);
    for (record, function, expression, value) in [
        (0, "nodes", "n->name", "out-3"),
        (0, "nodes", "$2->label", "a label"),
        (0, "nodes", "$2->small", "-3"),
        (0, "nodes", "n->whole", "131073"),
        (0, "nodes", "n->high", "2"),
        (0, "nodes", "n->params[1]", "-5"),
        (0, "nodes", "n->nb[1]", "2304"),
        (0, "nodes", "n[0].ne[0]", "576"),
        (0, "nodes", "n->src[0]->name", "blk.3.weight"),
        (0, "nodes", "n->src[1]->view->name", "cache_k_l3"),
        (0, "nodes", "n->src[1]->view->data", "36864"),
        (0, "nodes", "n->src[2]->name", ""),
        (1, "batch", "b.n", "16"),
        (1, "batch", "b.tokens[2]", "-33"),
        (1, "batch", "b.more[1]", "99"),
        (1, "batch", "after", "-9"),
        (2, "smalls", "s.a", "-4"),
        (2, "smalls", "s.b", "5"),
        (2, "smalls", "m.l", "77"),
        (2, "smalls", "last", "42"),
        (3, "returns", "n", "1234"),
        (4, "many", "$5", "5"),
        (4, "many", "t.a", "101"),
        (4, "many", "t.b", "102"),
        (4, "many", "f", "6"),
        (4, "many", "g", "7"),
        (4, "many", "h", "-8"),
        (5, "tests_long_double", "j", "31"),
        (5, "tests_long_double", "b.n", "16"),
    ] {
        assert_eq!(
            evaluate(&fixture, &target, record, function, expression),
            value,
            "{expression}"
        );
    }
}

#[test]
fn what_a_node_means() {
    let fixture = build("c", C, &[]);
    let target = Target::start(&fixture);
    let preset = preset(
        r#"
        [layer]
        label = "blk.{n}"
        names = ["blk.{n}.*", "*-{n}"]
        [[probe]]
        functions = ["absent", "node?"]
        lasts = "until-next"
        [probe.operator]
        kind_of = { value = "n->op", strip = "OP_" }
        detail.UNARY = { value = "n->params[0]", enumeration = "unary", strip = "UNARY_" }
        name = "n->name"
        shape = "n->ne"
        element_type = { value = "n->src[1]->op", strip = "OP_" }
        sources = ["n->src[0..9]->name"]
        [[probe.object]]
        base = ["n->src[0..9]->view", "n->src[0..9]"]
        name = "name"
        address = "data"
        extents = "ne"
        strides = "nb"
        class = { weight = ["*.weight"], kv-cache = ["cache_k*"] }
        [[probe.object]]
        base = ["n"]
        name = "name"
        address = "data"
        extents = "ne"
        strides = "nb"
        class = { activation = ["something else"] }
        "#,
    );
    let mut probes = Probes::new(vec![preset]);
    let found = probes.resolve(&fixture.path, 0x1000, 5);
    assert_eq!(found.len(), 1, "{:?}", probes.notes());
    let unbiased = Probes::new(vec![naming("nodes", "n->name")]).resolve(&fixture.path, 0, 0)[0].address;
    assert_eq!(found[0].address, unbiased + 0x1000);
    let (present, values) = target.execute(&found[0], 0);
    let first = probes.enter(5, present, &values);
    let again = probes.enter(5, present, &values);
    assert_eq!(first.operator, again.operator);
    assert_eq!(first.lasts, Lasts::UntilNext);
    assert_eq!(probes.operators().len(), 1);
    let operator = &probes.operators()[0];
    assert_eq!(operator.kind, "UNARY.SILU");
    assert_eq!(operator.name, "out-3");
    assert_eq!(operator.layer.as_deref(), Some("blk.3"));
    assert_eq!(operator.shape, "576x16");
    assert_eq!(operator.element_type, "ADD");
    assert_eq!(operator.sources, "blk.3.weight, cache_k_l3 (view)");
    let object = |name: &str, class, address, bytes| SeenObject {
        name: name.to_owned(),
        class,
        address,
        bytes,
    };
    let expected = [
        object("blk.3.weight", Class::Weight, 0x5000, 1024),
        object("cache_k_l3", Class::KvCache, 0x9000, 512),
    ];
    assert_eq!(&first.objects[..], expected);
    assert_eq!(&again.objects[..], expected);
    // An id that no probe has, and an event cut short, mean nothing.
    assert!(probes.enter(4, present, &values).operator.is_none());
    assert!(probes.enter(99, present, &values).operator.is_none());
    assert!(probes.enter(5, present, &values[..3]).objects.is_empty());
}

#[test]
fn enumerators_of_every_form() {
    let fixture = build("c", C, &[]);
    let target = Target::start(&fixture);
    for (value, strip, name) in [("w", "WIDE_", "HIGH"), ("m", "", "MINUS_ONE")] {
        let text = format!(
            "[[probe]]\nfunctions = [\"enums\"]\noperator = {{ kind_of = {{ value = \"{value}\", strip = \"{strip}\" }} }}"
        );
        let mut probes = Probes::new(vec![preset(&text)]);
        let found = probes.resolve(&fixture.path, 0, 0);
        assert_eq!(found.len(), 1, "{:?}", probes.notes());
        let (present, values) = target.execute(&found[0], 6);
        probes.enter(0, present, &values);
        assert_eq!(probes.operators()[0].kind, name);
    }
}

/// Debug information that is damaged anywhere is refused or misread, but nothing worse.
#[test]
fn damage_is_survived() {
    let fixture = build("c", C, &[]);
    let good = std::fs::read(&fixture.path).unwrap();
    let bad = fixture.path.with_file_name("damaged");
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for round in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..=round % 40 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.truncate(if round % 10 == 9 {
            random() % bytes.len()
        } else {
            bytes.len()
        });
        std::fs::write(&bad, &bytes).unwrap();
        let mut probes = Probes::new(vec![
            naming("nodes", "n->src[1]->view->name"),
            naming("smalls", "m.l"),
        ]);
        let found = probes.resolve(&bad, 0, 0);
        assert!(found.len() <= 2);
        for id in 0..found.len() as u32 {
            probes.enter(id, u64::MAX, &[0xff; 100]);
        }
    }
}

#[test]
fn phases_by_value() {
    let fixture = build("c", C, &[]);
    let text = r#"
        [[probe]]
        functions = ["batch"]
        operator = { kind = "host" }
        [probe.phase]
        value = "b.n"
        rules = [{ name = "prefill", min = 2 }, { name = "decode", min = 1, max = 1, numbered = true }]
    "#;
    let mut probes = Probes::new(vec![preset(text)]);
    let found = probes.resolve(&fixture.path, 0, 0);
    assert_eq!(found.len(), 1, "{:?}", probes.notes());
    let target = Target::start(&fixture);
    let (present, values) = target.execute(&found[0], 1);
    let phase = |entered: Entered| entered.phase;
    let prefill = Phase {
        name: "prefill".to_owned(),
        index: None,
    };
    let entered = probes.enter(0, present, &values);
    assert!(entered.operator.is_some() && entered.objects.is_empty());
    assert_eq!(phase(entered), Some(prefill.clone()));
    let one: Vec<u8> = [1u8, 0, 0, 0, 0, 0, 0, 0].to_vec();
    for index in 0..3 {
        let decode = Phase {
            name: "decode".to_owned(),
            index: Some(index),
        };
        assert_eq!(phase(probes.enter(0, 1, &one)), Some(decode));
    }
    assert_eq!(phase(probes.enter(0, present, &values)), Some(prefill));
    assert_eq!(phase(probes.enter(0, 1, &[0; 8])), None);
    assert_eq!(phase(probes.enter(0, 0, &one)), None, "an unreadable value");
}

/// A rule may go by a value of its own; where that can't be read, the next one decides.
#[test]
fn phases_by_values_of_their_own() {
    let fixture = build("c", C, &[]);
    let text = r#"
        [[probe]]
        functions = ["batch"]
        [probe.phase]
        value = "b.n"
        rules = [{ name = "wanted", value = "b.tokens[2]", max = -1 }, { name = "long", min = 2 }]
    "#;
    let mut probes = Probes::new(vec![preset(text)]);
    let found = probes.resolve(&fixture.path, 0, 0);
    let (present, values) = Target::start(&fixture).execute(&found[0], 1);
    let mut name = |present| probes.enter(0, present, &values).phase.map(|phase| phase.name);
    assert_eq!(name(present).as_deref(), Some("wanted"));
    assert_eq!(name(1).as_deref(), Some("long"), "behind a null pointer");
    assert_eq!(name(0), None);
}

/// Of a stripped library's functions a preset can say what they take, and what is of no name is named after the function.
#[test]
fn parameters_are_stated_where_no_debug_information_is() {
    let fixture = build("c", C, &["-g0"]);
    let target = Target::start(&fixture);
    let rule = |more: &str| {
        format!(
            "[[probe]]\nfunctions = [\"man*\"]\n{more}\noperator = {{ kind = \"K.*\", name = \"e\", shape = \"$2\" }}"
        )
    };
    let stated = "parameters = [\"i64 a\", \"u64 b\", \"i32 c\", \"pointer d\", \"i64 e\"]";
    let mut probes = Probes::new(vec![preset(&rule(stated))]);
    let found = probes.resolve(&fixture.path, 0, 0);
    assert_eq!(found.len(), 1, "{:?}", probes.notes());
    let (present, values) = target.execute(&found[0], 4);
    probes.enter(0, present, &values);
    let operator = &probes.operators()[0];
    assert_eq!(
        (&*operator.kind, &*operator.name, &*operator.shape),
        ("K.y", "5", "2")
    );
    let mut silent = Probes::new(vec![preset(&rule(""))]);
    assert!(silent.resolve(&fixture.path, 0, 0).is_empty());
    assert!(
        silent.notes()[0].contains("no debug information"),
        "{:?}",
        silent.notes()
    );
    for (wrong, part) in [
        ("long a", "none of text, pointer"),
        ("text", "its type and its name"),
    ] {
        let text = rule(&format!("parameters = [\"{wrong}\"]"));
        let error =
            Preset::parse(&format!("name = \"t\"\ndescription = \"\"\n{text}"), "t.toml").unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// What a program begins goes on until it ends it, and lends its layer to operators inside that have none.
#[test]
fn operators_are_placed_in_the_layer_around_them() {
    let fixture = build("c", C, &[]);
    let target = Target::start(&fixture);
    let text = r#"
        [[probe]]
        functions = ["nodes"]
        lasts = "until-ended"
        operator = { kind = "module", layer = "n->label" }
        [[probe]]
        functions = ["many"]
        operator = { kind = "inner" }
        [[probe]]
        functions = ["smalls"]
        ends = "operator"
    "#;
    let mut probes = Probes::new(vec![preset(text)]);
    let found = probes.resolve(&fixture.path, 0, 0);
    assert_eq!(found.len(), 3, "{:?}", probes.notes());
    let entered: Vec<Entered> = [(0, 0), (1, 4), (2, 2)]
        .map(|(index, record)| {
            let (present, values) = target.execute(&found[index], record);
            probes.enter(index as u32, present, &values)
        })
        .into();
    assert_eq!(
        (entered[0].lasts, entered[2].ends),
        (Lasts::UntilEnded, Some(Ends::Operator))
    );
    let (module, inner) = (entered[0].operator.unwrap(), entered[1].operator.unwrap());
    let placed = probes.within_layer_of(inner, module);
    assert_eq!(probes.within_layer_of(inner, module), placed);
    let operator = |id: u32| &probes.operators()[id as usize];
    assert_eq!(operator(module).layer.as_deref(), Some("a label"));
    assert_eq!(operator(inner).layer, None);
    assert_eq!(
        (&*operator(placed).kind, operator(placed).layer.as_deref()),
        ("inner", Some("a label"))
    );
}

const CPP: &str = include_str!("arguments.cpp");

#[test]
fn values_of_cpp_arguments() {
    let fixture = build("cpp", CPP, &[]);
    let target = Target::start(&fixture);
    for (record, function, expression, value) in [
        (0, "ns::Derived::method", "this->own", "7"),
        (0, "ns::Derived::method", "this->base_field", "5"),
        (0, "ns::Derived::method", "this->other_field", "6"),
        (
            0,
            "*::method",
            "this->title._M_dataplus._M_p",
            "a title that is longer than the small buffer",
        ),
        (
            0,
            "ns::Derived::method",
            "by_reference._M_dataplus._M_p",
            "passed by invisible reference",
        ),
        (0, "ns::Derived::method", "$2", "8"),
        (1, "ns::Derived::free_of_this", "d.own", "7"),
        (1, "ns::Derived::free_of_this", "y", "9"),
        (2, "ns::with_empty", "x", "10"),
        (3, "ns::Derived::generic<int>", "x", "12"),
        (3, "ns::returns_string*", "x", "12"),
    ] {
        assert_eq!(
            evaluate(&fixture, &target, record, function, expression),
            value,
            "{expression}"
        );
    }
}

#[test]
fn mistakes_in_expressions_are_named() {
    let fixture = build("c", C, &[]);
    for (function, expression, part) in [
        (
            "nodes",
            "n->nane",
            "no field `nane` in struct node; nearest: `name`",
        ),
        ("nodes", "m->name", "no parameter `m`; nearest: `n`"),
        ("nodes", "$3", "no parameter `$3`"),
        ("nodes", "n->src[3]", "element 3 of an array of 3"),
        (
            "nodes",
            "n->op.x",
            "`x` is taken of something that is not a struct",
        ),
        ("nodes", "n->owner->x", "only declared"),
        ("nodes", "n->bits", "no field `bits`"),
        ("nodes", "n->src[0..2]->name", "one value is needed, not 2"),
        (
            "nodes",
            "n->view->view->view->view->view->name",
            "more than 4 pointers",
        ),
        ("batch", "b", "name a field"),
        ("batch", "b.scale", "floating-point"),
        ("smalls", "x", "floating-point"),
        ("nodes", "context->x", "not a struct"),
    ] {
        let note = refusal(&fixture.path, function, expression);
        assert!(
            note.contains(part) && note.contains(function),
            "{expression}: {note}"
        );
    }
    let unknown_enum = preset(
        r#"
        [[probe]]
        functions = ["nodes"]
        operator = { kind_of = { value = "n->small", enumeration = "unari" } }
        "#,
    );
    let mut probes = Probes::new(vec![unknown_enum]);
    assert!(probes.resolve(&fixture.path, 0, 0).is_empty());
    assert!(
        probes.notes()[0].contains("no enum `unari`"),
        "{:?}",
        probes.notes()
    );
}

#[test]
fn changed_arguments_are_refused_or_read_where_dwarf_says() {
    let fixture = build(
        "c",
        r#"
        struct box { long filler, value; };
        struct big { long n[9]; int m; };
        // Only one field is used: GCC passes that instead of the pointer.
        __attribute__((noinline)) static long shrunk(struct box *b, int unused) { return b->value * 3; }
        int main(int argc, char **argv) {
            struct box b = { 1, argc };
            volatile long keep = shrunk(&b, 4) + shrunk(&b, argc);
            wait_for_test();
        }
        "#,
        &[],
    );
    let symbols = Command::new("nm").arg(&fixture.path).output().unwrap();
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    assert!(
        symbols.contains("shrunk.isra") || symbols.contains("shrunk.constprop"),
        "{symbols}"
    );
    let note = refusal(&fixture.path, "shrunk", "b->value");
    assert!(
        note.contains("changed this function's arguments") || note.contains("no parameter"),
        "{note}"
    );
    // A probe that reads nothing does not mind.
    let text = "[[probe]]\nfunctions = [\"shrunk\"]\noperator = { kind = \"host\" }";
    assert_eq!(
        Probes::new(vec![preset(text)]).resolve(&fixture.path, 0, 0).len(),
        1
    );
}

#[test]
fn debug_information_elsewhere() {
    let fixture = build("c", C, &["-gz=zlib"]);
    assert_eq!(
        Probes::new(vec![naming("nodes", "n->name")])
            .resolve(&fixture.path, 0, 0)
            .len(),
        1,
        "compressed"
    );
    let fixture = build("c", C, &["-gdwarf-4"]);
    assert_eq!(
        Probes::new(vec![naming("nodes", "n->name")])
            .resolve(&fixture.path, 0, 0)
            .len(),
        1,
        "version 4"
    );
    let fixture = build("c", C, &[]);
    let binutils = |program: &str, options: &[&str]| {
        let folder = fixture.path.parent().unwrap();
        let output = Command::new(program)
            .args(options)
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    binutils("objcopy", &["--remove-section=.debug_aranges", "fixture"]);
    assert_eq!(
        Probes::new(vec![naming("nodes", "n->name")])
            .resolve(&fixture.path, 0, 0)
            .len(),
        1,
        "no index"
    );
    binutils("objcopy", &["--only-keep-debug", "fixture", "fixture.debug"]);
    binutils("strip", &["fixture"]);
    assert!(
        Probes::new(vec![naming("nodes", "n->name")])
            .resolve(&fixture.path, 0, 0)
            .is_empty(),
        "stripped"
    );
    binutils("objcopy", &["--add-gnu-debuglink=fixture.debug", "fixture"]);
    let mut probes = Probes::new(vec![naming("nodes", "n->name")]);
    assert_eq!(
        probes.resolve(&fixture.path, 0, 0).len(),
        1,
        "linked: {:?}",
        probes.notes()
    );

    let fixture = build("c", C, &["-g0"]);
    let note = refusal(&fixture.path, "nodes", "n->name");
    assert!(
        note.contains("-g") && note.contains("no debug information"),
        "{note}"
    );
    let fixture = build("c", C, &["-gsplit-dwarf"]);
    let note = refusal(&fixture.path, "nodes", "n->name");
    assert!(note.contains("-gsplit-dwarf"), "{note}");
}

#[test]
fn other_files_and_the_first_rule() {
    let mut probes = Probes::new(Preset::list());
    assert!(probes.resolve(Path::new("/nonexistent/lib.so"), 0, 0).is_empty());
    assert!(probes.notes()[0].contains("/nonexistent/lib.so"));
    let text = tempfile::NamedTempFile::new().unwrap();
    assert!(probes.resolve(text.path(), 0, 0).is_empty());
    std::fs::write(text.path(), b"\x7fELF\x02\x01\x01 then nothing that makes sense").unwrap();
    assert!(probes.resolve(text.path(), 0, 0).is_empty());

    let fixture = build("c", C, &[]);
    let rules = r#"
        [[probe]]
        functions = ["nodes"]
        operator = { kind = "first" }
        [[probe]]
        functions = ["nodes", "batch"]
        operator = { kind = "second" }
        [[probe]]
        functions = ["main"]
        operator = { kind = "third" }
    "#;
    let mut probes = Probes::new(vec![preset(rules)]);
    // `nodes` is taken, so the second rule goes on to its alternative.
    assert_eq!(probes.resolve(&fixture.path, 0, 0).len(), 3);
    for probe in 0..3 {
        probes.enter(probe, 0, &[]);
    }
    let kinds: Vec<_> = probes
        .operators()
        .iter()
        .map(|operator| operator.kind.as_str())
        .collect();
    assert_eq!(kinds, ["first", "second", "third"]);
}

#[test]
fn mistakes_in_presets_are_named() {
    for (text, parts) in [
        ("[[probe]]\nfunktions = []", &["my.toml:4", "funktions"][..]),
        ("[[probe]]\nfunctions = [\"a{b}\"]", &["my.toml:4", "a{b}"]),
        (
            "[[probe]]\nfunctions = [\"a\"]\noperator = { kind = \"x\", name = \"a-b\" }",
            &["my.toml:5", "a-b"],
        ),
        (
            "[[probe]]\nfunctions = [\"a\"]\noperator = { name = \"a\" }",
            &["my.toml:5", "kind_of"],
        ),
        (
            "[[object]]\nfunction = \"f\"\nclass = \"nonsense\"\nname = \"\"",
            &["my.toml:5", "nonsense"],
        ),
        ("[[object]]\nfunction = \"f\"", &["my.toml:3", "class"]),
        ("= 1", &["my.toml:3"]),
    ] {
        let error =
            Preset::parse(&format!("name = \"x\"\ndescription = \"\"\n{text}"), "my.toml").unwrap_err();
        let message = error.to_string();
        assert!(message.contains("my.toml"), "{message}");
        for part in parts {
            assert!(message.contains(part), "{text}\n{message}");
        }
    }
    let error = Preset::load("gggml").unwrap_err();
    assert!(
        matches!(error, PresetError::Unknown(_)) && error.to_string().contains("ggml"),
        "{error}"
    );
    assert!(Preset::load("/").unwrap_err().to_string().contains("directory"));
}

#[test]
fn stack_rules_of_the_presets() {
    let rules = Probes::new(Preset::list()).stack_rules();
    let buffer_for = |caller: &str| {
        let stack = [
            "ggml_backend_cpu_buffer_type_alloc_buffer".into(),
            "[llama-infer+0x1234]".into(),
            caller.into(),
            "main".into(),
        ];
        rules
            .iter()
            .find(|rule| rule.matches(&stack))
            .map(|rule| rule.class)
    };
    assert_eq!(buffer_for("llama_kv_cache::llama_kv_cache"), Some(Class::KvCache));
    assert_eq!(buffer_for("llama_model_base::load_tensors"), Some(Class::Weight));
    assert_eq!(buffer_for("llama_model::load_tensors"), Some(Class::Weight));
    assert_eq!(buffer_for("ggml_gallocr_reserve_n"), Some(Class::Activation));
    assert_eq!(buffer_for("llama_context::llama_context"), None);
    let table = ["llama_kv_cache::llama_kv_cache".into(), "main".into()];
    assert!(rules.iter().all(|rule| !rule.matches(&table)), "no tensors");
}

/// The real thing: `MEMLOUPE_LLAMA` names a llama.cpp program with debug information.
#[test]
fn llama_cpp() {
    let Some(path) = std::env::var_os("MEMLOUPE_LLAMA") else {
        eprintln!("skipped: MEMLOUPE_LLAMA does not name a llama.cpp program");
        return;
    };
    let mut probes = Probes::new(Preset::list());
    let found = probes.resolve(Path::new(&path), 0, 0);
    assert!(probes.notes().is_empty(), "{:?}", probes.notes());
    let fetches = |bytes: std::ops::Range<usize>| {
        let total =
            |probe: &&Probe| bytes.contains(&probe.fetches.iter().map(Fetch::padded_bytes).sum::<usize>());
        found.iter().filter(total).count()
    };
    assert!(fetches(1000..16_000) >= 1, "graph nodes");
    assert!(fetches(8..9) >= 1, "llama_decode's n_tokens");
    assert!(fetches(0..1) >= 6, "host operators");
}
