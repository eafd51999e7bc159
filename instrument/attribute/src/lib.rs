//! Attribution: gives every access its names.
//!
//! ```text
//! runs, events ──► Attribution ──► runs whose operands carry a ledger row
//!                    │ Modules, Symbolizer   code: function, source line, inlined frames
//!                    │ Probes                operator, layer, phase
//!                    │ Objects               data object and its class
//!                    └ Ledger                one row for each (context, site, object) that occurs
//! ```

mod attribution;
mod batch;
mod block_rows;
mod burst;
mod calls;
mod class;
mod context;
mod demangle;
mod dependence;
mod ledger;
mod line_set;
pub mod model;
mod module;
mod object;
mod probe;
mod range_map;
mod recorded;
mod region;
mod sample;
mod symbol;
mod thread;
mod timetable;
mod warming;

pub use attribution::{Attribution, Parts};
pub use batch::AttributedBatch;
pub use burst::BurstRule;
pub use calls::{Call, CallPaths, DEPTH_LIMIT, PATH_LIMIT, PathId, ROOT, STACK_BYTES};
pub use class::Class;
pub use context::{Context, ContextId, Contexts, LOAD_PHASE, OTHER_PHASE, PhaseId, phase_span};
pub use dependence::chained_loads;
pub use ledger::{FOOTPRINT_LINE_BYTES, Ledger, Row, RowId, RowKey};
pub use line_set::{LineSet, LineUnion, PortableWriter};
pub use module::{CodeAddress, Module, ModuleId, Modules, Region};
pub use object::{Extent, Object, ObjectId, Objects};
pub use probe::{
    Argument, Ends, Entered, Lasts, Mark, Operator, OperatorId, Pattern, Phase, Preset, PresetError, Probes,
    SeenObject, StackRule,
};
pub use recorded::{About, Recorded, RecordedAccess, RecordedError};
pub use region::{Aspect, RegionName};
pub use sample::{FEWEST_OBSERVATIONS, Fate, Observation, Sample, SampleId, SampleRule, Series, Stratum};
pub use symbol::{Frame, Location, Symbolizer};
pub use timetable::Span;
pub use warming::Stretch;
