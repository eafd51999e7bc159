//! What entering a probed function means: a rule of a preset, bound to the fields of one function.

use std::collections::{BTreeMap, HashMap};

use memloupe_stream::{Fetch, Key, KeyKind, Source};

use super::dwarf::Debug;
use super::expression::{Expression, Step};
use super::pattern::Pattern;
use super::plan::{Decode, Plan, Reading, Slot, Value};
use super::preset::{
    Allocated, DescribedObject, Ends, Kind, Lasts, LayerRule, Named, ObjectRule, OperatorRule, PhaseName,
    PhaseRule, ProbeRule, ToldObject,
};
use super::types::{Stated, Type, TypeRef};
use super::virtual_function::Classes;
use super::{Argument, Operator, SeenObject};
use crate::class::Class;

/// A rule bound to one function.
pub(super) struct Meaning {
    slots: Vec<Slot>,
    operator: Option<OperatorFields>,
    objects: Vec<ObjectFields>,
    phase: Option<PhaseFields>,
    pub(super) lasts: Lasts,
    pub(super) ends: Option<Ends>,
    forget: Option<Reading>,
    allocates: Option<Allocated>,
    mark: Option<Mark>,
}

enum PhaseFields {
    Always(PhaseName),
    /// Each with what it goes by.
    ByValue(Vec<(Reading, PhaseName)>),
    Told {
        name: Reading,
        number: Reading,
    },
}

/// A phase that a call opens, before its calls are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) number: Number,
}

impl Opened {
    fn by(rule: &PhaseName) -> Self {
        Self {
            name: rule.name.clone(),
            number: if rule.numbered {
                Number::Counted
            } else {
                Number::None
            },
        }
    }
}

/// How a phase is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Not at all.
    None,
    /// By counting its calls.
    Counted,
    /// By the program.
    Told(u32),
}

/// Which end of a marked region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It begins.
    Begin,
    /// It ends.
    End,
}

/// Bytes read of a marker's name.
const MARKER_BYTES: u16 = 32;

struct OperatorFields {
    kind: KindField,
    name: Option<Reading>,
    shape: Option<Reading>,
    element_type: Option<NamedField>,
    sources: Vec<Reading>,
    layer: Option<Reading>,
    layer_rule: Option<LayerRule>,
}

enum KindField {
    Literal(String),
    Read(NamedField, HashMap<String, NamedField>),
}

/// A number and the names of its values, or a text.
struct NamedField {
    reading: Reading,
    names: HashMap<i64, String>,
    class: Option<ClassField>,
}

/// The first word of a C++ object and the class that it says.
struct ClassField {
    table: Reading,
    names: HashMap<i64, String>,
}

enum ObjectFields {
    Described(DescribedFields),
    Told(ToldFields),
}

/// One object: alternatives, the first that is present counts.
struct DescribedFields {
    alternatives: Vec<Tensor>,
    class: Vec<(Class, Vec<Pattern>)>,
}

struct ToldFields {
    class: Reading,
    name: Reading,
    address: Reading,
    bytes: Reading,
}

struct Tensor {
    name: Reading,
    address: Reading,
    extents: Reading,
    strides: Reading,
}

impl Meaning {
    /// The meaning of a function that is of interest for itself.
    pub(super) fn nothing() -> (Self, Vec<Fetch>) {
        let meaning = Self {
            slots: Vec::new(),
            operator: None,
            objects: Vec::new(),
            phase: None,
            lasts: Lasts::Call,
            ends: None,
            forget: None,
            allocates: None,
            mark: None,
        };
        (meaning, Vec::new())
    }

    /// The meaning of a marker, whose first argument is a name.
    pub(super) fn marker(mark: Mark) -> (Self, Vec<Fetch>) {
        let rdi = Source { register: 7 };
        let name = Fetch::Memory {
            source: rdi,
            offsets: vec![0],
            bytes: MARKER_BYTES,
        };
        let slot = Slot {
            fetch: 0,
            start: 0,
            end: usize::from(MARKER_BYTES),
        };
        let (nothing, _) = Self::nothing();
        let meaning = Self {
            slots: vec![slot],
            mark: Some(mark),
            ..nothing
        };
        (meaning, vec![name])
    }

