//! Functions as DWARF describes them. Only the units that hold probed functions are read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gimli::constants as c;
use gimli::{AttributeValue, DwAt, LittleEndian, Operation, UnitOffset, UnitSectionOffset};

use super::nearest::nearest;
use super::preset::StatedParameter;
use super::types::TypeRef;
use crate::module::Bytes;

pub(super) type Reader<'d> = gimli::EndianSlice<'d, LittleEndian>;
pub(super) type Unit<'d> = gimli::Unit<Reader<'d>>;
pub(super) type Die<'d> = gimli::DebuggingInformationEntry<Reader<'d>>;

/// An attribute's value and the unit in which it stands.
type Inherited<'d> = (AttributeValue<Reader<'d>>, Rc<Unit<'d>>);

/// Type chains longer than this are taken for damage.
pub(super) const CHAIN_MAX: usize = 64;

/// Debug information, read as it is needed.
pub(super) struct Debug<'d> {
    dwarf: gimli::Dwarf<Reader<'d>>,
    /// Where units start in .debug_info.
    starts: Vec<usize>,
    units: RefCell<HashMap<usize, Rc<Unit<'d>>>>,
    indexes: RefCell<HashMap<usize, Rc<UnitIndex<'d>>>>,
}

/// One unit and the entries of its functions.
struct UnitIndex<'d> {
    unit: Rc<Unit<'d>>,
    functions: HashMap<u64, UnitOffset>,
    enums: HashMap<String, UnitOffset>,
}

/// Where DWARF says a parameter is when the function is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryLocation {
    /// DWARF number of the register.
    Register(u16),
    /// Bytes from the stack pointer at entry.
    Stack(i64),
    /// In memory, its address in the register of this DWARF number.
    Pointed(u16),
    /// Nothing that holds at the first instruction.
    Unknown,
}

pub(super) struct Parameter<'d> {
    pub(super) name: String,
    pub(super) ty: TypeRef<'d>,
    pub(super) location: EntryLocation,
    pub(super) artificial: bool,
}

pub(super) struct Function<'d> {
    /// None if a preset states the parameters.
    unit: Option<Rc<UnitIndex<'d>>>,
    pub(super) parameters: Vec<Parameter<'d>>,
    pub(super) result: TypeRef<'d>,
    /// Whether arguments are where the System V ABI puts them; else only where DWARF says so.
    pub(super) follows_abi: bool,
}

pub(super) fn broken(error: gimli::Error) -> String {
    format!("debug information is damaged: {error}")
}

impl<'d> Function<'d> {
    /// A C function whose parameters a preset states.
    pub(super) fn stated(parameters: &[StatedParameter]) -> Self {
        Self {
            unit: None,
            parameters: parameters
                .iter()
                .map(|parameter| Parameter {
                    name: parameter.name.clone(),
                    ty: TypeRef::Stated(parameter.ty),
                    location: EntryLocation::Unknown,
                    artificial: false,
                })
                .collect(),
            result: TypeRef::Void,
            follows_abi: true,
        }
    }
}

impl<'d> Debug<'d> {
    /// Of a file that has none.
    pub(super) fn none() -> Self {
        Self {
            dwarf: gimli::Dwarf::default(),
            starts: Vec::new(),
            units: RefCell::default(),
            indexes: RefCell::default(),
        }
    }

    pub(super) fn new(sections: &'d gimli::DwarfSections<Bytes>) -> Result<Self, String> {
        let dwarf = sections.borrow(|section| Reader::new(section, LittleEndian));
        let mut starts = Vec::new();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next().map_err(broken)? {
            starts.extend(header.debug_info_offset().map(|offset| offset.0));
        }
        Ok(Self {
            dwarf,
            starts,
            units: RefCell::default(),
            indexes: RefCell::default(),
        })
    }

