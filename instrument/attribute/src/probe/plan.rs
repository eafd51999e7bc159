//! From expressions to reads: which bytes an engine must fetch at a function's entry, and where each value then lies in
//! what it sends.

use std::collections::BTreeMap;

use memloupe_stream::{Fetch, Source};

use super::abi::Place;
use super::dwarf::{Debug, Function};
use super::expression::{Expression, Root, Step};
use super::nearest::nearest;
use super::types::{Stated, Type, TypeRef};

/// Most offsets that a fetch can follow.
const OFFSETS_MAX: usize = 5;
/// Most fetches of a probe.
const FETCHES_MAX: usize = 40;
/// Most bytes of one fetch.
const FETCH_BYTES_MAX: i64 = memloupe_stream::FETCH_BYTES_MAX as i64;
/// Most bytes of all fetches: an event must fit a record.
const VALUES_BYTES_MAX: usize = 16_000;
/// Bytes fetched of a text behind a pointer, whose length is not known.
const TEXT_BYTES: u64 = 128;
/// Two values with at most so many bytes between them are fetched together; the larger one if there are too many.
const GAPS_BYTES: [i64; 2] = [64, FETCH_BYTES_MAX];

/// A value at the function's entry.
#[derive(Clone)]
pub(super) struct Value<'d> {
    pub(super) place: Place,
    pub(super) ty: TypeRef<'d>,
}

/// How to read a value's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decode {
    /// Text up to the first zero byte.
    Text,
    /// Integers of so many bytes.
    Integers { bytes: usize, signed: bool },
}

/// A value to fetch, by its number in the plan.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) wanted: usize,
    pub(super) decode: Decode,
}

/// Where a wanted value is in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The fetch, as a bit of the event's mask.
    pub(super) fetch: u64,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A register and the offsets that are loaded through.
type Chain<'p> = (u8, &'p [i32]);
/// Where a value starts and ends behind a chain, and its number.
type Span = (i64, i64, usize);

/// The values of one probed function.
pub(super) struct Plan<'p, 'd> {
    debug: &'p Debug<'d>,
    function: &'p Function<'d>,
    places: Vec<Result<Place, String>>,
    wanted: Vec<(Place, u64)>,
}

impl<'p, 'd> Plan<'p, 'd> {
    pub(super) fn new(
        debug: &'p Debug<'d>,
        function: &'p Function<'d>,
        places: Vec<Result<Place, String>>,
    ) -> Self {
        Self {
            debug,
            function,
            places,
            wanted: Vec::new(),
        }
    }