    /// The end of a marked region that the call is, with the region's name.
    pub(super) fn mark(&self, present: u64, values: &[u8]) -> Option<(Mark, String)> {
        let name = Reading {
            wanted: 0,
            decode: Decode::Text,
        };
        let mark = self.mark?;
        Some((mark, self.event(present, values).text(&name).unwrap_or_default()))
    }

    /// Binds a rule to a function; `star`: what the first `*` of the pattern that matches it stands for.
    pub(super) fn bind<'d>(
        rule: &ProbeRule,
        star: &str,
        layer: Option<&LayerRule>,
        classes: &Classes,
        debug: &Debug<'d>,
        mut plan: Plan<'_, 'd>,
    ) -> Result<(Self, Vec<Fetch>), String> {
        let operator = match &rule.operator {
            Some(operator) => Some(OperatorFields::bind(
                operator, star, layer, classes, debug, &mut plan,
            )?),
            None => None,
        };
        let mut objects = Vec::new();
        for object in &rule.object {
            ObjectFields::bind(object, &mut plan, &mut objects)?;
        }
        let phase = match &rule.phase {
            Some(PhaseRule::Always(phase)) => Some(PhaseFields::Always(phase.clone())),
            Some(PhaseRule::ByValue(value, rules)) => {
                let bind = |rule: &PhaseName| {
                    let value = rule.value.as_ref().unwrap_or(value);
                    Ok((integer(&mut plan, value)?, rule.clone()))
                };
                let rules: Result<_, String> = rules.iter().map(bind).collect();
                Some(PhaseFields::ByValue(rules?))
            }
            Some(PhaseRule::Told { name, number }) => Some(PhaseFields::Told {
                name: single(&mut plan, name)?,
                number: integer(&mut plan, number)?,
            }),
            None => None,
        };
        let forget = match &rule.forget {
            Some(address) => Some(integer(&mut plan, address)?),
            None => None,
        };
        let (fetches, slots) = plan.fetches()?;
        Ok((
            Self {
                slots,
                operator,
                objects,
                phase,
                lasts: rule.lasts,
                ends: rule.ends,
                forget,
                allocates: rule.allocates.clone(),
                mark: None,
            },
            fetches,
        ))
    }

    /// Whether it names operators or objects, beside a phase.
    pub(super) fn is_named(&self) -> bool {
        self.operator.is_some() || !self.objects.is_empty()
    }

    /// Appends the bytes of an event that its meaning depends on.
    pub(super) fn essence(&self, present: u64, values: &[u8], essence: &mut Vec<u8>) {
        essence.extend_from_slice(&present.to_le_bytes());
        for slot in &self.slots {
            essence.extend_from_slice(values.get(slot.start..slot.end).unwrap_or_default());
        }
    }

    /// What of an event the operator, the classes and the sizes of the objects depend on: not where they lie.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut kinds: BTreeMap<(usize, usize), KeyKind> = BTreeMap::new();
        let mut add = |reading: &Reading, kind: Option<KeyKind>| {
            let slot = &self.slots[reading.wanted];
            let kind = kind.unwrap_or(match reading.decode {
                Decode::Text => KeyKind::Text,
                Decode::Integers { .. } => KeyKind::Bytes,
            });
            let known = kinds.entry((slot.start, slot.end)).or_insert(kind);
            *known = kind.max(*known);
        };
        if let Some(operator) = &self.operator {
            if let KindField::Read(field, details) = &operator.kind {
                add(&field.reading, None);
                if let Some(class) = &field.class {
                    add(&class.table, None);
                }
                details.values().for_each(|detail| add(&detail.reading, None));
            }
            let element_type = operator.element_type.as_ref().map(|field| &field.reading);
            let fields = [&operator.name, &operator.shape, &operator.layer].map(Option::as_ref);
            let fields = fields.into_iter().chain([element_type]).flatten();
            fields
                .chain(&operator.sources)
                .for_each(|reading| add(reading, None));
        }
        for object in &self.objects {
            match object {
                ObjectFields::Described(fields) => {
                    for tensor in &fields.alternatives {
                        add(&tensor.address, Some(KeyKind::Presence));
                        for reading in [&tensor.name, &tensor.extents, &tensor.strides] {
                            add(reading, None);
                        }
                    }
                }
                ObjectFields::Told(fields) => {
                    add(&fields.class, None);
                    add(&fields.bytes, None);
                }
            }
        }
        // A mark has one slot and no reading.
        if self.mark.is_some() {
            let marks = self
                .slots
                .iter()
                .map(|slot| ((slot.start, slot.end), KeyKind::Text));
            kinds.extend(marks);
        }
        kinds
            .into_iter()
            .map(|((start, end), kind)| Key {
                start: start as u16,
                bytes: (end - start) as u16,
                kind,
            })
            .collect()
    }

    /// The phase that the call opens.
    pub(super) fn phase(&self, present: u64, values: &[u8]) -> Option<Opened> {
        let event = self.event(present, values);
        match self.phase.as_ref()? {
            PhaseFields::Always(phase) => Some(Opened::by(phase)),
            PhaseFields::ByValue(rules) => {
                let fits = |(reading, rule): &&(Reading, PhaseName)| {
                    event.integer(reading).is_some_and(|value| {
                        rule.min.is_none_or(|min| value >= min) && rule.max.is_none_or(|max| value <= max)
                    })
                };
                rules.iter().find(fits).map(|(_, rule)| Opened::by(rule))
            }
            PhaseFields::Told { name, number } => Some(Opened {
                name: event.text(name)?,
                number: u32::try_from(event.integer(number)?).map_or(Number::None, Number::Told),
            }),
        }
    }

    /// Class and name of what an operator allocates.
    pub(super) fn allocates(&self, operator: &Operator) -> Option<(Class, String)> {
        let rule = self.allocates.as_ref()?;
        Some((rule.class, rule.name.replace('*', &operator.name)))
    }

    /// Where an object begins that is one no more.
    pub(super) fn forgets(&self, present: u64, values: &[u8]) -> Option<u64> {
        let address = self.event(present, values).integer(self.forget.as_ref()?)?;
        Some(address as u64)
    }

    /// The operator that the call is part of.
    pub(super) fn operator(&self, present: u64, values: &[u8]) -> Option<Operator> {
        let event = self.event(present, values);
        let fields = self.operator.as_ref()?;
        let kind = match &fields.kind {
            KindField::Literal(kind) => kind.clone(),
            KindField::Read(field, details) => {
                let kind = event.named(field)?;
                match details.get(&kind).and_then(|detail| event.named(detail)) {
                    Some(detail) => format!("{kind}.{detail}"),
                    None => kind,
                }
            }
        };
        let name = fields
            .name
            .as_ref()
            .and_then(|name| event.text(name))
            .unwrap_or_default();
        let sources: Vec<_> = fields
            .sources
            .iter()
            .filter_map(|source| event.text(source))
            .collect();
        let by_name = |rule: &LayerRule| {
            let mut names = std::iter::once(&name).chain(&sources);
            names
                .find_map(|name| rule.names.iter().find_map(|pattern| pattern.number(name)))
                .map(|number| rule.label.replace("{n}", number))
        };
        let told = fields.layer.as_ref().and_then(|layer| event.text(layer));
        let layer = told
            .filter(|layer| !layer.is_empty())
            .or_else(|| fields.layer_rule.as_ref().and_then(by_name));
        let shape = match &fields.shape {
            Some(shape) if shape.decode == Decode::Text => event.text(shape).unwrap_or_default(),
            Some(shape) => extents(&event.integers(shape).unwrap_or_default()),
            None => String::new(),
        };
        Some(Operator {
            kind,
            name,
            layer,
            shape,
            element_type: fields
                .element_type
                .as_ref()
                .and_then(|field| event.named(field))
                .unwrap_or_default(),
            sources: sources
                .into_iter()
                .filter(|source| !source.is_empty())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// The data objects that the call shows.
    pub(super) fn objects(&self, present: u64, values: &[u8]) -> Vec<SeenObject> {
        let event = self.event(present, values);
        let mut objects = Vec::new();
        for object in self.objects.iter().filter_map(|object| object.see(&event)) {
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
        objects
    }

    /// The memory that the arguments describe.
    pub(super) fn arguments(&self, present: u64, values: &[u8]) -> Vec<Argument> {
        let event = self.event(present, values);
        let extent = |object: &ObjectFields| object.extent(&event).unwrap_or_default();
        self.objects.iter().map(extent).collect()
    }

    fn event<'e>(&'e self, present: u64, values: &'e [u8]) -> Event<'e> {
        Event {
            slots: &self.slots,
            present,
            values,
        }
    }
}

impl OperatorFields {
    fn bind<'d>(
        rule: &OperatorRule,
        star: &str,
        layer: Option<&LayerRule>,
        classes: &Classes,
        debug: &Debug<'d>,
        plan: &mut Plan<'_, 'd>,
    ) -> Result<Self, String> {
        let kind = match &rule.kind {
            Kind::Literal(kind) => KindField::Literal(kind.replace('*', star)),
            Kind::Read(kind, details) => {
                let field = NamedField::bind(kind, classes, debug, plan)?;
                let mut fields = HashMap::new();
                for (kind, detail) in details {
                    fields.insert(kind.clone(), NamedField::bind(detail, classes, debug, plan)?);
                }
                KindField::Read(field, fields)
            }
        };
        let mut optional = |expression: &Option<Expression>| match expression {
            Some(expression) => text_or_number(plan, expression).map(Some),
            None => Ok(None),
        };
        let name = optional(&rule.name)?;
        let told_layer = optional(&rule.layer)?;
        let shape = optional(&rule.shape)?;
        let element_type = match &rule.element_type {
            Some(field) => Some(NamedField::bind(field, classes, debug, plan)?),
            None => None,
        };
        let mut sources = Vec::new();
        for source in &rule.sources {
            for value in plan.values(source)? {
                sources.push(
                    plan.read(&value)
                        .map_err(|what| format!("`{}`: {what}", source.text))?,
                );
            }
        }
        Ok(Self {
            kind,
            name,
            shape,
            element_type,
            sources,
            layer: told_layer,
            layer_rule: layer.cloned(),
        })
    }
}

impl NamedField {
    fn bind<'d>(
        named: &Named,
        classes: &Classes,
        debug: &Debug<'d>,
        plan: &mut Plan<'_, 'd>,
    ) -> Result<Self, String> {
        let reading = text_or_number(plan, &named.value)?;
        let class = match &named.class_of {
            Some(object) => Some(ClassField {
                table: first_word(plan, object)?,
                names: classes.names(&named.strip),
            }),
            None => None,
        };
        if reading.decode == Decode::Text {
            return Ok(Self {
                reading,
                names: HashMap::new(),
                class,
            });
        }
        let mistake = |what: String| format!("`{}`: {what}", named.value.text);
        let enumerators = match &named.enumeration {
            Some(name) => debug.enumerators(&plan.enumeration(name).map_err(mistake)?)?,
            None => {
                let value = plan.values(&named.value)?.remove(0);
                if !matches!(debug.peel(&value.ty)?, Type::Enum { .. }) {
                    return Err(mistake(
                        "not an enum; say which one its values are of: enumeration = \"…\"".to_owned(),
                    ));
                }
                debug.enumerators(&value.ty)?
            }
        };
        let names = enumerators.into_iter().map(|(value, name)| {
            let short = name.strip_prefix(&named.strip).unwrap_or(&name).to_owned();
            (value, short)
        });
        // Of two enumerators with one value, the first counts.
        let mut first = HashMap::new();
        names.for_each(|(value, name)| {
            first.entry(value).or_insert(name);
        });
        Ok(Self {
            reading,
            names: first,
            class,
        })
    }
}

impl ObjectFields {
    /// Adds the rule's objects.
    fn bind(rule: &ObjectRule, plan: &mut Plan<'_, '_>, objects: &mut Vec<Self>) -> Result<(), String> {
        match rule {
            ObjectRule::Described(rule) => {
                objects.extend(
                    DescribedFields::bind(rule, plan)?
                        .into_iter()
                        .map(Self::Described),
                );
            }
            ObjectRule::Told(rule) => objects.push(Self::Told(ToldFields::bind(rule, plan)?)),
        }
        Ok(())
    }

    fn see(&self, event: &Event<'_>) -> Option<SeenObject> {
        match self {
            Self::Described(fields) => fields.see(event),
            Self::Told(fields) => fields.see(event),
        }
    }

    fn extent(&self, event: &Event<'_>) -> Option<Argument> {
        match self {
            Self::Described(fields) => fields.extent(event, fields.present(event)?),
            Self::Told(fields) => Some(Argument {
                address: event.integer(&fields.address)? as u64,
                bytes: event.integer(&fields.bytes)? as u64,
            }),
        }
    }
}

impl ToldFields {
    fn bind(rule: &ToldObject, plan: &mut Plan<'_, '_>) -> Result<Self, String> {
        Ok(Self {
            class: text_or_number(plan, &rule.class_of)?,
            name: text_or_number(plan, &rule.name)?,
            address: integer(plan, &rule.address)?,
            bytes: integer(plan, &rule.bytes)?,
        })
    }

    fn see(&self, event: &Event<'_>) -> Option<SeenObject> {
        let class = event.text(&self.class)?;
        Some(SeenObject {
            name: event.text(&self.name)?,
            class: Class::by_name(&class).unwrap_or(Class::Heap),
            address: event.integer(&self.address)? as u64,
            bytes: event.integer(&self.bytes)? as u64,
        })
    }
}

impl DescribedFields {
    /// The rule's objects, one for each value of its bases.
    fn bind(rule: &DescribedObject, plan: &mut Plan<'_, '_>) -> Result<Vec<Self>, String> {
        let mut objects: Vec<Self> = Vec::new();
        let mut mistake = None;
        for base in &rule.base {
            let bases = match plan.values(base) {
                Ok(bases) => bases,
                Err(what) => {
                    mistake = Some(what);
                    continue;
                }
            };
            for (index, base) in bases.into_iter().enumerate() {
                let mut field = |path: &super::expression::Path| {
                    let value = plan.follow(base.clone(), &path.steps)?.remove(0);
                    plan.read(&value)
                        .map_err(|what| format!("`{}`: {what}", path.text))
                };
                let tensor = Tensor {
                    name: field(&rule.name)?,
                    address: field(&rule.address)?,
                    extents: field(&rule.extents)?,
                    strides: field(&rule.strides)?,
                };
                if objects.len() <= index {
                    let class = rule
                        .class
                        .iter()
                        .map(|(class, names)| (*class, names.clone()))
                        .collect();
                    objects.push(Self {
                        alternatives: Vec::new(),
                        class,
                    });
                }
                objects[index].alternatives.push(tensor);
            }
        }
        match mistake {
            Some(what) if objects.is_empty() => Err(what),
            _ => Ok(objects),
        }
    }

    /// The alternative that counts.
    fn present(&self, event: &Event<'_>) -> Option<&Tensor> {
        let is_there = |tensor: &&Tensor| event.integer(&tensor.address).is_some_and(|address| address != 0);
        self.alternatives.iter().find(is_there)
    }

    fn extent(&self, event: &Event<'_>, tensor: &Tensor) -> Option<Argument> {
        Some(Argument {
            address: event.integer(&tensor.address)? as u64,
            bytes: span_bytes(
                &event.integers(&tensor.extents)?,
                &event.integers(&tensor.strides)?,
            )?,
        })
    }

    fn see(&self, event: &Event<'_>) -> Option<SeenObject> {
        let tensor = self.present(event)?;
        let name = event.text(&tensor.name)?;
        let (class, _) = self
            .class
            .iter()
            .find(|(_, names)| names.iter().any(|pattern| pattern.matches(&name)))?;
        let Argument { address, bytes } = self.extent(event, tensor)?;
        (bytes > 0).then_some(SeenObject {
            name,
            class: *class,
            address,
            bytes,
        })
    }
}

/// Bytes from a tensor's first to behind its last: one row, and all strides to the last one. A row is the distance
/// to the next one, which holds for blocked (quantised) element types too, whose elements have no byte stride.
/// `None` if the numbers are no tensor's.
fn span_bytes(extents: &[i64], strides: &[i64]) -> Option<u64> {
    if extents.is_empty() || extents.iter().any(|extent| *extent <= 0) {
        return Some(0);
    }
    let row = match strides.get(1) {
        Some(row) => *row,
        None => extents[0].checked_mul(*strides.first()?)?,
    };
    let bytes = extents
        .iter()
        .zip(strides)
        .skip(1)
        .try_fold(row, |bytes, (extent, stride)| {
            bytes.checked_add((extent - 1).checked_mul(*stride)?)
        })?;
    u64::try_from(bytes).ok()
}

/// Extents as text, without the ones at the end.
fn extents(extents: &[i64]) -> String {
    let ranks = extents
        .iter()
        .rposition(|extent| *extent != 1)
        .map_or(1, |last| last + 1);
    let texts: Vec<_> = extents.iter().take(ranks).map(i64::to_string).collect();
    texts.join("x")
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn integer(plan: &mut Plan<'_, '_>, expression: &Expression) -> Result<Reading, String> {
    let reading = single(plan, expression)?;
    if reading.decode == Decode::Text {
        return Err(format!("`{}`: not an integer", expression.text));
    }
    Ok(reading)
}

fn single(plan: &mut Plan<'_, '_>, expression: &Expression) -> Result<Reading, String> {
    let value = one(plan, expression)?;
    plan.read(&value)
        .map_err(|what| format!("`{}`: {what}", expression.text))
}

/// What a stated pointer points to is a text here.
fn text_or_number(plan: &mut Plan<'_, '_>, expression: &Expression) -> Result<Reading, String> {
    let mut value = one(plan, expression)?;
    if matches!(value.ty, TypeRef::Stated(Stated::Pointer)) {
        value.ty = TypeRef::Stated(Stated::Text);
    }
    plan.read(&value)
        .map_err(|what| format!("`{}`: {what}", expression.text))
}

/// The word that an object begins with.
fn first_word(plan: &mut Plan<'_, '_>, object: &Expression) -> Result<Reading, String> {
    let object_at = one(plan, object)?;
    let mistake = |what: String| format!("`{}`: {what}", object.text);
    let words = plan.follow(object_at, &[Step::Element(0)]).map_err(mistake)?;
    plan.read(&words[0]).map_err(mistake)
}

fn one<'d>(plan: &Plan<'_, 'd>, expression: &Expression) -> Result<Value<'d>, String> {
    let mut values = plan.values(expression)?;
    if values.len() != 1 {
        return Err(format!(
            "`{}`: one value is needed, not {}",
            expression.text,
            values.len()
        ));
    }
    Ok(values.remove(0))
}

/// The values of one event.
struct Event<'e> {
    slots: &'e [Slot],
    present: u64,
    values: &'e [u8],
}

impl Event<'_> {
    fn bytes(&self, reading: &Reading) -> Option<&[u8]> {
        let slot = self.slots.get(reading.wanted)?;
        (self.present >> slot.fetch & 1 == 1)
            .then(|| self.values.get(slot.start..slot.end))
            .flatten()
    }

    fn text(&self, reading: &Reading) -> Option<String> {
        if reading.decode != Decode::Text {
            return self.integer(reading).map(|value| value.to_string());
        }
        let bytes = self.bytes(reading)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn integers(&self, reading: &Reading) -> Option<Vec<i64>> {
        let Decode::Integers { bytes, signed } = reading.decode else {
            return None;
        };
        let integer = |value: &[u8]| {
            let negative = signed && value.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut word = [if negative { 0xff } else { 0 }; 8];
            word[..bytes].copy_from_slice(value);
            i64::from_le_bytes(word)
        };
        Some(self.bytes(reading)?.chunks_exact(bytes).map(integer).collect())
    }

    fn integer(&self, reading: &Reading) -> Option<i64> {
        self.integers(reading)?.first().copied()
    }

    fn named(&self, field: &NamedField) -> Option<String> {
        if field.reading.decode == Decode::Text {
            let text = self.text(&field.reading);
            let Some(class) = &field.class else { return text };
            // Where the text should be there may be anything, if the program's structs are not those of the preset.
            return text.filter(|text| is_word(text)).or_else(|| {
                let table = self.integer(&class.table)?;
                class.names.get(&table).cloned()
            });
        }
        let value = self.integer(&field.reading)?;
        Some(
            field
                .names
                .get(&value)
                .cloned()
                .unwrap_or_else(|| value.to_string()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::span_bytes;

    #[test]
    fn spans() {
        // 576 x 16 x 1 x 1 of 4 bytes.
        assert_eq!(
            span_bytes(&[576, 16, 1, 1], &[4, 2304, 36864, 36864]),
            Some(36864)
        );
        // The same of blocks: 18 bytes for 32 elements.
        assert_eq!(span_bytes(&[576, 16, 1, 1], &[18, 324, 5184, 5184]), Some(5184));
        assert_eq!(span_bytes(&[10], &[4]), Some(40));
        assert_eq!(span_bytes(&[10, 0, 1, 1], &[4, 40, 40, 40]), Some(0));
        assert_eq!(span_bytes(&[i64::MAX, i64::MAX], &[8, i64::MAX]), None);
        assert_eq!(span_bytes(&[], &[]), Some(0));
    }
}
