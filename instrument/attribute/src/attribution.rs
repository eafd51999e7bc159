//! The attribution stage: a stream's runs and events in, runs with ledger rows out.

use std::path::Path;
use std::sync::Arc;

use memloupe_cachesim as cachesim;
use memloupe_stream::{
    self as stream, AccessKind, BlockId, Ending, Event, MapKind, Phases, Probe, Run, RunBatch, RunOperand,
    SiteId, SiteTable,
};

use crate::batch::AttributedBatch;
use crate::block_rows::BlockRows;
use crate::burst::Bursts;
use crate::calls::{CallPaths, PathId, ROOT};
use crate::class::Class;
use crate::context::{Context, ContextId, Contexts, LOAD_PHASE, OTHER_PHASE, PhaseId};
use crate::ledger::{FOOTPRINT_LINE_BYTES, Ledger, RowId, RowKey};
use crate::module::{CodeAddress, Modules, Region};
use crate::object::{Extent, ObjectId, Objects};
use crate::probe::{Ends, Entered, Lasts, Mark, Operator, OperatorId, Phase, Preset, Probes, SeenObject};
use crate::region::RegionName;
use crate::sample::{Fate, Sample, SampleRule, Sampler, Series, WARM_UP};
use crate::thread::{Frame, Instance, Thread, thread_of};
use crate::timetable::{Span, Timetable};
use crate::warming::Stretch;

/// Threads that start threads that start threads: no deeper.
const ANCESTORS_MAX: usize = 8;
/// Runs of a batch that warms the caches.
const WARM_UP_RUNS: usize = 1024;

/// What a site's last access was attributed to, and how far that answer holds.
#[derive(Clone, Copy, Debug)]
struct Answer {
    context: ContextId,
    generation: u64,
    start: u64,
    end: u64,
    object: ObjectId,
    row: RowId,
}

impl Answer {
    const NONE: Self = Self {
        context: ContextId::MAX,
        generation: u64::MAX,
        start: 0,
        end: 0,
        object: 0,
        row: 0,
    };

    /// Iterations from `address` on, this one included, for which the answer holds.
    fn iterations_within(&self, address: u64, stride: i64) -> u64 {
        // An empty extent holds for the one access it was asked for.
        if !(self.start..self.end).contains(&address) {
            return 1;
        }
        match stride {
            0 => u64::MAX,
            1.. => (self.end - 1 - address) / stride.unsigned_abs() + 1,
            _ => (address - self.start) / stride.unsigned_abs() + 1,
        }
    }
}

/// The process's phase.
#[derive(Clone, Copy, Debug)]
struct CurrentPhase {
    id: PhaseId,
    /// Whether it is the user's region.
    is_region: bool,
    /// Whether it is numbered: a step of generation.
    is_token: bool,
}

/// Gives every access its context, object and ledger row.
pub struct Attribution {
    modules: Modules,
    objects: Objects,
    probes: Probes,
    contexts: Contexts,
    ledger: Ledger,
    threads: Vec<Thread>,
    phase: CurrentPhase,
    phases: Phases<CurrentPhase>,
    /// Whether only a part of the run is of interest.
    has_region: bool,
    /// Numbered phases that have begun.
    tokens: u64,
    /// If not every instance of an operator is simulated.
    sampler: Option<Sampler>,
    /// If calls are followed.
    paths: Option<CallPaths>,
    /// If only bursts of the run are simulated.
    bursts: Option<Bursts>,
    timetable: Option<Timetable>,
    /// The engine knows what is wanted: it asks what functions mean, and draws.
    is_gated: bool,
    /// Names of phases, as the engine knows them by number.
    phase_names: Vec<String>,
    /// By site: the hot path's memory.
    answers: Vec<Answer>,
    /// What the hot path asks first.
    block_rows: BlockRows,
    /// By block: which module its code belongs to, noted while that module is loaded.
    code: Vec<Option<CodeAddress>>,
    /// Executable file mappings whose probes are not resolved yet: path and load bias.
    unresolved: Vec<(String, u64)>,
}