    /// The values that an expression names: one, or several if it has a run of elements.
    pub(super) fn values(&self, expression: &Expression) -> Result<Vec<Value<'d>>, String> {
        let named = |what: String| format!("`{}`: {what}", expression.text);
        let parameters = &self.function.parameters;
        let index = match &expression.root {
            Root::Name(name) => parameters
                .iter()
                .position(|parameter| parameter.name == *name)
                .ok_or_else(|| {
                    let nearest = nearest(name, parameters.iter().map(|parameter| parameter.name.as_str()));
                    named(format!("no parameter `{name}`{nearest}"))
                })?,
            Root::Position(position) => {
                let mut declared = (0..parameters.len()).filter(|index| !parameters[*index].artificial);
                declared
                    .nth(position - 1)
                    .ok_or_else(|| named(format!("no parameter `${position}`")))?
            }
        };
        let place = self.places[index].clone().map_err(named)?;
        let value = Value {
            place,
            ty: parameters[index].ty.clone(),
        };
        self.follow(value, &expression.steps).map_err(named)
    }

    /// The enum of this name.
    pub(super) fn enumeration(&self, name: &str) -> Result<TypeRef<'d>, String> {
        self.debug.enumeration(self.function, name)
    }

    /// The values at the end of some steps.
    pub(super) fn follow(&self, value: Value<'d>, steps: &[Step]) -> Result<Vec<Value<'d>>, String> {
        let mut values = vec![value];
        for step in steps {
            let mut next = Vec::new();
            for value in values {
                self.step(value, step, &mut next)?;
            }
            values = next;
        }
        Ok(values)
    }

    fn step(&self, value: Value<'d>, step: &Step, next: &mut Vec<Value<'d>>) -> Result<(), String> {
        match step {
            Step::Member(name) => {
                let mut value = value;
                if matches!(value.ty, TypeRef::Stated(Stated::Pointer)) {
                    return Err(format!(
                        "`{name}` is taken of a pointer to addresses; write `[n]`"
                    ));
                }
                while let Type::Pointer(ty) = self.debug.peel(&value.ty)? {
                    value = Value {
                        place: dereference(value.place)?,
                        ty,
                    };
                }
                let Type::Struct {
                    what,
                    name: of,
                    complete,
                    ..
                } = self.debug.peel(&value.ty)?
                else {
                    return Err(format!("`{name}` is taken of something that is not a struct"));
                };
                if !complete {
                    return Err(format!(
                        "{what} {of} is only declared in this unit, not described"
                    ));
                }
                let members = self.debug.members(&value.ty)?;
                let member = members
                    .iter()
                    .find(|member| member.name == *name)
                    .ok_or_else(|| {
                        let nearest = nearest(name, members.iter().map(|member| member.name.as_str()));
                        format!("no field `{name}` in {what} {of}{nearest}")
                    })?;
                next.push(Value {
                    place: advance(value.place, member.offset)?,
                    ty: member.ty.clone(),
                });
            }
            Step::Element(index) => self.elements(value, *index, None, next)?,
            Step::Elements(from, to) => self.elements(value, *from, Some(*to), next)?,
        }
        Ok(())
    }

    fn elements(
        &self,
        value: Value<'d>,
        from: u64,
        to: Option<u64>,
        next: &mut Vec<Value<'d>>,
    ) -> Result<(), String> {
        let (place, ty, count) = match self.debug.peel(&value.ty)? {
            Type::Array { element, extents, .. } if extents.len() == 1 => (value.place, element, extents[0]),
            Type::Array { .. } => return Err("an array of several dimensions".to_owned()),
            Type::Pointer(element) => (dereference(value.place)?, element, 0),
            _ => return Err("an element of something that is neither array nor pointer".to_owned()),
        };
        if to.is_none() && count > 0 && from >= count {
            return Err(format!("element {from} of an array of {count}"));
        }
        let to = to.map_or(from + 1, |to| if count > 0 { to.min(count) } else { to });
        let bytes = self.debug.bytes(&ty)?;
        if bytes == 0 {
            return Err("an element of unknown size".to_owned());
        }
        for index in from..to {
            let offset = index.checked_mul(bytes).ok_or("an element too far away")?;
            next.push(Value {
                place: advance(place.clone(), offset)?,
                ty: ty.clone(),
            });
        }
        Ok(())
    }

    /// Puts a value on the list of what to fetch.
    pub(super) fn read(&mut self, value: &Value<'d>) -> Result<Reading, String> {
        let integers = |bytes: u64, signed: bool| Decode::Integers {
            bytes: bytes as usize,
            signed,
        };
        let (place, bytes, decode) = match self.debug.peel(&value.ty)? {
            Type::Integer { bytes, signed } | Type::Enum { bytes, signed } => {
                (value.place.clone(), bytes, integers(bytes, signed))
            }
            Type::Character => (value.place.clone(), 1, integers(1, false)),
            Type::Pointer(to) if matches!(self.debug.peel(&to)?, Type::Character) => {
                (dereference(value.place.clone())?, TEXT_BYTES, Decode::Text)
            }
            Type::Pointer(_) => (value.place.clone(), 8, integers(8, false)),
            Type::Array { element, extents, .. } if extents.len() == 1 => {
                match (self.debug.peel(&element)?, extents[0]) {
                    (Type::Character, count) => (
                        value.place.clone(),
                        count.min(FETCH_BYTES_MAX as u64),
                        Decode::Text,
                    ),
                    (Type::Integer { bytes, signed }, count) => (
                        value.place.clone(),
                        bytes.saturating_mul(count),
                        integers(bytes, signed),
                    ),
                    _ => return Err("an array of neither characters nor integers".to_owned()),
                }
            }
            Type::Struct { what, name, .. } => {
                return Err(format!("the whole of {what} {name}; name a field"));
            }
            Type::Float { .. } => return Err("a floating-point number".to_owned()),
            Type::Void | Type::Array { .. } => return Err("a value of no size".to_owned()),
            Type::Other(what) => return Err(format!("a value of a type that is not read ({what})")),
        };
        if bytes == 0
            || bytes > FETCH_BYTES_MAX as u64
            || !matches!(
                &decode,
                Decode::Text
                    | Decode::Integers {
                        bytes: 1 | 2 | 4 | 8,
                        ..
                    }
            )
        {
            return Err(format!("a value of {bytes} bytes"));
        }
        self.wanted.push((place, bytes));
        Ok(Reading {
            wanted: self.wanted.len() - 1,
            decode,
        })
    }

    /// The fetches, and where each wanted value lies in what they bring.
    pub(super) fn fetches(&self) -> Result<(Vec<Fetch>, Vec<Slot>), String> {
        let mut registers = BTreeMap::new();
        let mut chains: BTreeMap<Chain<'_>, Vec<Span>> = BTreeMap::new();
        for (wanted, (place, bytes)) in self.wanted.iter().enumerate() {
            match place {
                Place::Registers { words, offset } => {
                    let word = words.get((offset / 8) as usize).copied().flatten();
                    let register = word.ok_or("a value in a vector register")?;
                    if offset % 8 + bytes > 8 {
                        return Err("a value in more than one register".to_owned());
                    }
                    registers
                        .entry(register)
                        .or_insert_with(Vec::new)
                        .push((wanted, offset % 8, *bytes));
                }
                Place::Memory { register, offsets } => {
                    let (last, chain) = offsets.split_last().ok_or("a place without offset")?;
                    let start = i64::from(*last);
                    chains.entry((*register, chain)).or_default().push((
                        start,
                        start + *bytes as i64,
                        wanted,
                    ));
                }
            }
        }
        for gap in GAPS_BYTES {
            let mut fetches = Vec::new();
            let mut slots = vec![
                Slot {
                    fetch: 0,
                    start: 0,
                    end: 0
                };
                self.wanted.len()
            ];
            let mut at = 0;
            for (register, values) in &registers {
                for (wanted, offset, bytes) in values {
                    let start = at + *offset as usize;
                    slots[*wanted] = Slot {
                        fetch: fetches.len() as u64,
                        start,
                        end: start + *bytes as usize,
                    };
                }
                fetches.push(Fetch::Register(Source { register: *register }));
                at += 8;
            }
            for ((register, chain), values) in &chains {
                let mut values = values.clone();
                values.sort_unstable();
                let mut rest = &values[..];
                while let Some((&(start, first_end, _), _)) = rest.split_first() {
                    let mut end = first_end;
                    let mut count = 1;
                    for (from, to, _) in &rest[1..] {
                        if *from > end + gap || (*to).max(end) - start > FETCH_BYTES_MAX {
                            break;
                        }
                        end = end.max(*to);
                        count += 1;
                    }
                    for (from, to, wanted) in &rest[..count] {
                        let within = at + (*from - start) as usize;
                        let end = within + (*to - *from) as usize;
                        slots[*wanted] = Slot {
                            fetch: fetches.len() as u64,
                            start: within,
                            end,
                        };
                    }
                    let bytes = (end - start) as u16;
                    let offsets = chain.iter().copied().chain([start as i32]).collect();
                    let fetch = Fetch::Memory {
                        source: Source { register: *register },
                        offsets,
                        bytes,
                    };
                    at += fetch.padded_bytes();
                    fetches.push(fetch);
                    rest = &rest[count..];
                }
            }
            if fetches.len() <= FETCHES_MAX && at <= VALUES_BYTES_MAX {
                return Ok((fetches, slots));
            }
        }
        Err(format!(
            "its values take more than {FETCHES_MAX} reads or {VALUES_BYTES_MAX} bytes"
        ))
    }
}

