//! What `run` and `replay` put together from their options before anything starts: presets, machines, analyses, and the
//! part of the program's run that is observed.

use memloupe_attribute::{Attribution, Preset, SampleRule, Span};
use memloupe_cachesim::locality::{Analysis, Options};
use memloupe_hierarchy::{Machine, System};
use memloupe_stream::Gate;

use crate::analyses::{self, Analyses};
use crate::args::{Locality, Scope};
use crate::failure::{Failure, Kind};
use crate::machine;
use crate::pipeline::Pipeline;
use crate::profile::{Observed, machine_folder};
use crate::window::Window;

/// The value of `--machine` that simulates nothing.
pub const NO_MACHINE: &str = "none";

/// A pipeline that can be built.
pub struct Plan<'a> {
    presets: Vec<Preset>,
    systems: Vec<System>,
    analyses: Options,
    scope: &'a Scope,
    spans: Option<Vec<Span>>,
}

impl<'a> Plan<'a> {
    /// Reads presets and machines; `wanted` are `locality`'s analyses.
    ///
    /// # Errors
    /// [`Failure`] if a file can't be read or what it holds is wrong.
    pub fn new(
        ops: &str,
        machines: &[String],
        wanted: &[Analysis],
        locality: &Locality,
        scope: &'a Scope,
    ) -> Result<Self, Failure> {
        // Between instances that are not observed, lines are not followed.
        let wanted = if scope.sample.is_some() { &[] } else { wanted };
        let machines = load(machines, !wanted.is_empty())?;
        Ok(Self {
            presets: Preset::choose(ops).map_err(Failure::of(Kind::Preset))?,
            systems: machines.iter().map(machine::prepare).collect::<Result<_, _>>()?,
            analyses: analyses::options(
                wanted.to_vec(),
                locality.line_sample,
                locality.line_limit.map(|lines| lines as usize),
                &machines,
            ),
            scope,
            spans: None,
        })
    }

    /// Takes what a framework says was running when for operators.
    #[must_use]
    pub fn joined(self, spans: Vec<Span>) -> Self {
        Self {
            spans: Some(spans),
            ..self
        }
    }

    /// Lets the systems simulate access by access as well.
    ///
    /// # Errors
    /// [`Failure`] if a machine can't be built a second time.
    pub fn check_runs(&mut self) -> Result<(), Failure> {
        let mut systems = self.systems.iter_mut();
        systems.try_for_each(|system| system.check_runs().map_err(Failure::of(Kind::Machine)))
    }

    /// What an engine needs to be told to leave out what lies outside the scope.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate {
            region: self.scope.region.is_some(),
            sample: self.scope.sample.and_then(SampleRule::operators),
            window: self.window().instances(),
        }
    }

    fn window(&self) -> Window {
        Window::new(self.scope.after, self.scope.length)
    }

    /// The pipeline. `is_gated`: its stream comes from an engine that was told [`Plan::gate`].
    #[must_use]
    pub fn pipeline(self, is_gated: bool) -> Pipeline {
        let window = self.window();
        let mut attribution = Attribution::new(self.presets);
        if let Some(region) = &self.scope.region {
            attribution = attribution.within(region.clone());
        }
        if self.scope.call_paths {
            attribution = attribution.with_call_paths();
        }
        if let Some(rule) = self.scope.sample {
            attribution = attribution.sampled(rule);
        }
        if is_gated {
            attribution = attribution.gated();
        }
        if let Some(spans) = self.spans {
            attribution = attribution.timed(spans);
        }
        Pipeline::new(attribution, self.systems, Analyses::new(self.analyses)).within(window)
    }
}

impl Scope {
    /// The part of the run that is asked for; none if it is all of it.
    #[must_use]
    pub fn observed(&self) -> Option<Observed> {
        let observed = Observed {
            name: self.region.as_ref().map(ToString::to_string),
            after: self.after.as_ref().map(ToString::to_string),
            length: self.length.as_ref().map(ToString::to_string),
            ..Observed::default()
        };
        (observed != Observed::default()).then_some(observed)
    }
}

/// The machines to simulate, the first one's profile first; with `locality`, all of one line size.
fn load(names: &[String], locality: bool) -> Result<Vec<Machine>, Failure> {
    if let [name] = names
        && name == NO_MACHINE
    {
        return Ok(Vec::new());
    }
    let refused = |what: String| Err(Failure::new(Kind::Machine, what));
    let mut machines: Vec<Machine> = Vec::new();
    for name in names {
        if name == NO_MACHINE {
            return refused(format!(
                "--machine {NO_MACHINE} cannot be combined with another machine: leave it out"
            ));
        }
        let machine = Machine::load(name).map_err(Failure::of(Kind::Machine))?;
        if machines
            .iter()
            .any(|other| machine_folder(&other.name) == machine_folder(&machine.name))
        {
            return refused(format!(
                "--machine {name}: there is a machine called {} already: give one of them another name in its file",
                machine.name
            ));
        }
        if let Some(first) = machines.first()
            && locality
            && first.line_bytes() != machine.line_bytes()
        {
            return refused(format!(
                "--machine {name}: its lines have {} B, those of {} {} B, and analyses of locality follow lines of one \
                 size: add --analyses none, or run the program once for each machine",
                machine.line_bytes(),
                first.name,
                first.line_bytes()
            ));
        }
        machines.push(machine);
    }
    Ok(machines)
}