impl Attribution {
    /// Starts with the operator presets to look for.
    #[must_use]
    pub fn new(presets: Vec<Preset>) -> Self {
        let probes = Probes::new(presets);
        let mut contexts = Contexts::default();
        let phase = contexts.intern_phase(&Phase {
            name: LOAD_PHASE.to_owned(),
            index: None,
        });
        Self {
            modules: Modules::default(),
            objects: Objects::new(probes.stack_rules()),
            probes,
            contexts,
            ledger: Ledger::default(),
            threads: Vec::new(),
            phase: CurrentPhase {
                id: phase,
                is_region: false,
                is_token: false,
            },
            phases: Phases::new(),
            has_region: false,
            tokens: 0,
            sampler: None,
            paths: None,
            bursts: None,
            timetable: None,
            is_gated: false,
            phase_names: vec![LOAD_PHASE.to_owned()],
            answers: Vec::new(),
            block_rows: BlockRows::default(),
            code: Vec::new(),
            unresolved: Vec::new(),
        }
    }

    /// Only a part of the run is of interest.
    #[must_use]
    pub fn within(self, region: RegionName) -> Self {
        Self {
            probes: self.probes.within(region),
            has_region: true,
            ..self
        }
    }

    /// Of the instances of operators that are alike, only some are to be simulated.
    #[must_use]
    pub fn sampled(self, rule: SampleRule) -> Self {
        let (sampler, bursts) = match rule {
            SampleRule::Operators(count) => (Some(Sampler::new(count)), None),
            SampleRule::Bursts(rule) => (None, Some(Bursts::new(rule))),
        };
        Self {
            sampler,
            bursts,
            ..self
        }
    }

    /// Every call and return is followed: contexts know the path of calls that led to them.
    #[must_use]
    pub fn with_call_paths(self) -> Self {
        Self {
            paths: Some(CallPaths::default()),
            ..self
        }
    }

    /// What is in no operator, or in host code around them, is in that which ran at the time.
    #[must_use]
    pub fn timed(mut self, spans: Vec<Span>) -> Self {
        let probes = &mut self.probes;
        self.timetable = Some(Timetable::new(spans, |operator| probes.intern(operator)));
        self
    }

