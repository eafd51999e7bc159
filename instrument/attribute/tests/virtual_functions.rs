//! Virtual functions of a stripped library, against the symbols of the same library unstripped.

mod compiled;

use compiled::{compile, load, run, symbol};
use memloupe_attribute::{Class, Preset, Probes};

const SOURCE: &str = r#"
namespace kernels {
struct Node { long index; const char *name; };
struct Kernel {
    Node *node;
    virtual ~Kernel();
    virtual long compute(long *data) = 0;
    virtual long packed();
};
struct Countable { virtual void count(); };
template <typename T> struct Sum : Kernel { long compute(long *) override; };
struct Mean : Countable, Sum<float> { long compute(long *) override; long packed() override; };
}
struct Other { virtual void a(); virtual void b(); virtual long c(long *); };

kernels::Kernel::~Kernel() {}
long kernels::Kernel::packed() { return 1; }
void kernels::Countable::count() {}
template <typename T> long kernels::Sum<T>::compute(long *data) { return data[0]; }
template struct kernels::Sum<float>;
long kernels::Mean::compute(long *data) { return data[1]; }
long kernels::Mean::packed() { return 2; }
void Other::a() {}
void Other::b() {}
long Other::c(long *data) { return data[2]; }
"#;
const BASE: u64 = 0x7f00_0000_0000;

#[test]
fn virtual_functions_are_found_without_symbols() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["-O1", "-shared", "-fPIC", "-fvisibility=hidden"];
    let whole = compile(folder.path(), "c++", SOURCE, "whole", &flags);
    let stripped = folder.path().join("stripped");
    let [from, to] = [&whole, &stripped].map(|path| path.to_str().expect("UTF-8"));
    run("strip", &["-o", to, from]);
    let (_, bias) = load(&stripped, BASE);
    let address = |name: &str| symbol(&whole, name).0 + bias;

    let preset = r#"
        name = "test"
        description = ""
        [[probe]]
        functions = ["compute", "vtable(kernels::Kernel)[2]"]
        parameters = ["pointer this", "pointer data"]
        allocates = { class = "weight", name = "packed: *" }
        [probe.operator]
        kind_of = { value = "this[1][1]", class_of = "this", strip = "kernels::" }
        name = "this[1][1]"
        [[probe]]
        functions = ["vtable(kernels::Kernel)[3]"]
        operator = { kind = "packed" }
    "#;
    let mut probes = Probes::new(vec![Preset::parse(preset, "test").expect("a preset")]);
    let found = probes.resolve(&stripped, bias, 0);
    assert_eq!(probes.notes(), [] as [&str; 0]);
    let found_at: Vec<u64> = found.iter().map(|probe| probe.address).collect();
    // Mean's objects do not begin with a Kernel, so that its table has other functions in these places; Other is no kernel.
    let mut expected = ["_ZN7kernels3SumIfE7computeEPl", "_ZN7kernels6Kernel6packedEv"].map(address);
    let mut sorted = found_at.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected);

    // What the engine would read: a text, and the first word of the object.
    let sum = address("_ZN7kernels3SumIfE7computeEPl");
    let compute = found_at.iter().position(|at| *at == sum).expect("probed");
    let table = address("_ZTVN7kernels3SumIfEE") + 16;
    let total: usize = found[compute]
        .fetches
        .iter()
        .map(memloupe_stream::Fetch::padded_bytes)
        .sum();
    let event = |text: &[u8]| {
        let mut values = vec![0; total];
        let mut at = 0;
        for fetch in &found[compute].fetches {
            match fetch.padded_bytes() {
                8 => values[at..at + 8].copy_from_slice(&table.to_le_bytes()),
                _ => values[at..at + text.len()].copy_from_slice(text),
            }
            at += fetch.padded_bytes();
        }
        values
    };
    let all = (1 << found[compute].fetches.len()) - 1;
    for (text, kind) in [
        (&b"Addition"[..], "Addition"),
        (b"\x01\xff?", "Sum"),
        (b"", "Sum"),
    ] {
        let entered = probes.enter(compute as u32, all, &event(text));
        let operator = entered.operator.expect("an operator");
        assert_eq!(probes.operators()[operator as usize].kind, kind);
        let (class, name) = probes.allocated(operator).expect("the rule says");
        assert_eq!(*class, Class::Weight);
        assert_eq!(*name, format!("packed: {}", String::from_utf8_lossy(text)));
    }
}
