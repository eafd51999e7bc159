//! Objects inside modules: variables by their symbols, the rest by section, and code.

use super::table::{ObjectId, ObjectTable};
use crate::class::Class;
use crate::module::Module;
use crate::range_map::intersect;

/// The object at an address within a loaded module that occupies `span`, and the addresses [start, end) around it that
/// belong to it.
pub(super) fn find(
    table: &mut ObjectTable,
    address: u64,
    module: &Module,
    span: (u64, u64),
) -> (ObjectId, (u64, u64)) {
    let name = module.name();
    let Some(binary) = module.binary() else {
        // Of a file that can't be read, only executable mappings are known to be a module's.
        return (
            table.intern_static(Class::Code, &format!("code: {name}"), span.1 - span.0),
            span,
        );
    };
    let image = binary.image();
    let linked = address.wrapping_sub(module.bias);
    let linked_span = (span.0.wrapping_sub(module.bias), span.1.wrapping_sub(module.bias));
    let segment = image.segment_at(linked);
    let section = image.section_at(linked);
    let mut bounds = match section {
        Ok(section) => section.range(),
        Err(gap) => gap,
    };
    bounds = match segment {
        Ok(segment) => intersect(bounds, segment.range()),
        Err(gap) => intersect(bounds, gap),
    };
    let is_code = match (section, segment) {
        (Ok(section), _) => section.is_executable,
        (Err(_), segment) => segment.is_ok_and(|segment| segment.is_executable),
    };
    let object = if is_code {
        let code = image.segments().iter().filter(|segment| segment.is_executable);
        let bytes = code.map(|segment| segment.memory_bytes).sum();
        table.intern_static(Class::Code, &format!("code: {name}"), bytes)
    } else {
        match binary.variable(linked) {
            Ok(variable) => {
                bounds = intersect(bounds, (variable.start, variable.end));
                let label = format!("static: {} ({name})", variable.name());
                table.intern_static(Class::Static, &label, variable.end - variable.start)
            }
            Err(gap) => {
                bounds = intersect(bounds, gap);
                let (part, bytes) = match section {
                    Ok(section) => (section.name.as_str(), section.bytes),
                    Err(_) => ("(between sections)", 0),
                };
                table.intern_static(Class::Static, &format!("static: {name} {part}"), bytes)
            }
        }
    };
    let (start, end) = intersect(linked_span, bounds);
    (
        object,
        (start.wrapping_add(module.bias), end.wrapping_add(module.bias)),
    )
}