    /// Whether [`Self::clock`] is to be called.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.timetable.is_some()
    }

    /// A thread's time.
    pub fn clock(&mut self, thread: u32, clock: u64) {
        if let Some(timetable) = &self.timetable {
            thread_of(&mut self.threads, thread).timed = timetable.at(clock);
        }
    }

    /// The engine has a gate: it leaves out what is not wanted, and draws.
    #[must_use]
    pub fn gated(self) -> Self {
        Self {
            is_gated: true,
            ..self
        }
    }

    /// What the call that `thread` has entered last means to the engine's gate.
    pub fn meaning(&mut self, thread: u32) -> stream::Answer {
        let Some(entered) = self.thread(thread).entered.clone() else {
            return stream::Answer::default();
        };
        let series = entered
            .operator
            .zip(self.sampler.as_mut())
            .map(|(operator, sampler)| {
                let phase = &self.contexts.phase(self.phase.id).name;
                let operator = &self.probes.operators()[operator as usize];
                sampler.number(series(thread, phase, operator, &entered.objects)) as u32
            });
        stream::Answer {
            operator: entered.operator,
            lasts: match entered.lasts {
                Lasts::Call => stream::Lasts::Call,
                Lasts::UntilNext => stream::Lasts::UntilNext,
                Lasts::UntilEnded => stream::Lasts::UntilEnded,
            },
            ends_operator: entered.ends == Some(Ends::Operator),
            region: entered.is_region,
            phase: entered.phase.is_some().then(|| self.phase_number()),
            phase_is_region: self.phase.is_region,
            ends_phase: entered.ends == Some(Ends::Phase),
            mark_begin: entered.mark == Some(Mark::Begin),
            mark_end: entered.mark == Some(Mark::End),
            series: series.unwrap_or(0),
        }
    }

    /// The number by which the engine knows the phase.
    fn phase_number(&mut self) -> u32 {
        let name = &self.contexts.phase(self.phase.id).name;
        let known = self.phase_names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.phase_names.push(name.clone());
            self.phase_names.len() - 1
        }) as u32
    }

    /// What becomes of what a thread does now.
    #[must_use]
    pub fn fate(&self, thread: u32) -> Fate {
        if let Some(bursts) = &self.bursts {
            return bursts.fate();
        }
        let outside = match self.sampler {
            Some(_) => Fate::Skipped,
            None => Fate::Whole,
        };
        self.instance(thread).map_or(outside, |instance| instance.fate)
    }

    /// The machines' largest cache has so many bytes, and their second largest.
    pub fn warm_for(&mut self, caches: [u64; 2]) {
        if let Some(sampler) = &mut self.sampler {
            sampler.warming.fit_to(caches);
        }
    }

    /// What went by since the last call, as far as it warms the caches: a batch for each of the threads that it went by on.
    pub fn warm(&mut self, sites: &SiteTable, mut submit: impl FnMut(u32, &mut Self, &[Stretch])) {
        let Some(mut sampler) = self.sampler.take_if(|sampler| !sampler.warming.is_idle()) else {
            return;
        };
        self.block_rows.settle(&mut self.ledger);
        let (ledger, contexts, objects) = (&self.ledger, &self.contexts, self.objects.table());
        sampler.learn(
            ledger,
            |row| contexts.get(ledger.key(row).context).sample,
            |row| model_kind(sites.site(ledger.key(row).site).kind),
            |row| {
                let object = &objects[ledger.key(row).object as usize];
                matches!(object.class, Class::Static | Class::Code)
            },
        );
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut of = 0;
        sampler.warming.replay(|thread, stretch| {
            if thread != of || stretches.len() == WARM_UP_RUNS {
                if !stretches.is_empty() {
                    submit(of, self, &stretches);
                }
                stretches.clear();
                of = thread;
            }
            stretches.push(stretch);
        });
        if !stretches.is_empty() {
            submit(of, self, &stretches);
        }
        self.sampler = Some(sampler);
    }

    /// Runs that touch lines once, to warm the caches.
    pub fn warm_up_runs(&mut self, thread: u32, stretches: &[Stretch], out: &mut AttributedBatch) {
        out.clear();
        let context = self.contexts.intern(Context {
            thread,
            phase: self.phase.id,
            operator: None,
            sample: Some(WARM_UP),
            path: None,
        });
        for stretch in stretches {
            let address = stretch.first_line * FOOTPRINT_LINE_BYTES;
            let object = self.objects.lookup(address, &self.modules).object;
            let owner = self.ledger.row(RowKey {
                context,
                site: 0,
                object,
            });
            out.push_operand(cachesim::Operand {
                address,
                stride: FOOTPRINT_LINE_BYTES.cast_signed(),
                bytes: FOOTPRINT_LINE_BYTES as u32,
                kind: stretch.kind,
                owner,
            });
            out.end_run(stretch.lines);
        }
    }

    /// So many instructions have been executed: the clock that bursts go by.
    pub fn advance(&mut self, instructions: u64) {
        if let Some(bursts) = &mut self.bursts {
            bursts.advance(instructions);
        }
    }

    /// The execution of an operator that a thread works for. One that never enters an operator itself (a worker of a
    /// thread pool) works for the thread that started it.
    fn instance(&self, thread: u32) -> Option<Instance> {
        let mut state = self.threads.get(thread as usize)?;
        for _ in 0..ANCESTORS_MAX {
            match state.parent {
                Some(parent) if !state.has_operators => state = self.threads.get(parent as usize)?,
                _ => break,
            }
        }
        state.instance()
    }

    /// The phase that is going on.
    #[must_use]
    pub fn phase(&self) -> PhaseId {
        self.phase.id
    }

    /// Whether what a thread does now is of interest.
    #[must_use]
    pub fn is_inside(&self, thread: u32) -> bool {
        !self.has_region
            || self.phase.is_region
            || self.threads.get(thread as usize).is_some_and(Thread::is_inside)
    }

    /// Times that a thread has entered the region; without one, operators.
    #[must_use]
    pub fn instances(&self, thread: u32) -> u64 {
        self.threads
            .get(thread as usize)
            .map_or(0, |thread| thread.instances)
    }

    /// Numbered phases that have begun: steps of generation. And whether the last one is going on.
    #[must_use]
    pub fn tokens(&self) -> (u64, bool) {
        (self.tokens, self.phase.is_token)
    }

    /// The operator that a thread is in.
    #[must_use]
    pub fn operator(&self, thread: u32) -> Option<OperatorId> {
        Some(self.instance(thread)?.operator)
    }

    /// Contexts and phases so far.
    #[must_use]
    pub fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Objects so far.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Operator identities so far.
    #[must_use]
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Rows so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The parts, once the stream is over.
    #[must_use]
    pub fn into_parts(mut self) -> Parts {
        self.block_rows.settle(&mut self.ledger);
        Parts {
            modules: self.modules,
            objects: self.objects,
            probes: self.probes,
            contexts: self.contexts,
            sample: self
                .sampler
                .map(Sampler::finish)
                .or(self.bursts.map(Bursts::finish)),
            paths: self.paths,
            ledger: self.ledger,
            code: self.code,
        }
    }

    /// Attributes a batch of runs.
    pub fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch, out: &mut AttributedBatch) {
        out.clear();
        if self.answers.len() < sites.sites().len() {
            self.answers.resize(sites.sites().len(), Answer::NONE);
        }
        self.code.resize(sites.blocks().len(), None);
        self.block_rows.resize(sites.blocks().len());
        let mut context = self.context(thread);
        for run in batch.runs() {
            if run.iterations == 1 {
                self.execution(context, &run, sites, out);
            } else if !run.scattered.is_empty() {
                self.scattered_run(context, &run, sites, out);
            } else {
                self.long_run(context, &run, sites, out);
            }
            if self.paths.is_some() && self.follow(thread, &run, sites) {
                context = self.context(thread);
            }
        }
    }

    /// Follows the calls of runs that are not attributed.
    pub fn pass_over(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        if self.paths.is_some() {
            self.code.resize(sites.blocks().len(), None);
            for run in batch.runs() {
                self.follow(thread, &run, sites);
            }
        }
    }

    /// Returns whether the thread's path may be another one behind a run.
    fn follow(&mut self, thread: u32, run: &Run<'_>, sites: &SiteTable) -> bool {
        let Some(block) = sites
            .block(run.block)
            .filter(|block| block.ending != Ending::Plain)
        else {
            return false;
        };
        self.note_code(run.block, sites);
        match &mut self.paths {
            Some(paths) => thread_of(&mut self.threads, thread)
                .calls
                .after(run, block, paths),
            None => false,
        }
    }

    /// One execution of a block.
    #[inline]
    fn execution(&mut self, context: ContextId, run: &Run<'_>, sites: &SiteTable, out: &mut AttributedBatch) {
        let (generation, operands) = (self.objects.generation(), run.operands);
        let execution =
            self.block_rows
                .execution(run.block, context, generation, operands.len(), &mut self.ledger);
        if let Some(execution) = execution {
            let mut at = 0;
            while let Some(further) = self.block_rows.first_elsewhere(&execution, operands, at) {
                let operand = &operands[further];
                let answer = self.answer(context, operand.site, operand.address, sites);
                let extent = (answer.row, answer.start, answer.end);
                self.block_rows
                    .moves(&execution, further, operand, extent, &mut self.ledger);
                at = further + 1;
            }
            let places = self.block_rows.places(&execution);
            let owned = operands.iter().zip(places);
            out.push_operands(
                owned.map(|(operand, place)| model_operand(operand, operand.address, place.row())),
            );
        } else {
            for operand in operands {
                let answer = self.answer(context, operand.site, operand.address, sites);
                self.ledger
                    .touch(answer.row, 1, operand.address, u64::from(operand.bytes));
                out.push_operand(model_operand(operand, operand.address, answer.row));
            }
        }
        out.end_run(1);
    }

    /// A run of several iterations: cut where an operand passes from one object to another.
    fn long_run(&mut self, context: ContextId, run: &Run<'_>, sites: &SiteTable, out: &mut AttributedBatch) {
        let mut done = 0;
        while done < run.iterations {
            let mut piece = run.iterations - done;
            for operand in run.operands {
                let address = operand.address_in(done);
                let answer = self.answer(context, operand.site, address, sites);
                piece = piece.min(answer.iterations_within(address, operand.stride));
                out.push_operand(model_operand(operand, address, answer.row));
            }
            for operand in out.open_operands() {
                self.ledger.sweep(
                    operand.owner,
                    piece,
                    operand.address,
                    operand.stride,
                    u64::from(operand.bytes),
                );
            }
            out.end_run(piece);
            done += piece;
        }
    }

    /// The same with scattered operands.
    fn scattered_run(
        &mut self,
        context: ContextId,
        run: &Run<'_>,
        sites: &SiteTable,
        out: &mut AttributedBatch,
    ) {
        let scattered = |operand: &&RunOperand| operand.stride == stream::SCATTERED;
        let step = run.operands.iter().filter(scattered).count();
        let mut done = 0;
        while done < run.iterations {
            let mut piece = run.iterations - done;
            let addresses = &run.scattered[done as usize * step..];
            let mut number = 0;
            for operand in run.operands {
                let is_scattered = scattered(&operand);
                let address = if is_scattered {
                    addresses[number]
                } else {
                    operand.address_in(done)
                };
                let answer = self.answer(context, operand.site, address, sites);
                let within = if is_scattered {
                    // An empty extent holds for the one access it was asked for.
                    let own = addresses.iter().skip(number).step_by(step).skip(1);
                    number += 1;
                    1 + own
                        .take_while(|own| (answer.start..answer.end).contains(own))
                        .count() as u64
                } else {
                    answer.iterations_within(address, operand.stride)
                };
                piece = piece.min(within);
                out.push_operand(model_operand(operand, address, answer.row));
            }
            let addresses = &addresses[..piece as usize * step];
            let mut number = 0;
            for operand in out.open_operands() {
                let bytes = u64::from(operand.bytes);
                if operand.stride == cachesim::SCATTERED {
                    for address in addresses.iter().skip(number).step_by(step) {
                        self.ledger.touch(operand.owner, 1, *address, bytes);
                    }
                    number += 1;
                } else {
                    self.ledger
                        .sweep(operand.owner, piece, operand.address, operand.stride, bytes);
                }
            }
            out.push_scattered(addresses);
            out.end_run(piece);
            done += piece;
        }
    }

    /// What a site's access to an address is attributed to; the first byte decides.
    #[inline]
    fn answer(&mut self, context: ContextId, site: SiteId, address: u64, sites: &SiteTable) -> Answer {
        let answer = self.answers[site as usize];
        if answer.context == context
            && answer.generation == self.objects.generation()
            && (answer.start..answer.end).contains(&address)
        {
            return answer;
        }
        self.look_up(context, site, address, sites)
    }

    fn look_up(&mut self, context: ContextId, site: SiteId, address: u64, sites: &SiteTable) -> Answer {
        let before = self.answers[site as usize];
        let is_known =
            before.generation == self.objects.generation() && (before.start..before.end).contains(&address);
        let extent = if is_known {
            Extent {
                object: before.object,
                start: before.start,
                end: before.end,
            }
        } else {
            self.look_up_object(site, address, sites)
        };
        let answer = Answer {
            context,
            generation: self.objects.generation(),
            start: extent.start,
            end: extent.end,
            object: extent.object,
            row: if (before.context, before.object) == (context, extent.object) {
                before.row
            } else {
                self.ledger.row(RowKey {
                    context,
                    site,
                    object: extent.object,
                })
            },
        };
        self.answers[site as usize] = answer;
        answer
    }

    fn look_up_object(&mut self, site: SiteId, address: u64, sites: &SiteTable) -> Extent {
        let stream::Site { block, kind, .. } = *sites.site(site);
        self.note_code(block, sites);
        let is_compiled = self.code[block as usize]
            .is_some_and(|code| matches!(code.region, Region::Jit | Region::Anonymous));
        if kind == AccessKind::Fetch && is_compiled {
            self.objects.executed(address);
        }
        self.objects.lookup(address, &self.modules)
    }

    /// Notes where a block's code is.
    fn note_code(&mut self, block: BlockId, sites: &SiteTable) {
        if self.code[block as usize].is_none() {
            let address = sites.block(block).map_or(0, |block| block.address);
            self.code[block as usize] = Some(self.modules.code_address(address));
        }
    }

    fn context(&mut self, thread: u32) -> ContextId {
        let told = self.instance(thread).map(|instance| instance.operator);
        let is_host = |operator: OperatorId| {
            self.probes.operators()[operator as usize]
                .kind
                .starts_with("host.")
        };
        let timed = self.threads.get(thread as usize).and_then(|thread| thread.timed);
        let operator = timed.filter(|_| told.is_none_or(is_host)).or(told);
        let sample = match self.fate(thread) {
            Fate::Sampled(id) => Some(id),
            Fate::Whole | Fate::Skipped => None,
        };
        self.contexts.intern(Context {
            thread,
            phase: self.phase.id,
            operator,
            sample,
            path: self.paths.as_ref().map(|_| self.path(thread)),
        })
    }

    fn path(&self, thread: u32) -> PathId {
        self.threads
            .get(thread as usize)
            .map_or(ROOT, |thread| thread.calls.path())
    }

    fn thread(&mut self, thread: u32) -> &mut Thread {
        thread_of(&mut self.threads, thread)
    }

    /// Takes in an event of `thread`.
    pub fn event(&mut self, thread: u32, event: &Event) {
        self.modules.event(event);
        self.objects.event(event, &self.modules);
        match event {
            Event::Map {
                address,
                protection,
                kind: MapKind::File,
                path,
                ..
            } if protection & memloupe_stream::PROTECTION_EXECUTE != 0 => {
                if let Some(module) = self.modules.module_at(*address) {
                    self.unresolved
                        .push((path.clone(), self.modules.get(module).bias));
                }
            }
            Event::Unmap { address, bytes } => {
                self.probes.unmapped(*address, address.saturating_add(*bytes));
            }
            Event::ProbeEnter {
                probe,
                stack_pointer,
                present,
                values,
            } => {
                self.enter(thread, *probe, *stack_pointer, *present, values);
            }
            Event::ProbeLeave { stack_pointer } => self.leave(thread, *stack_pointer),
            Event::Alloc { address, bytes, .. } => {
                let mut operators = self
                    .threads
                    .get(thread as usize)
                    .into_iter()
                    .flat_map(Thread::operators);
                if let Some((class, name)) = operators.find_map(|operator| self.probes.allocated(operator)) {
                    self.objects.register(&SeenObject {
                        name: name.clone(),
                        class: *class,
                        address: *address,
                        bytes: *bytes,
                    });
                }
            }
            Event::ThreadStart { thread, parent, .. } if thread != parent => {
                self.thread(*thread).parent = Some(*parent);
            }
            Event::Draw { series, ordinal } => self.drawn(thread, *series, *ordinal),
            Event::ThreadEnd { thread: ended } => {
                *self.thread(*ended) = Thread::default();
                self.phases.forget(*ended);
                self.follow_phases();
            }
            Event::Exec { .. } => {
                self.threads.clear();
                self.phases = Phases::new();
                self.unresolved.clear();
                self.set_phase(LOAD_PHASE);
                self.answers.fill(Answer::NONE);
                self.block_rows.forget(&mut self.ledger);
            }
            _ => {}
        }
    }

    /// Probes for the modules that were mapped since the last call; the first gets the id `first`.
    pub fn resolve_probes(&mut self, first: u32) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (path, bias) in std::mem::take(&mut self.unresolved) {
            let next = first + probes.len() as u32;
            probes.extend(self.probes.resolve(Path::new(&path), bias, next));
        }
        probes
    }

    fn enter(&mut self, thread: u32, probe: u32, stack_pointer: u64, present: u64, values: &[u8]) {
        let mut entered = self.probes.enter(probe, present, values);
        // What a program begins lends its layer to what happens inside.
        let around = self.thread(thread).begun.last().map(|begun| begun.instance);
        if let (Some(operator), Some(around)) = (&mut entered.operator, around) {
            *operator = self.probes.within_layer_of(*operator, around.operator);
        }
        for seen in &*entered.objects {
            self.objects.register(seen);
        }
        if let Some(address) = entered.forgets {
            self.objects.forget(address);
        }
        match entered.ends {
            Some(Ends::Operator) => drop(self.thread(thread).begun.pop()),
            Some(Ends::Phase) => {
                self.phases.end();
                self.follow_phases();
            }
            None => {}
        }
        // An operator's kernel may be probed inside the operator's own probe: that is one call.
        let enclosing = entered
            .operator
            .and_then(|operator| self.thread(thread).enclosing(operator));
        let nested = enclosing.is_some();
        if let Some(phase) = &entered.phase {
            let phase = CurrentPhase {
                id: self.contexts.intern_phase(phase),
                is_region: entered.is_region,
                is_token: phase.index.is_some(),
            };
            if entered.lasts == Lasts::Call {
                self.phases.enter(thread, phase);
            } else {
                self.phases.begin(phase);
            }
            self.phase = phase;
            self.tokens += u64::from(phase.is_token);
        }
        let instance = entered.operator.map(|operator| {
            enclosing.unwrap_or_else(|| Instance {
                operator,
                number: self.thread(thread).next_number(),
                fate: self.draw(thread, operator, &entered),
            })
        });
        let is_instance = if self.has_region {
            let inside = self.thread(thread).frames.iter().any(|frame| frame.is_region);
            entered.is_region && !inside
        } else {
            entered.operator.is_some() && !nested
        };
        let frame = Frame {
            stack_pointer,
            operator: instance,
            lasting: None,
            is_phase: entered.phase.is_some() && entered.lasts == Lasts::Call,
            is_region: entered.is_region,
            lasting_region: false,
        };
        let state = self.thread(thread);
        state.has_operators |= entered.operator.is_some();
        state.instances += u64::from(is_instance);
        match entered.mark {
            Some(Mark::Begin) => {
                state.instances += u64::from(state.marked == 0);
                state.marked += 1;
            }
            Some(Mark::End) => state.marked = state.marked.saturating_sub(1),
            None => {}
        }
        state.enter(frame, entered.lasts);
        // An instance that the engine draws is counted when it tells so.
        let is_counted = entered.operator.is_some() && !nested;
        if is_counted && !(self.is_gated && self.sampler.is_some()) {
            let context = self.context(thread);
            self.contexts.count_call(context);
        }
        if self.is_gated {
            self.thread(thread).entered = Some(entered);
        }
    }

    /// The engine has drawn for the instance that begins.
    fn drawn(&mut self, thread: u32, series: u32, ordinal: u64) {
        let Some(sampler) = &mut self.sampler else { return };
        let state = thread_of(&mut self.threads, thread);
        let arguments = state
            .entered
            .take()
            .map_or_else(Arc::default, |entered| entered.arguments);
        let fate = sampler.draw(thread, series as usize, ordinal, &arguments);
        state.decide(fate);
        let context = self.context(thread);
        self.contexts.count_call(context);
    }

    /// Whether another instance of an operator is simulated.
    fn draw(&mut self, thread: u32, operator: OperatorId, entered: &Entered) -> Fate {
        let Some(sampler) = &mut self.sampler else {
            return Fate::Whole;
        };
        if self.is_gated {
            return Fate::Skipped; // Until the engine has said what it has drawn.
        }
        let phase = &self.contexts.phase(self.phase.id).name;
        let operator = &self.probes.operators()[operator as usize];
        let series = series(thread, phase, operator, &entered.objects);
        sampler.enter(thread, series, &entered.arguments)
    }

    fn leave(&mut self, thread: u32, stack_pointer: u64) {
        let phases = self.thread(thread).leave(stack_pointer);
        if phases > 0 {
            self.phases.leave(thread, phases);
            self.follow_phases();
        }
    }

    /// Back to the phase around one that is over.
    fn follow_phases(&mut self) {
        match self.phases.current() {
            Some(phase) => self.phase = phase,
            None if self.contexts.phase(self.phase.id).name == LOAD_PHASE => {}
            None => self.set_phase(OTHER_PHASE),
        }
    }

    fn set_phase(&mut self, name: &str) {
        self.phase = CurrentPhase {
            id: self.contexts.intern_phase(&Phase {
                name: name.to_owned(),
                index: None,
            }),
            is_region: false,
            is_token: false,
        };
    }
}