/// What a pointer at a place points to.
fn dereference(place: Place) -> Result<Place, String> {
    match place {
        Place::Registers { words, offset } => {
            let word = words.get((offset / 8) as usize).copied().flatten();
            match word {
                Some(register) if offset % 8 == 0 => Ok(Place::Memory {
                    register,
                    offsets: vec![0],
                }),
                _ => Err("a pointer that is not in an integer register".to_owned()),
            }
        }
        Place::Memory {
            register,
            mut offsets,
        } => {
            if offsets.len() == OFFSETS_MAX {
                return Err(format!("more than {} pointers to follow", OFFSETS_MAX - 1));
            }
            offsets.push(0);
            Ok(Place::Memory { register, offsets })
        }
    }
}

/// The place some bytes further on.
fn advance(place: Place, bytes: u64) -> Result<Place, String> {
    match place {
        Place::Registers { words, offset } => Ok(Place::Registers {
            words,
            offset: offset.checked_add(bytes).ok_or("a field too far away")?,
        }),
        Place::Memory {
            register,
            mut offsets,
        } => {
            if let Some(last) = offsets.last_mut() {
                let bytes = i32::try_from(bytes).map_err(|_| "a field too far away")?;
                *last = last.checked_add(bytes).ok_or("a field too far away")?;
            }
            Ok(Place::Memory { register, offsets })
        }
    }
}