    /// The function whose code starts at an address.
    pub(super) fn function(&self, address: u64) -> Result<Function<'d>, String> {
        let start = self
            .unit_of(address)?
            .ok_or("no debug information covers it; compile its file with -g")?;
        let index = self.index(start)?;
        let offset = *index
            .functions
            .get(&address)
            .ok_or("its unit's debug information does not describe it")?;
        let unit = &index.unit;
        let die = unit.entry(offset).map_err(broken)?;
        let language = match unit
            .entry(unit.header.root_offset())
            .map_err(broken)?
            .attr_value(c::DW_AT_language)
        {
            Some(AttributeValue::Language(language)) => Some(language),
            _ => None,
        };
        let follows_abi = language.is_some_and(is_c_family)
            && !matches!(
                self.inherited(unit, &die, c::DW_AT_calling_convention)?,
                Some((AttributeValue::CallingConvention(c::DW_CC_nocall), _))
            );
        let frame_is_cfa = die
            .attr_value(c::DW_AT_frame_base)
            .and_then(|base| base.exprloc_value())
            .is_some_and(|base| {
                matches!(
                    base.operations(unit.encoding()).next(),
                    Ok(Some(Operation::CallFrameCFA))
                )
            });
        let mut parameters = Vec::new();
        let mut tree = unit.entries_tree(Some(offset)).map_err(broken)?;
        let mut children = tree.root().map_err(broken)?.children();
        while let Some(child) = children.next().map_err(broken)? {
            let child = child.entry();
            if child.tag() == c::DW_TAG_formal_parameter {
                parameters.push(Parameter {
                    name: self.name(unit, child)?.unwrap_or_default(),
                    ty: self.type_of(unit, child)?,
                    location: self.entry_location(unit, child, address, frame_is_cfa)?,
                    artificial: self.inherited(unit, child, c::DW_AT_artificial)?.is_some(),
                });
            }
        }
        let result = self.type_of(unit, &die)?;
        Ok(Function {
            unit: Some(index),
            parameters,
            result,
            follows_abi,
        })
    }

    /// The enum of this name: of the function's unit, or else of the first unit that has it (compilers leave out what a
    /// unit does not use).
    pub(super) fn enumeration(&self, function: &Function<'d>, name: &str) -> Result<TypeRef<'d>, String> {
        let find = |index: &UnitIndex<'d>| {
            index
                .enums
                .get(name)
                .map(|offset| TypeRef::Entry(index.unit.clone(), *offset))
        };
        let own = function.unit.as_deref();
        if let Some(found) = own.and_then(find) {
            return Ok(found);
        }
        for start in &self.starts {
            if let Some(found) = find(&*self.index(*start)?) {
                return Ok(found);
            }
        }
        let names = own.into_iter().flat_map(|unit| unit.enums.keys());
        let nearest = nearest(name, names.map(String::as_str));
        Err(format!("no enum `{name}` in the debug information{nearest}"))
    }

    /// The type of what an entry describes.
    pub(super) fn type_of(&self, unit: &Rc<Unit<'d>>, die: &Die<'d>) -> Result<TypeRef<'d>, String> {
        match self.inherited(unit, die, c::DW_AT_type)? {
            None => Ok(TypeRef::Void),
            Some((value, unit)) => self
                .target(&unit, value)
                .map(|(unit, offset)| TypeRef::Entry(unit, offset)),
        }
    }

    /// An entry's name.
    pub(super) fn name(&self, unit: &Rc<Unit<'d>>, die: &Die<'d>) -> Result<Option<String>, String> {
        let Some((value, unit)) = self.inherited(unit, die, c::DW_AT_name)? else {
            return Ok(None);
        };
        let name = self.dwarf.attr_string(&unit, value).map_err(broken)?;
        Ok(Some(name.to_string_lossy().into_owned()))
    }

    /// An attribute of an entry or of the one that it completes, and the unit it stands in.
    fn inherited(
        &self,
        unit: &Rc<Unit<'d>>,
        die: &Die<'d>,
        attribute: DwAt,
    ) -> Result<Option<Inherited<'d>>, String> {
        if let Some(value) = die.attr_value(attribute) {
            return Ok(Some((value, unit.clone())));
        }
        let origin = |die: &Die<'d>| {
            die.attr_value(c::DW_AT_abstract_origin)
                .or_else(|| die.attr_value(c::DW_AT_specification))
        };
        let mut unit = unit.clone();
        let mut next = origin(die);
        for _ in 0..CHAIN_MAX {
            let Some(value) = next else { return Ok(None) };
            let (there, offset) = self.target(&unit, value)?;
            let die = there.entry(offset).map_err(broken)?;
            if let Some(value) = die.attr_value(attribute) {
                return Ok(Some((value, there.clone())));
            }
            next = origin(&die);
            drop(die);
            unit = there;
        }
        Ok(None)
    }

    /// The entry that a reference names.
    fn target(
        &self,
        unit: &Rc<Unit<'d>>,
        value: AttributeValue<Reader<'d>>,
    ) -> Result<(Rc<Unit<'d>>, UnitOffset), String> {
        match value {
            AttributeValue::UnitRef(offset) => Ok((unit.clone(), offset)),
            AttributeValue::DebugInfoRef(offset) => {
                let at = self.starts.partition_point(|start| *start <= offset.0);
                let start = self.starts[..at]
                    .last()
                    .ok_or("debug information is damaged: a reference to nowhere")?;
                let unit = self.unit(*start)?;
                let offset = UnitSectionOffset(offset.0)
                    .to_unit_offset(&unit.header)
                    .ok_or("debug information is damaged: a reference to nowhere")?;
                Ok((unit, offset))
            }
            AttributeValue::DebugTypesRef(_) => {
                Err("its types are in type units; compile without -fdebug-types-section".to_owned())
            }
            AttributeValue::DebugInfoRefSup(_) => {
                Err("its types are in a supplementary debug file (dwz), which is not read".to_owned())
            }
            _ => Err("debug information is damaged: a reference of unknown form".to_owned()),
        }
    }

    /// Start of the unit whose code holds an address.
    fn unit_of(&self, address: u64) -> Result<Option<usize>, String> {
        let mut tables = self.dwarf.debug_aranges.headers();
        while let Some(table) = tables.next().map_err(broken)? {
            let mut entries = table.entries();
            while let Some(entry) = entries.next().map_err(broken)? {
                if entry.range().begin <= address && address < entry.range().end {
                    return Ok(Some(table.debug_info_offset().0));
                }
            }
        }
        // Not every compiler writes .debug_aranges (clang does not).
        for start in &self.starts {
            let unit = self.unit(*start)?;
            let mut ranges = self.dwarf.unit_ranges(&unit).map_err(broken)?;
            while let Some(range) = ranges.next().map_err(broken)? {
                if range.begin <= address && address < range.end {
                    return Ok(Some(*start));
                }
            }
        }
        Ok(None)
    }

    fn unit(&self, start: usize) -> Result<Rc<Unit<'d>>, String> {
        if let Some(unit) = self.units.borrow().get(&start) {
            return Ok(unit.clone());
        }
        let header = self
            .dwarf
            .unit_header(gimli::DebugInfoOffset(start))
            .map_err(broken)?;
        let unit = Rc::new(self.dwarf.unit(header).map_err(broken)?);
        self.units.borrow_mut().insert(start, unit.clone());
        Ok(unit)
    }

    /// A unit with its functions and enums.
    fn index(&self, start: usize) -> Result<Rc<UnitIndex<'d>>, String> {
        if let Some(index) = self.indexes.borrow().get(&start) {
            return Ok(index.clone());
        }
        let unit = self.unit(start)?;
        if let Some(name) = unit.dwo_name().map_err(broken)? {
            let name = self.dwarf.attr_string(&unit, name).map_err(broken)?;
            return Err(format!(
                "its debug information is split off into {}; compile without -gsplit-dwarf",
                name.to_string_lossy()
            ));
        }
        let mut functions = HashMap::new();
        let mut enums = HashMap::new();
        let mut entries = unit.entries();
        while let Some(die) = entries.next_dfs().map_err(broken)? {
            match die.tag() {
                c::DW_TAG_subprogram => {
                    // A function split into hot and cold parts has ranges; the symbol's address starts one of them.
                    let mut ranges = self.dwarf.die_ranges(&unit, die).map_err(broken)?;
                    while let Some(range) = ranges.next().map_err(broken)? {
                        functions.entry(range.begin).or_insert(die.offset());
                    }
                }
                c::DW_TAG_enumeration_type if die.attr(c::DW_AT_declaration).is_none() => {
                    if let Some(name) = self.name(&unit, die)? {
                        enums.entry(name).or_insert(die.offset());
                    }
                }
                _ => {}
            }
        }
        let index = Rc::new(UnitIndex {
            unit,
            functions,
            enums,
        });
        self.indexes.borrow_mut().insert(start, index.clone());
        Ok(index)
    }

    fn entry_location(
        &self,
        unit: &Unit<'d>,
        die: &Die<'d>,
        entry: u64,
        frame_is_cfa: bool,
    ) -> Result<EntryLocation, String> {
        let expression = match die.attr_value(c::DW_AT_location) {
            None => None,
            Some(AttributeValue::Exprloc(expression)) => Some(expression),
            Some(list) => {
                let mut found = None;
                if let Some(mut locations) = self.dwarf.attr_locations(unit, list).map_err(broken)? {
                    while let Some(location) = locations.next().map_err(broken)? {
                        if location.range.begin <= entry && entry < location.range.end {
                            found = Some(location.data);
                            break;
                        }
                    }
                }
                found
            }
        };
        let Some(expression) = expression else {
            return Ok(EntryLocation::Unknown);
        };
        let mut operations = expression.operations(unit.encoding());
        let first = operations.next().map_err(broken)?;
        let only = operations.next().map_err(broken)?.is_none();
        Ok(match first {
            Some(Operation::Register { register }) if only => EntryLocation::Register(register.0),
            Some(Operation::RegisterOffset {
                register, offset: 0, ..
            }) if only => EntryLocation::Pointed(register.0),
            // The canonical frame address is where the caller's stack pointer was: 8 above it lies the return address.
            // Below it are the function's own slots, not filled yet.
            Some(Operation::FrameOffset { offset }) if only && frame_is_cfa && offset >= 0 => {
                EntryLocation::Stack(offset + 8)
            }
            _ => EntryLocation::Unknown,
        })
    }
}

/// Languages whose functions take arguments as the System V ABI says.
fn is_c_family(language: gimli::DwLang) -> bool {
    matches!(
        language,
        c::DW_LANG_C89
            | c::DW_LANG_C
            | c::DW_LANG_C99
            | c::DW_LANG_C11
            | c::DW_LANG_C17
            | c::DW_LANG_C_plus_plus
            | c::DW_LANG_C_plus_plus_03
            | c::DW_LANG_C_plus_plus_11
            | c::DW_LANG_C_plus_plus_14
            | c::DW_LANG_C_plus_plus_17
            | c::DW_LANG_C_plus_plus_20
    )
}