/// The series of an instance.
fn series(thread: u32, phase: &str, operator: &Operator, objects: &[SeenObject]) -> Series {
    let weights = objects.iter().filter(|object| object.class == Class::Weight);
    let bytes = weights.map(|object| object.bytes).sum();
    Series::new(thread, phase, operator, bytes)
}

/// What is left of an attribution when its stream is over.
pub struct Parts {
    /// Every module that was loaded.
    pub modules: Modules,
    /// Every object that was accessed or allocated.
    pub objects: Objects,
    /// Operator identities, and what the probes could not do.
    pub probes: Probes,
    /// Contexts and phases.
    pub contexts: Contexts,
    /// What was simulated, if only some instances of operators were.
    pub sample: Option<Sample>,
    /// The paths of calls, if these were followed.
    pub paths: Option<CallPaths>,
    /// The rows.
    pub ledger: Ledger,
    /// By block: where its code is.
    pub code: Vec<Option<CodeAddress>>,
}

#[inline]
fn model_operand(operand: &RunOperand, address: u64, owner: RowId) -> cachesim::Operand {
    cachesim::Operand {
        address,
        stride: operand.stride,
        bytes: operand.bytes,
        kind: model_kind(operand.kind),
        owner,
    }
}

fn model_kind(kind: AccessKind) -> cachesim::AccessKind {
    match kind {
        AccessKind::Load => cachesim::AccessKind::Load,
        AccessKind::Store => cachesim::AccessKind::Store,
        AccessKind::ReadModifyWrite => cachesim::AccessKind::ReadModifyWrite,
        AccessKind::Prefetch => cachesim::AccessKind::Prefetch,
        AccessKind::NonTemporalStore => cachesim::AccessKind::NonTemporalStore,
        AccessKind::Fetch => cachesim::AccessKind::Fetch,
    }
}
